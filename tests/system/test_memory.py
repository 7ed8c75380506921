"""Free memory of the machine; freed memory stays in the process, also where a thread frees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from refineseg.system.memory import free_addresses, free_memory
from tests.system.made import system_files

FAULTS = """
import resource, threading
import numpy as np
from refineseg.system.memory import keep_freed_memory
assert {keep}() is {kept}
def work():
    for _ in range(3):
        np.ones(48 << 20, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(48 << 20, np.uint8)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what it sets is glibc's")
def test_a_threads_large_blocks_are_reused() -> None:
    def faults(keep: str, kept: bool) -> int:
        code = FAULTS.format(keep=keep, kept=kept)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return int(done.stdout)

    if faults("(lambda: False)", False) < 500:
        pytest.skip("this system's allocator keeps large blocks by itself")
    assert faults("keep_freed_memory", True) < 50


def test_free_addresses_are_those_below_the_limit(tmp_path: Path) -> None:
    limits = "Limit             Soft Limit           Hard Limit Units\nMax address space {:20} unlimited  bytes\n"
    status = {"proc/self/status": "Name:\tpython\nVmPeak:\t 90 kB\nVmSize:\t 70 kB\n"}
    for name, limit, free in (("some", 100 * 1024, 30 * 1024), ("none", 10, 0), ("endless", "unlimited", None)):
        place = system_files(tmp_path / name, status | {"proc/self/limits": limits.format(limit)})
        assert free_addresses(place) == free
    assert free_addresses(tmp_path / "nowhere") is None


def test_free_memory_minds_control_groups(tmp_path: Path) -> None:
    meminfo = {"proc/meminfo": "MemTotal: 100 kB\nMemAvailable:     80 kB\n"}
    assert free_memory(tmp_path / "nowhere") is None
    assert free_memory(system_files(tmp_path / "plain", meminfo)) == 80 * 1024
    inner = "sys/fs/cgroup/a/b"
    two = meminfo | {
        "proc/self/cgroup": "0::/a/b\n",
        f"{inner}/memory.max": "max\n",
        f"{inner}/memory.current": "5\n",
        "sys/fs/cgroup/a/memory.max": "40000\n",  # the outer group's limit holds too
        "sys/fs/cgroup/a/memory.current": "30000\n",
        "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 7000\nactive_file 500\n",
    }
    assert free_memory(system_files(tmp_path / "two", two)) == 17500  # files that were read twice are active
    high = {"sys/fs/cgroup/a/memory.high": "35000\n"}  # beyond it the kernel slows the group down
    assert free_memory(system_files(tmp_path / "high", two | high)) == 12500
    one = meminfo | {
        "proc/self/cgroup": "7:memory:/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "50000\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "60000\n",
    }
    assert free_memory(system_files(tmp_path / "one", one)) == 0
    cached = {
        "sys/fs/cgroup/memory/memory.stat": "active_file 9\ntotal_inactive_file 4000\ntotal_active_file 8000\n"
    }
    assert free_memory(system_files(tmp_path / "cached", one | cached)) == 2000
