"""The published network, literally: the paper's text, the authors' MATLAB code and the PyTorch ports, in float64.

Written from the facts and from nothing under src but the names of tensors: torch.nn.functional, one line per
operation, interpolation by explicit weights. Input: RGB in [0, 1]. Output: logits at stride 4, no dropout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor

import torch
from torch import Tensor
from torch.nn import functional as F

UNITS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
CASCADES = {"four": [[32], [16], [8], [4]], "two": [[32, 16], [8, 4]], "single": [[32, 16, 8, 4]]}


@dataclass(frozen=True)
class Form:
    """What the three published forms differ in."""

    stages: int
    output: int
    refined: int
    final: int
    scale: float
    cubic: bool
    strided: int  # position of the bottleneck's convolution with the stride


FORMS = {
    "paper": Form(stages=2, output=1, refined=2, final=2, scale=1.0, cubic=False, strided=1),
    "ports": Form(stages=4, output=3, refined=0, final=0, scale=1.0, cubic=False, strided=1),
    "authors": Form(stages=4, output=3, refined=0, final=0, scale=1.2, cubic=True, strided=0),
}


def aligned(given: int, size: int) -> Tensor:
    """Weights, size x given, of linear interpolation with aligned corners."""
    weights = torch.zeros(size, given, dtype=torch.float64)
    for target in range(size):
        place = target * (given - 1) / (size - 1) if size > 1 else 0.0
        left = min(floor(place), given - 1)
        weights[target, left] += 1 - (place - left)
        weights[target, min(left + 1, given - 1)] += place - left
    return weights


def half_pixel(given: int, size: int) -> Tensor:
    """Weights of linear interpolation with half-pixel centres, clamped at the border."""
    weights = torch.zeros(size, given, dtype=torch.float64)
    for target in range(size):
        place = max((target + 0.5) * given / size - 0.5, 0.0)
        left = min(floor(place), given - 1)
        weights[target, left] += 1 - (place - left)
        weights[target, min(left + 1, given - 1)] += place - left
    return weights


def cubic(distance: float) -> float:
    d = abs(distance)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d <= 2 else 0.0


def imresize(given: int, size: int, ratio: float) -> Tensor:
    """Weights of MATLAB's imresize (bicubic, one dimension), its indices from 1, the first ``size`` rows."""
    weights = torch.zeros(size, given, dtype=torch.float64)
    width = 4.0 if ratio >= 1 else 4.0 / ratio
    mirror = [*range(1, given + 1), *range(given, 0, -1)]
    for x in range(1, size + 1):
        u = x / ratio + 0.5 * (1 - 1 / ratio)
        left = floor(u - width / 2)
        taps = range(left, left + ceil(width) + 2)
        heights = [cubic(u - tap) if ratio >= 1 else ratio * cubic(ratio * (u - tap)) for tap in taps]
        for tap, height in zip(taps, heights, strict=True):
            weights[x - 1, mirror[(tap - 1) % (2 * given)] - 1] += height / sum(heights)
    return weights


