"""Joint transforms of image and mask.

One random window of the source picture is resampled to the crop: the image bilinearly, the mask by nearest
neighbour. Photometric changes apply to the image only, which is uint8 RGB or float with any number of channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from refineseg.channels import Channels
from refineseg.config import AugmentConfig
from refineseg.labels import IGNORE, LabelMap

Others = Callable[[torch.Generator], tuple[Tensor, Tensor]]  # another random sample of the data set
# Image CxHxW, labels HxW and a generator to both, transformed.
Transform = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
GREY = 114  # of padding, near the mean of ImageNet
JITTER: dict[str, Callable[[Tensor, float], Tensor]] = {  # in this order
    "brightness": TF.adjust_brightness,
    "contrast": TF.adjust_contrast,
    "saturation": TF.adjust_saturation,
}


@dataclass(frozen=True)
class Geometry:
    """A random geometric transform."""

    scale: float  # scale factor of the picture
    # corner of the crop in the scaled picture; outside it is padding
    top: int
    left: int
    flip: bool  # whether the crop is mirrored from left to right
    size: tuple[int, int]  # height and width of the crop
    vertical_flip: bool = False  # and from top to bottom
    angle: float = 0.0  # anticlockwise rotation about the crop's centre, in degrees


def generator(*key: int) -> torch.Generator:
    """A random generator that depends on the key only, such as (seed, epoch, sample index)."""
    state = 0x9E3779B97F4A7C15
    for part in key:  # mixed as in splitmix64, so that neighbouring keys are unrelated
        state = (state ^ (part + 0x9E3779B97F4A7C15)) & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return torch.Generator().manual_seed(state >> 1)


def random_uniform(random: torch.Generator, low: float, high: float) -> float:
    """A number in [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=random))


def random_integer(random: torch.Generator, low: int, high: int) -> int:
    """An integer in [low, high]."""
    return low + int(torch.randint(high - low + 1, (), generator=random))


