"""Prediction on a Ray cluster: each picture once, whoever dies; and what can be tested without a cluster."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import refineseg
from refineseg.data.images import read_mask
from refineseg.errors import InputError
from refineseg.inference.options import PredictOptions
from refineseg.labels import LabelMap
from refineseg.model import create_model
from refineseg.model.folders.model_folder import ModelCard, save_model_folder
from refineseg.ray import RayJob, Shard, Worker, keep_plan, pictures_of, plan_shards, predict
from refineseg.system.parquet import open_parquet, write_parquet
from tests.data.made import made_pair
from tests.inference.lively import lively
from tests.model.filled import fill

pytest.importorskip("pyarrow")
CLASSES = ["background", "box", "other"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = create_model("refinenet-lw-mbv2", 3, backbone="test_efficientnet", width=16, coarse_width=16)
    fill(network)
    folder = tmp_path_factory.mktemp("ray") / "m"
    save_model_folder(folder, network, ModelCard("m", LabelMap.from_names(CLASSES)))
    return folder


def made(folder: Path, count: int, size: tuple[int, int] = (36, 48)) -> Path:
    folder.mkdir()
    for index in range(count):
        Image.fromarray(made_pair(index, 3, size)[0]).save(folder / f"p{index:04}.png")
    return folder


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [
        row for part in sorted((out / "parts").glob("*.parquet")) for row in open_parquet(part).read().to_pylist()
    ]


def by_hand(job: RayJob, shards: list[Shard]) -> None:
    worker = Worker(job)
    for shard in shards:
        worker({"shard": json.dumps({**vars(shard)})})


def test_shards_are_cut_the_same_way_each_time(tmp_path: Path) -> None:
    folder = made(tmp_path / "in", 7)
    shards = plan_shards(folder, 3)
    assert [len(shard.files) for shard in shards] == [3, 3, 1]
    assert [name for shard in shards for _, name in shard.files] == [f"p{index:04}" for index in range(7)]
    assert shards == plan_shards(folder, 3)


def test_a_shard_done_twice_is_there_once(tmp_path: Path, model: Path) -> None:
    folder, out = made(tmp_path / "in", 5), tmp_path / "out"
    (folder / "p0002.png").write_bytes(b"broken")
    job = RayJob(str(out), str(model), PredictOptions(), ("mask",))
    shards = plan_shards(folder, 2)
    by_hand(job, [shards[0], *shards, shards[0]])
    rows = rows_of(out)
    assert [row["name"] for row in rows] == [f"p{index:04}" for index in range(5)]
    assert ["cannot read" in row["error"] for row in rows] == [False, False, True, False, False]
    assert not list(out.rglob(".*"))
    segmenter = refineseg.load(model, device="cpu")
    for row in (rows[0], rows[4]):
        expected = segmenter.predict(folder / f"{row['name']}.png").labels
        assert np.array_equal(read_mask(out / json.loads(row["files"])["mask"]), expected)


def test_parquet_in_masks_in_parquet_out(tmp_path: Path, model: Path) -> None:
    folder, out = made(tmp_path / "in", 3), tmp_path / "out"
    files = sorted(folder.iterdir())
    columns: dict[str, list[Any]] = {
        "bytes": [file.read_bytes() for file in files[:2]] + [b"no picture"],
        "name": ["a", "a", "../c"],
    }
    write_parquet(tmp_path / "in.parquet", columns)
    write_parquet(tmp_path / "paths.parquet", {"path": [str(file) for file in files]})
    shards = plan_shards(tmp_path / "in.parquet", 64)
    by_hand(RayJob(str(out), str(model), PredictOptions(), ()), shards)
    rows = rows_of(out)
    assert [row["name"] for row in rows] == ["00000000_000000_a", "00000000_000001_a", "00000000_000002_c"]
    assert rows[2]["error"].startswith("cannot read the picture")
    (tmp_path / "mask.png").write_bytes(rows[1]["mask"])
    expected = refineseg.load(model, device="cpu").predict(files[1]).labels
    assert np.array_equal(read_mask(tmp_path / "mask.png"), expected)
    assert [picture for _, picture in pictures_of(plan_shards(tmp_path / "paths.parquet", 64)[0])] == [
        str(file) for file in files
    ]


def test_channels_are_chosen_in_files_and_bytes(tmp_path: Path) -> None:
    folder, options = made(tmp_path / "in", 1), PredictOptions(channels=(3, 2, 1))
    picture = folder / "p0000.png"
    write_parquet(tmp_path / "in.parquet", {"bytes": [picture.read_bytes()]})
    segmenter, model = lively(), tmp_path / "model"
    save_model_folder(model, segmenter.model, segmenter.card)
    expected = segmenter.predict(picture, channels=(3, 2, 1)).labels
    assert not np.array_equal(expected, segmenter.predict(picture).labels)
    for number, source in enumerate((folder, tmp_path / "in.parquet")):
        out = tmp_path / str(number)
        by_hand(RayJob(str(out), str(model), options, ("mask",)), plan_shards(source, 1))
        assert np.array_equal(read_mask(next((out / "masks").iterdir())), expected)


def test_rows_say_what_was_assumed(tmp_path: Path, model: Path) -> None:
    made(tmp_path / "in", 1)
    Image.new("RGBA", (48, 36), (255, 0, 0, 128)).save(tmp_path / "in" / "q.png")
    encoded = [file.read_bytes() for file in sorted((tmp_path / "in").iterdir())]
    write_parquet(tmp_path / "in.parquet", {"bytes": encoded})
    for number, source in enumerate((tmp_path / "in", tmp_path / "in.parquet")):
        out = tmp_path / str(number)
        by_hand(RayJob(str(out), str(model), PredictOptions(), ()), plan_shards(source, 64))
        notes = [json.loads(row["notes"]) for row in rows_of(out)]
        assert notes == [[], ["its transparent pixels are read over white"]]


def test_other_work_does_not_go_into_the_same_folder(tmp_path: Path) -> None:
    folder, out = made(tmp_path / "in", 3), tmp_path / "out"
    job = RayJob(str(out), "camvid", PredictOptions(), ("mask",))
    keep_plan(out, job, plan_shards(folder, 2))
    keep_plan(out, job, plan_shards(folder, 2))
    with pytest.raises(InputError, match="other inputs, model or options"):
        keep_plan(out, job, plan_shards(folder, 3))


@pytest.mark.parametrize("content", [b"no parquet", None])
def test_bad_sources(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "in.parquet"
    if content is None:
        write_parquet(file, {"picture": [b""]})
    else:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"expected parquet|expected a column path or bytes"):
        plan_shards(file, 64)


def kill_the_first_worker(out: Path, killed: list[int]) -> None:
    """SIGKILL to whichever process wrote the first shard, as soon as it is there."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        done = sorted((out / "parts").glob("part-*.parquet")) if (out / "parts").is_dir() else []
        if done:
            pid = int(open_parquet(done[0]).read().to_pylist()[0]["worker"].rpartition(":")[2])
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            return
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_killed_worker_loses_nothing_and_writes_nothing_twice(tmp_path: Path, model: Path) -> None:
    if importlib.util.find_spec("ray") is None:  # not imported here, as it is not where people call predict
        pytest.skip("ray is not installed")
    folder, out = made(tmp_path / "in", 120, (96, 128)), tmp_path / "out"
    killed: list[int] = []
    killer = threading.Thread(target=kill_the_first_worker, args=(out, killed))
    killer.start()
    summary = predict(folder, out, str(model), workers=2, shard=4)
    killer.join()
    rows = rows_of(out)
    assert len(killed) == 1
    names = [f"p{index:04}" for index in range(120)]
    assert [row["name"] for row in rows] == names, "each once, in order"
    assert summary.pictures == 120
    workers = {row["worker"] for row in rows}
    # Two at a time, and one in the place of the killed. Its shard may be done anew if it had not said that it was
    # done, and the other may do all the rest while a new one loads the model.
    assert 1 <= len(workers) <= 3
    segmenter = refineseg.load(model, device="cpu")
    for row in rows[::17]:
        expected = segmenter.predict(folder / f"{row['name']}.png").labels
        assert np.array_equal(read_mask(out / "masks" / f"{row['name']}.png"), expected)
    assert sorted(path.stem for path in (out / "masks").iterdir()) == names
    assert not list(out.rglob(".*"))
    again = predict(folder, out, str(model), workers=2, shard=4)
    assert (again.pictures, again.skipped) == (0, 30)
