"""Exported files: their description of themselves, and the runner that opens them. No torch.

Beside the network, a file's metadata hold a JSON text (``Exported``) with everything that prediction needs. Each
engine's package is imported in a file of its own.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from refineseg.config import ModelConfig
from refineseg.errors import InputError, WeightsError
from refineseg.inference.array_ops import ArrayOps
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.find_model import bundled_exports
from refineseg.system.files import expanded
from refineseg.system.hardware import cores
from refineseg.system.memory import free_memory

KEY = "refineseg"  # key of the description in a file's metadata
Input = Literal["float32", "uint8"]  # BxCxHxW in [0, 1], or BxHxWx3 as pictures lie in memory
Outputs = Literal["logits", "labels", "probabilities"]
FORMAT = 1  # raised when older readers could misread a file
ENGINES = ("auto", "torch", "onnxruntime", "openvino")
SUFFIXES = {".onnx": ("onnxruntime", "openvino"), ".xml": ("openvino",), ".pt2": ("torch",)}  # the default first


@dataclass(frozen=True)
class Exported:
    """The description in an exported file."""

    card: ModelCard  # name, labels, scores with protocol, provenance, licence, calibration
    config: ModelConfig
    # format, versions, precision, input, outputs; ``overlap`` in pixels and ``bytes_per_pixel``, which tiles need;
    # ``source``, a hash of the weights
    export: Mapping[str, Any]

    @classmethod
    def read(cls, text: str | None, path: Path) -> Exported:
        """Parse the text in a file's metadata; WeightsError if it is missing or damaged."""
        if not text:
            raise WeightsError(f"expected a file written by refineseg export, {path} has no description")
        try:
            values = json.loads(text)
            if values["export"]["format"] != FORMAT:
                got = repr(values["export"]["format"])
                raise WeightsError(f"expected format {FORMAT} in {path}, got {got:.100}: update refineseg")
            return cls(ModelCard.from_dict(values), ModelConfig.from_dict(values["model"]), values["export"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsError(f"cannot read the description in {path}, it is damaged: {error!r}") from error


class ExportedRunner(ABC):
    """Runs an exported network on the CPU; a Runner."""

    name: ClassVar[str]  # ``onnxruntime``, ``openvino`` or ``torch``
    array_ops = ArrayOps()

    def __init__(self, exported: Exported) -> None:
        self.exported = exported  # the file's description of itself
        self.config = exported.config
        # ``logits``; or ``labels`` or ``probabilities`` in files for other programs
        self.file_outputs = str(exported.export.get("outputs", "logits"))

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images in [0, 1], BxCxHxW of any size, to logits BxKxceil(H/4)xceil(W/4).

        A file that takes uint8 sees them rounded to 8 bits, which changes pictures that were resized.
        """
        return self.run(self.as_input(images))

    @abstractmethod
    def run(self, images: NDArray[Any]) -> NDArray[Any]:
        """Run the file on its own kind of input."""

    def as_input(self, images: NDArray[np.float32]) -> NDArray[Any]:
        """Images in [0, 1], BxCxHxW, as the file's input: unchanged, or BxHxWxC uint8."""
        if self.exported.export.get("input") != "uint8":
            return np.ascontiguousarray(images)
        return np.ascontiguousarray(np.rint(images * 255).astype(np.uint8).transpose(0, 2, 3, 1))

    @property
    def overlap(self) -> int:
        """Pixels that windows share; measured when the file was made."""
        return int(self.exported.export["overlap"])

    @property
    def bytes_per_pixel(self) -> float:
        """Bytes of activations per pixel of a window; measured when the file was made."""
        return float(self.exported.export["bytes_per_pixel"])

    def fingerprint(self) -> str:
        """Engine, weights and how the file was made."""
        return f"{self.name} {self.exported.export}"

    def need(self, shape: tuple[int, int, int, int]) -> None:
        """None, for unknown: engines manage their own memory."""
        del shape

    def free_memory(self) -> int | None:
        """Bytes free on this machine."""
        return free_memory()


def is_exported(model: str | Path) -> bool:
    """Whether a model is an exported file: by its suffix, or a bundled name such as ``camvid-int8``."""
    return Path(model).suffix.lower() in SUFFIXES or str(model) in bundled_exports()


def open_exported(
    path: str | Path, engine: str = "auto", precision: str = "32", outputs: Outputs = "logits"
) -> ExportedRunner:
    """Open an exported file.

    Args:
        path: a file of ``refineseg export``: .onnx, .xml (OpenVINO) or .pt2 (torch); or a name such as
            ``camvid-int8``.
        engine: ``auto`` is the format's own; openvino opens .onnx too.
        precision: ``32``, or ``bf16`` with openvino.
        outputs: the outputs that the file must have; the predictor needs logits.

    Raises:
        WeightsError: the file is missing, damaged or foreign.
        InputError: the engine does not open this format or lacks the precision, or the file has other outputs.
        MissingExtraError: the engine's package is not installed.
    """
    path = bundled_exports().get(str(path), expanded(path))
    engines = SUFFIXES.get(path.suffix.lower(), ())
    if engine != "auto" and engine not in engines:
        raise InputError(f"expected --engine {' or '.join(('auto', *engines))} for {path.name}, got {engine!r}")
    if not path.is_file():
        raise WeightsError(f"File not found: {path}")
    chosen = engines[0] if engine == "auto" else engine
    if precision == "bf16" and chosen != "openvino":
        raise InputError(
            f"expected --precision 32 with {chosen} and an exported file, got bf16: use --engine openvino"
        )
    runner = _open(path, chosen, precision)
    if runner.file_outputs != outputs:
        raise InputError(
            f"expected a file that gives {outputs}, {path.name} gives {runner.file_outputs}: "
            f"use one made with refineseg export --outputs {outputs}"
        )
    return runner


def _open(path: Path, engine: str, precision: str) -> ExportedRunner:
    if engine == "onnxruntime":
        from refineseg.inference.runners.onnx import OnnxRunner

        return OnnxRunner(path)
    if engine == "openvino":
        from refineseg.inference.runners.openvino import OpenVinoRunner

        return OpenVinoRunner(path, precision)
    from refineseg.inference.runners.torch_export import TorchExportRunner

    return TorchExportRunner(path)


def threads() -> int:
    """Number of threads for an engine: OMP_NUM_THREADS, as for torch, else the cores given to the process."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return cores()
