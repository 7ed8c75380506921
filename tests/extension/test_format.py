"""An annotation format of another distribution, registered by an entry point."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.data.formats import AnnotatedData, Format, Item, ReadOptions, detect, formats, import_data
from refineseg.labels import LabelMap, UInt8
from refineseg.system import plugins


def halves(shape: tuple[int, int]) -> UInt8:
    labels = np.zeros(shape, np.uint8)
    labels[shape[0] // 2 :] = 1
    return labels


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    items = [Item(path.stem, path, halves) for path in sorted(src.glob("*.png"))]
    return AnnotatedData(LabelMap.from_names(["sky", "ground"]), items)


HORIZON = Format("horizon", "halves", "a file horizon.txt", lambda src: (src / "horizon.txt").is_file(), read)


def test_a_format_from_outside_is_found_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("horizon", "tests.extension.test_format:HORIZON", "refineseg.formats")

    def entry_points(group: str, name: str | None = None) -> list[EntryPoint]:
        return [point] if group == "refineseg.formats" and name in (None, "horizon") else []

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/horizon.txt").write_text("")
    Image.new("RGB", (4, 6)).save(tmp_path / "src/a.png")
    assert "horizon" in formats()
    assert detect(tmp_path / "src").name == "horizon"
    report = import_data(tmp_path / "src", tmp_path / "out")
    assert (report.format, report.pictures, report.class_names) == ("horizon", 1, ("sky", "ground"))
    mask = np.asarray(Image.open(tmp_path / "out/masks/a.png"))
    assert mask.tolist() == [[0] * 4] * 3 + [[1] * 4] * 3
