"""The Person-Part recipe is the paper's, and trains on the data in its official layout."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

from refineseg.cli.main import main
from refineseg.cli.train_settings import build_config
from refineseg.config import paper_recipe
from refineseg.model.presets import model_config
from tests.shared import shared

RECIPE = Path(__file__).resolve().parents[2] / "configs" / "recipes" / "person-part.yaml"
NOTHING_CHOSEN = {"epochs": None, "steps": None}


def test_it_is_the_papers_but_for_what_it_names() -> None:
    config, _ = build_config(RECIPE, "paper", NOTHING_CHOSEN, None, [])
    expected = dataclasses.replace(
        paper_recipe(), model="refinenet-r101", fields={"pooling": "improved"}, epochs=100, validate_every=10
    )
    assert config == expected
    network = model_config(config.model, 7, **config.fields)
    assert (network.backbone, network.pooling, network.kernel_size) == ("resnet101", "improved", 3)


def test_it_trains_and_is_scored_on_real_pairs(tmp_path: Path) -> None:
    """Two pairs as published, each once for training and once for validation; a small network stands in."""
    samples, root, run = shared("data", "samples", "person_part"), tmp_path / "data", tmp_path / "run"
    for folder in ("images", "masks"):
        shutil.copytree(samples / folder, root / folder)
    stems = sorted(path.stem for path in (root / "masks").iterdir())
    for split, stem in zip(("train", "val"), stems, strict=True):
        (root / f"{split}.txt").write_text(f"{stem}\n")
    small = ["--model", "refinenet-lw-mbv2", "--set", "model.width=16", "--set", "model.coarse_width=16"]
    words = ["train", "--recipe", "paper", "--config", str(RECIPE), "--data", f"person-part:{root}", *small]
    words += ["--steps", "2", "--crop", "64", "--workers", "0", "--device", "cpu", "--skip-check"]
    assert main([*words, "-o", str(run)]) == 0
    score = tmp_path / "score.json"
    words = ["evaluate", "--model", str(run / "best"), "--data", f"person-part:{root}", "--protocol", "paper"]
    assert main([*words, "--device", "cpu", "--json", str(score)]) == 0
    values = json.loads(score.read_text())
    assert list(values["iou"])[:2] == ["background", "head"]
    assert values["protocol"]["scales"] == [0.4, 0.6, 0.8, 1.0, 1.2]
