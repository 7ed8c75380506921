"""train --drop-bad, and the notes that train and evaluate print of what a data set skips."""

from __future__ import annotations

from pathlib import Path

import pytest

from refineseg.cli.main import main
from tests.data.made import make_folder

SMALL = "--steps 1 --batch-size 1 --crop 64 --workers 0"


def test_bad_pairs_are_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path, pictures=6)
    (root / "train.txt").write_text("p0\np1\np2\n")
    (root / "val.txt").write_text("p3\n")
    (root / "masks" / "p0.png").write_bytes(b"no mask")
    command = ["train", "--data", f"folder:{root}", "-o", str(tmp_path / "run"), *SMALL.split()]
    command += ["--model", "refinenet-lw-mbv2", "--backbone-weights", "none"]
    assert main(command) == 2
    assert "p0.png" in capsys.readouterr().err
    assert main([*command, "--drop-bad"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "note: left out 1 of 4 pairs that cannot be used" in told
    assert "note: skipped 2 pictures in no split's list" in told
    assert main(["train", "--resume", "-o", str(tmp_path / "run")]) == 0, "the run knows what it leaves out"
    told = " ".join(capsys.readouterr().err.split())
    assert "note: left out 1 of 4 pairs" in told
    assert "started from: refinenet-lw-mbv2, random weights" in told
    assert "note: the run is complete, after 1 step: a larger --epochs, --steps or --minutes extends it" in told
    scoring = ["evaluate", "--model", str(tmp_path / "run" / "best"), "--data", f"folder:{root}", "--split", "val"]
    assert main(scoring) == 0
    assert "note: skipped 2 pictures in no split's list" in " ".join(capsys.readouterr().err.split())
