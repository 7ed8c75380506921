"""One run at a time into an output, whatever became of the one before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from refineseg.errors import InputError
from refineseg.system.files import atomic_folder, atomic_path
from refineseg.system.lock import LOCK, check_unused, locked

HOLDER = """
import os, sys, time
from pathlib import Path
from refineseg.system.files import atomic_folder, atomic_path
from refineseg.system.lock import locked
output, beside = Path(sys.argv[1]), sys.argv[2] == "beside"
with locked(output, beside):
    if sys.argv[3] == "fork" and os.fork() == 0:
        time.sleep(60)
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


def holder(output: Path, beside: bool, fork: bool = False) -> subprocess.Popen[str]:
    """Another process that holds an output."""
    words = [str(output), "beside" if beside else "inside", "fork" if fork else "alone"]
    started = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *words], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert started.stdout is not None
    assert started.stdout.readline().strip()
    return started


@pytest.mark.parametrize("beside", [False, True])
def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path, beside: bool) -> None:
    output = tmp_path / "a" / "out"
    other = holder(output, beside)
    with pytest.raises(InputError, match=r"another run is writing to .*out: wait"), locked(output, beside):
        pass
    with locked(tmp_path / "a" / "out2", beside):  # another output is free
        pass
    other.kill()
    other.wait()
    with locked(output, beside):
        assert any(path.name.startswith(LOCK) for path in (tmp_path / "a").rglob(".*"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_children_of_a_killed_process_do_not_hold_its_lock(tmp_path: Path) -> None:
    """As loading processes, which end a moment later."""
    other = holder(tmp_path / "out", beside=False, fork=True)
    other.kill()
    other.wait()
    with locked(tmp_path / "out"):
        pass
    os.killpg(other.pid, signal.SIGKILL)


def test_folders_made_for_the_lock_go_if_nothing_came_into_them(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b"):
        check_unused(tmp_path / "a" / "b", resume=False)  # the lock alone does not count
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "result").touch()
        check_unused(tmp_path / "a" / "b", resume=True)
        with pytest.raises(InputError, match="holds files; use --resume"):
            check_unused(tmp_path / "a" / "b", resume=False)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["result"]


def test_what_a_kill_left_unfinished_goes_and_a_replaced_folder_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("whole.png", "x" * 250 + ".png"):
        with atomic_path(out / "masks" / name) as path:
            path.write_text("half")
            (out / "masks" / f"copy-of-{name[:20]}").hardlink_to(path)
            left = path.with_name(path.name[:-1] + "_")  # as if another process had been killed here
            left.hardlink_to(path)
    with atomic_folder(out / "best") as new:
        (new / "weights").write_text("good")
    killed = out / ".writing-abcdefgh-best"
    (killed / "new").mkdir(parents=True)
    (out / "best").rename(killed / "old")
    with locked(out):
        assert not list(out.rglob(".writing-*"))
        assert (out / "best" / "weights").read_text() == "good"
    assert len(list((out / "masks").iterdir())) == 4


def test_beside_only_ones_own_leftovers_go(tmp_path: Path) -> None:
    for name in (
        ".writing-abcdefgh-a",
        ".writing-abcdefgh-a-b",
        ".writing-abcdefgh-ba",
        ".writing-abcdefgh-a.onnx",
    ):
        (tmp_path / name).mkdir()
    with locked(tmp_path / "a", beside=True):
        left = sorted(path.name.rpartition("h-")[2] for path in tmp_path.glob(".writing-*"))
    assert left == ["a-b", "a.onnx", "ba"]


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="got the file"), locked(tmp_path / "out"):
        pass
    assert (tmp_path / "out").read_text() == "x"
