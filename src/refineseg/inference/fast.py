"""The same network, faster: a private copy for float32 inference on a processor, kept in step with the original.

The copy shares the weights. What is changed: batch norm is folded into the convolution before it, wide 3x3
convolutions go by Winograd's way (inference.winograd), pooling makes no index map and is done in strips that stay
in cache, together with the 1x1 convolution after it (inference.pooling), ReLU and sums are done in these strips.
Logits differ by rounding: relative 1e-5 at most. The original stays an ordinary module that can be trained.
"""

from __future__ import annotations

import copy
import platform
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor, nn

from refineseg.inference.folding import fold_batch_norm
from refineseg.inference.pooling import pooled_strips
from refineseg.inference.winograd import Scratch, convolve, pays, rows_of, supported
from refineseg.model.blocks import ChainedResidualPooling, ResidualConvUnit, as_list
from refineseg.model.refinenet import RefineNet


class Fast:
    """A network's fast copy, made when first used and again whenever the network's weights have changed.

    Weights that are changed behind torch's back (``tensor.data``) are not noticed; load_state_dict, optimisers and
    in-place operations are.
    """

    def __init__(self, model: RefineNet) -> None:
        self.model = model
        self._copy: RefineNet | None = None
        self._state: tuple[Any, ...] = ()
        self._making = Lock()

    def __reduce__(self) -> tuple[type[Fast], tuple[RefineNet]]:
        return Fast, (self.model,)

    def network(self, x: Tensor) -> RefineNet:
        """The copy, or the network itself where the copy cannot stand in for it (another device, training ...)."""
        if not (applies(self.model) and x.device.type == "cpu" and x.dtype == torch.float32):
            return self.model
        state = state_of(self.model)
        with self._making:
            if self._copy is None or state != self._state:
                self._copy, self._state = specialise(self.model), state
            return self._copy


def applies(model: RefineNet) -> bool:
    """Whether a fast copy gives what the network gives: on x86 with AVX2, float32, in eval mode, without hooks."""
    if platform.machine() not in ("x86_64", "AMD64") or torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        return False  # elsewhere nobody has measured whether it is faster
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    if not isinstance(model, RefineNet):
        return False  # a network that only behaves like one
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


def specialise(model: RefineNet) -> RefineNet:
    """A copy for inference that shares all weights but those of folded convolutions."""
    shared: dict[int, Any] = {id(value): value for value in [*model.parameters(), *model.buffers()]}
    fast = copy.deepcopy(model, shared)
    for backbone in fast.each_backbone():
        fold_batch_norm(backbone)
    _replace(fast, Scratch())
    return fast


def _replace(module: nn.Module, scratch: Scratch) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, ResidualConvUnit):
            setattr(module, name, FastUnit(child, scratch))
        elif isinstance(child, ChainedResidualPooling):
            setattr(module, name, FastPooling(child, scratch))
        elif type(child) is nn.Conv2d and supported(child):
            setattr(module, name, FastConv(child, scratch))
        else:
            _replace(child, scratch)


class FastConv(nn.Module):
    """A 3x3 convolution that goes the faster way for the map at hand."""

    def __init__(self, convolution: nn.Conv2d, scratch: Scratch) -> None:
        super().__init__()
        self.convolution = convolution
        self.scratch = scratch

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxKxHxW."""
        if pays(self.convolution, *x.shape[-2:]):
            return convolve(x, self.convolution, self.scratch)
        result: Tensor = self.convolution(x)
        return result


class FastUnit(nn.Module):
    """A residual conv unit whose ReLU and sum are done within the strips."""

    def __init__(self, unit: ResidualConvUnit, scratch: Scratch) -> None:
        super().__init__()
        self.unit = unit
        self.scratch = scratch

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW; x is not modified."""
        first, second = self.unit.conv1, self.unit.conv2
        if pays(first, *x.shape[-2:]) and pays(second, *x.shape[-2:]):
            middle = convolve(x, first, self.scratch, rectify_input=True, rectify=True)
            return convolve(middle, second, self.scratch, residual=x)
        y: Tensor = second(first(x.relu()).relu_())
        return y.add_(x)


class FastPooling(nn.Module):
    """Chained residual pooling in strips of rows."""

    def __init__(self, chain: ChainedResidualPooling, scratch: Scratch) -> None:
        super().__init__()
        self.chain = chain
        self.scratch = scratch

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        """BxCxHxW to BxCxHxW; x is not modified. A list of one map is taken too, and emptied: the map is freed."""
        given = as_list((x,), 1)
        del x
        total: Tensor = self.chain.activation(given.pop()).contiguous(memory_format=torch.channels_last)
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
        weight = convolution.weight.flatten(1).t()
        for picture, target, summed in zip(source, out, sums, strict=True):
            for top, bottom, found in pooled_strips(picture, self.scratch):
                rows = found.flatten(0, 1)
                if last:
                    summed[top:bottom].flatten(0, 1).addmm_(rows, weight)
                    continue
                torch.mm(rows, weight, out=target[top:bottom].flatten(0, 1))
                if not shared:
                    summed[top:bottom] += target[top:bottom]
        if shared:
            sums.add_(out)
        return out.permute(0, 3, 1, 2)
