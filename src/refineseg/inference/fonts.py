"""The font of legends, chosen to have all letters of the class names."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import ImageFont

from refineseg.system.files import expanded

SYSTEM = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path("/Library/Fonts"),
          Path("/System/Library/Fonts"), Path("C:/Windows/Fonts"), expanded("~/.fonts"))  # fmt: skip
# Fonts with Chinese, Japanese and Korean letters, as systems name their files.
CJK = ("NotoSansCJK*", "NotoSerifCJK*", "SourceHanSans*", "wqy-*", "DroidSansFallback*", "ipag*", "unifont*",
       "PingFang*", "Hiragino*", "msyh*", "msgothic*", "malgun*")  # fmt: skip


def font_for(text: str, size: float) -> Any:
    """A system font for CJK; DejaVu Sans, which comes with matplotlib, for Latin, Greek, Cyrillic and more.

    Pillow's own font, which has Latin-1 alone, if neither is found.
    """
    wide = any(ord(letter) >= 0x2E80 for letter in text)  # CJK radicals and all beyond
    for path in (*(_system_fonts() if wide else ()), *_dejavu()):
        try:
            return ImageFont.truetype(path, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


@lru_cache(maxsize=1)
def _dejavu() -> tuple[Path, ...]:
    try:
        spec = find_spec("matplotlib")  # found, not imported: that takes half a second
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return ()
    path = Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
    return (path,) if path.is_file() else ()


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[Path, ...]:
    found = (path for folder in SYSTEM if folder.is_dir() for name in CJK for path in folder.rglob(name))
    return tuple(path for path in found if path.suffix.lower() in (".ttf", ".otf", ".ttc"))
