"""Prediction over many pictures on a Ray cluster: a folder or parquet in, masks and parquet out.

The work is divided into shards before it begins, in the same way each time. A shard's rows are written by one
rename, and only then does it count as done; after a crash the same files are written again under the same names.
So a worker or the whole run may be killed at any moment: nothing is lost or duplicated.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from refineseg.data.pictures.open_picture import read_picture
from refineseg.data.pictures.pillow import decoding
from refineseg.errors import InputError, RefinesegError, WriteError, extra
from refineseg.inference.batch import find_inputs, output_names
from refineseg.inference.options import PredictOptions, Tile
from refineseg.inference.outputs import find_kinds, need_probabilities
from refineseg.system.files import atomic_write, expanded, writable_folder
from refineseg.system.lock import locked
from refineseg.system.parquet import open_parquet, write_parquet

PARTS, PLAN = "parts", "plan.json"
PATH_COLUMN, BYTES_COLUMN, NAME_COLUMN = "path", "bytes", "name"


@dataclass(frozen=True)
class RayJob:
    """Settings of all workers."""

    out: str  # output folder, under this path on all machines
    model: str  # bundled name, model folder or ``hf:ORG/NAME@COMMIT``
    options: PredictOptions  # scales, flip, channels
    save: tuple[str, ...]  # output kinds; if empty, masks are written into the parquet
    tile: Tile = None
    device: str = "cpu"  # device of each worker


@dataclass(frozen=True)
class Shard:
    """A part of the pictures: files with output names, or a row group of a parquet file."""

    number: int
    files: tuple[tuple[str, str], ...] = ()
    parquet: str = ""
    group: int = 0

    def part(self, out: Path) -> Path:
        """The parquet file that exists once the shard is done."""
        return out / PARTS / f"part-{self.number:08d}.parquet"


@dataclass(frozen=True)
class Summary:
    """The outcome of a run: pictures, errors and shards of this run, shards done before, seconds."""

    pictures: int
    errors: int
    shards: int
    skipped: int
    seconds: float


def predict(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    model: str = "everyday",
    *,
    workers: int = 2,
    options: PredictOptions | None = None,
    save: Sequence[str] | None = None,
    shard: int = 64,
    tile: Tile = None,
) -> Summary:
    """Segment many pictures with several workers; run it again to continue after a crash.

    Args:
        source: pictures (files, folders, globs), or one parquet file or a folder of them, with a column ``path``
            or ``bytes`` (an encoded picture) and perhaps ``name``.
        out: output folder: parts/part-N.parquet with a row per picture (name, width, height, class_shares, files
            or mask, notes, error, worker, seconds); for pictures also the files of ``save`` (masks/NAME.png).
        model: name, folder or file, as for ``refineseg.load``.
        workers: number of processes, each with a copy of the model and one processor. A cluster is chosen by
            calling ``ray.init`` first; otherwise one is started on this machine, and stopped at the end.
        options: scales, flip, channels.
        save: output kinds; by default ``mask`` for pictures, none for parquet (whose mask is a column of PNG).
        shard: number of pictures per shard; in parquet files each row group is a shard.
        tile: windows of large pictures, as for ``Segmenter.predict``.

    Raises:
        MissingExtraError: ray or pyarrow is not installed.
        InputError: there is nothing to do, the output is unusable, or it holds results of other inputs or options.
    """
    from refineseg.model.folders.hub import pinned

    begun = time.perf_counter()
    if workers < 1 or shard < 1:
        raise InputError(f"expected at least one worker and one picture a shard, got {workers} and {shard}")
    shards = plan_shards(source, shard)
    folder = writable_folder(expanded(out).absolute())
    kinds = tuple(save) if save is not None else () if shards[0].parquet else ("mask",)
    find_kinds(kinds)  # refuses unknown ones
    model = pinned(model)
    if Path(model).is_dir():
        model = str(Path(model).absolute())
    job = RayJob(str(folder), model, options or PredictOptions(), kinds, tile)
    with locked(folder):
        keep_plan(folder, job, shards)
        todo = [item for item in shards if not item.part(folder).is_file()]
        done = _run(job, todo, workers) if todo else []
    return Summary(
        sum(row["pictures"] for row in done),
        sum(row["errors"] for row in done),
        len(shards),
        len(shards) - len(todo),
        time.perf_counter() - begun,
    )


def plan_shards(source: str | Path | Sequence[str | Path], size: int) -> list[Shard]:
    """The shards of a source, in order; InputError if there is nothing to do."""
    given = [str(source)] if isinstance(source, str | Path) else [str(item) for item in source]
    path = expanded(given[0])
    tables = sorted(path.rglob("*.parquet")) if path.is_dir() else [path] if path.suffix == ".parquet" else []
    if len(given) == 1 and tables:
        groups = [(file, group) for file in tables for group in range(_checked(file).num_row_groups)]
        if not groups:
            raise InputError(f"expected rows in the parquet of {path}, found none")
        return [
            Shard(number, parquet=str(file.absolute()), group=group) for number, (file, group) in enumerate(groups)
        ]
    paths = find_inputs(given)
    pairs = [(str(path.absolute()), name) for path, name in zip(paths, output_names(paths), strict=True)]
    starts = range(0, len(pairs), size)
    return [Shard(number, tuple(pairs[start : start + size])) for number, start in enumerate(starts)]


def _checked(file: Path) -> Any:
    opened = open_parquet(file)
    names = opened.schema_arrow.names
    if PATH_COLUMN not in names and BYTES_COLUMN not in names:
        raise InputError(
            f"{file}: expected a column {PATH_COLUMN} or {BYTES_COLUMN}, found {', '.join(names[:8])}"
        )
    return opened


def keep_plan(folder: Path, job: RayJob, shards: Sequence[Shard]) -> None:
    """Write plan.json, or check that the existing one is the same."""
    digest = hashlib.sha256(json.dumps([asdict(item) for item in shards]).encode()).hexdigest()
    values = {"shards": len(shards), "inputs": digest, **asdict(job)}
    values.pop("out")
    text = json.dumps(values, indent=1) + "\n"
    file = folder / PLAN
    if file.is_file():
        if file.read_text(encoding="utf-8") != text:
            raise InputError(
                f"{folder} holds the results of other inputs, model or options: choose another output"
            )
    elif (folder / PARTS).exists():
        raise InputError(f"expected a new output folder, {folder} holds {PARTS}/ without {PLAN}")
    else:
        atomic_write(file, text)


class Worker:
    """A process of the cluster, which loads the model once and predicts shard after shard."""

    def __init__(self, job: RayJob) -> None:
        import torch

        from refineseg.loading import load

        torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS") or 1)))
        self.job, self.out = job, Path(job.out)
        self.segmenter = load(job.model, job.device)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Predict a shard, given as JSON; returns its numbers of pictures and errors."""
        values = json.loads(row["shard"])
        shard = Shard(**{**values, "files": tuple((path, name) for path, name in values["files"])})
        rows = [self.one(name, picture) for name, picture in pictures_of(shard)]
        columns = {key: [entry[key] for entry in rows] for key in rows[0]} if rows else {NAME_COLUMN: []}
        write_parquet(shard.part(self.out), columns)
        return {"pictures": len(rows), "errors": sum(bool(entry["error"]) for entry in rows)}

    def one(self, name: str, picture: str | bytes) -> dict[str, Any]:
        """The row of one picture. Its errors are put into the row, but a full disk ends the run."""
        begun = time.perf_counter()
        row: dict[str, Any] = {
            NAME_COLUMN: name,
            "width": 0,
            "height": 0,
            "class_shares": "{}",
            "files": "{}",
            "mask": None,
            "notes": "[]",
            "error": "",
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        }
        options, source = self.job.options, cast(Any, picture)
        channels, notes = options.channels, tuple[str, ...]()
        try:
            if isinstance(picture, bytes):
                with decoding("the bytes", "a picture"):
                    read = read_picture(picture, self.segmenter.card.channels, options.choice)
                source, channels, notes = read.pixels, None, tuple(read.notes)
            result = self.segmenter.predict(
                source,
                scales=options.scales,
                flip=options.flip,
                channels=channels,
                probabilities=need_probabilities(find_kinds(self.job.save)),
                tile=self.job.tile,
            )
            shares = {label: round(share, 6) for label, share in result.class_shares.items()}
            row["height"], row["width"] = result.labels.shape
            row["notes"] = json.dumps([*notes, *result.notes])
            row["class_shares"] = json.dumps(shares)
            if self.job.save:
                files = result.save(self.out, self.job.save, name=name)
                relative = {kind: file.relative_to(self.out).as_posix() for kind, file in files.items()}
                row["files"] = json.dumps(relative)
            else:
                stream = io.BytesIO()
                result.write("mask", stream)
                row["mask"] = stream.getvalue()
        except WriteError:
            raise
        except RefinesegError as error:
            row["error"] = str(error)
        return row | {"seconds": time.perf_counter() - begun}


