"""Runners: from images to score maps at stride 4. Views, fusion, tiles and labels are the predictor's job.

``torch_module`` runs an nn.Module; ``onnx``, ``openvino`` and ``torch_export`` run exported files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from refineseg.config import ModelConfig
from refineseg.inference.array_ops import ArrayOps

if TYPE_CHECKING:
    from refineseg.model.memory import MemoryNeed


class Runner(Protocol):
    """A network and the engine that runs it."""

    @property
    def name(self) -> str:
        """``torch``, ``onnxruntime`` or ``openvino``."""

    @property
    def array_ops(self) -> ArrayOps:
        """Operations on the runner's arrays."""

    @property
    def config(self) -> ModelConfig:
        """The network's settings, among them input scales, stride, outputs."""

    @property
    def overlap(self) -> int:
        """Pixels that neighbouring windows must share."""

    @property
    def bytes_per_pixel(self) -> float:
        """Bytes of activations per pixel of a window."""

    def __call__(self, images: Any) -> Any:
        """Images in [0, 1], BxCxHxW of any size, to float32 logits BxKxceil(H/4)xceil(W/4)."""

    def fingerprint(self) -> str:
        """A text of engine, precision and weights, which changes whenever the logits may."""

    def need(self, shape: tuple[int, int, int, int]) -> MemoryNeed | None:
        """Memory for images of that shape; None if unknown."""

    def free_memory(self) -> int | None:
        """Free bytes on the device; None if unknown."""
