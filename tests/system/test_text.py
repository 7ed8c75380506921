"""Names as text, wherever they are shown."""

from __future__ import annotations

from refineseg.system.text import file_name, markdown, visible


def test_visible() -> None:
    assert visible("road, über 街道 [bold]") == "road, über 街道 [bold]"
    assert visible("a\x1b[31mb\nc\x9b\u202ed\udcff") == r"a\x1b[31mb\nc\x9b\u202ed\udcff"


def test_markdown() -> None:
    assert markdown("no_data 2") == "no_data 2"
    assert markdown("a|b<i>[x](y)`\n") == r"a\|b\<i\>\[x\](y)\`\\n"


def test_file_name() -> None:
    assert file_name("street model-2.1") == "street model-2.1"
    assert file_name("../../etc/passwd") == "_.._etc_passwd"
    assert file_name("/") == "_"
    assert file_name("..") == "unnamed"
    assert file_name("a\n\0b" + "x" * 300) == "a__b" + "x" * 96
