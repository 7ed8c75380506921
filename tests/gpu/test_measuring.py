"""What benchmarks/gpu.py keeps if time runs out, and what it sends."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import gpu
from PIL import Image

import refineseg
from tests.data.made import make_camvid

TABLE = "step,mean_iou\n1,0.5\n"


def given(folder: Path, **more: Any) -> Namespace:
    return Namespace(study="speed", device="cpu", small=True, seconds=0.0, output=folder / "gpu.json", **more)


def test_rows_are_in_the_file_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second network ends everything, as a time limit does; the first fails for itself."""
    ends = iter([ValueError("too\nlarge"), {"images_per_second": 2.0}, KeyboardInterrupt()])

    def measured(*_: Any) -> Any:
        found = next(ends)
        if isinstance(found, BaseException):
            raise found
        return found

    monkeypatch.setattr(gpu, "measured", measured)
    monkeypatch.setattr(gpu, "peaks", lambda *_: {"matrix": 1.0})
    arguments = given(tmp_path)
    arguments.seconds = 60.0
    with pytest.raises(KeyboardInterrupt):
        gpu.speed(arguments)
    found = json.loads(arguments.output.read_text())
    assert [row["images_per_second"] for row in found["speed"]["rows"]] == [2.0]
    assert found["speed"]["left out"] == ["refinenet-lw-mbv2, inference: ValueError too large"]
    assert "versions" in found["machine"]


def test_arms_end_in_time_and_leave_their_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: Namespace, arm: str, run: Path) -> Any:
        write = f"import pathlib, time; p = pathlib.Path({str(run)!r}); p.mkdir(); "
        write += f"(p / 'metrics.csv').write_text({TABLE!r}); time.sleep({0 if arm == 'two' else 600})"
        return subprocess.Popen([sys.executable, "-c", write])

    monkeypatch.setattr(gpu, "start_arm", start)
    monkeypatch.setattr(gpu, "SPARE", 5.0)
    arguments = given(tmp_path, data="")
    assert gpu.arms(arguments) == {arm: TABLE.splitlines() for arm in gpu.ARMS}
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.json"]  # no checkpoints beside it


def test_a_packed_camvid_is_read_as_before(tmp_path: Path) -> None:
    data = make_camvid(tmp_path, train=2, val=1)
    gpu.pack(data, tmp_path / "packed")
    before, after = (refineseg.open_data(f"camvid:{root}") for root in (data, tmp_path / "packed"))
    for split in ("train", "val"):
        for one, other in zip(before.split(split), after.split(split), strict=True):
            assert np.array_equal(before.read(one)[1], after.read(other)[1])
            assert Image.open(other.image).format == "JPEG"
            assert after.read(other)[0].shape == before.read(one)[0].shape
