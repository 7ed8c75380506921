"""Legends draw every letter: a missing glyph is a box, the same for every letter that a font lacks."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from refineseg.inference import fonts
from refineseg.inference.fonts import font_for


def drawn(font: Any, text: str) -> bytes:
    image = Image.new("L", (80, 60), 255)
    ImageDraw.Draw(image).text((10, 10), text, font=font, fill=0)
    assert np.asarray(image).min() < 128
    return image.tobytes()


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib, which brings DejaVu, is not installed")
@pytest.mark.parametrize("text", ["Straße", "école", "δρόμος", "дорога", "Łódź"])
def test_letters_are_no_boxes(text: str) -> None:
    font = font_for(text, 24)
    box = drawn(font, "\U0010ffff")  # no font has it
    letters = {letter: drawn(font, letter) for letter in text}
    assert box not in letters.values()
    assert len(set(letters.values())) == len(letters)


def test_cjk_by_a_system_font() -> None:
    if not fonts._system_fonts():
        pytest.skip("no CJK font in the system")
    font = font_for("道路", 24)
    assert len({drawn(font, text) for text in ("道", "路", "\U0010ffff")}) == 3


def test_pillows_own_font_is_the_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_dejavu", lambda: ())
    assert drawn(font_for("road", 24), "road")
