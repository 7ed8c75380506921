"""Output stride, alignment of cells with pixels, and the pooled path."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from refineseg.model import create_model
from refineseg.model.backbones.backbone import create_backbone
from refineseg.model.resize import upsample_on_grid
from tests.model.filled import fill, picture


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100"])
@torch.inference_mode()
def test_cells_of_padded_backbones_are_at_multiples_of_their_stride(name: str) -> None:
    """Every map of a mirrored picture of 64 k + 1 pixels is the mirrored map: cells lie on the picture's axis.

    That holds for symmetric kernels, so all are made symmetric. So maps are to be upsampled with corners aligned.
    """
    backbone = create_backbone(name)
    fill(backbone)
    for value in backbone.parameters():
        if value.ndim == 4:
            value.copy_((value + value.flip(-1)) / 2)
    x = picture(97, 129, 1)
    for one, other in zip(backbone.maps(x), backbone.maps(x.flip(-1)), strict=True):
        torch.testing.assert_close(one.flip(-1), other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_aligned_corners_on_the_grid_are_torchs_where_sides_fit(factor: int) -> None:
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    size = (4 * factor + 1, 6 * factor + 1)
    expected = F.interpolate(x, size, mode="bilinear", align_corners=True)
    torch.testing.assert_close(upsample_on_grid(x, size, factor, align_corners=True), expected)
    longer = upsample_on_grid(x, (5 * factor, 7 * factor), factor, align_corners=True)
    torch.testing.assert_close(longer[..., : size[0], : size[1]], expected)  # wherever the picture ends


@torch.inference_mode()
def test_the_pooled_path_adds_the_mean_of_the_coarsest_map() -> None:
    plain = create_model("refinenet-lw-mbv2", 4, width=16, coarse_width=16)
    fill(plain)
    pooled = create_model("refinenet-lw-mbv2", 4, width=16, coarse_width=16, image_pooling=True).eval()
    name = "decoder.blocks.0.adapt.2.0.weight"
    state = plain.state_dict()
    weight = 0.1 * torch.randn(16, 320, 1, 1, generator=torch.Generator().manual_seed(0))
    pooled.load_state_dict(state | {name: weight})
    assert pooled.state_dict().keys() - state.keys() == {name}
    x = picture(70, 93, 2)
    maps = plain.each_backbone()[0].maps((x - plain.mean) / plain.std)
    mean = torch.einsum("oc,bc->bo", weight[..., 0, 0], maps[-1].mean((2, 3)))
    adapted = plain.get_submodule("decoder.blocks.0.adapt.1.0")
    handle = adapted.register_forward_hook(lambda _module, _inputs, output: output + mean[:, :, None, None])
    torch.testing.assert_close(pooled(x), plain(x), rtol=1e-4, atol=1e-5)
    handle.remove()
    assert (pooled(x) - plain(x)).abs().max() > 1e-2


def test_a_rate_of_zero_freezes_the_backbone() -> None:
    from refineseg.config import TrainConfig
    from refineseg.training.optimizer import freeze, make_optimizer

    model = create_model("refinenet-lw-mbv2", 4, width=16, coarse_width=16)
    config = TrainConfig(backbone_lr=0.0)
    freeze(model, config)
    before = {key: value.clone() for key, value in model.backbones.state_dict().items()}
    optimizer = make_optimizer(model, config)
    model.train()
    model(picture(32, 32, 2)).square().mean().backward()
    optimizer.step()
    for key, value in model.backbones.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        [*model.decoder.parameters(), *model.classifier.parameters()]
    )


def test_parts_of_the_network_have_rates_of_their_own() -> None:
    from refineseg.config import TrainConfig
    from refineseg.errors import ConfigError
    from refineseg.training.optimizer import freeze, make_optimizer

    model = create_model("refinenet-lw-mbv2", 4, width=16, coarse_width=16)
    multipliers = {"decoder": 0.0, "decoder.blocks.3": 10.0, "backbones.0": 0.5}
    config = TrainConfig(lr=0.01, lr_multipliers=multipliers)
    freeze(model, config)
    rates = {
        id(value): group["lr"] for group in make_optimizer(model, config).param_groups for value in group["params"]
    }
    found = {name: rates.get(id(value)) for name, value in model.named_parameters()}
    assert found["classifier.weight"] == 0.01
    for name, rate in found.items():
        if name.startswith("decoder.blocks.3"):
            assert rate == pytest.approx(0.1), name
        elif name.startswith("decoder"):
            assert rate is None, name
        elif name.startswith("backbones"):
            assert rate == 0.005, name
    with pytest.raises(ConfigError, match=r"starts with 'decoder.block\.3'.*decoder\.blocks\.3"):
        freeze(model, TrainConfig(lr_multipliers={"decoder.block.3": 1.0}))
