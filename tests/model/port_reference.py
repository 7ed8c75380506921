"""The two PyTorch ports' forward passes, literally, on a plain dict of tensors under the ports' names.

Written from the facts (network, key names, sizes) and from nothing under src: torch.nn.functional only, one line
per operation, slow. ``original`` and ``align_corners`` are switches so that a test can show that it would notice.
Input: the normalised image. Output: logits at stride 4, no dropout.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

Tensors = dict[str, Tensor]
Shape = tuple[int, ...]

UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
WIDTHS = (64, 128, 256, 512)
# MobileNet-v2: layer, output width, expansion, repeats, stride of the first.
MOBILE = (
    (2, 16, 1, 1, 1),
    (3, 24, 6, 2, 2),
    (4, 32, 6, 3, 2),
    (5, 64, 6, 4, 2),
    (6, 96, 6, 3, 1),
    (7, 160, 6, 3, 2),
    (8, 320, 6, 1, 1),
)


# Shapes -----------------------------------------------------------------------------------------------------


def conv_shape(name: str, out: int, into: int, size: int, bias: bool = False) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, into, size, size)
    if bias:
        yield f"{name}.bias", (out,)


def norm_shape(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{leaf}", (width,)
    yield f"{name}.num_batches_tracked", ()


def resnet_shapes(depth: int) -> Iterator[tuple[str, Shape]]:
    yield from conv_shape("conv1", 64, 3, 7)
    yield from norm_shape("bn1", 64)
    grow = 4 if depth >= 50 else 1
    into = 64
    for stage, units in enumerate(UNITS[depth]):
        width = WIDTHS[stage]
        for unit in range(units):
            name = f"layer{stage + 1}.{unit}"
            sizes = ((width, into, 1), (width, width, 3), (width * 4, width, 1))
            for index, (out, entering, size) in enumerate(
                sizes if depth >= 50 else ((width, into, 3), (width, width, 3))
            ):
                yield from conv_shape(f"{name}.conv{index + 1}", out, entering, size)
                yield from norm_shape(f"{name}.bn{index + 1}", out)
            if unit == 0 and (stage > 0 or grow > 1):
                yield from conv_shape(f"{name}.downsample.0", width * grow, into, 1)
                yield from norm_shape(f"{name}.downsample.1", width * grow)
            into = width * grow


def unit_shapes(prefix: str, units: int, width: int) -> Iterator[tuple[str, Shape]]:
    for unit in range(1, units + 1):
        yield from conv_shape(f"{prefix}.0.{unit}_conv", width, width, 3, bias=True)
        yield from conv_shape(f"{prefix}.0.{unit}_conv_relu_varout_dimred", width, width, 3)


def resnet_port_shapes(depth: int, full: bool, classes: int) -> Iterator[tuple[str, Shape]]:
    yield from resnet_shapes(depth)
    grow = 4 if depth >= 50 else 1
    size = 3 if full else 1
    for block in (1, 2, 3, 4):
        width = 512 if block == 1 else 256
        yield from conv_shape(f"p_ims1d2_outl{block}_dimred", width, WIDTHS[4 - block] * grow, size)
        if full:
            yield from unit_shapes(f"adapt_stage{block}_b", 2, width)
        if block > 1:
            yield from conv_shape(f"adapt_stage{block}_b2_joint_varout_dimred", 256, 256, size)
        for k in (1, 2, 3, 4):
            yield from conv_shape(f"mflow_conv_g{block}_pool.0.{k}_outvar_dimred", width, width, size)
        if full:
            yield from unit_shapes(f"mflow_conv_g{block}_b", 3, width)
        if block < 4:
            yield from conv_shape(f"mflow_conv_g{block}_b3_joint_varout_dimred", 256, width, size)
    yield from conv_shape("clf_conv", classes, 256, 3, bias=True)


def mobilenet_port_shapes(classes: int) -> Iterator[tuple[str, Shape]]:
    yield from conv_shape("layer1.0", 32, 3, 3)
    yield from norm_shape("layer1.1", 32)
    into = 32
    for layer, out, expansion, repeats, _ in MOBILE:
        for unit in range(repeats):
            name, inner = f"layer{layer}.{unit}.output", into * expansion
            yield from conv_shape(f"{name}.0.0", inner, into, 1)
            yield from norm_shape(f"{name}.0.1", inner)
            yield f"{name}.1.0.weight", (inner, 1, 3, 3)
            yield from norm_shape(f"{name}.1.1", inner)
            yield from conv_shape(f"{name}.2.0", out, inner, 1)
            yield from norm_shape(f"{name}.2.1", out)
            into = out
    for number, width in ((8, 320), (7, 160), (6, 96), (5, 64), (4, 32), (3, 24)):
        yield from conv_shape(f"conv{number}", 256, width, 1)
    for block in (4, 3, 2, 1):
        for k in (1, 2, 3, 4):
            yield from conv_shape(f"crp{block}.0.{k}_outvar_dimred", 256, 256, 1)
        if block > 1:
            yield from conv_shape(f"conv_adapt{block}", 256, 256, 1)
    yield from conv_shape("segm", classes, 256, 3, bias=True)


def random_tensors(shapes: Iterator[tuple[str, Shape]], seed: int = 0) -> Tensors:
    """Weights under which every part matters: He-sized convolutions, batch norms far from the identity."""
    draw = torch.Generator().manual_seed(seed)
    tensors: Tensors = {}
    for name, shape in shapes:
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(7)
        elif len(shape) == 4:
            fan_in = shape[1] * shape[2] * shape[3]
            tensors[name] = torch.randn(shape, generator=draw) * (1.5 / fan_in) ** 0.5
        elif name.endswith("running_var"):
            tensors[name] = torch.rand(shape, generator=draw) + 0.5
        elif name.endswith(".weight"):
            tensors[name] = torch.rand(shape, generator=draw) * 0.6 + 0.4
        else:
            tensors[name] = torch.randn(shape, generator=draw) * 0.2
    return tensors


# Forward passes ---------------------------------------------------------------------------------------------


def conv(t: Tensors, name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
    weight = t[f"{name}.weight"]
    return F.conv2d(x, weight, t.get(f"{name}.bias"), stride, weight.shape[-1] // 2, 1, groups)


def norm(t: Tensors, name: str, x: Tensor) -> Tensor:
    mean, var = t[f"{name}.running_mean"], t[f"{name}.running_var"]
    return F.batch_norm(x, mean, var, t[f"{name}.weight"], t[f"{name}.bias"], training=False, eps=1e-5)


def resnet(t: Tensors, x: Tensor, depth: int) -> list[Tensor]:
    x = F.max_pool2d(F.relu(norm(t, "bn1", conv(t, "conv1", x, stride=2))), 3, 2, 1)
    maps = []
    for stage, units in enumerate(UNITS[depth]):
        for unit in range(units):
            name = f"layer{stage + 1}.{unit}"
            stride = 2 if stage > 0 and unit == 0 else 1
            y = x
            convs = 3 if depth >= 50 else 2
            strided = 2 if depth >= 50 else 1  # torchvision: the 3x3 convolution carries the stride
            for index in range(1, convs + 1):
                y = norm(
                    t, f"{name}.bn{index}", conv(t, f"{name}.conv{index}", y, stride if index == strided else 1)
                )
                if index < convs:
                    y = F.relu(y)
            if f"{name}.downsample.0.weight" in t:
                x = norm(t, f"{name}.downsample.1", conv(t, f"{name}.downsample.0", x, stride))
            x = F.relu(x + y)
        maps.append(x)
    return maps


def units(t: Tensors, prefix: str, count: int, x: Tensor) -> Tensor:
    for unit in range(1, count + 1):
        shortcut = x
        y = conv(t, f"{prefix}.0.{unit}_conv", F.relu(x))
        y = conv(t, f"{prefix}.0.{unit}_conv_relu_varout_dimred", F.relu(y))
        x = shortcut + y
    return x


def pooling(t: Tensors, prefix: str, x: Tensor, original: bool) -> Tensor:
    total, stage = x, x
    for k in (1, 2, 3, 4):
        if original:
            stage = conv(t, f"{prefix}.0.{k}_outvar_dimred", F.max_pool2d(stage, 5, 1, 2))
        else:
            stage = F.max_pool2d(conv(t, f"{prefix}.0.{k}_outvar_dimred", stage), 5, 1, 2)
        total = total + stage
    return total


def up(x: Tensor, like: Tensor, align_corners: bool) -> Tensor:
    return F.interpolate(x, tuple(like.shape[-2:]), mode="bilinear", align_corners=align_corners)


def resnet_port(
    t: Tensors, image: Tensor, depth: int, full: bool, original: bool = True, align_corners: bool = True
) -> Tensor:
    levels = resnet(t, image, depth)[::-1]  # stride 32 first, as blocks g1 ... g4
    coarser: Tensor | None = None
    for block in (1, 2, 3, 4):
        x = conv(t, f"p_ims1d2_outl{block}_dimred", levels[block - 1])
        if full:
            x = units(t, f"adapt_stage{block}_b", 2, x)
        if coarser is not None:
            x = conv(t, f"adapt_stage{block}_b2_joint_varout_dimred", x)
            brought = conv(t, f"mflow_conv_g{block - 1}_b3_joint_varout_dimred", coarser)
            x = x + up(brought, x, align_corners)
        x = pooling(t, f"mflow_conv_g{block}_pool", F.relu(x), original)
        coarser = units(t, f"mflow_conv_g{block}_b", 3, x) if full else x
    assert coarser is not None
    return conv(t, "clf_conv", coarser)


def mobilenet(t: Tensors, x: Tensor) -> dict[int, Tensor]:
    x = F.relu6(norm(t, "layer1.1", conv(t, "layer1.0", x, stride=2)))
    maps = {}
    for layer, out, _, repeats, first_stride in MOBILE:
        for unit in range(repeats):
            name, stride = f"layer{layer}.{unit}.output", first_stride if unit == 0 else 1
            y = F.relu6(norm(t, f"{name}.0.1", conv(t, f"{name}.0.0", x)))
            y = F.relu6(norm(t, f"{name}.1.1", conv(t, f"{name}.1.0", y, stride, groups=y.shape[1])))
            y = norm(t, f"{name}.2.1", conv(t, f"{name}.2.0", y))
            x = x + y if stride == 1 and x.shape[1] == out else y
        maps[layer] = x
    return maps


def mobilenet_port(t: Tensors, image: Tensor, original: bool = True, align_corners: bool = True) -> Tensor:
    maps = mobilenet(t, image)
    x = F.relu6(conv(t, "conv8", maps[8]) + conv(t, "conv7", maps[7]))
    x = conv(t, "conv_adapt4", pooling(t, "crp4", x, original))
    stride16 = conv(t, "conv6", maps[6]) + conv(t, "conv5", maps[5])
    x = F.relu6(stride16 + up(x, stride16, align_corners))
    x = conv(t, "conv_adapt3", pooling(t, "crp3", x, original))
    stride8 = conv(t, "conv4", maps[4])
    x = F.relu6(stride8 + up(x, stride8, align_corners))
    x = conv(t, "conv_adapt2", pooling(t, "crp2", x, original))
    stride4 = conv(t, "conv3", maps[3])
    x = F.relu6(stride4 + up(x, stride4, align_corners))
    return conv(t, "segm", pooling(t, "crp1", x, original))


# DPT and MiDaS ----------------------------------------------------------------------------------------------


def dpt_shapes(
    channels: tuple[int, ...], width: int, out_conv: bool, unread: bool = True
) -> Iterator[tuple[str, Shape]]:
    for level, into in zip((1, 2, 3, 4), channels, strict=True):
        yield from conv_shape(f"scratch.layer{level}_rn", width, into, 3)
        for unit in (1, 2):
            if unit == 1 and level == 4 and not unread:
                continue
            for index in (1, 2):
                name = f"scratch.refinenet{level}.resConfUnit{unit}.conv{index}"
                yield from conv_shape(name, width, width, 3, bias=True)
        if out_conv:
            yield from conv_shape(f"scratch.refinenet{level}.out_conv", width, width, 1, bias=True)


def dpt(t: Tensors, maps: list[Tensor]) -> Tensor:
    """Maps at levels 1 (fine) to 4 (coarse). Without out_conv it is MiDaS 2, whose ReLU works in place."""
    in_place = "scratch.refinenet1.out_conv.weight" not in t
    x: Tensor | None = None
    for level in (4, 3, 2, 1):
        name = f"scratch.refinenet{level}"
        given = conv(t, f"scratch.layer{level}_rn", maps[level - 1])
        x = given if x is None else x + dpt_unit(t, f"{name}.resConfUnit1", given, in_place)
        x = dpt_unit(t, f"{name}.resConfUnit2", x, in_place)
        finer = maps[level - 2].shape[-2:] if level > 1 else [2 * size for size in maps[0].shape[-2:]]
        x = F.interpolate(x, tuple(finer), mode="bilinear", align_corners=True)
        if not in_place:
            x = conv(t, f"{name}.out_conv", x)
    assert x is not None
    return x


def dpt_unit(t: Tensors, name: str, x: Tensor, in_place: bool) -> Tensor:
    rectified = F.relu(x)
    y = conv(t, f"{name}.conv2", F.relu(conv(t, f"{name}.conv1", rectified)))
    return y + (rectified if in_place else x)
