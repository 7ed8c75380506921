"""Freed memory stays in the process, also where a thread frees it."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
