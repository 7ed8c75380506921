"""Batch norm folded into the convolution before it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from refineseg.inference.fast.convolution import with_weights
from refineseg.model.backbones.backbone import Backbone

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


def fold_batch_norm(backbone: Backbone) -> None:
    """Fold every batch norm that follows a convolution into it.

    Our own backbones declare which norm follows which convolution. For others a copy is run on a small picture and
    watched. (torch.fx, while it traces, changes how modules are called in the whole process, in other threads
    too.) A network that cannot be run is left as it is.
    """
    find_pairs = convs_and_norms if backbone.norms_follow_convs else _observed_pairs
    for before, name in list(find_pairs(backbone)):
        convolution, norm = backbone.get_submodule(before), backbone.get_submodule(name)
        if norm.running_mean is not None:
            backbone.set_submodule(before, _folded(cast(nn.Conv2d, convolution), norm))
            backbone.set_submodule(name, _without_norm(norm))


def convs_and_norms(backbone: Backbone) -> Iterator[tuple[str, str]]:
    """Names of each convolution and the norm right after it in the order of modules."""
    before = ""
    for name, part in backbone.named_modules():
        if isinstance(part, NORMS) and before:
            yield before, name
        before = name if type(part) is nn.Conv2d else ""


def _observed_pairs(backbone: Backbone) -> Iterator[tuple[str, str]]:
    """Names of each convolution and the norm that alone reads its output, for any network, found by running it."""
    if not any(isinstance(part, NORMS) for part in backbone.modules()):
        return
    try:
        watch = _watch(backbone)
    except Exception:  # a foreign network may refuse this picture with any error
        return
    for name, read in watch.follows.items():
        source = id(read)
        before = watch.outputs.get(source, ("", None))[0]
        if before and watch.uses[source] == 1 and watch.calls[name] == 1 and watch.calls[before] == 1:
            yield before, name


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records which modules read the outputs of convolutions while a network runs in this thread."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Tensors are kept so that their ids stay unique.
        self.outputs: dict[int, tuple[str, Tensor]] = {}
        self.calls: Counter[str] = Counter()
        self.uses: Counter[int] = Counter()
        self.follows: dict[str, Tensor] = {}  # norm: its input
        self.paused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.paused:
            self.uses.update(id(value) for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor))
        return func(*args, **(kwargs or {}))

    def made(self, name: str, output: Tensor) -> None:
        """Record a convolution's output."""
        self.calls[name] += 1
        self.outputs[id(output)] = name, output
        self.uses[id(output)] = 0  # the id may have been that of a freed tensor

    def normalise(self, name: str, norm: nn.Module, x: Tensor) -> Tensor:
        """Record a norm's input; returns its output."""
        self.calls[name] += 1
        self.uses[id(x)] += 1
        self.follows[name] = x
        self.paused = True
        try:
            result: Tensor = norm(x.clone())  # it may work in place
        finally:
            self.paused = False
        return result


class _Watched(nn.Module):
    def __init__(self, name: str, norm: nn.Module, watch: _Watch) -> None:
        super().__init__()
        self.forward = partial(watch.normalise, name, norm)


def _watch(backbone: Backbone) -> _Watch:
    shared: dict[int, Any] = {id(value): value for value in [*backbone.parameters(), *backbone.buffers()]}
    watch, copied = _Watch(), copy.deepcopy(backbone, shared)
    parts = list(copied.named_modules())
    convolutions = [(name, part) for name, part in parts if type(part) is nn.Conv2d]
    for name, part in convolutions:
        part.register_forward_hook(lambda _part, _given, output, name=name: watch.made(name, output))
    for name, part in parts:
        if isinstance(part, NORMS):
            copied.set_submodule(name, _Watched(name, part, watch))
    first = convolutions[0][1].weight
    image = first.new_zeros(1, convolutions[0][1].in_channels, 64, 64)
    with torch.no_grad(), watch:
        maps = copied.maps(image)
    watch.uses.update(id(x) for x in maps)
    return watch


def _folded(convolution: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    values = [getattr(norm, name) for name in ("running_mean", "running_var", "eps", "weight", "bias")]
    weight, bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *values)
    return with_weights(convolution, weight.detach().contiguous(memory_format=torch.channels_last), bias.detach())


def _without_norm(norm: nn.Module) -> nn.Module:
    """The dropout and activation that timm's batch norms contain."""
    parts = [getattr(norm, name) for name in ("drop", "act") if isinstance(getattr(norm, name, None), nn.Module)]
    parts = [part for part in parts if not isinstance(part, nn.Identity)]
    return nn.Sequential(*parts) if parts else nn.Identity()
