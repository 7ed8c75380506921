"""The backbones that are written out here are timm's: names, order and shapes of weights, and maps."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from refineseg.errors import ConfigError
from refineseg.model import create_model
from refineseg.model.backbones.backbone import MobileNetV2, ResNetBackbone, create_backbone
from refineseg.model.backbones.mobilenet import GROUPS
from refineseg.model.backbones.timm_backbone import TimmBackbone
from tests.model.filled import fill, picture


def shapes(network: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(key, value.shape) for key, value in network.state_dict().items()]


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_resnets_have_timms_weights(depth: int) -> None:
    with torch.device("meta"):
        own, theirs = create_backbone(f"resnet{depth}"), TimmBackbone(f"resnet{depth}")
    assert isinstance(own, ResNetBackbone)
    assert shapes(own) == shapes(theirs)
    assert (own.channels, own.strides, own.multiple) == (theirs.channels, theirs.strides, theirs.multiple)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("depth", "channels"), [(18, 3), (50, 5)])
def test_resnets_give_timms_maps(depth: int, channels: int, training: bool) -> None:
    own, theirs = create_backbone(f"resnet{depth}", channels), TimmBackbone(f"resnet{depth}", channels)
    for backbone in (own, theirs):
        fill(backbone).train(training)
    x = picture(70, 45, 2, channels)
    for one, other in zip(own.maps(x), theirs.maps(x), strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    for (name, one), other in zip(own.named_buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("training", [False, True])
def test_mobilenet_gives_timms_maps(training: bool) -> None:
    own, theirs = MobileNetV2(), timm.create_model("mobilenetv2_100", pretrained=False)
    head = ("conv_head.", "bn2.", "classifier.")
    assert shapes(own) == [item for item in shapes(theirs) if not item[0].startswith(head)]
    fill(own).train(training)
    theirs.load_state_dict(own.state_dict(), strict=False)
    theirs.train(training)
    x = picture(70, 45, 2)
    wanted, y = [], theirs.bn1(theirs.conv_stem(x))
    for block in theirs.blocks:
        wanted.append(y := block(y))
    maps = [wanted[block] for block in MobileNetV2.MAPPED]
    for one, other in zip(own.maps(x), maps, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert [len(group) for group in own.blocks] == [count for count, _, _ in GROUPS]  # type: ignore[arg-type]


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenetv2_100", "regnetx_002"])
def test_dilated_maps_hold_the_strided_ones(name: str, output_stride: int) -> None:
    """At every place that the strided network has a value, the dilated one has the same."""
    strided = create_backbone(name)
    fill(strided)
    dilated = create_backbone(name, output_stride=output_stride).eval()
    dilated.load_state_dict(strided.state_dict())
    assert dilated.strides == [min(stride, output_stride) for stride in strided.strides]
    assert dilated.channels == strided.channels
    x = picture(97, 64, 1)
    for own, theirs, stride in zip(dilated.maps(x), strided.maps(x), strided.strides, strict=True):
        step = max(1, stride // output_stride)
        assert own.shape[-2:] == (-(-97 // (stride // step)), 64 // (stride // step))
        torch.testing.assert_close(own[..., ::step, ::step], theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("depth", [18, 50])
def test_dilated_resnets_give_timms_maps(depth: int, output_stride: int) -> None:
    name = f"resnet{depth}"
    own = create_backbone(name, output_stride=output_stride)
    theirs = TimmBackbone(name, output_stride=output_stride)
    for backbone in (own, theirs):
        fill(backbone).eval()
    assert own.strides == theirs.strides
    for one, other in zip(own.maps(picture(70, 45, 1)), theirs.maps(picture(70, 45, 1)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "vgg16"])
def test_what_cannot_be_dilated_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ConfigError, match=f"expected output_stride 32 with {name}"):
        create_backbone(name, output_stride=16)


@pytest.mark.parametrize("output_stride", [16, 32])
def test_only_the_dilation_is_called_a_fault_of_the_stride(
    output_stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise TypeError("unexpected keyword argument 'in_chans'")

    monkeypatch.setattr(timm, "create_model", broken)
    with pytest.raises(ConfigError, match=r"gives feature maps, got 'pvt_v2_b0' \(unexpected .*in_chans"):
        TimmBackbone("pvt_v2_b0", output_stride=output_stride)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenetv2_100"])
def test_weights_start_as_timms_do(name: str) -> None:
    """Mean and deviation of every weight that is drawn, and the constants of the norms."""
    own = create_backbone(name)
    theirs = (
        timm.create_model(name, pretrained=False) if isinstance(own, MobileNetV2) else TimmBackbone(name)
    ).state_dict()
    for key, value in own.state_dict().items():
        if value.ndim == 4:
            ratio = float(value.std() / theirs[key].std())
            assert abs(ratio - 1) < 12 / value.numel() ** 0.5, key
        else:
            assert torch.equal(value, theirs[key]), key


@pytest.mark.parametrize(
    ("name", "multiple"),
    [("swin_tiny_patch4_window7_224", 32), ("maxvit_tiny_tf_224", 224), ("convnext_atto", 32)],
)
def test_timm_networks_take_any_size(name: str, multiple: int) -> None:
    """On the meta device: sizes alone."""
    with torch.device("meta"):
        model = create_model("refinenet-lw-r18", 3, backbone=name, width=8, coarse_width=8).eval()
        assert model.each_backbone()[0].multiple == multiple
        for height, width in ((97, 131), (224, 320)):
            assert model(torch.zeros(1, 3, height, width), upsample=False).shape[-2:] == (
                -(-height // 4),
                -(-width // 4),
            )


@pytest.mark.parametrize("name", ["hiera_tiny_224", "coatnet_0_rw_224"])
def test_networks_of_one_size_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(ConfigError, match=f"takes pictures of any size, got '{name}'") as caught:
        create_model("refinenet-lw-r18", 3, backbone=name)
    assert "\n" not in str(caught.value)


def test_plain_vision_transformers_are_sent_to_their_preset() -> None:
    with pytest.raises(ConfigError, match=r"got 'vit_tiny_patch16_224' with \[16, .*go with refinenet-dpt$"):
        create_model("refinenet-lw-r18", 3, backbone="vit_tiny_patch16_224")
    assert create_model("refinenet-dpt", 3, backbone="vit_tiny_patch16_224").config.dpt is not None
