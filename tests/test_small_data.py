"""The comparison on few pictures: equal weights in every encoder, equal time, runs that go on."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from benchmarks import small_data
from safetensors.torch import load_file, save_file

from refineseg.config import TrainConfig
from refineseg.data import SegmentationData, open_data
from refineseg.model.presets import create_model
from refineseg.model.refinenet import RefineNet
from refineseg.training import loop, validation
from refineseg.training.planning import speed
from tests.data.made import make_camvid

smp = pytest.importorskip("segmentation_models_pytorch")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MobileNet-v2 with drawn weights and statistics, under the key names of our ImageNet file."""
    torch.manual_seed(0)
    network = timm.create_model("mobilenetv2_100", pretrained=False)
    state = {key: value for key, value in network.state_dict().items() if not key.startswith("classifier")}
    for key, value in state.items():
        if key.endswith(("running_mean", "bn1.bias", "bn2.bias")):
            value.normal_(0, 0.1)
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("weights") / "mobilenet.safetensors"
    save_file({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SegmentationData:
    return open_data(f"camvid:{make_camvid(tmp_path_factory.mktemp('camvid'), train=6, val=5)}")


def given(weights: Path, seconds: float) -> argparse.Namespace:
    return argparse.Namespace(weights=weights, seconds=seconds, clock="cpu")


def test_every_encoder_computes_the_same(weights: Path) -> None:
    """Maps at strides 4 to 16 of a peer's encoder are our backbone's."""
    ours = create_model("refinenet-lw-mbv2", 5, weights, width=16, coarse_width=16).eval()
    peer = smp.Unet("mobilenet_v2", encoder_weights=None, classes=5).eval()
    small_data.load_encoder(peer.encoder, weights)
    assert isinstance(ours, RefineNet)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        mine = {tuple(x.shape): x for x in ours.each_backbone()[0].maps(images)}
        theirs = {tuple(x.shape): x for x in peer.encoder(images)}
    shared = mine.keys() & theirs.keys()
    assert len(shared) == 3  # 24, 32 and 96 channels; the others are tapped elsewhere
    # Our norms work in another order, so rounding differs.
    assert all((mine[shape] - theirs[shape]).norm() < 1e-4 * theirs[shape].norm() for shape in shared)


def test_weights_of_another_network_are_refused(weights: Path, tmp_path: Path) -> None:
    state = load_file(weights)
    state.pop("blocks.3.1.conv_dw.weight")
    save_file(state, tmp_path / "less.safetensors")
    peer = smp.Unet("mobilenet_v2", encoder_weights=None, classes=5)
    with pytest.raises(ValueError, match="does not fit: missing"):
        small_data.load_encoder(peer.encoder, tmp_path / "less.safetensors")


def test_few_pictures_by_seed_and_val_evenly(data: SegmentationData) -> None:
    first, again, other = (small_data.few(data, 3, seed, 3) for seed in (0, 0, 1))
    names = [[sample.stem for sample in one.split("train")] for one in (first, again, other)]
    assert len(names[0]) == 3
    assert names[0] == names[1] != names[2]
    assert [data.split("val").index(sample) for sample in first.split("val")] == [0, 2, 4]


def test_a_peer_trains_until_its_time_is_over(
    weights: Path, data: SegmentationData, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(100))  # each look takes a second
    monkeypatch.setattr(small_data, "clock_of", lambda name: lambda: float(next(ticks)))
    monkeypatch.setattr(small_data, "BATCH", 2)
    found = small_data.peer("FPN", data, given(weights, 4.0), 0)
    assert found["steps"] == 3
    assert 0 <= found["mean_iou"] <= 1


def test_ours_is_planned_but_for_what_is_given(
    weights: Path, data: SegmentationData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TrainConfig] = []

    def untrained(config: TrainConfig, *_: object, **__: object) -> object:
        seen.append(config)
        return SimpleNamespace(scores=SimpleNamespace(mean_iou=0.5))

    monkeypatch.setattr(loop, "train", untrained)
    monkeypatch.setattr(small_data, "read_config", lambda _: (None, SimpleNamespace(provenance={"steps": 7})))
    found = small_data.ours([], data, given(weights, 3.0), 4)
    assert found == {"mean_iou": 0.5, "steps": 7, "start": "refinenet-lw-mbv2"}
    small_data.ours(["lr=0.002", "model.cascade=two"], data, given(weights, 3.0), 4)
    plain, changed = seen
    assert plain.minutes == changed.minutes == 0.05
    assert plain.seed == 4
    assert (plain.lr, changed.lr) == (0.001, 0.002)
    assert (plain.fields["cascade"], changed.fields["cascade"]) == ("single", "two")


def test_it_goes_on_where_it_was_broken_off(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []

    def untrained(arm: str, *_: object) -> dict[str, object]:
        trained.append(arm)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return {"mean_iou": 0.25 * len(trained), "steps": 1, "start": "ImageNet"}

    monkeypatch.setattr(small_data, "peer", untrained)
    for module in (loop, validation, speed):
        monkeypatch.setattr(module, "time", time)  # put back afterwards
    out, root = tmp_path / "rows.jsonl", make_camvid(tmp_path, train=3, val=2)
    words = ["small_data", f"camvid:{root}", "--sizes", "2", "--seeds", "0", "--arms", "Unet", "FPN"]
    monkeypatch.setattr(sys, "argv", [*words, "--weights", str(weights), "-o", str(out)])
    with pytest.raises(KeyboardInterrupt):
        small_data.main()
    small_data.main()
    assert trained == ["Unet", "FPN", "FPN"]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["arm"], row["data"], row["size"], row["mean_iou"]) for row in rows] == [
        ("Unet", "camvid", 2, 0.25),
        ("FPN", "camvid", 2, 0.75),
    ]
    assert "camvid, 2 pictures, 600 seconds" in capsys.readouterr().out


def test_pictures_are_normalised_by_hand() -> None:
    white = small_data.normalised(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8))
    np.testing.assert_allclose(white.flatten(), [2.2489, 2.4286, 2.64], atol=1e-4)