def draw_geometry(mask: Tensor, config: AugmentConfig, num_classes: int, random: torch.Generator) -> Geometry:
    """Draw scale, crop and flip for a picture with the mask HxW (uint8 train ids)."""
    low, high = config.scale
    scale = random_uniform(random, low, high)
    if config.scale_step > 0:
        scale = low + config.scale_step * random_integer(random, 0, round((high - low) / config.scale_step))
    if config.short_edge is not None:
        short = min(mask.shape)
        scale *= min(max(short, config.short_edge[0]), config.short_edge[1]) / short
    height, width = (max(1, round(side * scale)) for side in mask.shape)
    crop_height, crop_width = config.crop
    if not config.pad:
        crop_height, crop_width = _shrunk(config.crop, (height, width))
    top, left = _corner(random, height, crop_height), _corner(random, width, crop_width)
    if float(torch.rand((), generator=random)) < config.rare_crop:
        place = _pixel_of_a_class(mask, num_classes, random)
        if place is not None:
            # Centred on the pixel, but without needless padding.
            top = _clamped(round(place[0] * scale) - crop_height // 2, height, crop_height)
            left = _clamped(round(place[1] * scale) - crop_width // 2, width, crop_width)
    flip = bool(torch.rand((), generator=random) < config.flip)
    size = (crop_height, crop_width)
    # Drawn only if set, so that the other random numbers stay the same.
    vertical = config.vertical_flip > 0 and bool(torch.rand((), generator=random) < config.vertical_flip)
    angle = random_uniform(random, -config.rotation, config.rotation) if config.rotation else 0.0
    return Geometry(scale, top, left, flip, size, vertical, angle)


def apply_geometry(
    image: Tensor,
    mask: Tensor,
    geometry: Geometry,
    label_map: LabelMap | None = None,
    channels: Channels | None = None,
) -> tuple[Tensor, Tensor]:
    """Apply a transform to image CxHxW and mask HxW uint8.

    Padding is grey (the mean of each channel) in the image and IGNORE in the mask. A single flip swaps the
    mirrored classes of the label map (left arm, right arm).
    """
    height, width = mask.shape
    scaled = max(1, round(height * geometry.scale)), max(1, round(width * geometry.scale))
    image, mask = resize_sample(image, mask, scaled)
    fill = torch.tensor(channels.mean) if channels is not None else torch.full(image.shape[:1], float(GREY))
    if geometry.angle:
        image, mask = _turned(image, mask, geometry, fill)
    else:
        image, mask = _window(image, mask, (geometry.top, geometry.left), geometry.size, fill)
    axes = [-1] * geometry.flip + [-2] * geometry.vertical_flip
    image, mask = image.flip(axes), mask.flip(axes)
    if len(axes) == 1 and label_map is not None:
        mask = torch.from_numpy(label_map.mirrored)[mask.long()]
    return image, mask


def _window(
    image: Tensor, mask: Tensor, corner: tuple[int, int], size: tuple[int, int], fill: Tensor
) -> tuple[Tensor, Tensor]:
    """A window of image CxHxW and mask HxW, padded with ``fill`` (by channel) and IGNORE."""
    (top, left), (height, width) = corner, mask.shape
    first_row, first_column = max(top, 0), max(left, 0)
    last_row, last_column = min(top + size[0], height), min(left + size[1], width)
    out_image = fill.to(image.dtype)[:, None, None].repeat(1, *size)
    out_mask = torch.full(size, IGNORE, dtype=mask.dtype)
    if first_row < last_row and first_column < last_column:
        rows, columns = slice(first_row - top, last_row - top), slice(first_column - left, last_column - left)
        out_image[:, rows, columns] = image[:, first_row:last_row, first_column:last_column]
        out_mask[rows, columns] = mask[first_row:last_row, first_column:last_column]
    return out_image, out_mask


def _turned(image: Tensor, mask: Tensor, geometry: Geometry, fill: Tensor) -> tuple[Tensor, Tensor]:
    """The crop, rotated about its centre: the mask by nearest neighbour, the image bilinearly."""
    height, width = geometry.size
    sine, cosine = abs(math.sin(math.radians(geometry.angle))), abs(math.cos(math.radians(geometry.angle)))
    # A larger window with the same centre contains the rotated crop and a pixel of margin.
    tall = math.ceil((height * cosine + width * sine - height) / 2) + 1
    wide = math.ceil((height * sine + width * cosine - width) / 2) + 1
    tall, wide = max(tall, 0), max(wide, 0)
    size = (height + 2 * tall, width + 2 * wide)
    image, mask = _window(image, mask, (geometry.top - tall, geometry.left - wide), size, fill)
    image = TF.rotate(image, geometry.angle, InterpolationMode.BILINEAR)
    mask = TF.rotate(mask[None], geometry.angle, InterpolationMode.NEAREST, fill=[float(IGNORE)])[0]
    rows, columns = slice(tall, tall + height), slice(wide, wide + width)
    return image[:, rows, columns], mask[rows, columns]


def resize_sample(image: Tensor, mask: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Image CxHxW and mask HxW, resized on the same pixel centres.

    The mask by ``nearest-exact``: torch's plain ``nearest`` is half a pixel off.
    """
    if tuple(mask.shape) == size:
        return image, mask
    image = TF.resize(image, list(size), InterpolationMode.BILINEAR, antialias=True)
    mask = TF.resize(mask[None], list(size), InterpolationMode.NEAREST_EXACT)[0]
    return image, mask


def photometric(image: Tensor, config: AugmentConfig, random: torch.Generator) -> Tensor:
    """Random brightness, contrast, saturation, hue (both for RGB only) and blur of 3xHxW uint8 or CxHxW float."""
    strengths = {name: getattr(config, name) for name in JITTER}
    factors = {name: random_uniform(random, max(0.0, 1 - by), 1 + by) for name, by in strengths.items()}
    hue = random_uniform(random, -config.hue, config.hue)
    blurred = float(torch.rand((), generator=random)) < config.blur
    sigma = random_uniform(random, 0.3, 1.5)
    if image.is_floating_point():
        image = jitter_channels(image, factors["brightness"], factors["contrast"])
    else:
        for name in JITTER:
            image = JITTER[name](image, factors[name]) if strengths[name] else image
        image = TF.adjust_hue(image, hue) if config.hue else image
    return TF.gaussian_blur(image, [5, 5], [sigma, sigma]) if blurred else image


def jitter_channels(image: Tensor, brightness: float, contrast: float) -> Tensor:
    """Brightness and contrast of CxHxW floats, in units of each channel's mean and deviation in this image.

    Contrast scales a channel about its mean; brightness shifts all channels by ``brightness - 1`` deviations.
    Units and zero of a channel do not matter.
    """
    deviation, mean = torch.std_mean(image, dim=(1, 2), keepdim=True, correction=0)
    return (image - mean) * contrast + mean + (brightness - 1) * deviation


def augment(
    image: Tensor,
    mask: Tensor,
    config: AugmentConfig,
    label_map: LabelMap,
    random: torch.Generator,
    channels: Channels | None = None,
    others: Others | None = None,
) -> tuple[Tensor, Tensor]:
    """The whole training transform: image CxHxW and mask HxW uint8 to the configured crop.

    The image is uint8 RGB or, with ``channels``, float32 in [0, 1]. ``others`` draws the picture for
    ``class_mix``; it gets its own window and the same photometric changes.
    """
    geometry = draw_geometry(mask, config, label_map.num_classes, random)
    image, mask = apply_geometry(image, mask, geometry, label_map, channels)
    if others is not None and config.class_mix and float(torch.rand((), generator=random)) < config.class_mix:
        pasted, pasted_mask = others(random)
        geometry = draw_geometry(pasted_mask, config, label_map.num_classes, random)
        pasted, pasted_mask = apply_geometry(pasted, pasted_mask, geometry, label_map, channels)
        image, mask = paste_classes(image, mask, pasted, pasted_mask, random)
    return photometric(image, config, random), mask


def paste_classes(
    image: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Half of the classes of another picture, pasted onto this one of the same size.

    ClassMix (Olsson et al., WACV 2021) between labelled pictures. The half is rounded up; void is never pasted.
    """
    present = torch.unique(other_mask)
    present = present[present != IGNORE]
    order = torch.randperm(len(present), generator=random)
    chosen = torch.isin(other_mask, present[order[: (len(present) + 1) // 2]])
    return torch.where(chosen, other, image), torch.where(chosen, other_mask, mask)


def _shrunk(crop: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The crop; in a smaller picture the largest of its shape, with even sides as in the authors' code."""
    # Side of the picture and of the crop, where the picture is smallest against it.
    side, full = min(zip(size, crop, strict=True), key=lambda pair: pair[0] / pair[1])
    if side >= full:
        return crop
    height, width = (max(1, length * side // full // 2 * 2) for length in crop)
    return height, width


def _corner(random: torch.Generator, side: int, crop: int) -> int:
    """Start of a crop: inside a larger picture, anywhere around a smaller one."""
    return random_integer(random, min(0, side - crop), max(0, side - crop))


def _clamped(start: int, side: int, crop: int) -> int:
    return min(max(start, min(0, side - crop)), max(0, side - crop))


def _pixel_of_a_class(mask: Tensor, num_classes: int, random: torch.Generator) -> tuple[int, int] | None:
    """A random pixel of a random class of the mask; None for an empty mask."""
    present = torch.bincount(mask.flatten().long(), minlength=256)[:num_classes].nonzero().flatten()
    if not len(present):
        return None
    chosen = present[random_integer(random, 0, len(present) - 1)]
    places = (mask == chosen).nonzero()
    place = places[random_integer(random, 0, len(places) - 1)]
    return int(place[0]), int(place[1])
