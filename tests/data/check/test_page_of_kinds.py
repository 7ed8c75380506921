"""docs/check.md and the code name the same findings."""

from __future__ import annotations

import re
from pathlib import Path

from tests.data.check.faults import FAULTS

ROOT = Path(__file__).parents[3]


def kinds_of_the_page() -> set[str]:
    """The names in the first column of the page's tables."""
    rows = re.findall(r"^\| (`[^|]*) \|", (ROOT / "docs/check.md").read_text(encoding="utf-8"), re.MULTILINE)
    return set(re.findall(r"`([a-z0-9-]+)`", " ".join(rows)))


def test_every_kind_of_the_page_is_one_of_the_code() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "src/refineseg/data/check").rglob("*.py")
    )
    assert [kind for kind in sorted(kinds_of_the_page()) if f'"{kind}"' not in source] == []


def test_every_fault_is_on_the_page() -> None:
    assert {item.kind for item in FAULTS} - kinds_of_the_page() == set()
    assert len({item.kind for item in FAULTS}) >= 20
