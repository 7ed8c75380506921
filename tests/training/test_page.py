"""The page of a run: there from the first step, the same pictures each time, at rest when the run has ended."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from refineseg.data import SegmentationData
from refineseg.data.dataset import evenly_spaced
from refineseg.evaluation.evaluate import evaluate
from refineseg.evaluation.report.charts import history_chart
from refineseg.inference.predictor import Segmenter
from refineseg.model.folders.card import ModelCard
from refineseg.model.presets import create_model
from refineseg.system.text import duration
from refineseg.training.custom import TrainingEvent
from refineseg.training.loop import train
from refineseg.training.tracking.run_page import Examples, examples_of
from tests.training.test_loop import CONFIG, StopHereError, data, stop_at

__all__ = ["data"]


def test_the_page_follows_the_run(data: SegmentationData, tmp_path: Path) -> None:
    """It loads itself again while the run goes on, shows each validation, and rests at the end."""
    run, pages = tmp_path / "a<b", []

    def look(event: TrainingEvent) -> None:
        if event.phase in ("train", "epoch") and (run / "index.html").exists():
            pages.append((event.phase, (run / "index.html").read_text()))

    evaluation = train(
        dataclasses.replace(CONFIG, backbone_weights="none"), data, run, callbacks=[look], device="cpu"
    )
    last = (run / "index.html").read_text()
    begun = next(text for phase, text in pages if phase == "train")
    assert 'http-equiv="refresh"' in begun
    assert "No validation yet" in begun
    assert "training starts from random weights" in begun
    middle = next(text for phase, text in pages if phase == "epoch")
    assert 'http-equiv="refresh"' in middle
    assert "Step 3 of 6" in middle
    assert 'http-equiv="refresh"' not in last
    assert "Finished after 6 steps" in last
    assert f"{100 * evaluation.scores.mean_iou:.1f}&#8239;%" in last
    assert "a&lt;b" in last
    assert "a<b" not in last
    shown = re.findall(r'<article class="shown"><h3>(\S+) ', last)
    assert shown == ["p6", "p7"]
    assert last.count("data:image/jpeg") == 2 * 4
    for name in (*data.label_map.names, "augment.crop", "backbone_weights"):
        assert name in last
    assert not re.search(r'(src|href)="http', last)


def test_a_stopped_run_rests_and_says_how_to_continue(data: SegmentationData, tmp_path: Path) -> None:
    run = tmp_path / "a run"
    with pytest.raises(StopHereError):
        train(CONFIG, data, run, callbacks=[stop_at(4)], device="cpu")
    text = (run / "index.html").read_text()
    assert 'http-equiv="refresh"' not in text
    assert "Stopped at step 4 of 6. Best mean IoU" in text
    assert f"Continue with <code>refineseg train --resume -o &#x27;{run}&#x27;</code>" in text


def test_eight_pictures_evenly_spaced() -> None:
    assert evenly_spaced(range(2), 8) == [0, 1]
    assert evenly_spaced(range(8), 8) == list(range(8))
    assert evenly_spaced(range(16), 8) == [0, 2, 4, 6, 8, 10, 12, 14]


def test_examples_show_what_the_evaluation_saw(data: SegmentationData) -> None:
    """Views of a measure that counts nothing; those of another process are put in their place."""
    network = create_model("refinenet-lw-mbv2", 3, width=16, coarse_width=16).eval()
    segmenter = Segmenter.from_network(network, ModelCard("x", data.label_map), "cpu")
    examples = Examples(data)
    found = evaluate(segmenter, data, "val", measures=[examples])
    assert found.to_dict()["Examples"] == {}
    assert "Examples" not in found.for_card()
    views = examples_of(found)
    assert list(views) == ["p6", "p7"]
    image, _ = data.read(data.split("val")[1])
    np.testing.assert_array_equal(views["p7"]["picture"], image)
    first, second = Examples(data, {1: views["p7"]}), Examples(data, {0: views["p6"]})
    first.merge(second)
    assert list(examples_of(dataclasses.replace(found, measures={"Examples": first}))) == ["p6", "p7"]


@pytest.mark.parametrize(("seconds", "words"), [(44.6, "45 s"), (725, "12 min"), (12000, "3 h 20 min")])
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_history_by_hand() -> None:
    """The axis ends at the next nice figure above the highest; the last step stands at its share of the axis."""
    chart = history_chart([5, 10], {"mean IoU": [0.1, 0.4]}, 20, "score, %")
    points = re.search(r'points="([^"]+)"', chart)
    assert points is not None
    (x1, y1), (x2, y2) = (tuple(map(float, point.split(","))) for point in points[1].split())
    assert (x1, x2) == (52 + (460 - 52 - 14) / 4, 52 + (460 - 52 - 14) / 2)
    assert y1 - y2 == pytest.approx((0.4 - 0.1) / 0.5 * (320 - 46 - 14), abs=0.1)
    assert ">50</text>" in chart