def pictures_of(shard: Shard) -> Iterator[tuple[str, str | bytes]]:
    """Output name and file or encoded bytes of each picture of a shard."""
    if not shard.parquet:
        for path, name in shard.files:
            yield name, path
        return
    opened = open_parquet(Path(shard.parquet))
    columns = [name for name in (PATH_COLUMN, BYTES_COLUMN, NAME_COLUMN) if name in opened.schema_arrow.names]
    for index, row in enumerate(opened.read_row_group(shard.group, columns=columns).to_pylist()):
        fallback = Path(row[PATH_COLUMN]).stem if row.get(PATH_COLUMN) else ""
        # The number makes it unique even if two rows name the same file.
        name = f"{shard.number:08d}_{index:06d}_{Path(str(row.get(NAME_COLUMN) or fallback)).name}".rstrip("_")
        yield name, row.get(BYTES_COLUMN) or row.get(PATH_COLUMN) or b""


def _run(job: RayJob, shards: Sequence[Shard], workers: int) -> list[dict[str, Any]]:
    """All shards on the cluster, one row each."""
    if "ray" not in sys.modules:
        # No cluster was chosen, so a local one is started. Ray reads this variable on import; with it, its
        # processes listen on loopback only (it would replace an address of 127.0.0.1 by the machine's).
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    with extra("ray", "ray", "prediction on a cluster"):
        import ray
        import ray.data
    own = not ray.is_initialized()
    if own:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows = [{"shard": json.dumps(asdict(shard))} for shard in shards]
        # One block per shard, so that a worker that dies costs one shard at most.
        work = ray.data.from_items(rows, override_num_blocks=len(rows))
        worker = cast(Any, Worker)  # Ray's types only allow functions
        done = work.map(worker, fn_constructor_args=(job,), concurrency=workers, num_cpus=1)
        return list(done.iter_rows())
    except ray.exceptions.RayError as error:
        said = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        raise WriteError(f"the cluster stopped: {said.strip()}; run it again to continue") from error
    finally:
        if own:
            ray.shutdown()
