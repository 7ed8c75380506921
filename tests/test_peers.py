"""The comparison with peers: the same weights in every encoder, the same time for everyone, runs that go on."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import pytest
import timm
import torch
from benchmarks import peers
from safetensors.torch import save_file
from torch import nn

from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import open_data
from refineseg.data.batches.loader import TrainingPictures
from refineseg.model.refinenet import RefineNet
from tests.data.made import make_camvid

pytest.importorskip("segmentation_models_pytorch")


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


def test_every_encoder_computes_the_same(weights: Path) -> None:
    """Maps at strides 4 to 16 of a peer's encoder are our backbone's."""
    ours = peers.build("refinenet", 5, weights, 1.0, 16).eval()
    peer = peers.build("unet", 5, weights, 1.0, 16).eval()
    assert isinstance(ours, RefineNet)
    assert isinstance(peer, peers.Peer)
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        mine = {tuple(x.shape): x for x in ours.each_backbone()[0].maps((images - ours.mean) / ours.std)}
        theirs = {tuple(x.shape): x for x in peer.backbones((images - peer.mean) / peer.std)}
    shared = mine.keys() & theirs.keys()
    assert len(shared) == 3  # 24, 32 and 96 channels; the others are tapped elsewhere
    # Our norms work in another order, so rounding differs.
    assert all((mine[shape] - theirs[shape]).norm() < 1e-4 * theirs[shape].norm() for shape in shared)


@pytest.mark.parametrize("arm", peers.ARMS)
def test_any_size_and_both_learning_rates(weights: Path, arm: str) -> None:
    network = peers.build(arm, 5, weights, 0.5, 16).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, 70, 53)).shape == (1, 5, 70, 53)
    names = {name.startswith("backbones.") for name, _ in network.named_parameters()}
    assert names == {True, False}


class Clock:
    """Each look takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_a_budget_ends_when_it_is_spent() -> None:
    spent = list(peers.Budget(4, Clock()).spend(iter("abcdefgh")))
    assert spent == [(0.25, "a"), (0.5, "b"), (0.75, "c")]


def test_training_changes_all_parts_until_the_time_is_over(weights: Path, tmp_path: Path) -> None:
    data = open_data(f"camvid:{make_camvid(tmp_path, train=3, val=1)}")
    pictures = TrainingPictures(data, "train", AugmentConfig(crop=(32, 32)), 0)
    pictures.prepare(cache_mb=8)
    network = peers.build("fpn", 11, weights, 1.0, 16)
    before = {name: value.clone() for name, value in network.named_parameters()}
    steps = peers.train(network, pictures, TrainConfig(batch_size=2, ema=0.0), peers.Budget(4, Clock()))
    assert steps == 3
    changed = {name.split(".")[0] for name, value in network.named_parameters() if not value.equal(before[name])}
    assert changed == {"backbones", "decoder", "head"}


def test_mean_and_spread_by_hand() -> None:
    common = {"parameters": 7, "steps": 10, "cpu_seconds_per_picture": 0.5}
    runs = [common | {"arm": arm, "mean_iou": value} for arm, value in (("a", 0.5), ("b", 0.3), ("a", 0.7))]
    rows = peers.summary(runs)
    assert [(row["arm"], row["seeds"]) for row in rows] == [("a", 2), ("b", 1)]
    assert rows[0]["mean"] == pytest.approx(0.6)
    assert rows[0]["spread"] == pytest.approx(statistics.stdev([0.5, 0.7]))
    assert rows[1]["spread"] is None


def test_it_goes_on_where_it_was_broken_off(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []

    def untrained(network: nn.Module, *_: object) -> int:
        trained.append(type(network).__name__)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(peers, "train", untrained)
    out, data = tmp_path / "peers.json", f"camvid:{make_camvid(tmp_path, train=3, val=2)}"
    words = ["peers", "--data", data, "--weights", str(weights), "-o", str(out), "--arms", "refinenet", "unet"]
    monkeypatch.setattr(sys, "argv", [*words, "--seeds", "1", "--width", "16"])
    with pytest.raises(KeyboardInterrupt):
        peers.main()
    peers.main()
    assert trained == ["RefineNet", "Peer", "Peer"]
    runs = json.loads(out.read_text())["runs"]
    assert [run["arm"] for run in runs] == ["refinenet", "unet"]
    assert all(0 <= run["mean_iou"] <= 1 and run["pictures"] == 2 for run in runs)
    assert "unet" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*words, "--seeds", "1", "--lr", "0.1"])
    with pytest.raises(SystemExit, match="other settings"):
        peers.main()
