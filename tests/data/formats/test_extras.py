"""Optional packages: without one, the error names the extra to install; the other formats go on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from refineseg.data.formats import import_data
from refineseg.errors import MissingExtraError
from tests.data.formats import test_palette
from tests.data.formats.test_registry import MADE


@pytest.mark.parametrize(
    ("format", "package"),
    [
        ("coco", "pycocotools"),
        ("labelme", "skimage"),
        ("cvat", "skimage"),
        ("labelstudio", "skimage"),
        ("tiff", "tifffile"),
        ("huggingface", "pyarrow"),
    ],
)
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, package: str
) -> None:
    src = MADE[format](tmp_path / "src")
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'refineseg\[data\]'"):
        import_data(src, tmp_path / "out", format)
    assert not (tmp_path / "out").exists()
    import_data(test_palette.made(tmp_path / "plain"), tmp_path / "out")
