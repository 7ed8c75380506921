"""From the network to a program of torch.export: batch, height and width stay open, batch norms are folded."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

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
    # Memory formats only make the symbolic shapes harder; each engine chooses its own.
    network = network.to(memory_format=torch.contiguous_format)
    images = torch.rand(EXAMPLE[0], model.config.in_channels, *EXAMPLE[1:])
    fold_batch_norms(network, images)
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


@torch.no_grad()
def fold_batch_norms(model: RefineNet, images: Tensor) -> int:
    """Fold batch norms into the convolutions whose results they take, in place. Returns how many.

    Which take whose is seen in one run over ``images``.
    """
    pairs = _followed(model, images)
    names = {module: name for name, module in model.named_modules()}
    for norm, convolution in pairs.items():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        shift = -norm.running_mean.double()
        if convolution.bias is not None:
            shift += convolution.bias.double()
        scale = scale if norm.weight is None else scale * norm.weight.double()
        shift = shift * scale if norm.bias is None else shift * scale + norm.bias.double()
        convolution.weight = nn.Parameter((convolution.weight.double() * scale.view(-1, 1, 1, 1)).float())
        convolution.bias = nn.Parameter(shift.float())
        parent, _, child = names[norm].rpartition(".")
        # timm's batch norms carry the activation that comes after them.
        setattr(model.get_submodule(parent), child, getattr(norm, "act", nn.Identity()))
    return len(pairs)


def _followed(model: RefineNet, images: Tensor) -> dict[nn.BatchNorm2d, nn.Conv2d]:
    """By batch norm, the convolution whose result it takes; pairs that are used more than once are left out."""
    made: list[tuple[Tensor, nn.Conv2d]] = []
    seen: list[tuple[nn.BatchNorm2d, nn.Conv2d | None]] = []

    def after(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made.append((output, module))  # held, so that no other tensor is taken for it

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        maker = [convolution for output, convolution in made if output is inputs[0]]
        seen.append((module, maker[0] if maker else None))

    handles = []
    for module in model.modules():
        if type(module) is nn.Conv2d:  # not those that work out their weights anew
            handles.append(module.register_forward_hook(after))
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            handles.append(module.register_forward_pre_hook(before))
    try:
        model(images, upsample=False)
    finally:
        for handle in handles:
            handle.remove()
    used = [convolution for _, convolution in made]
    norms = [norm for norm, _ in seen]
    return {
        norm: convolution
        for norm, convolution in seen
        if convolution is not None and used.count(convolution) == 1 and norms.count(norm) == 1
    }
