"""The arms of the ablations, how large everything is in them, and CamVid made smaller; run by ablation.py."""

from __future__ import annotations

from dataclasses import dataclass, replace
import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from refineseg.config import AugmentConfig, TrainConfig, paper_recipe
from refineseg.data.dataset import SegmentationData
from refineseg.data.images import read_image, read_mask

PAPER_SCALES = (0.4, 0.6, 0.8, 1.0, 1.2)
BASE = "four"
CASCADE: dict[str, dict[str, Any]] = {
    "single": {"cascade": "single"},
    "two": {"cascade": "two"},
    BASE: {},
    "four 2-scale": {"input_scales": [1.2, 0.6]},
    "two, identity": {"cascade": "two", "init": "identity"},
    "four, identity": {"init": "identity"},
}
COMPONENTS: dict[str, dict[str, Any]] = {
    BASE: {},
    "no pooling": {"crp_stages": 0},
    "improved": {"pooling": "improved"},
    "2 stages": {"crp_stages": 2},
    "no RCUs": {"rcus": 0, "output_rcus": 0},
}
CLAIMS = {**CASCADE, "no pooling": COMPONENTS["no pooling"]}
del CLAIMS["two, identity"]
CLAIMS["four 2-scale"] = {"input_scales": [1.0, 0.5]}  # the larger one is that of the other arms
CLAIM_RATES = {"decoder.blocks.0": 0.2}  # of the deeper arms: the whole rate kills the coarsest block
CLAIM_SCALES = (0.8, 1.0, 1.2)  # of the test: shorter edges than these the training never saw
STEPS, CLAIM_STEPS = 400, 6_000  # validation has stopped rising by then


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        name: Of the file of results.
        shrink: Pictures and masks are this many times smaller.
        fields: Settings of the network.
        recipe: Recipe of the ablations.
    """

    name: str
    shrink: int
    fields: dict[str, Any]
    recipe: TrainConfig


def cut(steps: int = STEPS) -> Scale:
    """About a minute a run on one slow core, in STEPS steps. The initialisation is brought to the size.

    N(0, 0.01) is a standard deviation for 256 channels (torch's own initialisation has 0.012 there), so that
    narrow decoders take torch's.
    """
    recipe = TrainConfig(
        augment=AugmentConfig(crop=(96, 128), scale=(0.75, 1.5)),
        batch_size=4,
        steps=steps,
        freeze_batch_norm=True,
        ema=0.99,
        workers=0,
        validate_every=10_000,
    )
    fields = {"backbone": "mobilenetv2_100", "width": 32, "coarse_width": 64, "init": "default", "dropout": 0.0}
    return Scale("cut" if steps == STEPS else f"cut_{steps}", 3, fields, recipe)


def half(steps: int = CLAIM_STEPS) -> Scale:
    """Pictures of half the size, twice the channels, every cell in its place: the size of ``claims``."""
    small = cut(steps)
    recipe = replace(
        small.recipe,
        augment=AugmentConfig(crop=(144, 192), scale=(0.75, 1.5)),
        lr=5e-4,  # at 1e-3 two scales died: docs/notebook/claims.md, "Dead blocks"
        ema=0.999,
        validate_every=10,
    )
    name = "claims" if steps == CLAIM_STEPS else f"claims_{steps}"
    fields = {"width": 64, "coarse_width": 128, "align_corners": True, "exact_strides": True}
    return Scale(name, 2, small.fields | fields, recipe)


def recipes() -> dict[str, TrainConfig]:
    """The authors' recipe, with 133 of their crop's 400 pixels for pictures of a third of the size, and ours."""
    recipe, authors = cut().recipe, paper_recipe()
    small = replace(authors.augment, crop=(133, 133), short_edge=(150, 366))
    return {
        "authors": replace(authors, augment=small, workers=0, validate_every=10_000),
        "modern": replace(recipe, augment=AugmentConfig(crop=(120, 160)), batch_size=8, freeze_batch_norm=False),
    }


def shrunk(data: SegmentationData, factor: int) -> SegmentationData:
    """The data set with pictures and masks ``factor`` times smaller: box-averaged, and by nearest neighbour."""
    if factor == 1:
        return data

    def whole_blocks(pixels: NDArray[Any]) -> NDArray[Any]:
        height, width = (side // factor * factor for side in pixels.shape[:2])
        return np.ascontiguousarray(pixels[:height, :width])

    @functools.cache  # decoding takes longer than all else that is done to a picture this small
    def picture(path: Path) -> NDArray[np.uint8]:
        return np.array(Image.fromarray(whole_blocks(read_image(path))).reduce(factor))

    @functools.cache
    def mask(path: Path) -> NDArray[Any]:
        return whole_blocks(read_mask(path))[factor // 2 :: factor, factor // 2 :: factor].copy()

    return replace(data, read_picture=picture, read_raw=mask)
