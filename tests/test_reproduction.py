"""docs/reproduction.md says what the committed results say, and its statistics are right."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ablation_arms import BASE, CASCADE, CLAIMS, COMPONENTS, Scale, cut, half, recipes, shrunk
from benchmarks import ablation, reproduction
from safetensors.torch import save_file

from refineseg.config import AugmentConfig, ModelConfig, TrainConfig, paper_recipe
from refineseg.data import open_data
from refineseg.model.backbones.backbone import create_backbone
from refineseg.model.presets import model_config
from tests.data.made import make_camvid


def test_tables_are_those_of_the_results() -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in reproduction.PAGES}
    assert reproduction.filled(pages, reproduction.tables()) == pages


def test_the_recipes_table_is_the_recipe() -> None:
    """Every setting in code has the recipe's value, and each that is not the default is there."""
    text = reproduction.PAGES[0].read_text(encoding="utf-8")
    rows = text.split("## The authors' recipe")[1].split("\n## ")[0].splitlines()
    cells = "".join(row.split("|")[3] for row in rows if row.startswith("|"))
    stated = {name: yaml.safe_load(value) for name, value in re.findall(r"`([\w.]+): ([^`]+)`", cells)}
    assert stated.pop("init") == ModelConfig().init == "paper"
    given, usual = flat(paper_recipe()), flat(TrainConfig())
    assert {name: given[name] for name in stated} == stated
    assert {name for name, value in given.items() if value != usual.get(name)} <= set(stated)


def flat(config: TrainConfig) -> dict[str, Any]:
    """Settings by their dotted names."""
    values = config.to_dict()
    inner = {f"{group}.{name}": value for group in ("augment", "fields") for name, value in values[group].items()}
    return {name: value for name, value in (values | inner).items() if not isinstance(value, dict)}


def test_the_tests_that_the_page_names_are_there() -> None:
    rows = reproduction.PAGES[0].read_text(encoding="utf-8").split("## Tests of each point")[1].splitlines()
    files: list[str] = []
    for row in rows:
        for file, test in re.findall(r"`(tests/[\w/]+\.py)`|`(test_\w+)`", row):
            files += [file] if file else []
            code = (reproduction.HERE / files[-1]).read_text(encoding="utf-8")
            assert not test or f"def {test}(" in code, row
    assert len(files) == 9


