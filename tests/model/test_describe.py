"""A network described and drawn: counts against published figures and sums by hand."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from refineseg.model.describe import describe, receptive_fields
from refineseg.model.drawing import draw
from refineseg.model.presets import build, model_config

# GMAC at 512x512 with the 40 classes of NYUDv2, as the light-weight port's page gives them.
PUBLISHED = {
    "refinenet-lw-r50": 32.7,
    "refinenet-lw-r101": 52.1,
    "refinenet-lw-r152": 71.5,
    "refinenet-lw-mbv2-released": 9.3,
}


@pytest.mark.parametrize("preset", list(PUBLISHED))
def test_multiplications_are_the_published_ones(preset: str) -> None:
    found = describe(model_config(preset, 40), (512, 512), measure=False)
    assert round(found.gmac, 1) == PUBLISHED[preset]
    assert found.gmac == pytest.approx(sum(stage.gmac for stage in found.stages))


def test_a_block_by_hand() -> None:
    """The finest block of light-weight ResNet-18 at 64x64: 16x16 cells; the coarser path is counted at 8x8."""
    found = describe(model_config("refinenet-lw-r18", 5), (64, 64), measure=False)
    block = found.stages[4]
    assert (block.name, block.inputs, block.outputs) == ("block 4", ((64, 16, 16), (256, 8, 8)), ((256, 16, 16),))
    square = 256 * 256
    assert block.parameters == 64 * 256 + (1 + 1 + 4) * square
    cells, coarse = 16 * 16, 8 * 8
    assert block.gmac == pytest.approx((cells * (64 * 256 + 5 * square) + coarse * square) / 1e9)
    assert found.stages[-1].gmac == pytest.approx(cells * 9 * 256 * 5 / 1e9)
    assert found.parameters == sum(stage.parameters for stage in found.stages)


@pytest.mark.parametrize(
    ("fields", "blocks", "boxes"),
    [
        ({}, 4, 4),
        ({"cascade": "two"}, 2, 4),
        ({"cascade": "single"}, 1, 4),
        ({"input_scales": (1.2, 0.6)}, 4, 8),
        ({"image_pooling": True}, 4, 5),  # the mean over the picture is one more map
        ({"image_pooling": True, "input_scales": (1.2, 0.6)}, 4, 9),
    ],
)
def test_drawing_has_every_map_block_and_path(fields: dict[str, Any], blocks: int, boxes: int) -> None:
    config = model_config("refinenet-r18", 5, **fields)
    root = ElementTree.fromstring(draw(describe(config, (96, 160), measure=False)))
    kinds = [node.get("class") for node in root.iter() if node.tag.endswith("rect")]
    assert kinds.count("block") == blocks
    assert kinds.count("map") == boxes + 1  # and the image
    lines = [node for node in root.iter() if node.tag.endswith("polyline")]
    assert (
        len(lines) == boxes + (blocks - 1) + len(config.input_scales) + 1
    )  # maps, coarser outputs, image, classifier
    width, height = (float(root.get(side) or 0) for side in ("width", "height"))
    for node in root.iter():
        if node.tag.endswith("rect"):
            x, y, w, h = (float(node.get(name) or 0) for name in ("x", "y", "width", "height"))
            assert 0 <= x <= x + w <= width
            assert 0 <= y <= y + h <= height


def test_receptive_fields_grow_along_the_cascade() -> None:
    fields = receptive_fields(model_config("refinenet-lw-r18", 5, width=16, coarse_width=16))
    assert list(fields) == ["backbones", *(f"decoder.blocks.{index}" for index in range(4))]
    assert 32 < fields["backbones"] < fields["decoder.blocks.0"] <= 768


def test_a_dpt_by_hand() -> None:
    """12x10 patches of 16: maps at strides 4 to 32; the finest block's sum by hand."""
    config = model_config("refinenet-dpt", 5, backbone="test_vit", width=16, dpt={"map_widths": [8, 12, 20, 24]})
    found = describe(config, (192, 160))
    assert found.strides == (4, 8, 16, 32)
    assert found.stages[0].outputs == ((8, 48, 40), (12, 24, 20), (20, 12, 10), (24, 6, 5))
    finest = found.stages[4]
    assert (finest.taken, finest.inputs) == ((0,), ((8, 48, 40), (16, 48, 40)))
    assert finest.outputs == ((16, 96, 80),)
    cells = 48 * 40
    assert finest.gmac == pytest.approx(cells * (9 * 8 * 16 + 4 * 9 * 16 * 16 + 16 * 16) / 1e9)
    assert found.parameters == sum(value.numel() for value in build(config).parameters())
    assert found.stages[-1].outputs == ((5, 192, 160),)
    assert describe(config, (30, 45)).stages[-1].outputs == ((5, 30, 45),)
    root = ElementTree.fromstring(draw(found))
    kinds = [node.get("class") for node in root.iter() if node.tag.endswith("rect")]
    assert (kinds.count("block"), kinds.count("map"), kinds.count("head")) == (4, 5, 1)
