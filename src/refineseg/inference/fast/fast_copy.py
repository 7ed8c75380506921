"""The fast copy of a network for inference on an x86 processor, remade whenever the network's weights change.

In float32 the copy shares the weights; in bf16 it has its own. Batch norms are folded into the convolutions before
them (folding), convolutions are fused with sums and activations (convolution), wide 3x3 convolutions use
Winograd's algorithm (winograd), pooling and MobileNet blocks run in strips that stay in the cache (pooling,
mobilenet). Logits differ only by rounding, at most a relative 1e-5 in float32. The network itself stays
trainable.
"""

from __future__ import annotations

import copy
import platform
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor, nn

from refineseg.inference.fast.block import FastBlock, paths_of
from refineseg.inference.fast.convolution import FastResidual, FastUnit, FusedConv, convolution_of, fusable
from refineseg.inference.fast.folding import NORMS, fold_batch_norm
from refineseg.inference.fast.mobilenet import FastDilated, FastInverted
from refineseg.inference.fast.pooling import FastPooling
from refineseg.inference.fast.winograd import Scratch
from refineseg.model.backbones.backbone import Backbone, MobileNetV2, ResNetBackbone
from refineseg.model.backbones.mobilenet import InvertedResidual
from refineseg.model.backbones.resnet import ResNetBlock
from refineseg.model.blocks import RefineNetBlock, ResidualConvUnit
from refineseg.model.refinenet import RefineNet


class FastCopy:
    """A network's fast copy, made when first used and again after the network's weights have changed.

    Changes by load_state_dict, optimisers and in-place operations are noticed, changes through ``tensor.data``
    not.
    """

    def __init__(self, model: RefineNet, dtype: torch.dtype = torch.float32) -> None:
        self.model, self.dtype = model, dtype
        self._copy: RefineNet | None = None
        self._state: tuple[Any, ...] = ()
        self._making = Lock()

    def __reduce__(self) -> tuple[type[FastCopy], tuple[RefineNet, torch.dtype]]:
        return FastCopy, (self.model, self.dtype)

    def network(self, x: Tensor) -> RefineNet:
        """The fast copy for an input; the network itself where there is none (other devices, training ...)."""
        if not (applies(self.model, self.dtype) and x.device.type == "cpu" and x.dtype == torch.float32):
            return self.model
        state = state_of(self.model)
        with self._making:
            if self._copy is None or state != self._state:
                self._copy, self._state = specialise(self.model, self.dtype), state
            return self._copy


def applies(model: RefineNet, dtype: torch.dtype = torch.float32) -> bool:
    """Whether a fast copy can replace the network: on x86 with AVX2, in eval mode, without hooks or gradients.

    In bf16 only with our own backbones, whose norms can all be folded.
    """
    if platform.machine() not in ("x86_64", "AMD64") or torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        return False  # not measured elsewhere
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    if type(model) is not RefineNet:
        return False  # a subclass may have other parts
    if dtype != torch.float32:
        known = all(net.norms_follow_convs for net in model.each_backbone())
        if not (known and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
            return False
    if any(value.device.type != "cpu" or value.dtype != torch.float32 for value in model.parameters()):
        return False
    return not any(part.training or part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def state_of(model: nn.Module) -> tuple[Any, ...]:
    """A value that changes whenever a module is replaced or a weight is changed."""
    tensors = [*model.parameters(), *model.buffers()]
    return (
        tuple(id(part) for part in model.modules()),
        tuple((id(value), 0 if value.is_inference() else value._version) for value in tensors),
    )


def specialise(model: RefineNet, dtype: torch.dtype = torch.float32) -> RefineNet:
    """A fast copy. In float32 it shares all weights except those of folded convolutions, in bf16 none."""
    # glibc returns free memory beyond twice the largest block freed so far to the system (mallopt(3)), and every
    # page of it is faulted in again later. Freeing this block, of which no page is touched, makes that 62 MiB.
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
    """Fuse the activation after the first convolution of our own backbones into it."""
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
    """The module's fast form; the module itself, with fast forms of its parts, if it has none."""
    if isinstance(module, RefineNetBlock):
        parts = [[_fast(part, scratch) for part in path] for path in paths_of(module)]
        _replace(module.output, scratch)
        return FastBlock(module, parts, FastPooling(module.pooling, scratch))
    if isinstance(module, ResidualConvUnit):
        return FastUnit(module, scratch)
    if isinstance(module, ResNetBlock) and not _has_norms(module):
        return FastResidual(module, scratch)
    if isinstance(module, InvertedResidual) and not _has_norms(module):
        dilated = convolution_of(module, "conv_dw").dilation != (1, 1)
        return (FastDilated if dilated else FastInverted)(module, scratch)
    if fusable(module):
        return FusedConv(cast(nn.Conv2d, module), "none", scratch)
    _replace(module, scratch)
    return module


def _has_norms(module: nn.Module) -> bool:
    return any(isinstance(part, NORMS) for part in module.modules())