def test_the_table_and_curves_of_runs_to_the_end(tmp_path: Path) -> None:
    def row(arm: str, seed: int, score: float) -> dict[str, Any]:
        scores = {"mean_iou": score, "pixel_accuracy": 0.9}
        point = {"step": 1000, "boundary_iou": 0.3, **scores}
        several = {"mean_iou": score + 0.01}
        return {"arm": arm, "seed": seed, **scores, "curve": [point], "several_scales": several}

    rows = [row("single", 0, 0.6), row("four", 0, 0.62), row("single", 1, 0.63), row("four", 1, 0.62)]
    lines = reproduction.claims_table(rows).splitlines()
    assert (
        lines[2]
        == "| single | 40.3 | 61.5 ± 2.1 | -0.5 (-19.6 to +18.6) | 90.0 ± 0.0 | 30.0 ± 0.0 | 62.5 ± 2.1 | 2 |"
    )
    # -0.5 by 12.706 (Student, one degree of freedom) times 1.5, the standard error of -2 and 1.
    assert lines[3].startswith("| 4-cascaded | 42.5 | 62.0 ± 0.0 | - | 90.0 ± 0.0")
    assert "| -2.0 |" in reproduction.claims_table(rows[:2])  # one seed has no interval
    reproduction.draw_curves(rows, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_mean_spread_and_what_they_settle() -> None:
    assert reproduction.percent([0.1, 0.2, 0.3]) == "20.0 ± 10.0"
    assert reproduction.percent([0.5]) == "50.0"
    # standard error of the difference: sqrt(2 * 0.01**2 / 3) = 0.0082, so 2 points are settled and 1 is not
    base = [0.39, 0.40, 0.41]
    assert reproduction.against(base, [0.41, 0.42, 0.43]) == "+2.0"
    assert reproduction.against(base, [0.40, 0.41, 0.42]) == "+1.0 (within the spread)"


@pytest.mark.parametrize("scale", [cut(), half()], ids=["cut", "half"])
def test_arms_are_networks_and_differ_in_nothing_else(scale: Scale) -> None:
    arms = CASCADE | COMPONENTS | CLAIMS
    configs = {name: model_config("refinenet-r18", 11, **scale.fields | arms[name]) for name in arms}
    base = configs[BASE].to_dict()
    for name, fields in arms.items():
        changed = {key for key, value in configs[name].to_dict().items() if value != base[key]}
        assert changed == set(fields)


def test_recipes_and_claims_are_what_they_are_called() -> None:
    authors = recipes()["authors"]
    assert (authors.batch_size, authors.optimizer, authors.freeze_batch_norm) == (1, "sgd", "statistics")
    assert recipes()["modern"].freeze_batch_norm is False
    assert set(CLAIMS) == {"single", "two", "four", "four 2-scale", "four, identity", "no pooling"}
    assert (half().recipe.steps, half().shrink, half().fields["width"]) == (6_000, 2, 64)


def test_pictures_and_masks_shrink_together(tmp_path: Path) -> None:
    data = open_data(f"camvid:{make_camvid(tmp_path, train=1, val=1)}")
    sample = data.split("train")[0]
    image, labels = data.read(sample)
    small, small_labels = shrunk(data, 3).read(sample)
    rows, columns = image.shape[0] // 3, image.shape[1] // 3
    assert small.shape == (rows, columns, 3)
    means = image[: 3 * rows, : 3 * columns].reshape(rows, 3, columns, 3, 3).mean((1, 3))
    assert np.abs(small - means).max() < 1  # whole grey levels
    assert np.array_equal(small_labels, labels[1::3, 1::3][:rows, :columns])


def test_a_finished_run_is_not_done_again(tmp_path: Path) -> None:
    row = {"study": "cascade", "arm": "two", "seed": 1}
    (tmp_path / "rows.json").write_text(json.dumps({"runs": [row]}))
    data = open_data(f"camvid:{make_camvid(tmp_path / 'data', train=1, val=1)}")
    bench = ablation.Bench(cut(), data, tmp_path / "none", tmp_path / "work", tmp_path / "rows.json")
    bench.train("cascade", "two", 1, cut().recipe, {})  # would need the weights that are not there
    assert bench.rows() == [row]
    assert not bench.done("cascade", "two", 2)


class Killed(Exception):
    """In place of a kill."""


def test_a_broken_run_ends_with_the_row_of_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_data(f"camvid:{make_camvid(tmp_path / 'data', train=4, val=1)}")
    size = half(steps=3)
    recipe = dataclasses.replace(
        size.recipe, batch_size=2, validate_every=1, augment=AugmentConfig(crop=(32, 32)), workers=0
    )
    size = dataclasses.replace(size, recipe=recipe, fields=size.fields | {"width": 8, "coarse_width": 8})
    weights = tmp_path / "weights.safetensors"
    save_file(create_backbone("mobilenetv2_100").state_dict(), weights)

    def bench(name: str, resume: bool) -> ablation.Bench:
        return ablation.Bench(
            size, data, weights, tmp_path / name, tmp_path / f"{name}.json", ("single",), resume=resume
        )

    bench("whole", resume=False).claims(0)
    measure = ablation.Curve.measure

    def killed(curve: ablation.Curve, step: int) -> None:
        raise Killed  # after the checkpoint, before the boundary IoU of its weights

    monkeypatch.setattr(ablation.Curve, "measure", killed)
    with pytest.raises(Killed):
        bench("broken", resume=True).claims(0)
    assert bench("broken", resume=True).rows() == []
    monkeypatch.setattr(ablation.Curve, "measure", measure)
    bench("broken", resume=True).claims(0)
    (whole,), (broken,) = bench("whole", resume=True).rows(), bench("broken", resume=True).rows()
    assert [point["step"] for point in whole["curve"]] == [2, 3]
    assert set(whole["curve"][0]) == {"step", "boundary_iou", *ablation.SCORES}
    assert whole["several_scales"]["scales"] == [0.8, 1.0, 1.2]
    assert {**whole, "seconds": 0} == {**broken, "seconds": 0}
