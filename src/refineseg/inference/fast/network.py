"""The same network, faster: a private copy for inference on a processor, kept in step with the original.

In float32 the copy shares the weights, in bf16 it has its own. Batch norm is folded into the convolution before
it, convolutions add and rectify while they write (convolution), wide 3x3 convolutions use Winograd's algorithm
(winograd), and pooling and a MobileNet's blocks run in strips that stay in the cache (pooling, convolution).
Logits differ by rounding: a relative 1e-5 at most in float32. The original stays an ordinary module that can be
trained.
"""

from __future__ import annotations

import copy
import platform
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor, nn

from refineseg.inference.fast.block import FastBlock, paths_of
from refineseg.inference.fast.convolution import FastInverted, FastResidual, FastUnit, FusedConv, fusable
from refineseg.inference.fast.folding import NORMS, fold_batch_norm
from refineseg.inference.fast.pooling import FastPooling
from refineseg.inference.fast.winograd import Scratch
from refineseg.model.backbones.backbone import Backbone, MobileNetV2, ResNetBackbone
from refineseg.model.backbones.mobilenet import InvertedResidual
from refineseg.model.backbones.resnet import ResNetBlock
from refineseg.model.blocks import RefineNetBlock, ResidualConvUnit
from refineseg.model.refinenet import RefineNet


class FastCopy:
    """A network's fast copy, made when first used and again whenever the network's weights have changed.

    Weights that are changed behind torch's back (``tensor.data``) are not noticed; load_state_dict, optimisers and
    in-place operations are.
    """

    def __init__(self, model: RefineNet, dtype: torch.dtype = torch.float32) -> None:
        self.model, self.dtype = model, dtype
        self._copy: RefineNet | None = None
        self._state: tuple[Any, ...] = ()
        self._making = Lock()

    def __reduce__(self) -> tuple[type[FastCopy], tuple[RefineNet, torch.dtype]]:
        return FastCopy, (self.model, self.dtype)

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
    # glibc returns freed memory to the system, to be faulted in again, above twice the largest block freed so far
    # (mallopt(3)); this block, of which no page is touched, makes that 62 MiB.
    torch.empty(31 << 20, dtype=torch.uint8)
    shared: dict[int, Any] = {id(value): value for value in [*model.parameters(), *model.buffers()]}
    fast = copy.deepcopy(model, shared)
    scratch = Scratch(dtype)
    for backbone in fast.each_backbone():
        fold_batch_norm(backbone)
    _replace(fast, scratch)
    for backbone in fast.each_backbone():
        _rectify_stem(backbone)
    if dtype != torch.float32:
        for part in fast.modules():
            for name, value in list(part.named_parameters(recurse=False)):
                part.register_parameter(name, nn.Parameter(value.detach().to(dtype), requires_grad=False))
    return fast


def _rectify_stem(backbone: Backbone) -> None:
    """The activation after the first convolution of our own backbones, within that convolution."""
    if isinstance(backbone, ResNetBackbone) and not _has_norms(backbone.net.bn1):
        cast(FusedConv, backbone.net.conv1).activation = "relu"
        backbone.net.set_submodule("act1", nn.Identity())
    elif isinstance(backbone, MobileNetV2) and not _has_norms(backbone.bn1):
        cast(FusedConv, backbone.conv_stem).activation = "relu6"
        backbone.set_submodule("act1", nn.Identity())


def _replace(module: nn.Module, scratch: Scratch) -> None:
    for name, child in list(module.named_children()):
        setattr(module, name, _fast(child, scratch))


def _fast(module: nn.Module, scratch: Scratch) -> nn.Module:
    """The module's fast form, or the module itself with fast forms of its parts."""
    if isinstance(module, RefineNetBlock):
        parts = [[_fast(part, scratch) for part in path] for path in paths_of(module)]
        _replace(module.output, scratch)
        return FastBlock(module, parts, FastPooling(module.pooling, scratch))
    if isinstance(module, ResidualConvUnit):
        return FastUnit(module, scratch)
    if isinstance(module, ResNetBlock) and not _has_norms(module):
        return FastResidual(module, scratch)
    if isinstance(module, InvertedResidual) and not _has_norms(module):
        return FastInverted(module, scratch)
    if fusable(module):
        return FusedConv(cast(nn.Conv2d, module), "none", scratch)
    _replace(module, scratch)
    return module


def _has_norms(module: nn.Module) -> bool:
    return any(isinstance(part, NORMS) for part in module.modules())
