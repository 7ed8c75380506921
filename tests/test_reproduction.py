"""docs/reproduction.md says what the committed results say, and its statistics are right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import ablation, reproduction

from refineseg.data import open_data
from refineseg.model.presets import model_config
from tests.data.made import make_camvid


def test_tables_are_those_of_the_results() -> None:
    page = reproduction.PAGE.read_text(encoding="utf-8")
    assert reproduction.filled(page, reproduction.tables()) == page


def test_mean_spread_and_what_they_settle() -> None:
    assert reproduction.percent([0.1, 0.2, 0.3]) == "20.0 ± 10.0"
    assert reproduction.percent([0.5]) == "50.0"
    # standard error of the difference: sqrt(2 * 0.01**2 / 3) = 0.0082, so 2 points are settled and 1 is not
    base = [0.39, 0.40, 0.41]
    assert reproduction.against(base, [0.41, 0.42, 0.43]) == "+2.0"
    assert reproduction.against(base, [0.40, 0.41, 0.42]) == "+1.0 (within the spread)"


@pytest.mark.parametrize("scale", [ablation.cut(), ablation.full()])
def test_arms_are_networks_and_differ_in_nothing_else(scale: ablation.Scale) -> None:
    arms = ablation.CASCADE | ablation.COMPONENTS
    configs = {name: model_config("refinenet-r18", 11, **scale.fields | arms[name]) for name in arms}
    base = configs[ablation.BASE].to_dict()
    for name, fields in arms.items():
        changed = {key for key, value in configs[name].to_dict().items() if value != base[key]}
        assert changed == set(fields)
    assert scale.modern.freeze_batch_norm is False
    assert (scale.paper.batch_size, scale.paper.optimizer, scale.paper.freeze_batch_norm) == (
        1,
        "sgd",
        "statistics",
    )


def test_pictures_and_masks_shrink_together(tmp_path: Path) -> None:
    data = open_data(f"camvid:{make_camvid(tmp_path, train=1, val=1)}")
    sample = data.split("train")[0]
    image, labels = data.read(sample)
    small, small_labels = ablation.shrunk(data, 3).read(sample)
    rows, columns = image.shape[0] // 3, image.shape[1] // 3
    assert small.shape == (rows, columns, 3)
    means = image[: 3 * rows, : 3 * columns].reshape(rows, 3, columns, 3, 3).mean((1, 3))
    assert np.abs(small - means).max() < 1  # whole grey levels
    assert np.array_equal(small_labels, labels[1::3, 1::3][:rows, :columns])


def test_a_finished_run_is_not_done_again(tmp_path: Path) -> None:
    row = {"study": "cascade", "arm": "two", "seed": 1}
    (tmp_path / "rows.json").write_text(json.dumps({"runs": [row]}))
    data = open_data(f"camvid:{make_camvid(tmp_path / 'data', train=1, val=1)}")
    bench = ablation.Bench(ablation.cut(), data, tmp_path / "none", tmp_path / "work", tmp_path / "rows.json")
    bench.train("cascade", "two", 1, ablation.cut().recipe, {})  # would need the weights that are not there
    assert bench.rows() == [row]
    assert not bench.done("cascade", "two", 2)
