"""docs/benchmarks.md says what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from refineseg.data.registry import benchmark_names, find_benchmark

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


@pytest.mark.parametrize("name", benchmark_names())
def test_classes_and_counts_of_the_page(name: str) -> None:
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` | "))
    _, _, classes, pairs, *_ = (cell.strip() for cell in row.split("|"))
    assert int(classes) == find_benchmark(name).label_map().num_classes
    for counts in find_benchmark(name).pairs.values():
        assert all(f"{count:,}" in pairs for count in counts)


def test_every_benchmark_is_in_every_table() -> None:
    lines = PAGE.read_text().splitlines()
    for name in benchmark_names():
        assert sum(line.startswith(f"| `{name}` |") for line in lines) == 3
