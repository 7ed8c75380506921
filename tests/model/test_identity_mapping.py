"""Gradient at the backbone's first stage: the long-range connections keep it up in a deep cascade."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean

import pytest
import torch
from benchmarks.identity_mapping import BLOCKS, Measurement, draw, measure, summarise

torch.set_num_threads(1)

SEEDS = (10,)  # others than the figure's


def norms(backbone: str, long_range: bool) -> dict[int, float]:
    """Mean over the seeds, by the number of blocks."""
    return {n: mean(measure(backbone, "paper", long_range, n, s, 64).first_stage for s in SEEDS) for n in (1, 4)}


@pytest.mark.parametrize("backbone", ["resnet18", "plain"])
def test_with_the_connections_depth_costs_little_and_without_much(backbone: str) -> None:
    connected, blanked = norms(backbone, True), norms(backbone, False)
    assert connected[4] > 0.3 * connected[1]
    assert blanked[4] < 0.1 * blanked[1]
    assert connected[4] > 10 * blanked[4]


def test_the_figure_is_drawn_from_the_runs(tmp_path: Path) -> None:
    arms = [(b, i, r, n, s) for b in ("resnet18", "plain") for i in ("default", "paper") for r in (True, False)
            for n in BLOCKS for s in (0, 1)]  # fmt: skip
    rows = summarise([Measurement(*arm, first_stage=arm[4] + 1.0, classifier=2.0) for arm in arms])
    assert len(rows) == 24
    assert rows[0]["first_stage"] == 1.5
    assert rows[0]["spread"] == pytest.approx(0.5**0.5)
    assert rows[0]["relative_to_classifier"] == 0.75
    draw(rows, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_the_page_states_what_the_runs_say() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    text = (docs / "notebook" / "claims.md").read_text(encoding="utf-8")
    rows = json.loads((docs / "figures" / "identity_mapping.json").read_text(encoding="utf-8"))["summary"]
    found = {(r["backbone"], r["init"], r["long_range"], r["blocks"]): r["first_stage"] for r in rows}
    for backbone, init, long_range, blocks in (
        ("resnet18", "default", True, 1),
        ("resnet18", "default", True, 4),
        ("resnet18", "paper", True, 1),
        ("resnet18", "paper", True, 4),
        ("resnet18", "default", False, 1),
        ("resnet18", "default", False, 4),
        ("resnet18", "paper", False, 1),
        ("resnet18", "paper", False, 4),
        ("plain", "default", True, 4),
        ("plain", "default", False, 4),
    ):
        written = f"{found[backbone, init, long_range, blocks]:.1e}".replace("e-0", "e-")
        assert written in text
