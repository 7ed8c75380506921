"""The settings of the joint transforms. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from refineseg.config.settings import Config, NonNegative, Share, require


@dataclass(frozen=True)
class AugmentConfig(Config):
    """Joint transforms of image and mask while training.

    Attributes:
        crop: height and width of the training crop, in pixels after scaling; one number makes a square.
        scale: range of the random scale (the paper: 0.7 to 1.3).
        scale_step: step of the grid of scales, 0.1 in the paper; 0 for any value.
        short_edge: range in pixels of the short edge, resized before scaling; none keeps its size.
        pad: pad pictures that are smaller than the crop; false shrinks the crop in its shape (batches of 1).
        flip: probability of a horizontal flip.
        vertical_flip: probability of a vertical flip, for pictures without an upright direction.
        rotation: largest angle, in degrees, to either side.
        rare_crop: probability of a crop centred on a pixel of a random class of the picture.
        class_mix: probability that half of the classes of another picture are pasted onto this one.
        brightness, contrast, saturation, hue: strength of the photometric jitter, as in torchvision.
        blur: probability of a Gaussian blur.
    """

    crop: Annotated[tuple[int, int], "[1, 16384]"] = (360, 480)
    scale: Annotated[tuple[float, float], "(0, 16]"] = (0.5, 2.0)
    scale_step: NonNegative = 0.0
    short_edge: Annotated[tuple[int, int] | None, "[1, inf)"] = None
    pad: bool = True
    flip: Share = 0.5
    vertical_flip: Share = 0.0
    rotation: Annotated[float, "[0, 180]"] = 0.0
    rare_crop: Share = 0.5
    class_mix: Share = 0.0
    brightness: NonNegative = 0.3
    contrast: NonNegative = 0.3
    saturation: NonNegative = 0.3
    hue: Annotated[float, "[0, 0.5]"] = 0.03
    blur: Share = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, limits in (("scale", self.scale), ("short_edge", self.short_edge or (1, 1))):
            require(limits[0] <= limits[1], f"{name} with the smallest first, then the largest", limits)
