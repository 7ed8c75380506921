"""The same network, faster: a private copy for inference on a processor, kept in step with the original.

In float32 the copy shares the weights, in bf16 it has its own. What is changed: batch norm is folded into the
convolution before it, wide 3x3 convolutions go by Winograd's way (inference.winograd), pooling makes no index map
and is done in strips that stay in cache, together with the 1x1 convolution after it (inference.pooling), ReLU and
sums are done in these strips. Logits differ by rounding: relative 1e-5 at most in float32. The original stays an
ordinary module that can be trained.
"""

from __future__ import annotations

import copy
import platform
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor, nn

from refineseg.inference.fast.block import FastBlock, paths_of
from refineseg.inference.fast.convolution import (
    WIDE,
    Activation,
    FastInverted,
    FastResidual,
    FusedConv,
    PaddedConv,
    fusable,
    rectify_,
)
from refineseg.inference.fast.folding import NORMS, fold_batch_norm
from refineseg.inference.fast.matmul import product
from refineseg.inference.fast.pooling import pooled_strips
from refineseg.inference.fast.winograd import NARROWEST, Scratch, convolve, pays, rows_of, supported
from refineseg.model.backbone import Backbone, MobileNetV2, ResNetBackbone
from refineseg.model.blocks import ChainedResidualPooling, RefineNetBlock, ResidualConvUnit, as_list
from refineseg.model.mobilenet import InvertedResidual
from refineseg.model.refinenet import RefineNet
from refineseg.model.resnet import ResNetBlock


class Fast:
    """A network's fast copy, made when first used and again whenever the network's weights have changed.

    Weights that are changed behind torch's back (``tensor.data``) are not noticed; load_state_dict, optimisers and
    in-place operations are.
    """

    def __init__(self, model: RefineNet, dtype: torch.dtype = torch.float32) -> None:
        self.model, self.dtype = model, dtype
        self._copy: RefineNet | None = None
        self._state: tuple[Any, ...] = ()
        self._making = Lock()

    def __reduce__(self) -> tuple[type[Fast], tuple[RefineNet, torch.dtype]]:
        return Fast, (self.model, self.dtype)

    def network(self, x: Tensor) -> RefineNet:
        """The copy, or the network itself where the copy cannot stand in for it (another device, training ...)."""
        if not (applies(self.model, self.dtype) and x.device.type == "cpu" and x.dtype == torch.float32):
            return self.model
        state = state_of(self.model)
        with self._making:
            if self._copy is None or state != self._state:
                self._copy, self._state = specialise(self.model, self.dtype), state
            return self._copy


