"""Several input scales with exact strides: cells of the smaller picture lie on cells of the larger one."""

from __future__ import annotations

import pytest
import torch

from refineseg import create_model
from refineseg.errors import ConfigError
from refineseg.model.blocks import RefineNetBlock
from refineseg.model.refinenet import RefineNet


def network(*scales: float, align_corners: bool = True, cascade: str = "four") -> RefineNet:
    return create_model(
        "refinenet-r18",
        3,
        width=16,
        coarse_width=16,
        exact_strides=True,
        align_corners=align_corners,
        input_scales=scales,
        cascade=cascade,
    )


def factors(model: RefineNet) -> list[list[int] | None]:
    return [block.fusion.factors for block in model.decoder.blocks if isinstance(block, RefineNetBlock)]


def test_factors_are_the_distances_of_cells_in_the_largest_picture() -> None:
    # strides 32 and 64 of the two pictures; then 16 and 32, and the coarser block's 32 ...
    assert factors(network(1.2, 0.6)) == [[1, 2], [1, 2, 2], [1, 2, 2], [1, 2, 2]]
    assert factors(network(0.5, 1.5))[0] == [3, 1]
    assert factors(network(1.0, 0.5, cascade="single")) == [[8, 16, 4, 8, 2, 4, 1, 2]]
    with pytest.raises(ConfigError, match=r"largest of the input_scales that is a multiple.*\(1.2, 0.8\)"):
        network(1.2, 0.8)


@pytest.mark.parametrize("scales", [(1.2, 0.6), (1.0, 0.5), (0.5, 1.5)])
def test_no_map_is_squeezed(scales: tuple[float, ...]) -> None:
    """Every map reaches to the last cell of the finest, so that none is resized to its size."""
    model = network(*scales).eval()
    for side in range(33, 66):
        images = torch.zeros(1, 3, side, 32)
        with torch.inference_mode():
            rows = [
                model._maps(net, model._at_scale(images, place))[0].shape[-2]
                for place, net in enumerate(model.each_backbone())
            ]
        ratios = model.config.scale_ratios
        finest = rows[ratios.index(1)]
        assert all(count * ratio >= finest for count, ratio in zip(rows, ratios, strict=True)), side


@pytest.mark.parametrize("align_corners", [False, True])
def test_logits_move_with_the_picture(align_corners: bool) -> None:
    torch.manual_seed(0)
    model = network(1.0, 0.5, align_corners=align_corners).double().eval()
    picture = torch.zeros(1, 3, 391, 408, dtype=torch.float64)
    picture[..., 128:192, 128:192] = torch.rand(3, 64, 64)
    moved = picture.roll((64, 64), (-2, -1))  # by a cell of the coarsest map
    with torch.inference_mode():
        first, second = model(picture, upsample=False), model(moved, upsample=False)
    difference = (second[..., 48:64, 48:64] - first[..., 32:48, 32:48]).abs().max()
    spread = float(first[..., 32:48, 32:48].std())
    assert float(difference) < 0.02 * spread
