"""Threads that wait give the processor up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from refineseg.system import control_groups, hardware, threads
from refineseg.system.threads import SPINS, limit_threads, wait_briefly
from tests.system.made import system_files


def test_what_the_user_has_said_stays() -> None:
    for own in ({"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "5"}):
        given = dict(own)
        wait_briefly(given)
        assert given == own
    given = {}
    wait_briefly(given)
    assert given == {"GOMP_SPINCOUNT": SPINS}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="GNU's OpenMP comes with torch's Linux wheels")
def test_it_is_in_force_when_torch_comes() -> None:
    """As OpenMP itself says, which prints its settings when it is loaded."""
    clean = {name: text for name, text in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [sys.executable, "-c", "import refineseg, torch"],
        capture_output=True,
        text=True,
        check=True,
        env=clean | {"OMP_DISPLAY_ENV": "verbose"},
    )
    if "GOMP" not in done.stderr:
        pytest.skip("this torch has another OpenMP")
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in done.stderr


def test_a_containers_share_of_the_processor_is_known(tmp_path: Path) -> None:
    assert control_groups.cpu_limit(tmp_path / "nowhere") is None
    two = {
        "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
        "sys/fs/cgroup/a/cpu.max": "250000 100000\n",  # the outer group's limit holds too
    }
    assert control_groups.cpu_limit(system_files(tmp_path / "two", two)) == 3
    one = {
        "proc/self/cgroup": "8:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",  # of a container, which sees its own group as the root
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    assert control_groups.cpu_limit(system_files(tmp_path / "one", one)) == 1
    free = one | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}
    assert control_groups.cpu_limit(system_files(tmp_path / "free", free)) is None


def test_a_container_has_as_many_threads_as_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, given, expected in (
        (2, {}, {"OMP_NUM_THREADS": "2"}),
        (2, {"OMP_NUM_THREADS": "8"}, {"OMP_NUM_THREADS": "8"}),
        (64, {}, {}),
        (None, {}, {}),
    ):
        monkeypatch.setattr(os, "cpu_count", lambda: 64)
        monkeypatch.setattr(threads, "cpu_limit", lambda limit=limit: limit)
        limit_threads(given)
        assert given == expected
    monkeypatch.setattr(hardware, "cpu_limit", lambda: 1)
    assert hardware.cores() == 1
