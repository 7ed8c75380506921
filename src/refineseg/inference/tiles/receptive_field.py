"""The effective receptive field of a network, measured by cutting a generated picture.

The theoretical receptive field of a RefineNet is larger than most pictures. What matters for tiles is the distance
from a cut beyond which scores equal those of the whole picture.
"""

from __future__ import annotations

from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refineseg.config import IMAGENET_MEAN
from refineseg.inference.tiles.tiling import GRID, STRIDE
from refineseg.labels import UInt8
from refineseg.model.refinenet import RefineNet

TOLERANCE = 0.005  # mean absolute error of the logits, as a share of their standard deviation
CONTEXT = 768  # pixels on either side of the cut: the longest radius that can be measured
HEIGHT = 256  # of the strip that is cut


def probe_picture(height: int = HEIGHT, width: int = 2 * CONTEXT, channels: int = 3) -> UInt8:
    """A generated HxWxC picture with structure at every scale: noise of seven grains, the coarsest strongest."""
    rng = np.random.default_rng(0)
    total = np.zeros((height, width, channels))
    for grain in (128, 64, 32, 16, 8, 4, 2):
        coarse = rng.standard_normal((ceil(height / grain), ceil(width / grain), channels))
        total += np.repeat(np.repeat(coarse, grain, 0), grain, 1)[:height, :width] * grain**0.5
    low, high = np.percentile(total, (1, 99))
    return np.asarray(np.clip((total - low) / (high - low) * 255, 0, 255), np.uint8)


@torch.inference_mode()
def cut_error(model: RefineNet, pixels: UInt8, device: torch.device) -> NDArray[np.float64]:
    """Error of the logits by distance from a cut: entry i is for ``4 i`` to ``4 i + 4`` pixels.

    The mean absolute difference between the logits of an HxWxC picture and of its left half, divided by the
    standard deviation of the logits.
    """
    x = torch.from_numpy(np.require(pixels, requirements="W")).permute(2, 0, 1)[None].to(device).float() / 255
    if model.config.mean != IMAGENET_MEAN:  # other channels: to within two deviations of the mean
        x = model.mean + (4 * x - 2) * model.std
    x = x.contiguous(memory_format=torch.channels_last)
    half = x.shape[-1] // 2 // GRID * GRID
    whole: Tensor = model(x, upsample=False)
    part: Tensor = model(x[..., :half], upsample=False)
    error = (whole[..., : part.shape[-1]] - part).abs().mean((0, 1, 2)) / whole.std().clamp(min=1e-12)
    return error.flip(0).double().cpu().numpy()


def effective_radius(model: RefineNet, device: torch.device, tolerance: float = TOLERANCE) -> int:
    """Distance from a cut in pixels beyond which the logits' error stays below ``tolerance``; at most CONTEXT.

    Measured on ``probe_picture``, so that it depends on the network alone. After Luo et al., Understanding the
    Effective Receptive Field, NIPS 2016.
    """
    error = cut_error(model, probe_picture(channels=model.config.in_channels), device)
    worse = np.flatnonzero(error > tolerance)
    inner = model.config.input_scales[0]
    return 0 if len(worse) == 0 else ceil((worse[-1] + 1) * STRIDE / inner)
