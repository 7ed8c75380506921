"""Runs an nn.Module with torch: its fast copy on a CPU, the module itself on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from refineseg.config import ModelConfig
from refineseg.errors import InputError
from refineseg.inference.array_ops import ArrayOps
from refineseg.inference.devices import free_device_memory, pick_device
from refineseg.inference.fast.fast_copy import FastCopy
from refineseg.inference.runners.gpu import GpuArrayOps
from refineseg.inference.tiles.receptive_field import effective_radius
from refineseg.inference.tiles.tiling import GLOBAL_OVERLAP, POOLED_OVERLAP, needed_overlap
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.find_model import find_model
from refineseg.model.folders.hub import origin_of
from refineseg.model.folders.model_folder import load_model_folder, weights_hash
from refineseg.model.memory import MemoryNeed, bytes_per_pixel, fake_copy, memory_need, tensors_of
from refineseg.model.refinenet import RefineNet


class NetworkRunner:
    """Runs an nn.Module, in eval mode; a Runner. The precision is ``32`` or ``bf16``."""

    name = "torch"

    def __init__(self, model: RefineNet, device: str = "auto", precision: str = "32") -> None:
        if precision not in ("32", "bf16"):
            raise InputError(f"expected precision 32 or bf16, got {precision!r}")
        self.device = pick_device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()
        self.precision = precision
        self.array_ops = ArrayOps() if self.device.type == "cpu" else GpuArrayOps(self.device)
        self._fast = FastCopy(self.model, torch.bfloat16 if precision == "bf16" else torch.float32)

    @torch.inference_mode()
    def __call__(self, images: Any) -> Any:
        """Images in [0, 1], BxCxHxW, to float32 logits BxKxceil(H/4)xceil(W/4); arrays, or tensors on a GPU."""
        if isinstance(images, Tensor):
            return self._logits(images)
        return self._logits(torch.from_numpy(images)).contiguous().numpy()

    def _logits(self, x: Tensor) -> Tensor:
        network = self._fast.network(x)
        ordinary = network is self.model  # the copy has weights in bf16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=ordinary and self.precision == "bf16"):
            logits: Tensor = network(x.contiguous(memory_format=torch.channels_last), upsample=False)
        return logits.float()

    @property
    def config(self) -> ModelConfig:
        """The network's settings; the defaults if it has none."""
        return getattr(self.model, "config", None) or ModelConfig()

    @cached_property
    def overlap(self) -> int:
        """Pixels that neighbouring windows share: two effective radii of the network, measured once.

        Fixed for a DPT and with image pooling, where every score depends on the whole window.
        """
        if self.config.dpt is not None:
            return GLOBAL_OVERLAP
        if self.config.image_pooling:
            return POOLED_OVERLAP
        return needed_overlap(effective_radius(self.model, self.device))

    @cached_property
    def bytes_per_pixel(self) -> float:
        """Bytes of activations per pixel of a window, measured once."""
        return bytes_per_pixel(self.model, self.config.in_channels, self.device)

    def fingerprint(self) -> str:
        """Precision and weights."""
        return f"{self.name} {self.precision} {weights_hash(self.model)}"

    def need(self, shape: tuple[int, int, int, int]) -> MemoryNeed | None:
        """Memory for images of that shape, found without running the network; None unless it is a RefineNet."""
        if not isinstance(self.model, RefineNet):
            return None

        def prepare(mode: FakeTensorMode) -> tuple[list[Tensor], Callable[[], object]]:
            copied = copy.copy(self)
            copied.model = fake_copy(self.model, mode)
            copied._fast = FastCopy(copied.model, self._fast.dtype)
            with torch.no_grad():
                resting = tensors_of(copied.model) + tensors_of(copied._fast.network(self.model.mean))
            images = torch.empty(shape, device=self.device)
            return [*resting, images], lambda: torch.inference_mode()(copied._logits)(images)

        return memory_need(prepare)

    def free_memory(self) -> int | None:
        """Bytes free on the device."""
        return free_device_memory(self.device)


def open_network(
    model: str | Path, device: str = "auto", precision: str = "32"
) -> tuple[NetworkRunner, ModelCard]:
    """Open a bundled name, a model folder or ``hf:ORG/NAME[@REVISION]``: a runner and the model's card.

    Raises:
        WeightsError: unknown name, or a damaged folder.
        InputError: the device is not there, or the precision is unknown.
    """
    folder = find_model(str(model))
    network, card = load_model_folder(folder)
    card = replace(card, provenance=card.provenance | origin_of(str(model), folder))
    return NetworkRunner(network, device, precision), card
