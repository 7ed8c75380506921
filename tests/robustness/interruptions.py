"""Commands ended by SIGTERM or SIGKILL at random moments, and run again: nothing half-written, nothing left."""

from __future__ import annotations

import io
import os
import random
import signal
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.kill_resume import PRELOADED, SERVER, kill

from refineseg.cli.main import main, run
from tests.robustness.case import Case, good_data, good_model, written
from tests.robustness.runner import SHORT, TRAIN, Outcome, left_behind, silent

PICTURES = 12
SECONDS = 600  # on a machine with much other work
Limit = Callable[[int], None]
# What the table of all kinds imports, which every child would otherwise import again.
SERVER.set_forkserver_preload([*PRELOADED, "tests.robustness.corpus", "tests.serving.made"])
ENDS = {signal.SIGTERM: 143, signal.SIGKILL: -9}  # exit codes


def commands(place: Path, out: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Command lines by name, each with the options that let it go on."""
    data, model = good_things(place)
    images, to = str(data / "images"), ["-o", str(out)]
    predict = ["predict", images, *to, "-m", str(model)]
    return {
        "predict": (predict, ["--overwrite"]),
        "predict --tile": ([*predict, "--tile", "32"], ["--overwrite"]),
        "data import": (["data", "import", str(place / "coco"), *to, "--images", images], []),
        "data export": (
            [
                "data",
                "export",
                str(data / "masks"),
                *to,
                "--format",
                "coco",
                "--model",
                str(model),
                "--images",
                images,
            ],
            [],
        ),
        "data prepare": (["data", "prepare", "voc2012", str(place / "voc.tar"), *to], []),
        "train": (["train", "--data", f"folder:{data}", *TRAIN, *SHORT, "--steps", "3", *to], ["--resume"]),
        "export": (["export", "-m", str(model), "-o", str(out / "m.onnx")], ["--overwrite"]),
    }


def good_things(place: Path) -> tuple[Path, Path]:
    """Data and a model; annotations and an archive beside them, made once."""
    data, model = place / "interrupted", good_model(place)
    if not data.exists():
        good_data(data, PICTURES)
        words = ["--format", "coco", "--model", str(model), "--images", str(data / "images")]
        with silent() as said:
            code = main(["data", "export", str(data / "masks"), "-o", str(place / "coco"), *words])
        if code:
            raise RuntimeError(said.getvalue())
        with tarfile.open(place / "voc.tar", "w") as archive:
            for index in range(40):
                content = os.urandom(200_000)
                for member in (f"JPEGImages/p{index}.jpg", f"SegmentationClass/p{index}.png"):
                    info = tarfile.TarInfo(f"VOCdevkit/VOC2012/{member}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
            for name in ("train", "val"):
                text = b"p0\n"
                info = tarfile.TarInfo(f"VOCdevkit/VOC2012/ImageSets/Segmentation/{name}.txt")
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text))
    return data, model


def interruptions(place: Path, draw: random.Random, times: int = 2, only: str = "") -> Iterator[Outcome]:
    """Each command ended ``times`` times by each signal at random moments of its run."""
    finish(start(["--version"], place / "said"), place / "said")  # the server of processes is there now
    for name in commands(place, place):
        if not name.startswith(only):
            continue
        whole = place / "whole" / name.replace(" ", "-")
        begun = time.monotonic()
        code, said = finish(start(commands(place, whole)[name][0], place / "said"), place / "said")
        seconds = time.monotonic() - begun
        if "Traceback" in said or code not in (0, 2):
            raise RuntimeError(f"expected {name} to end well by itself, got {code}: {said}")
        for number in range(times):
            for by in ENDS:
                out = place / "broken" / f"{name.replace(' ', '-')}-{number}-{by}"
                yield interrupted(name, by, draw.random() * seconds, (place, whole, out))


def interrupted(name: str, by: signal.Signals, moment: float, places: tuple[Path, Path, Path]) -> Outcome:
    """One command ended after so many seconds, then run again; places: shared, of the whole run, of this one."""
    place, whole, out = places
    command, again = commands(place, out)[name]
    case = Case("interrupted", f"{name} {by.name} after {moment:.2f} s", written("none", ""))
    child = start(command, place / "said")
    child.join(moment)
    if child.exitcode is None and by == signal.SIGTERM:
        os.kill(child.pid, by)
    elif child.exitcode is None:
        kill(child.pid)
    code, said = finish(child, place / "said")
    unborn = code == -signal.SIGTERM and not said  # it came before the program
    wrong = [] if code in (0, 2, ENDS[by]) or unborn else [f"ended with {code}"]
    wrong += ["no word of its end"] * (code == ENDS[signal.SIGTERM] and not said.strip().endswith("stopped"))
    if by == signal.SIGTERM:
        wrong += [f"left {path.name}" for path in hidden(out) if not goes_on(path)]
    wrong += [text for text in left_behind(out, copies=True) if "half" in text] + ["a traceback"] * (
        "Traceback" in said
    )
    second, told = finish(start(command, place / "said"), place / "said")
    if second and again and any(word in told for word in again):  # it says how to go on
        second, told = finish(start([*command, *again], place / "said"), place / "said")
    elif again and ("holds files" in told or "is not empty" in told):
        wrong.append("the second run does not say how to go on")
    wrong += [f"left {path.name} for ever" for path in hidden(out)]
    files = [{path.relative_to(root) for path in root.rglob("*")} for root in (whole, out)]
    wrong += [f"only in one: {path}" for path in sorted(files[0] ^ files[1])]
    for path in files[0] & files[1]:
        if path.suffix == ".png" and path.name != "curves.png" and (whole / path).is_file():
            wrong += [f"{path} differs"] * ((whole / path).read_bytes() != (out / path).read_bytes())
    return Outcome(case, f"{name}, {by.name}", code, said[-200:] or told[-200:], wrong)


def hidden(out: Path) -> list[Path]:
    """Temporary files and locks in an output folder, and beside it."""
    return [*out.rglob(".*"), *(path for path in out.parent.glob(".*") if path.name.endswith(out.name))]


def goes_on(path: Path) -> bool:
    """Whether it is the state of a picture that the next run of ``predict --tile`` goes on with."""
    return path.name.endswith(".part") and (path / "state.json").is_file()


def second_runs(place: Path, only: str = "") -> Iterator[Outcome]:
    """Each command while another one of its kind writes to the same output."""
    finish(start(["--version"], place / "said"), place / "said")
    for name in commands(place, place):
        if not name.startswith(only):
            continue
        out = place / "twice" / name.replace(" ", "-")
        command = commands(place, out)[name][0]
        first = start(command, place / "first")
        while first.exitcode is None and f" {first.pid} " not in Path("/proc/locks").read_text():
            time.sleep(0.001)
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGSTOP)  # while it holds the output
        code, said = finish(start(command, place / "said"), place / "said")
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGCONT)
        ended, told = finish(first, place / "first")
        wrong = [] if code == 2 else [f"the second run ended with {code}"]
        wrong += ["no word of the other run"] * ("another run is writing to" not in said)
        wrong += ["a traceback"] * ("Traceback" in said + told)
        well = ended == 0 or "published numbers" in told  # the archive is made up
        wrong += [f"the first run ended with {ended}: {told[-200:]}"] * (not well)
        wrong += [f"left {path.name}" for path in hidden(out)] + left_behind(out, copies=True)
        case = Case("twice", name, written("none", ""))
        yield Outcome(case, f"{name}, twice", code, said[-300:], wrong)


def start(arguments: list[str], said: Path, limit: tuple[Limit, int] | None = None) -> Any:
    """A process that runs the command line, with what it prints in a file; ``limit`` is called first."""
    said.unlink(missing_ok=True)
    child = SERVER.Process(target=_run, args=(arguments, str(said), limit))
    child.start()
    return child


def finish(child: Any, said: Path) -> tuple[int, str]:
    """Exit code and what was printed."""
    child.join(SECONDS)
    if child.exitcode is None:
        kill(child.pid)
        child.join()
        return -1, f"no end within {SECONDS} s"
    return child.exitcode, said.read_text() if said.exists() else ""


def _run(arguments: list[str], said: str, limit: tuple[Limit, int] | None) -> None:
    os.setsid()  # with its workers it can be killed as one
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.argv = ["refineseg", *arguments]
    if limit is not None:
        limit[0](limit[1])
    run()
