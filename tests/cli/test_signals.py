"""Signals end a command like Ctrl-C: it cleans up, also where its terminal is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pty = pytest.importorskip("pty")  # no terminals of this kind on Windows

COMMAND = """
import sys, time
from pathlib import Path
from refineseg.cli import main
place = Path(sys.argv[1])
def work():
    try:
        (place / "begun").touch()
        time.sleep(60)
        return 0
    except KeyboardInterrupt:
        print("continue with ...", flush=True)
        (place / "cleaned").touch()
        return main._say("stopped", main.STOPPED)
main.main = work
main.run()
"""


def begun(place: Path, before: str = "", **streams: Any) -> subprocess.Popen[str]:
    """A command at work."""
    process = subprocess.Popen([sys.executable, "-c", before + COMMAND, str(place)], text=True, **streams)
    while not (place / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    return process


def test_a_lost_terminal_ends_a_command_like_ctrl_c(tmp_path: Path) -> None:
    ours, its = pty.openpty()
    # Tests may run under nohup, whose ignored SIGHUP is inherited.
    listening = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    process = begun(tmp_path, listening, stdin=its, stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    os.close(ours)  # from now on writing is an error
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 128 + signal.SIGHUP
    assert (tmp_path / "cleaned").exists()


def test_under_nohup_a_command_goes_on(tmp_path: Path) -> None:
    process = begun(tmp_path, "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.kill()
    process.wait()


def test_sigterm_says_what_to_do_next(tmp_path: Path) -> None:
    process = begun(tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=20)
    assert (process.returncode, *said) == (128 + signal.SIGTERM, "continue with ...\n", "stopped\n")
