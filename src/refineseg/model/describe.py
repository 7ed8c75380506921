"""Description of a network stage by stage: shapes, parameters, multiplications, effective receptive field.

All but the receptive field is counted on the meta device, without memory or computation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from refineseg.config import ModelConfig, scaled
from refineseg.model.dpt.network import DPT
from refineseg.model.presets import build, parameter_count
from refineseg.model.refinenet import RefineNet

STRIP = (64, 768)  # picture on which the receptive field is measured, along its width
HELD = 0.95  # share of the gradient within the receptive field


@dataclass(frozen=True)
class Stage:
    """One line of a description."""

    name: str  # ``backbone`` (in a DPT including reassembling), ``block 1`` (the coarsest) ..., ``classifier``
    inputs: tuple[tuple[int, ...], ...]  # input shapes CxHxW
    outputs: tuple[tuple[int, ...], ...]  # output shapes CxHxW
    parameters: int  # number of trainable values
    gmac: float  # multiply-accumulate operations in 10^9
    taken: tuple[int, ...] = ()  # indices of the backbone maps that a block takes
    # side in pixels of the effective receptive field of its (coarsest) output; None if not measured
    receptive_field: int | None = None


@dataclass(frozen=True)
class NetworkDescription:
    """A network and its stages for pictures of one size."""

    config: ModelConfig
    size: tuple[int, int]  # height and width of the picture
    strides: tuple[float, ...]  # stride of each map that the blocks take
    stages: tuple[Stage, ...]  # all backbones as one, then blocks from coarse to fine, then the classifier

    @property
    def parameters(self) -> int:
        """Number of trainable values of the whole network."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def gmac(self) -> float:
        """Multiply-accumulate operations of the whole network, in 10^9."""
        return sum(stage.gmac for stage in self.stages)


def describe(config: ModelConfig, size: tuple[int, int], measure: bool = True) -> NetworkDescription:
    """Describe a network for a picture of ``size`` (height, width).

    Measuring receptive fields takes up to a minute; a DPT has none, since its tokens see the whole picture.
    """
    with torch.device("meta"):
        network = build(config).eval()
    shapes: dict[str, list[tuple[int, ...]]] = {}

    def note(name: str, made: Tensor) -> None:
        shapes.setdefault(name, []).append(tuple(made.shape[1:]))

    with torch.no_grad(), FlopCounterMode(display=False) as counter, watched(network, note):
        network(torch.zeros(1, config.in_channels, *size, device="meta"), upsample=False)
    counts = {name: sum(ops.values()) / 2e9 for name, ops in counter.get_flop_counts().items()}
    root = type(network).__name__
    blocks, groups, strides = _cascade(network)
    names = [f"decoder.{blocks}.{index}" for index in range(len(groups))]
    head = [name for name in ("classifier", "final") if hasattr(network, name)]
    gmac = {name: counts.get(f"{root}.{name}", 0.0) for name in (*names, *head)}
    fields = receptive_fields(config) if measure and config.dpt is None else {}
    maps = tuple(shapes["backbones"])
    before = [network.backbones, network.reassemble] if isinstance(network, DPT) else [network.backbones]
    stages = [
        Stage(
            "backbone" if len(network.backbones) == 1 else f"{len(network.backbones)} backbones",
            tuple(
                (config.in_channels, *(side if scale == 1 else scaled(side, scale) for side in size))
                for scale in config.input_scales
            ),
            maps,
            sum(map(parameter_count, before)),
            counts["Global"] - sum(gmac.values()),
            receptive_field=fields.get("backbones"),
        )
    ]
    for number, (name, taken) in enumerate(zip(names, groups, strict=True), 1):
        inputs = [maps[index] for index in taken] + ([stages[-1].outputs[0]] if number > 1 else [])
        made = tuple(shapes[name])
        count = parameter_count(network.get_submodule(name))
        stages.append(Stage(f"block {number}", tuple(inputs), made, count, gmac[name], taken, fields.get(name)))
    parameters = sum(parameter_count(network.get_submodule(name)) for name in head)
    # A DPT cuts its padding off at the end.
    classes = (config.num_classes, *(size if config.dpt else shapes["classifier"][0][1:]))
    last = Stage("classifier", stages[-1].outputs, (classes,), parameters, sum(gmac[name] for name in head))
    return NetworkDescription(config, size, strides, (*stages, last))


def _cascade(network: RefineNet) -> tuple[str, tuple[tuple[int, ...], ...], tuple[float, ...]]:
    """The decoder's attribute for its blocks, the indices of the maps that each takes, and the maps' strides."""
    if isinstance(network, DPT):
        (backbone,) = network.each_backbone()
        pairs = zip(backbone.strides, network.reassemble.factors, strict=True)
        return "stages", ((3,), (2,), (1,), (0,)), tuple(stride / (factor or 1) for stride, factor in pairs)
    strides = [float(stride) for net in network.each_backbone() for stride in net.strides]
    pooled = [max(network.each_backbone()[0].strides)] if network.config.image_pooling else []
    return "blocks", network.decoder.groups, (*strides, *pooled)


@contextmanager
def watched(network: RefineNet, see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """While open, calls ``see`` with name and output of every block and classifier, and every backbone map."""
    handles = []
    for name, part in network.named_modules():
        block = name.startswith(("decoder.blocks.", "decoder.stages.")) and name.count(".") == 2
        if name == "classifier" or block:

            def hook(_part: nn.Module, _given: object, made: Tensor, name: str = name) -> None:
                see(name, made)

            handles.append(part.register_forward_hook(hook))

    def before(_part: nn.Module, given: tuple[list[Tensor], ...]) -> None:
        for each in given[0]:
            see("backbones", each)

    handles.append(network.decoder.register_forward_pre_hook(before))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def receptive_fields(config: ModelConfig) -> dict[str, int]:
    """Side in pixels of the effective receptive field of the coarsest backbone map and of every block.

    Measured with random weights (normal by the fan; norms with the picture's statistics) on a ``STRIP`` of noise:
    the width that holds 95 % of the absolute gradient of the middle value with respect to the picture (Luo et al.,
    NIPS 2016). Training changes it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(config).train()
        for part in network.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.ones_(part.weight)
                part.momentum = 1.0  # its statistics are the next picture's
            elif isinstance(part, nn.Dropout):
                part.p = 0.0
        image = torch.rand(2, config.in_channels, *STRIP, requires_grad=True)
    with torch.no_grad():
        network(image, upsample=False)
    network.eval()
    made: dict[str, Tensor] = {}

    def see(name: str, value: Tensor) -> None:
        # One cell is the mean over the picture.
        if name != "backbones" or name not in made or 1 < value.shape[-1] < made[name].shape[-1]:
            made[name] = value

    with watched(network, see):
        network(image, upsample=False)
    made.pop("classifier")
    return {name: _field_width(image, value) for name, value in made.items()}


def _field_width(image: Tensor, value: Tensor) -> int:
    middle = value[..., value.shape[-2] // 2, value.shape[-1] // 2].abs().sum()
    (gradient,) = torch.autograd.grad(middle, image, retain_graph=True)
    column = gradient.abs().sum((0, 1, 2))
    centre = round((value.shape[-1] // 2 + 0.5) * image.shape[-1] / value.shape[-1])
    total, reach = column.sum(), 1
    while reach < len(column) and column[max(0, centre - reach) : centre + reach].sum() < HELD * total:
        reach += 1
    return min(2 * reach, len(column))
