"""An output kind of another distribution, found by its entry point, used by predict."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.errors import InputError
from refineseg.inference.outputs import find_kinds
from refineseg.inference.result import Result
from refineseg.labels import LabelMap

CODE = """
from refineseg.inference.outputs import OutputKind

class Counts(OutputKind):
    name, folder, suffix, media_type = "counts", "counts", ".txt", "text/plain"

    def write(self, result, stream, effort=6):
        stream.write(f"{(result.labels == 1).sum()} of {result.labels.size}".encode())
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "site" / "their_counts-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-counts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[refineseg.outputs]\ncounts = their_counts:Counts\nwrong = their_counts:OutputKind\n"
    )
    (info.parent / "their_counts.py").write_text(CODE)
    monkeypatch.syspath_prepend(info.parent)
    monkeypatch.delitem(sys.modules, "their_counts", raising=False)


def result() -> Result:
    labels = np.zeros((4, 5), np.uint8)
    labels[1] = 1
    return Result(labels, LabelMap.from_names(["a", "b"]), np.zeros((4, 5, 3), np.uint8), name="x")


@pytest.mark.usefixtures("installed")
def test_a_registered_kind_is_written_like_ours(tmp_path: Path) -> None:
    assert find_kinds(["mask"])[0].name == "mask"
    assert "their_counts" not in sys.modules  # imported when it is asked for by name, not before
    files = result().save(tmp_path / "out", ("mask", "counts"))
    assert files["counts"] == tmp_path / "out/counts/x.txt"
    assert files["counts"].read_text() == "5 of 20"
    with pytest.raises(InputError, match="rle, uncertainty, counts, wrong, got 'count'"):
        find_kinds(["count"])
    with pytest.raises(InputError, match="wrong"):
        find_kinds(["wrong"])
    with pytest.raises(InputError, match="counts needs a model of classes, got one of depth"):
        find_kinds(["counts"], "depth")


@pytest.mark.usefixtures("installed")
def test_predict_takes_it_and_refuses_it_by_windows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from refineseg.cli.main import main

    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "p.png")
    command = ["predict", str(tmp_path / "p.png"), "--device", "cpu", "--engine", "torch", "--save", "counts"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/counts/p.txt").read_text().endswith(" of 2400")
    assert main([*command, "-o", str(tmp_path / "tiles"), "--tile", "64"]) == 2
    assert "can be written by windows, got counts" in capsys.readouterr().err
