"""What only a GPU can show: the same labels as on a processor, training that resumes, memory given back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import refineseg
from refineseg.config import AugmentConfig, TrainConfig
from refineseg.inference.options import PredictOptions
from refineseg.model.presets import create_model
from tests.data.made import made_pair, make_camvid

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use"),
]


@pytest.mark.parametrize("tile", [None, 256])
def test_labels_are_those_of_the_processor(tile: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 itself: torch's convolutions take TF32 for it, with 10 bits of 23."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    picture = made_pair(0, 11, (360, 480))[0]
    ours = [
        refineseg.load("camvid", device=device).predict(picture, tile=tile).labels for device in ("cuda", "cpu")
    ]
    assert (ours[0] == ours[1]).mean() > 0.999


def test_bf16_is_close_to_float32() -> None:
    picture = made_pair(1, 11, (360, 480))[0]
    found = [
        refineseg.load("camvid", device="cuda", precision=kind).predict(picture).labels for kind in ("32", "bf16")
    ]
    assert (found[0] == found[1]).mean() > 0.97


def test_gradients_are_those_of_the_processor() -> None:
    torch.manual_seed(0)
    model = create_model("refinenet-r18", 5, width=32, coarse_width=32).double().eval()
    images, labels = torch.rand(2, 3, 64, 96, dtype=torch.float64), torch.randint(0, 5, (2, 64, 96))
    gradients = []
    for device in ("cpu", "cuda"):
        model.to(device).zero_grad()
        F.cross_entropy(model(images.to(device)), labels.to(device)).backward()  # type: ignore[no-untyped-call]
        gradients.append([value.grad.cpu().clone() for value in model.parameters() if value.grad is not None])
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)


def test_a_training_runs_and_resumes(tmp_path: Path) -> None:
    data = refineseg.open_data(f"camvid:{make_camvid(tmp_path, train=8, val=2)}")
    config = TrainConfig(
        model="refinenet-lw-mbv2",
        backbone_weights="none",
        steps=4,
        batch_size=4,
        precision="bf16",
        augment=AugmentConfig(crop=(64, 64)),
        workers=0,
    )
    run = tmp_path / "run"
    refineseg.train(config, data, run, device="cuda")
    evaluation = refineseg.train(replace(config, steps=6), data, run, resume=True, device="cuda")
    assert np.isfinite(evaluation.scores.mean_iou)
    assert [line.split(",")[1] for line in (run / "metrics.csv").read_text().splitlines()][-1] == "6"


def test_memory_is_given_back() -> None:
    segmenter = refineseg.load("camvid", device="cuda")
    assert isinstance(segmenter, refineseg.Segmenter)
    picture = made_pair(2, 11, (360, 480))[0]
    segmenter.predict_batch([picture] * 4, PredictOptions())  # libraries keep their workspaces from the first on
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        segmenter.predict_batch([picture] * 4, PredictOptions())
    assert torch.cuda.memory_allocated() <= before + (1 << 20)