def resized(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return torch.einsum("th,bchw,sw->bcts", rows, x, columns)


def enlarged(x: Tensor, size: tuple[int, int], form: Form) -> Tensor:
    """A map in the fusion, at the size of the largest."""
    given = (x.shape[-2], x.shape[-1])
    if given == size:
        return x
    if form.cubic:
        ratio = max(size[0] / given[0], size[1] / given[1])
        return resized(x, *(imresize(a, b, ratio) for a, b in zip(given, size, strict=True)))
    return resized(x, *(aligned(a, b) for a, b in zip(given, size, strict=True)))


class Literal:
    """The network over a state dict under our names; in training on batch statistics, moving the running ones."""

    def __init__(self, tensors: dict[str, Tensor], depth: int, form: Form, training: bool = False) -> None:
        self.t, self.depth, self.form, self.training = tensors, depth, form, training

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.t[f"{name}.weight"]
        return F.conv2d(x, weight, self.t.get(f"{name}.bias"), stride, weight.shape[-1] // 2)

    def norm(self, name: str, x: Tensor) -> Tensor:
        mean, var = self.t[f"{name}.running_mean"], self.t[f"{name}.running_var"]
        if self.training:
            batch_mean, batch_var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            count = x.numel() / x.shape[1]
            mean.mul_(0.9).add_(0.1 * batch_mean.detach())
            var.mul_(0.9).add_(0.1 * batch_var.detach() * count / (count - 1))
            mean, var = batch_mean, batch_var
        weight, bias = self.t[f"{name}.weight"], self.t[f"{name}.bias"]
        y = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        return y * weight[:, None, None] + bias[:, None, None]

    def resnet(self, prefix: str, x: Tensor) -> dict[int, Tensor]:
        x = F.relu(self.norm(f"{prefix}.bn1", self.conv(f"{prefix}.conv1", x, 2)))
        x = F.max_pool2d(x, 3, 2, 1)
        maps = {}
        for stage, count in enumerate(UNITS[self.depth]):
            for unit in range(count):
                name, stride = f"{prefix}.layer{stage + 1}.{unit}", 2 if stage and not unit else 1
                convs = 3 if self.depth >= 50 else 2
                strided = self.form.strided if self.depth >= 50 else 0
                y = x
                for index in range(convs):
                    y = self.conv(f"{name}.conv{index + 1}", y, stride if index == strided else 1)
                    y = self.norm(f"{name}.bn{index + 1}", y)
                    y = F.relu(y) if index + 1 < convs else y
                if f"{name}.downsample.0.weight" in self.t:
                    x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, stride))
                x = F.relu(x + y)
            maps[4 * 2**stage] = x
        return maps

    def units(self, prefix: str, first: int, count: int, x: Tensor) -> Tensor:
        for unit in range(first, first + count):
            y = self.conv(f"{prefix}.{unit}.conv1", F.relu(x))
            x = x + self.conv(f"{prefix}.{unit}.conv2", F.relu(y))
        return x

    def block(self, name: str, maps: list[Tensor], refined: list[Tensor], improved: bool) -> Tensor:
        paths = []
        for index, x in enumerate(maps):
            x = self.conv(f"{name}.adapt.{index}.0", x)
            paths.append(self.units(f"{name}.adapt.{index}", 1, 2, x))
        for index, x in enumerate(refined, len(maps)):
            paths.append(self.units(f"{name}.adapt.{index}", 0, self.form.refined, x))
        if len(paths) > 1:
            paths = [self.conv(f"{name}.fusion.convs.{index}", x) for index, x in enumerate(paths)]
            size = (max(x.shape[-2] for x in paths), max(x.shape[-1] for x in paths))
            paths = [enlarged(x, size, self.form) for x in paths]
        x = paths[0]
        for path in paths[1:]:
            x = x + path
        total = stage = F.relu(x)
        pool: Callable[[Tensor], Tensor] = lambda y: F.max_pool2d(y, 5, 1, 2)  # noqa: E731
        for k in range(self.form.stages):
            convolution = f"{name}.pooling.convs.{k}"
            stage = pool(self.conv(convolution, stage)) if improved else self.conv(convolution, pool(stage))
            total = total + stage
        return self.units(f"{name}.output", 0, self.form.output, total)

    def logits(
        self, image: Tensor, cascade: str, scales: tuple[float, ...] | None = None, improved: bool = False
    ) -> Tensor:
        if self.form.cubic:
            image = image * 255 - 128
        else:
            mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
            std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)
            image = (image - mean[:, None, None]) / std[:, None, None]
        levels = []
        for number, scale in enumerate(scales or (self.form.scale,)):
            x, given = image, (image.shape[-2], image.shape[-1])
            if scale != 1:
                size = (round(given[0] * scale), round(given[1] * scale))
                if self.form.cubic:
                    matrices = [imresize(a, b, b / a) for a, b in zip(given, size, strict=True)]
                else:
                    matrices = [half_pixel(a, b) for a, b in zip(given, size, strict=True)]
                x = resized(image, *matrices)
            levels.append(self.resnet(f"backbones.{number}.net", x))
        refined: list[Tensor] = []
        for index, group in enumerate(CASCADES[cascade]):
            maps = [level[stride] for stride in group for level in levels]
            refined = [self.block(f"decoder.blocks.{index}", maps, refined, improved)]
        return self.conv("classifier", self.units("final", 0, self.form.final, refined[0]))
