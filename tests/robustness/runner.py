"""Runs commands and the server on bad inputs, and says what was wrong with how they took it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import shutil
import signal
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from PIL import Image
from safetensors import safe_open

from refineseg.cli.main import main
from tests.robustness.case import Case, good_data, good_model, pair

PROCESSOR = 10  # seconds of processor time
SECONDS = 300  # of waiting, on a machine with much other work
ALARMS = (signal.SIGALRM, signal.SIGPROF)
LARGEST_BODY = 100 << 20  # bytes that are sent to the server
GROWTH_MB = 3000  # of the largest memory of the process, by one command
SMALL = ("model.backbone=test_efficientnet", "model.width=8", "model.coarse_width=8")
FROM_WEIGHTS = ("--model", "refinenet-lw-mbv2", *(word for part in SMALL for word in ("--set", part)))
TRAIN = (*FROM_WEIGHTS, "--set", "backbone_weights=none")  # wins over the option
SHORT = ("--steps", "1", "--batch-size", "2", "--crop", "32", "--workers", "0", "--skip-check", "--device", "cpu")
DIVERGED = re.compile(r"at step \d+: .*images/p\d.* (keeps the weights of step \d+|no weights were saved yet)")


class HangError(BaseException):
    """Raised in the middle of a command that takes too long; no handler of Exception swallows it."""


@dataclass
class Outcome:
    """How one command took one input.

    Attributes:
        command: the verb, with the option that the input was given to.
        code: exit code of the command, or HTTP status.
        processor: seconds of processor time of this process; 0 where others run the command.
        wrong: what may not be; empty is good.
    """

    case: Case
    command: str
    code: int
    said: str
    wrong: list[str] = field(default_factory=list)
    processor: float = 0


def commands(  # noqa: C901 - one branch a kind
    case: Case, path: Path, place: Path, work: Path
) -> Iterator[tuple[str, list[str]]]:
    """Every command that reads this kind of input, with a name for the table."""
    model, data, out, file = str(good_model(place)), f"folder:{place / 'data'}", str(work / "out"), str(path)
    run = ["train", "--data", data, *SHORT, "-o", out]
    if case.kind == "picture":
        yield "predict", ["predict", file, "--model", model, "-o", out]
        yield "predict --tile", ["predict", file, "--model", model, "-o", out, "--tile", "32"]
        yield from _on_data(with_picture(path, work / "data"), out, model)
    elif case.kind == "folder":
        yield from _on_data(path, out, model)
        if "images" in case.name:
            yield "predict FOLDER", ["predict", f"{path}/images", "--model", model, "-o", out]
        yield "data import FOLDER", ["data", "import", file, "-o", out]
    elif case.kind == "mask":
        yield from _on_data(with_mask(path, work / "data"), out, model)
    elif case.kind == "yaml":
        yield from _on_data(with_labels(path, place, work / "data"), out, model)
        yield "check FILE.yaml", ["check", file]
        yield "evaluate FILE.yaml", ["evaluate", "--model", model, "--data", file]
        yield "train --config", [*run, *TRAIN, "--config", file]
        yield "convert --labels", ["convert", str(good_model(place) / "model.safetensors"), out, "--labels", file]
        yield "data export --labels", ["data", "export", file, "-o", out, "--format", "coco", "--labels", file]
    elif case.kind == "settings":
        key, _, value = path.read_text().strip().partition(": ")
        option = "--crop" if key == "augment" else f"--{key.replace('_', '-')}"
        if option in run:  # it would win over the file
            place_of = run.index(option)
            run = run[:place_of] + run[place_of + 2 :]
        yield "train --config", [*run, "--config", file]
        yield "train --set", [*run, "--set", f"{key}={value}"]
    elif case.kind == "checkpoint":
        yield "convert", ["convert", file, out, "--labels", "voc2012"]
        yield "train --backbone-weights", [*run, *FROM_WEIGHTS, "--backbone-weights", file]
    elif case.kind == "model":
        picture = str(place / "data" / "images" / "p0.png")
        yield "predict --model", ["predict", picture, "--model", file, "-o", out]
        yield "evaluate --model", ["evaluate", "--model", file, "--data", data, "--json", f"{out}/s.json"]
        yield "train --model", [*run, "--model", file]
        yield "push", ["push", file, "hf:nobody/nothing"]
        yield "submit --model", ["submit", "voc2012", "--model", file, "--data", data, "-o", f"{out}/s.zip"]
        if "weights" not in case.name and case.name != "no model.safetensors":  # it reads config.json alone
            export = ["data", "export", str(place / "data" / "masks"), "--format", "coco", "-o", out]
            yield "data export --model", [*export, "--model", file]
    elif case.kind == "run":
        if (own := path.parent / "data").exists():
            data = f"folder:{own}"
        yield "train --resume", ["train", "--data", data, "-o", file, "--resume", "--device", "cpu"]
    elif case.kind == "diverging":
        rate = ["--set", "lr=1e6"] if "rate" in case.name else []
        train = ["train", "--data", f"folder:{file}", *TRAIN, *SHORT[2:], "--steps", "40", "-o", out]
        yield "train that diverges", [*train, *rate]
    elif case.kind == "video":
        yield "predict VIDEO", ["predict", file, "--model", model, "-o", out]
    elif case.kind == "archive":
        for name in ("voc2012", "cityscapes"):
            yield f"data prepare {name}", ["data", "prepare", name, file, "-o", out]
        yield "submit --validate", ["submit", "voc2012", "--validate", file]
    elif case.kind == "arguments":
        words = path.read_text().split()
        yield words[0], [word.format(data=place / "data", model=model, long="x" * 5000) for word in words]
    elif case.kind == "scores":
        good = place / "s.json"
        yield "compare BAD GOOD", ["compare", file, str(good), "--json", f"{out}/c.json"]
        yield "compare GOOD BAD", ["compare", str(good), file, "--json", f"{out}/c.json"]
    elif case.kind == "annotation":
        yield "data import", ["data", "import", file, "-o", out]
        for format in ("coco", "labelme", "cvat"):
            images = str(place / "data" / "images")
            yield (
                f"data import {format}",
                ["data", "import", file, "-o", out, "--format", format, "--images", images],
            )


def _on_data(root: Path, out: str, model: str) -> Iterator[tuple[str, list[str]]]:
    data = f"folder:{root}"
    yield "check", ["check", data, "--json", f"{out}/c.json", "--html", f"{out}/c.html"]
    yield "evaluate", ["evaluate", "--model", model, "--data", data, "--split", "train", "--json", f"{out}/s.json"]
    yield "train", ["train", "--data", data, *TRAIN, *SHORT, "-o", f"{out}/run"]


def with_picture(path: Path, root: Path) -> Path:
    """A data set of which one picture is the bad one."""
    good_data(root)
    (root / "images" / "p0.png").unlink()
    place_at(path, root / "images" / f"p0{path.suffix}")
    return root


def with_mask(path: Path, root: Path) -> Path:
    """A data set of which one mask is the bad one."""
    good_data(root)
    (root / "masks" / "p0.png").unlink()
    place_at(path, root / "masks" / "p0.png")
    return root


def with_labels(path: Path, place: Path, root: Path) -> Path:
    """A data set with the bad labels.yaml."""
    shutil.copytree(place / "data", root)
    (root / "labels.yaml").unlink()
    place_at(path, root / "labels.yaml")
    return root


def place_at(path: Path, target: Path) -> None:
    """A link to whatever it is."""
    target.symlink_to(path.absolute())


def prepare(place: Path) -> None:
    """What is good and shared by all cases: data, model, scores."""
    good_model(place)
    if not (place / "data").exists():
        good_data(place / "data")
    if not (place / "s.json").exists():
        with silent():
            data = f"folder:{place / 'data'}"
            main(["evaluate", "--model", str(good_model(place)), "--data", data, "--json", str(place / "s.json")])


@contextlib.contextmanager
def silent() -> Iterator[io.StringIO]:
    """Standard output and error into a string."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(stream):
        yield stream


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """HangError after PROCESSOR or SECONDS; an outer alarm goes on afterwards."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise HangError(f"{PROCESSOR} s of processor time" if number == signal.SIGPROF else f"{SECONDS} s")

    begun, before = time.monotonic(), {number: signal.signal(number, stop) for number in ALARMS}
    left, _ = signal.setitimer(signal.ITIMER_REAL, SECONDS)
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, max(0.01, left - (time.monotonic() - begun)) if left else 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def run_command(case: Case, name: str, command: list[str], out: Path) -> Outcome:
    """One command in this process."""
    begun, memory, wrong, code = time.process_time(), peak_mb(), [], -1
    with silent() as stream:
        try:
            with limited():
                code = main(command)
        except HangError as error:
            wrong.append(f"no end within {error}")
        except BaseException as error:
            wrong.append(f"raised {type(error).__name__}: {error}"[:300])
    said = stream.getvalue()
    lines = [line for line in said.splitlines() if line.startswith(("error:", "failed:"))]
    if not wrong:
        if code == 0 and not case.harmless:
            wrong.append("took it")
        if code not in (0, 2):
            wrong.append(f"exit code {code}")
        if code and len(lines) != 1:
            wrong.append(f"{len(lines)} lines of error")
        if code and case.kind == "diverging" and not DIVERGED.search(said):
            wrong.append("does not name step and pictures")
        if any(len(line) > 1500 or not line.isprintable() for line in lines):
            wrong.append("an error line that is too long or not printable")
    if "Traceback" in said:
        wrong.append("a traceback")
    wrong += left_behind(out, copies=case.kind in ("archive", "annotation"))
    if peak_mb() - memory > GROWTH_MB:
        wrong.append(f"{peak_mb() - memory:.0f} MB more memory")
    return Outcome(case, name, code, lines[0] if lines else said[-200:], wrong, time.process_time() - begun)


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def left_behind(out: Path, copies: bool = False) -> list[str]:
    """Files in the output that are half-written or temporary; ``copies`` of bad files are as bad as these."""
    found = []
    for path in out.rglob("*") if out.is_dir() else []:
        name = str(path.relative_to(out))
        if any(part.startswith(".") and not part.endswith(".part") for part in Path(name).parts):
            if ".part/" not in name:
                found.append(f"left {name}")
        elif path.is_file() and not copies and not whole(path):
            found.append(f"half-written {name}")
    if Path("owned").exists() or Path("owned-by-a-pickle").exists():
        found.append("code of the input was run")
    return found


def whole(path: Path) -> bool:
    """Whether a written file can be read to its end."""
    try:
        if path.suffix in (".png", ".jpg"):
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                return archive.testzip() is None
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as opened:
                return bool(list(opened.keys()))
    except Exception:
        return False
    return path.stat().st_size > 0


def run_case(case: Case, place: Path, work: Path, client: Any = None) -> list[Outcome]:
    """One input through everything that reads it."""
    outcomes: list[Outcome] = []
    work.mkdir(parents=True)
    (work / "bad").mkdir()
    here = Path.cwd()
    os.chdir(work)
    try:
        path = case.make(work / "bad")
        for name, command in list(commands(case, path, place, work)):
            if (work / "out").exists():
                shutil.rmtree(work / "out")
            outcomes.append(run_command(case, name, command, work / "out"))
        sent = case.kind in ("picture", "mask") and path.is_file() and path.stat().st_size < LARGEST_BODY
        if client is not None and sent:
            outcomes.append(ask(case, client, path))
    finally:
        os.chdir(here)
        shutil.rmtree(work)
    return outcomes


def ask(case: Case, client: Any, path: Path) -> Outcome:
    """The picture sent to the server."""
    begun, wrong, status, said = time.process_time(), [], -1, ""
    try:
        with limited():
            answer = client.post("/v1/segment", content=path.read_bytes())
        status, said = answer.status_code, answer.text[:200] if answer.status_code >= 400 else ""
        if status >= 500 or (status < 400 and not case.harmless and case.kind == "picture"):
            wrong.append(f"status {status}")
        if "Traceback" in said or str(path.parent) in said:
            wrong.append("an answer with a traceback or a path")
    except HangError as error:
        wrong.append(f"no answer within {error}")
    return Outcome(case, "POST /v1/segment", status, said, wrong, time.process_time() - begun)


__all__ = ["Outcome", "commands", "pair", "prepare", "run_case"]
