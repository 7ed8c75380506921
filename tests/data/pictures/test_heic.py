"""HEIC, the format of telephones: read everywhere where pillow-heif is installed, and named where it is not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.cli.main import main
from refineseg.data.images import read_image
from refineseg.data.pictures import pillow
from refineseg.data.pictures.open_picture import is_picture, read_picture
from refineseg.errors import InputError

HEADER = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(100)
ORIENTATION = 0x0112


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """A picture 48x32 as seen, red above and blue below, stored turned as a telephone does."""
    pytest.importorskip("pillow_heif")
    assert pillow.reads_heic()
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :, 0] = pixels[16:, :, 2] = 255
    stored = Image.fromarray(np.rot90(pixels).copy())
    exif = stored.getexif()
    exif[ORIENTATION] = 6  # turn by 90 degrees clockwise to see it
    (tmp_path / "pics").mkdir()
    stored.save(tmp_path / "pics/half.heic", "HEIF", quality=95, exif=exif.tobytes())
    return tmp_path / "pics/half.heic"


@pytest.fixture
def without_decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where pillow-heif is not installed: its import fails, and Pillow does not know the format."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    Image.init()  # before the list is exchanged: plugins add their names to it
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    pillow.reads_heic.cache_clear()
    yield
    pillow.reads_heic.cache_clear()


def annotate(image: Path) -> None:
    """A LabelMe file beside a picture: its upper half is sky."""
    shape = {"label": "sky", "shape_type": "rectangle", "points": [[0, 0], [48, 16]]}
    document = {"imagePath": image.name, "imageHeight": 32, "imageWidth": 48, "shapes": [shape]}
    image.with_suffix(".json").write_text(json.dumps(document))


def test_it_is_read_upright_under_any_name(half: Path) -> None:
    pixels = read_image(half)
    assert pixels.shape == (32, 48, 3)
    assert np.abs(pixels[:14].astype(int) - (255, 0, 0)).max() < 12
    assert np.abs(pixels[18:].astype(int) - (0, 0, 255)).max() < 12
    for name in ("sent.jpg", "bare"):
        renamed = half.with_name(name)
        renamed.write_bytes(half.read_bytes())
        assert np.array_equal(read_image(renamed), pixels)
        assert is_picture(renamed)
    assert np.array_equal(read_picture(half.read_bytes()).pixels, pixels)


def test_import_and_check(half: Path, tmp_path: Path) -> None:
    annotate(half)
    assert main(["data", "import", str(half.parent), "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/images/half.heic").read_bytes() == half.read_bytes()
    mask = np.asarray(Image.open(tmp_path / "out/masks/half.png"))
    assert (mask.shape, mask[:16].mean(), mask[16:].mean()) == ((32, 48), 1, 0)
    main(["check", f"folder:{tmp_path / 'out'}", "--json", str(tmp_path / "check.json")])
    found = json.loads((tmp_path / "check.json").read_text())["findings"]
    assert not [item for item in found if item["severity"] == "error"], found


@pytest.mark.usefixtures("without_decoder")
def test_without_the_decoder_one_line_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "pics/a.heic"
    image.parent.mkdir()
    image.write_bytes(HEADER)
    with pytest.raises(InputError, match=r"a\.heic is a HEIC picture.*pip install 'refineseg\[heif\]'"):
        read_image(image)
    annotate(image)
    assert main(["data", "import", str(image.parent), "-o", str(tmp_path / "out")]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "pip install 'refineseg[heif]'" in told
    assert "Traceback" not in told


@pytest.mark.usefixtures("without_decoder")
def test_damage_is_still_called_damage(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="is it damaged"):
        read_image(tmp_path / "a.heic")
