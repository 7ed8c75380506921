"""The block and the decoder over networks of others, and for regression."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.config import ModelConfig
from refineseg.model import Decoder, RefineNetBlock

torch.set_num_threads(1)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "block.md"
BLOCKS = re.findall(
    r"^## (.+?)$.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)
SETTINGS = ModelConfig(width=16, coarse_width=24, crp_stages=2, output_rcus=1, init="default")


def check_decoder(maps: Sequence[Tensor], channels: Sequence[int], strides: Sequence[int]) -> None:
    """Every cascade gives the finest map's size, and gradient reaches every map and every parameter."""
    for cascade in ("single", "two", "four"):
        decoder = Decoder(
            ModelConfig.from_dict(SETTINGS.to_dict() | {"cascade": cascade}), channels, strides
        ).eval()
        given = [x.detach().requires_grad_() for x in maps]
        result = decoder(list(given))
        assert result.shape == (maps[0].shape[0], 16, *maps[0].shape[-2:])
        result.square().mean().backward()
        assert all(x.grad is not None and x.grad.any() for x in given)
        assert all(p.grad is not None and p.grad.any() for p in decoder.parameters())


def test_over_a_torchvision_backbone() -> None:
    from torchvision.models import mobilenet_v3_small, resnet18
    from torchvision.models.feature_extraction import create_feature_extractor

    torch.manual_seed(0)
    layers = ["layer1", "layer2", "layer3", "layer4"]
    maps = create_feature_extractor(resnet18(weights=None), layers)(torch.rand(2, 3, 65, 97))
    check_decoder(list(maps.values()), [64, 128, 256, 512], [4, 8, 16, 32])
    layers = ["features.1", "features.3", "features.8", "features.11"]
    maps = create_feature_extractor(mobilenet_v3_small(weights=None), layers)(torch.rand(2, 3, 65, 97))
    check_decoder(list(maps.values()), [x.shape[1] for x in maps.values()], [4, 8, 16, 32])


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-b0"])
def test_over_an_encoder_of_segmentation_models_pytorch(name: str) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    encoder = smp.encoders.get_encoder(name, weights=None)
    maps = encoder(torch.rand(2, 3, 32, 64))[1:]  # strides 2 to 32: five levels
    check_decoder(maps, encoder.out_channels[1:], [2, 4, 8, 16, 32])


def test_over_a_hugging_face_backbone() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    stages = ["stage1", "stage2", "stage3", "stage4"]
    config = transformers.ConvNextConfig(depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], out_features=stages)
    backbone = transformers.AutoBackbone.from_config(config)
    maps = backbone(torch.rand(1, 3, 64, 96)).feature_maps
    check_decoder(maps, backbone.channels, [4, 8, 16, 32])


def test_a_tuple_of_maps_is_left_alone_and_a_list_emptied() -> None:
    decoder = Decoder(SETTINGS, [4, 8], [4, 8])
    maps = torch.rand(1, 4, 9, 9), torch.rand(1, 8, 5, 5)
    waiting = list(maps)
    torch.testing.assert_close(decoder.eval()(maps), decoder(waiting))
    assert waiting == []


def test_wrong_numbers_of_maps_and_strides_are_told() -> None:
    with pytest.raises(ValueError, match=r"one stride per map \(2\), got 1"):
        Decoder(SETTINGS, [4, 8], [4])
    with pytest.raises(ValueError, match="expected 2 maps"):
        Decoder(SETTINGS, [4, 8], [4, 8])([torch.rand(1, 4, 9, 9)])


class Tiny(nn.Module):
    """A network of a reader's own, with a depth head: two maps, two blocks, one number per pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.coarse = nn.Conv2d(8, 12, 3, stride=3, padding=1)  # no power of two
        self.first = RefineNetBlock([12], widths=12, crp_stages=2, output_rcus=1)
        self.second = RefineNetBlock([8], widths=8, refined_channels=[12], crp_stages=2, output_rcus=1)
        self.head = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        fine = F.relu(self.fine(images))
        refined = self.second(fine, self.first(F.relu(self.coarse(fine))))
        return F.interpolate(self.head(refined), images.shape[-2:], mode="bilinear")


def scenes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures of a receding floor with a nearer box, darker with depth, and their depth in [0, 1]."""
    draw = torch.Generator().manual_seed(seed)
    depth = torch.linspace(1, 0.2, 31).view(1, 1, 31, 1).repeat(count, 1, 1, 37)
    for scene in depth:
        top, left = (int(torch.randint(3, 18, (), generator=draw)) for _ in range(2))
        scene[:, top : top + 9, left : left + 11] = 0.1
    return 1 - depth + 0.05 * torch.randn(count, 3, 31, 37, generator=draw), depth


def test_a_depth_head_learns_in_a_few_steps() -> None:
    torch.manual_seed(0)
    network = Tiny()
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    images, depth = scenes(8, seed=1)
    unseen, truth = scenes(4, seed=2)
    before = F.l1_loss(network(unseen), truth).item()
    for _ in range(25):
        optimiser.zero_grad()
        F.l1_loss(network(images), depth).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    after = F.l1_loss(network(unseen), truth).item()
    constant = F.l1_loss(depth.median().expand_as(truth), truth).item()
    assert after < 0.5 * before
    assert after < constant  # better than one depth for all pixels


@pytest.mark.parametrize(("title", "code"), BLOCKS, ids=[title for title, _ in BLOCKS])
def test_the_pages_examples_run(title: str, code: str) -> None:
    exec(compile(code, f"docs/block.md: {title}", "exec"), {"__name__": "example"})


def test_the_page_has_an_example_for_each_kind() -> None:
    assert len(BLOCKS) == PAGE.read_text(encoding="utf-8").count("```python") >= 6
