"""For the docs site: the comment beside a field of a class is its description, as a docstring would be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from griffe import Attribute, Docstring, Extension

BESIDE = re.compile(r" {2}# (.+)$")
ABOVE = re.compile(r"^ +# (.+)$")


def comment(lines: list[str], first: int, last: int) -> str:
    """The comment at the end of a field's last line (0-based), or right above its first; else empty."""
    if beside := BESIDE.search(lines[last]):
        return beside[1]
    above: list[str] = []
    while first and (found := ABOVE.match(lines[first - 1])):
        above.insert(0, found[1])
        first -= 1
    return " ".join(above)


class FieldComments(Extension):
    """Griffe calls it for each attribute that it reads."""

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        """Describe a field that has no docstring."""
        if attr.docstring or attr.parent is None or not attr.parent.is_class or attr.lineno is None:
            return
        lines = Path(str(attr.filepath)).read_text(encoding="utf-8").splitlines()
        if text := comment(lines, attr.lineno - 1, (attr.endlineno or attr.lineno) - 1):
            attr.docstring = Docstring(text, parent=attr)
