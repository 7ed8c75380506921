"""From the network to a program of torch.export: batch, height and width stay open, batch norms are folded."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from refineseg.inference.fast.folding import fold_batch_norm
from refineseg.model.refinenet import RefineNet

EXAMPLE = (2, 67, 93)  # batch, height and width of the traced call: every map has another size, every pad is taken


class Stride4(nn.Module):
    """The network as engines run it: ``images``, RGB in [0, 1], BxCxHxW, to ``logits`` at stride 4."""

    def __init__(self, model: RefineNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """BxCxHxW to BxKxceil(H/4)xceil(W/4)."""
        logits: Tensor = self.model(images, upsample=False)
        return logits


def trace(model: RefineNet) -> ExportedProgram:
    """A program of any batch, height and width; the model itself is not changed.

    Batch norms are folded into their convolutions, which saves a pass over every map where the engine does not
    do so itself.
    """
    network = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    for backbone in network.each_backbone():
        fold_batch_norm(backbone)
    # Memory formats only make the symbolic shapes harder; each engine chooses its own.
    network = network.to(memory_format=torch.contiguous_format)
    images = torch.rand(EXAMPLE[0], model.config.in_channels, *EXAMPLE[1:])
    shapes = {"images": {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}}
    with torch.no_grad():
        program = torch.export.export(Stride4(network), (images,), dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def out_of_place(program: ExportedProgram) -> None:
    """Replace in-place operations by their plain forms, where nobody reads the overwritten value later.

    ONNX has none, and the exporter would otherwise take them apart one by one, which takes minutes.
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
