"""The settings of the joint transforms. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from refineseg.config.settings import Config, require


@dataclass(frozen=True)
class AugmentConfig(Config):
    """Joint transforms of image and mask while training.

    Attributes:
        crop: height and width of the training crop, in pixels after scaling; one number makes a square.
        scale: range of the random scale (the paper: 0.7 to 1.3).
        scale_step: step of the grid of scales, 0.1 in the paper; 0 for any value.
        short_edge: range in pixels to which the short edge is brought before scaling; none keeps it.
        pad: pad pictures that are smaller than the crop; false makes the crop smaller (batches of 1).
        flip: probability of a horizontal flip.
        vertical_flip: probability of a vertical flip, for pictures without an upright direction.
        rotation: largest angle, in degrees, to either side.
        rare_crop: probability of a crop centred on a pixel of a class drawn from those of the picture.
        class_mix: probability that half of the classes of another picture are pasted onto this one.
        brightness, contrast, saturation, hue: strength of the photometric jitter, as in torchvision.
        blur: probability of a Gaussian blur.
    """

    crop: tuple[int, int] = (360, 480)
    scale: tuple[float, float] = (0.5, 2.0)
    scale_step: float = 0.0
    short_edge: tuple[int, int] | None = None
    pad: bool = True
    flip: float = 0.5
    vertical_flip: float = 0.0
    rotation: float = 0.0
    rare_crop: float = 0.5
    class_mix: float = 0.0
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.03
    blur: float = 0.1

    def __post_init__(self) -> None:
        require(min(self.crop) >= 1, "a crop of at least 1 pixel", self.crop)
        require(max(self.crop) <= 16_384, "a crop of at most 16,384 pixels a side", self.crop)
        require(
            0 < self.scale[0] <= self.scale[1] <= 16, "a scale range above 0, up to 16, low then high", self.scale
        )
        for name in ("scale_step", "brightness", "contrast", "saturation"):
            require(0 <= getattr(self, name) < math.inf, f"{name} of 0 or more", getattr(self, name))
        for name in ("flip", "vertical_flip", "rare_crop", "class_mix", "blur"):
            require(0 <= getattr(self, name) <= 1, f"{name} in [0, 1]", getattr(self, name))
        require(0 <= self.rotation <= 180, "a rotation of 0 to 180 degrees", self.rotation)
        edges = self.short_edge or (1, 1)
        require(1 <= edges[0] <= edges[1], "short_edge as smallest and largest pixels", self.short_edge)
        require(0 <= self.hue <= 0.5, "hue in [0, 0.5]", self.hue)
