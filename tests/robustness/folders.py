"""Folders of data with links in circles, pipes, sockets, holes and names that few programs expect."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.robustness.case import Case, bind, good_data, hole

Change = Callable[[Path], object]
NAMES = {
    "a line break": b"a\nb",
    "an escape sequence": b"a\x1b[2J\x1b]0;owned\x07",
    "no UTF-8": b"\xff\xfe",
    "a dash in front": b"-rf",
    "spaces alone": b"   ",
    "markup": b"<img src=x onerror=alert(1)>[bold]",
    "a formula": b"=cmd|' 'A0",
    "250 bytes": b"x" * 246,
    "a percent sign and braces": b"%s{0}{x!r}%n",
    "its suffix twice": b"p7.png",
}
NEEDED = ("masks/p0.png", "labels.yaml", "train.txt")  # others are left out with a note
HARMLESS = ("is empty", "has one name a thousand times")  # of lists


def folders() -> Iterator[Case]:
    """Each may be refused in one line, or used without what cannot be."""
    for place in ("images/loop", "masks/loop", "images/p0/loop", "loop"):
        yield case(f"{place} is a link to the folder", link(place, "."))
    for place in ("images", "images/sub"):
        yield case(f"{place} has a link to what is above", link(f"{place}/up", ".."))
    yield case("300 folders in each other", deep)
    for kind, make in (("pipe", os.mkfifo), ("socket", bind)):
        for place in ("images/p7.png", "masks/p0.png", "masks/p7.png", "labels.yaml", "train.txt", "notes.txt"):
            yield case(f"{place} is a {kind}", put(place, make), place not in NEEDED)
    for place in ("labels.yaml", "train.txt", "masks/p0.png"):
        yield case(f"{place} is endless", link(place, "/dev/zero"), False)
        yield case(f"{place} has a terabyte", put(place, hole), False)
    lists = {
        "leads out": b"../../../../../etc/passwd\n",
        "has zero bytes": b"p0\0\n",
        "has a line of 5 MB": b"x" * 5_000_000,
        "has 100,000 lines": b"".join(b"q%d\n" % number for number in range(100_000)),
        "is no UTF-8": b"\xff\n",
        "is empty": b"",
        "has one name a thousand times": b"p0\n" * 1000,
    }
    for name, content in lists.items():
        yield case(
            f"train.txt {name}",
            text("train.txt", content),
            harmless=name in ("is empty", "has one name a thousand times"),
        )
    for name, stem in NAMES.items():
        yield case(f"a picture whose name has {name}", rename(stem))


def case(name: str, change: Change, harmless: bool = True) -> Case:
    """Good data with one change."""

    def make(folder: Path) -> Path:
        root = good_data(folder / "data")
        change(root)
        return root

    return Case("folder", name, make, harmless)


def put(place: str, make: Change) -> Change:
    """Something in place of what is there."""

    def change(root: Path) -> None:
        (root / place).unlink(missing_ok=True)
        (root / place).parent.mkdir(exist_ok=True)
        make(root / place)

    return change


def text(place: str, content: bytes) -> Change:
    """A file of this content."""
    return put(place, lambda path: path.write_bytes(content))


def link(place: str, target: str) -> Change:
    """A link."""
    return put(place, lambda path: path.symlink_to(target))


def rename(stem: bytes) -> Change:
    """The first pair gets another name; the list of the split is left out, since it has one line for a name."""

    def change(root: Path) -> None:
        for kind in ("images", "masks"):
            (root / kind / "p0.png").rename(root / kind / os.fsdecode(stem + b".png"))
        for split in ("train", "val"):
            (root / f"{split}.txt").unlink()

    return change


def deep(root: Path) -> None:
    """Folders in each other, with a path longer than the system takes, and a picture in the last."""
    here = Path.cwd()
    os.chdir(root / "images")
    try:
        for _ in range(300):
            Path("d" * 20).mkdir()
            os.chdir("d" * 20)
        shutil.copyfile(root / "images" / "p0.png", "deep.png")
    finally:
        os.chdir(here)
