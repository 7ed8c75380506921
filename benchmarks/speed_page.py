"""Write the tables of docs/notebook/bench_tables.md from benchmarks/results/*.json (``refineseg bench --json``).

python benchmarks/speed_page.py
"""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
import re
from typing import Any

from refineseg.bench.comparison import COLUMNS, headline, rows

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks/results", ROOT / "docs/notebook/bench_tables.md"
MARK = "<!-- table: {name} -->"
END = "<!-- end -->"


def main() -> None:
    """Replace the text between each ``<!-- table: NAME -->`` and the ``<!-- end -->`` after it."""
    text = PAGE.read_text(encoding="utf-8")
    names = re.findall(MARK.format(name="(.+?)"), text)
    for name in names:
        file = RESULTS / f"{name}.json"
        if not file.is_file():
            raise SystemExit(f"expected {file}, make it with refineseg bench --json")
        report = json.loads(file.read_text(encoding="utf-8"))
        start = text.index(MARK.format(name=name)) + len(MARK.format(name=name))
        text = f"{text[:start]}\n`{report['command']}`\n\n{markdown_table(report)}{text[text.index(END, start) :]}"
    PAGE.write_text(text, encoding="utf-8")
    print(f"{len(names)} tables in {PAGE.relative_to(ROOT)}")


def markdown_table(report: Mapping[str, Any]) -> str:
    """The table of ``refineseg bench`` as Markdown, with its sentence."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row) + " |" for row in rows(report)]
    return headline(report) + ".\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
