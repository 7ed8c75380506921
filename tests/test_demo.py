"""The demo: pictures in, a page out that needs nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image
from scripts.demo import PHOTOGRAPHS

from refineseg.model.folders.find_model import bundled_models
from tests.data.made import made_pair

SCRIPT = Path(__file__).parents[1] / "scripts" / "demo.py"


def test_own_pictures_and_a_broken_one(tmp_path: Path) -> None:
    Image.fromarray(made_pair(0, 11, (60, 80))[0]).save(tmp_path / "street.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    words = [sys.executable, str(SCRIPT), "-o", "out", "street.png", "broken.jpg"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "broken.jpg" in done.stderr
    assert "Traceback" not in done.stderr
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("data:image/jpeg") == 2 * len(bundled_models())  # every model, picture and overlay
    assert "street.png" in page
    assert "http" not in page
    for model in bundled_models():
        assert (tmp_path / "out" / model / "masks" / "street.png").is_file()


def test_each_photograph_suits_a_bundled_model() -> None:
    """Of the two that know streets the slower, better one."""
    assert {photograph.model for photograph in PHOTOGRAPHS} == set(bundled_models()) - {"camvid-fast"}
