"""Commands without enough memory or disk, or on a read-only one: one line, nothing half-written, nothing left."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from tests.robustness.case import Case, good_model, written
from tests.robustness.interruptions import Limit, commands, finish, goes_on, hidden, start
from tests.robustness.runner import Outcome, left_behind

MEMORY = (4, 16, 64, 256)  # MiB of address space beyond that of the process with its imports
EXPORT_MEMORY = 512  # of export as well, which begins only with 384
FILES = (1_000, 3_000, 100_000)  # bytes, the size limit of a file; what is said must fit
DISK = (0, 40, 400)  # KiB free


LARGE = {"predict LARGE": [], "predict LARGE --tile": ["--tile", "512"]}  # 12 million pixels
FORMATS = (".xml", ".pt2")  # of export, beside .onnx


def lines(place: Path, out: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Command lines by name, each with the options that let it go on: of interruptions, LARGE, FORMATS."""
    picture = place / "large.png"
    if not picture.exists():
        Image.new("RGB", (4000, 3000)).save(picture)
    predict = ["predict", str(picture), "-o", str(out), "-m", str(good_model(place)), "--save", "mask"]
    found = commands(place, out) | {name: ([*predict, *more], ["--overwrite"]) for name, more in LARGE.items()}
    for suffix in FORMATS:
        command = ["export", "-m", str(good_model(place)), "-o", str(out / f"m{suffix}")]
        found[f"export {suffix}"] = command, ["--overwrite"]
    return found


def limit_memory(mebibytes: int) -> None:
    """Limit the address space of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bound = pages * resource.getpagesize() + (mebibytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def limit_files(size: int) -> None:
    """Limit the size of each file: writing fails beyond it, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextmanager
def small_disk(place: Path) -> Iterator[Path | None]:
    """Mount a file system of 32 MB there; None where that is not allowed."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)]
    mounted = shutil.which("mount") and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield place if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)
        place.rmdir()


def remount(disk: Path, mode: str) -> None:
    """Make a mounted file system read-only (``ro``) or writable (``rw``)."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


def shortages(place: Path, only: str = "") -> Iterator[Outcome]:
    """Each command with each shortage, then again without."""
    finish(start(["--version"], place / "said"), place / "said")
    for name in lines(place, place):
        if not name.startswith(only):
            continue
        words = name.replace(" ", "-")
        for amount in (*MEMORY, *[EXPORT_MEMORY] * name.startswith("export")):
            out = place / "short" / f"{words}-{amount}-MiB"
            yield short(name, f"{amount} MiB of memory", (limit_memory, amount), (place, out))
        for size in FILES:
            out = place / "short" / f"{words}-{size}-bytes"
            yield short(name, f"files of {size} bytes", (limit_files, size), (place, out))
        with small_disk(place / "disk") as disk:
            if disk is not None:
                yield from on_small_disk(name, place, disk)


def on_small_disk(name: str, place: Path, disk: Path) -> Iterator[Outcome]:
    """One command on a disk that is nearly full, and on a read-only one."""
    for room in DISK:
        free, ballast, out = os.statvfs(disk), disk / "ballast", disk / f"out-{room}"
        ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - (room << 10)))
        yield short(name, f"{room} KiB of disk", None, (place, out), ballast.unlink)
        shutil.rmtree(out)
    remount(disk, "ro")
    yield short(name, "a read-only disk", None, (place, disk / "out"), lambda: remount(disk, "rw"))


def short(
    name: str,
    what: str,
    limit: tuple[Limit, int] | None,
    places: tuple[Path, Path],
    relieve: Callable[[], object] = lambda: None,
) -> Outcome:
    """One command with a shortage, then again without; places: shared, of this output."""
    place, out = places
    command, again = lines(place, out)[name]
    case = Case("shortage", f"{name} with {what}", written("none", ""))
    code, said = finish(start(command, place / "said", limit), place / "said")
    errors = [line for line in said.splitlines() if line.startswith(("error:", "failed:"))]
    wrong = [] if code in (0, 2) else [f"ended with {code}"]
    wrong += [f"{len(errors)} lines of error"] * (code == 2 and len(errors) != 1)
    wrong += ["a traceback"] * ("Traceback" in said)
    wrong += [text for text in left_behind(out, copies=True) if "half" in text]
    wrong += [f"left {path.name}" for path in hidden(out) if not goes_on(path)]
    relieve()
    if code:
        second, told = finish(start(command, place / "said"), place / "said")
        if second and any(word in told for word in again):  # it says how to go on
            second, told = finish(start([*command, *again], place / "said"), place / "said")
        well = second == 0 or "published numbers" in told  # the archive is made up
        wrong += [f"the second run ended with {second}: {told[-200:]}"] * (not well)
        wrong += [f"left {path.name} for ever" for path in hidden(out)]
    return Outcome(case, f"{name}, little {what.split()[-1]}", code, said[-300:], wrong)
