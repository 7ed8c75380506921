"""Prediction where there is no torch equals the torch predictor: tiles, scales, mirrored views, probabilities."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refineseg.deploy.report import ExportReport
from refineseg.inference.predictor import Segmenter
from refineseg.inference.tiles.receptive_field import probe_picture

ROOT = Path(__file__).parents[2]
# Everything that `pip install refineseg` brings but the runtime does not need.
ABSENT = ("torch", "torchvision", "timm", "safetensors", "yaml", "lightning_fabric", "matplotlib", "typer", "rich")
BLOCKER = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError("No module named " + name, name=name)
sys.meta_path.insert(0, Absent())
"""
VIEWS: dict[str, dict[str, Any]] = {
    "plain": {},
    "probabilities": {"probabilities": True},
    "views": {"scales": (0.75, 1.0, 1.25), "flip": True, "probabilities": True},
    "tiles": {"tile": 256, "probabilities": True},
    "tiled views": {"tile": 288, "scales": (0.5, 1.0), "flip": True},
    "auto": {"tile": "auto"},
}
PREDICT = """
import numpy as np
from refineseg.runtime import load
segmenter = load({model!r})
for name, options in {views!r}.items():
    result = segmenter.predict({picture!r}, **options)
    scores = np.zeros(0) if result.probabilities is None else result.probabilities
    np.savez({out!r} + "/" + name + ".npz", labels=result.labels, scores=scores)
assert "torch" not in sys.modules
"""


def run(code: str, absent: tuple[str, ...] = ABSENT, python: str = sys.executable) -> str:
    blocked = BLOCKER.format(absent=set(absent)) + code
    done = subprocess.run(
        [python, "-c", blocked], cwd=ROOT / "src", capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def compare(segmenter: Segmenter, picture: Path, folder: Path) -> None:
    """Every prediction in the folder with that of torch."""
    for name, options in VIEWS.items():
        wanted = segmenter.predict(picture, **options)
        with np.load(folder / f"{name}.npz") as found:
            same = found["labels"] == wanted.labels
            assert same.mean() >= 0.9999, f"{name}: {same.mean()}"
            if options.get("probabilities"):
                assert wanted.probabilities is not None
                # A label chooses the temperature, so at a tie that falls the other way all may differ.
                scores, expected = found["scores"][:, same], wanted.probabilities[:, same]
                np.testing.assert_allclose(scores, expected, atol=2e-3, err_msg=name)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "street.png"
    Image.fromarray(probe_picture(300, 420)).save(path)
    return path


def test_it_equals_the_torch_predictor(
    exported: tuple[Path, ExportReport], segmenter: Segmenter, picture: Path, tmp_path: Path
) -> None:
    run(PREDICT.format(model=str(exported[0]), views=VIEWS, picture=str(picture), out=str(tmp_path)))
    compare(segmenter, picture, tmp_path)
    classes = np.load(tmp_path / "plain.npz")["labels"]
    assert len(np.unique(classes)) >= 4  # labels that could differ


def test_the_command_line_predicts_without_torch(
    exported: tuple[Path, ExportReport], segmenter: Segmenter, picture: Path, tmp_path: Path
) -> None:
    absent = tuple(name for name in ABSENT if name not in ("typer", "rich"))
    words = ["predict", str(picture), "-o", str(tmp_path / "out"), "--model", str(exported[0])]
    words += ["--tile", "256", "--save", "mask,overlay,geojson,uncertainty"]
    run(f"from refineseg.cli.main import main\nassert main({words!r}) == 0", absent)
    labels = np.asarray(Image.open(tmp_path / "out/masks/street.png"))
    assert (labels == segmenter.predict(picture, tile=256).labels).mean() >= 0.9999
    folder = f"from refineseg.cli.main import main\nassert main({[*words[:5], 'camvid']!r}) == 2"
    run(folder.replace("/out'", "/other'"), absent)


@pytest.mark.slow
def test_an_environment_that_has_no_torch(
    exported: tuple[Path, ExportReport], segmenter: Segmenter, picture: Path, tmp_path: Path
) -> None:
    """The installation that docs/export.md gives, in an environment of its own."""
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    (packages,) = re.findall(r"^\$ pip install (numpy .*)$", page, re.MULTILINE)
    python = tmp_path / "venv" / "bin" / "python"
    pip = ["uv", "pip", "install", "-q", "--python", str(python)]
    for command in (
        ["uv", "venv", "-q", str(tmp_path / "venv"), "--python", sys.executable],
        [*pip, *packages.split()],
        [*pip, "--no-deps", str(ROOT)],
    ):
        try:
            subprocess.run(command, check=True, timeout=250, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no uv or no package index: {error}")
    listed = subprocess.run([*pip[:2], "list", *pip[4:]], capture_output=True, text=True, check=True).stdout
    assert "torch" not in listed
    code = PREDICT.format(model=str(exported[0]), views=VIEWS, picture=str(picture), out=str(tmp_path))
    done = subprocess.run(
        [python, "-c", "import sys\n" + code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    compare(segmenter, picture, tmp_path)
