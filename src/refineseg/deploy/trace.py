"""Tracing a network with torch.export: batch, height and width stay open, batch norms are folded."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional as F

from refineseg.inference.array_ops import TINY
from refineseg.inference.fast.folding import fold_batch_norm
from refineseg.inference.runners.exported import Input, Outputs
from refineseg.model.refinenet import RefineNet

EXAMPLE = (2, 67, 93)  # batch, height, width of the traced call: maps differ in size, and every padding occurs
LABEL_AXES = {0: "batch", 1: "height", 2: "width"}  # axes of labels and of uint8 pictures
MAP_AXES = {0: "batch", 2: "height", 3: "width"}  # axes of maps and of float32 pictures


class Exportable(nn.Module):
    """The network in the form that is exported: one input, one output.

    The input is RGB in [0, 1], BxCxHxW, or ``uint8`` BxHxWx3. ``logits`` are at the stride of the network's
    finest map. ``labels``, uint8 BxHxW, and ``probabilities``, float32 BxKxHxW, have the size of the images and
    are those of the predictor for one view of the whole picture; K ``temperatures`` calibrate the latter.
    """

    temperatures: Tensor | None

    def __init__(
        self,
        model: RefineNet,
        outputs: Outputs = "logits",
        temperatures: NDArray[np.float32] | None = None,
        input: Input = "float32",
    ) -> None:
        super().__init__()
        self.model = model
        self.outputs = outputs
        self.input = input
        values = None if temperatures is None else torch.from_numpy(temperatures)
        self.register_buffer("temperatures", values, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        if self.input == "uint8":
            images = images.permute(0, 3, 1, 2).to(torch.float32) / 255
        logits: Tensor = self.model(images, upsample=self.outputs != "logits")
        if self.outputs == "logits":
            return logits
        labels = logits.argmax(1)
        if self.outputs == "labels":
            return labels.to(torch.uint8)
        probabilities = logits.softmax(1)
        if self.temperatures is None:
            return probabilities
        return F.softmax(probabilities.clamp(min=TINY).log() / self.temperatures[labels][:, None], 1)


class CeilingPool(nn.Module):
    """``AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)`` for OpenVINO.

    OpenVINO refuses windows larger than the map, which occur with maps of one cell, in pictures of up to 16
    pixels. Repeating the last row and column leaves every average unchanged.
    """

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxceil(H/2)xceil(W/2)."""
        return F.avg_pool2d(F.pad(x, (0, 1, 0, 1), mode="replicate"), 2)

    @classmethod
    def replace_in(cls, network: nn.Module) -> None:
        """Replace every such pooling in the network."""
        for parent in list(network.modules()):
            for name, part in parent.named_children():
                ceiling = isinstance(part, nn.AvgPool2d) and part.ceil_mode and not part.count_include_pad
                if ceiling and {part.kernel_size, part.stride} <= {2, (2, 2)}:
                    setattr(parent, name, cls())


@dataclass(frozen=True)
class Traced:
    """A traced network."""

    program: ExportedProgram  # the program, for any batch, height and width
    output: Outputs  # name of the output
    # names of the axes of input and output without a fixed size, by position
    input_axes: dict[int, str]
    axes: dict[int, str]


def trace(network: Exportable) -> Traced:
    """Trace a copy of a network, with batch norms folded into their convolutions: not every engine does so."""
    copied = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    for backbone in copied.model.each_backbone():
        fold_batch_norm(backbone)
        CeilingPool.replace_in(backbone)
    # Memory formats complicate symbolic shapes, and each engine chooses its own.
    copied = copied.to(memory_format=torch.contiguous_format)
    config = network.model.config
    images, input_axes = torch.rand(EXAMPLE[0], config.in_channels, *EXAMPLE[1:]), MAP_AXES
    if network.input == "uint8":
        images, input_axes = (255 * images).to(torch.uint8).permute(0, 2, 3, 1).contiguous(), LABEL_AXES
    shapes = {"images": dict.fromkeys(input_axes, Dim.DYNAMIC)}
    with torch.no_grad():
        program = torch.export.export(copied, (images,), dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    axes = LABEL_AXES if network.outputs == "labels" else MAP_AXES
    if network.outputs == "logits":
        axes = {
            axis: axis_name(name, config.stride, config.input_scales[0]) if axis else name
            for axis, name in MAP_AXES.items()
        }
    return Traced(program, network.outputs, input_axes, axes)


def axis_name(side: str, stride: int, scale: float) -> str:
    """The size of a map with ``stride`` on an input scaled by ``scale``, such as ``ceil(height/4)``."""
    if scale == int(scale) and stride % int(scale) == 0:
        whole = stride // int(scale)
        return side if whole == 1 else f"ceil({side}/{whole})"
    scaled = side if scale == 1 else f"round({scale:g}*{side})"
    return scaled if stride == 1 else f"ceil({scaled}/{stride})"


def out_of_place(program: ExportedProgram) -> None:
    """Replace in-place operations by their plain forms wherever the overwritten value is not read later.

    ONNX has no in-place operations, and the exporter takes minutes to decompose them.
    """
    order = {node: place for place, node in enumerate(program.graph.nodes)}
    for node in program.graph.nodes:
        name = getattr(node.target, "__name__", "").split(".")[0]
        if node.op != "call_function" or not name.endswith("_") or name.startswith("_"):
            continue
        overwritten = node.args[0]
        if any(order[user] > order[node] for user in overwritten.users):
            continue
        packet = getattr(torch.ops.aten, name[:-1], None)
        overload = node.target.__name__.split(".")[1]
        if packet is not None and overload in packet.overloads():
            node.target = getattr(packet, overload)
    program.graph_module.recompile()