def applies(model: RefineNet, dtype: torch.dtype = torch.float32) -> bool:
    """Whether a fast copy gives what the network gives: on x86 with AVX2, in eval mode, without hooks.

    In bf16 only with backbones of our own, of which it is known that all norms can be folded.
    """
    if platform.machine() not in ("x86_64", "AMD64") or torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        return False  # elsewhere nobody has measured whether it is faster
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    if type(model) is not RefineNet:
        return False  # a network that only behaves like one, or has other parts
    if dtype != torch.float32:
        known = all(net.norms_follow_convs for net in model.each_backbone())
        if not (known and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
            return False
    if any(value.device.type != "cpu" or value.dtype != torch.float32 for value in model.parameters()):
        return False
    return not any(part.training or part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def state_of(model: nn.Module) -> tuple[Any, ...]:
    """Equal as long as a network's modules are the same and no weight was changed."""
    tensors = [*model.parameters(), *model.buffers()]
    return (
        tuple(id(part) for part in model.modules()),
        tuple((id(value), 0 if value.is_inference() else value._version) for value in tensors),
    )


def specialise(model: RefineNet, dtype: torch.dtype = torch.float32) -> RefineNet:
    """A copy for inference that shares all weights but those of folded convolutions; in bf16 none."""
    shared: dict[int, Any] = {id(value): value for value in [*model.parameters(), *model.buffers()]}
    fast = copy.deepcopy(model, shared)
    scratch = Scratch(dtype)
    for backbone in fast.each_backbone():
        fold_batch_norm(backbone)
        _rectify_stem(backbone, scratch)
    if fast.classifier.out_channels < NARROWEST and fast.classifier.out_channels % WIDE:
        fast.set_submodule("classifier", PaddedConv(fast.classifier))
    _replace(fast, scratch)
    if dtype != torch.float32:
        for part in fast.modules():
            for name, value in list(part.named_parameters(recurse=False)):
                part.register_parameter(name, nn.Parameter(value.detach().to(dtype), requires_grad=False))
    return fast


def _rectify_stem(backbone: Backbone, scratch: Scratch) -> None:
    """The first convolution of our own backbones together with its activation."""
    if isinstance(backbone, ResNetBackbone) and not _has_norms(backbone.net.bn1):
        backbone.net.set_submodule("conv1", FusedConv(backbone.net.conv1, "relu", scratch))
        backbone.net.set_submodule("act1", nn.Identity())
    elif isinstance(backbone, MobileNetV2) and not _has_norms(backbone.bn1):
        backbone.set_submodule("conv_stem", FusedConv(backbone.conv_stem, "relu6", scratch))
        backbone.set_submodule("act1", nn.Identity())


def _replace(module: nn.Module, scratch: Scratch) -> None:
    for name, child in list(module.named_children()):
        setattr(module, name, _fast(child, scratch))


def _fast(module: nn.Module, scratch: Scratch) -> nn.Module:
    """What stands in for a module, or the module itself with what stands in for its parts."""
    if isinstance(module, RefineNetBlock):
        parts = [[_fused(part, scratch) for part in path] for path in paths_of(module)]
        _replace(module.output, scratch)
        return FastBlock(module, parts, FastPooling(module.pooling, scratch, owned=True))
    if isinstance(module, ResidualConvUnit):
        return FastUnit(module, scratch)
    if isinstance(module, ChainedResidualPooling):
        return FastPooling(module, scratch)
    if isinstance(module, ResNetBlock) and not _has_norms(module):
        return FastResidual(module, scratch)
    if isinstance(module, InvertedResidual) and not _has_norms(module):
        return FastInverted(module, scratch)
    if type(module) is nn.Conv2d and supported(module):
        return FusedConv(module, "none", scratch)
    _replace(module, scratch)
    return module


def _fused(part: nn.Module, scratch: Scratch) -> nn.Module:
    if fusable(part):
        return FusedConv(cast(nn.Conv2d, part), "none", scratch)
    return _fast(part, scratch)


def _has_norms(module: nn.Module) -> bool:
    return any(isinstance(part, NORMS) for part in module.modules())


class FastUnit(nn.Module):
    """A residual conv unit whose ReLU and sum are done within the strips."""

    def __init__(self, unit: ResidualConvUnit, scratch: Scratch) -> None:
        super().__init__()
        self.unit = unit
        self.scratch = scratch
        fused = fusable(unit.conv1) and fusable(unit.conv2)
        self.first = FusedConv(unit.conv1, "relu", scratch) if fused else unit.conv1
        self.second = FusedConv(unit.conv2, "none", scratch) if fused else unit.conv2

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW; x is not modified."""
        first, second = self.unit.conv1, self.unit.conv2
        if pays(first, *x.shape[-2:]) and pays(second, *x.shape[-2:]):
            middle = convolve(x, first, self.scratch, rectify_input=True, rectify=True)
            return convolve(middle, second, self.scratch, residual=x)
        middle = self.first(x.relu())
        y: Tensor = self.second(middle if isinstance(self.first, FusedConv) else middle.relu_())
        return y.add_(x)


class FastPooling(nn.Module):
    """Chained residual pooling in strips of rows; an ``owned`` map may be used up."""

    def __init__(self, chain: ChainedResidualPooling, scratch: Scratch, owned: bool = False) -> None:
        super().__init__()
        self.chain = chain
        self.scratch = scratch
        activation = chain.activation
        self.in_place: Activation | None = None
        if owned and type(activation) in (nn.ReLU, nn.ReLU6):
            self.in_place = "relu6" if isinstance(activation, nn.ReLU6) else "relu"

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        """BxCxHxW to BxCxHxW. A list of one map is taken too, and emptied: the map is freed."""
        given = as_list((x,), 1)
        del x
        if self.in_place is None:
            total: Tensor = self.chain.activation(given.pop())
        else:
            total = rectify_(given.pop(), self.in_place)
        total = total.contiguous(memory_format=torch.channels_last)
        stage = total
        for index, part in enumerate(self.chain.convs):
            convolution = cast(nn.Conv2d, part)
            if self.chain.pooling == "improved":
                stage = self._pool(self._convolve(convolution, stage))
            elif convolution.kernel_size == (1, 1) and convolution.bias is None:
                stage = self._pool_and_project(stage, convolution, total, index + 1 == len(self.chain.convs))
                continue
            else:
                stage = self._convolve(convolution, self._pool(stage))
            total.add_(stage)
        return total

    def _convolve(self, convolution: nn.Conv2d, x: Tensor) -> Tensor:
        if pays(convolution, *x.shape[-2:]):
            return convolve(x, convolution, self.scratch)
        result: Tensor = convolution(x)
        return result

    def _pool(self, x: Tensor) -> Tensor:
        source = rows_of(x)
        out = torch.empty_like(source)
        for picture, target in zip(source, out, strict=True):
            for top, bottom, found in pooled_strips(picture, self.scratch):
                target[top:bottom] = found
        return out.permute(0, 3, 1, 2)

    def _pool_and_project(self, x: Tensor, convolution: nn.Conv2d, total: Tensor, last: bool) -> Tensor:
        """Pool, 1x1 convolution and sum, strip by strip. Returns the stage, which no one needs after the last."""
        source, sums = rows_of(x), total.permute(0, 2, 3, 1)
        shared = total is x  # the first stage: rows of the sum are still to be pooled
        last = last and not shared
        out = source if last else torch.empty_like(source)
        weight = convolution.weight.flatten(1)
        for picture, target, summed in zip(source, out, sums, strict=True):
            for top, bottom, found in pooled_strips(picture, self.scratch):
                rows = found.flatten(0, 1)
                made = product(rows, weight)
                if not last:
                    target[top:bottom].flatten(0, 1).copy_(made)
                if not shared:
                    summed[top:bottom].flatten(0, 1).add_(made)
                del made  # before the next strip's
        if shared:
            sums.add_(out)
        return out.permute(0, 3, 1, 2)
