"""Control groups of Linux, which limit containers: folders with the limits, and the processor's share.

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst, cgroup-v1 and scheduler/sched-bwc.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from pathlib import Path


def groups(controller: str, root: Path = Path("/")) -> Iterator[tuple[int, Path]]:
    """This process's groups with a controller, from inner to outer: version of control groups, and folder."""
    for line in lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            version, top = 2, root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            version, top = 1, root / "sys/fs/cgroup" / controller
        else:
            continue
        folder = top / path.strip("/")
        for place in (folder, *folder.parents):
            if place == top or top in place.parents:
                yield version, place


def cpu_limit(root: Path = Path("/")) -> int | None:
    """Number of processors whose time this process's groups may take, rounded up; None without a limit."""
    found = []
    for version, folder in groups("cpu", root):
        if version == 2:
            words = " ".join(lines(folder / "cpu.max")).split()
        else:
            words = [*lines(folder / "cpu.cfs_quota_us"), *lines(folder / "cpu.cfs_period_us")]
        if len(words) == 2 and all(word.isdecimal() and int(word) > 0 for word in words):  # not "max" or -1
            found.append(ceil(int(words[0]) / int(words[1])))
    return min(found, default=None)


def lines(path: Path) -> list[str]:
    """Lines of a file; none if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
