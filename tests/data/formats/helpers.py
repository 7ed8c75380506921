"""Small data sets that the tests of the formats make, and slow literal references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from refineseg.data import open_data, read_mask
from refineseg.data.formats import ImportOptions, ImportReport, ReadOptions, import_data
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8

HEIGHT, WIDTH = 6, 8


def picture(path: Path, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Path:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def mask_file(path: Path, mask: NDArray[Any]) -> Path:
    """A mask as PNG: numbers if HxW, colours if HxWx3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8)).save(path)
    return path


def write_json(path: Path, values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def brought_in(
    src: Path, root: Path, format: str | None = None, how: ImportOptions | None = None, **options: Any
) -> tuple[ImportReport, dict[str, UInt8]]:
    """Import, open the result as ``folder:``, and give its masks by name."""
    report = import_data(src, root, format, options=ReadOptions(**options), how=how)
    data = open_data(f"folder:{root}")
    samples = [sample for samples in data.splits.values() for sample in samples]
    assert len(samples) == report.pictures
    masks = {}
    for sample in samples:
        assert sample.mask is not None
        masks[sample.stem] = data.label_map.encode(read_mask(sample.mask))
    assert data.label_map.names == list(report.class_names)
    assert not [path for path in root.parent.iterdir() if path.name.startswith(".")]
    return report, masks


def fails(src: Path, root: Path, format: str, *words: str, **options: Any) -> str:
    """The import gives an InputError of one line with the words, and leaves nothing."""
    with pytest.raises(InputError) as caught:
        import_data(src, root, format, options=ReadOptions(**options))
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"
    assert not root.exists()
    assert not [path for path in root.parent.iterdir() if path.name.startswith(f".{root.name}")]
    return text


def labels_map(*names: str) -> LabelMap:
    return LabelMap.from_names(names)


def rows(*lines: str) -> UInt8:
    """A mask drawn with digits; ``.`` is 0 and ``x`` is 255."""
    values = {".": 0, "x": 255} | {str(digit): digit for digit in range(10)}
    return np.array([[values[mark] for mark in line] for line in lines], np.uint8)


def pixels_inside(
    points: list[tuple[float, float]], height: int = HEIGHT, width: int = WIDTH
) -> NDArray[np.bool_]:
    """Slow literal reference: pixels whose centre is inside a polygon, by counting crossings to the right."""
    inside = np.zeros((height, width), np.bool_)
    for row in range(height):
        for column in range(width):
            x, y = column + 0.5, row + 0.5
            crossings = 0
            for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1], strict=True):
                if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
                    crossings += 1
            inside[row, column] = crossings % 2 == 1
    return inside
