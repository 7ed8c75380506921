"""Names as text, wherever they are shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from refineseg.system.text import counted, csv_path, escaped, file_name, for_markdown


def test_visible() -> None:
    assert escaped("road, über 街道 [bold]") == "road, über 街道 [bold]"
    assert escaped("a\x1b[31mb\nc\x9b\u202ed\udcff") == r"a\x1b[31mb\nc\x9b\u202ed\udcff"


def test_counted_nouns() -> None:
    assert [counted(count, "mask") for count in (0, 1, 2, 2000)] == ["0 masks", "1 mask", "2 masks", "2,000 masks"]
    assert [counted(names, "class") for names in (["a"], ["a", "b"])] == ["1 class", "2 classes"]
    assert [counted(count, "entry", "entries") for count in (1, 3)] == ["1 entry", "3 entries"]
    assert counted(np.int64(1), "pixel") == "1 pixel"


def test_markdown() -> None:
    assert for_markdown("no_data 2") == "no_data 2"
    assert for_markdown("a|b<i>[x](y)`\n") == r"a\|b\<i\>\[x\](y)\`\\n"


def test_file_name() -> None:
    assert file_name("street model-2.1") == "street model-2.1"
    assert file_name("../../etc/passwd") == "_.._etc_passwd"
    assert file_name("/") == "_"
    assert file_name("..") == "unnamed"
    assert file_name("a\n\0b" + "x" * 300) == "a__b" + "x" * 96


def test_paths_in_tables_are_no_formulas() -> None:
    assert csv_path(Path("photos/=1.jpg")) == "photos/=1.jpg"
    for name in ("=cmd.jpg", "+1.jpg", "-1.jpg", "@sum.jpg"):
        assert csv_path(Path(name)) == f"./{name}"
        assert Path(csv_path(Path(name))) == Path(name)  # still the same file
