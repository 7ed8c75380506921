"""Reading checkpoints of other programs without running code in them."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from refineseg.errors import WeightsError
from refineseg.system.files import expanded, open_file
from refineseg.system.text import counted, reason_of

# Keys under which trainers save tensors; "model_ema" is UniMatch V2's, "weights" pip's refinenet's.
WRAPPERS = ("state_dict", "segmenter", "model_state_dict", "model_ema", "model", "weights")
PREFIX = "module."  # added to every name by data-parallel training
SUFFIXES = (".pth", ".pt", ".pth.tar", ".ckpt", ".safetensors")


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without prefixes of data-parallel training.

    Args:
        path: a safetensors file, or a file of ``torch.save`` of any age. A pickle is read with
            ``weights_only=True``: tensors, numpy scalars and plain containers, no code.

    Raises:
        WeightsError: the file is missing or damaged, has no tensors, or is a pickle that needs more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"File not found: {path}")
    if path.suffix == ".safetensors":
        return strip_prefix(read_safetensors(path))
    return strip_prefix(unwrap(_unpickle(path), path.name))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; WeightsError if it is missing, damaged or another file."""
    try:
        open_file(path).close()  # refuses a pipe, for which safetensors would wait
        return load_file(path)
    except FileNotFoundError as error:
        raise WeightsError(f"File not found: {path}") from error
    except Exception as error:  # safetensors raises its own untyped errors
        raise WeightsError(
            f"expected a safetensors file, {path} is not one or is damaged: {reason_of(error)}"
        ) from error


def _latin1(text: str, encoding: str) -> bytes:
    """The function that pickles of protocol 2 call to make bytes; any other codec is refused."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"refused the codec {encoding!r:.40}")
    return text.encode("latin1")


# The globals in pickled NumPy scalars, such as a best score beside the weights, of NumPy 1 and 2. A scalar is made
# from raw bytes and a dtype; only dtypes of numbers are allowed, not of objects.
NUMBERS = [np.dtype(code) for code in "?bBhHiIlLqQefdFD"]
NUMPY_SCALARS: list[Any] = [
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
    np.dtype,
    *dict.fromkeys(type(number) for number in NUMBERS),
    (_latin1, "_codecs.encode"),
]


def _unpickle(path: Path) -> Any:
    try:
        # Memory-mapped if the format allows it, so that --find does not read gigabytes.
        with torch.serialization.safe_globals(NUMPY_SCALARS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # the unpickler may raise anything for bytes that are not a pickle
        needs = re.search(r"(?:GLOBAL|global:?|class|type) ([\w.]+\.[\w.]+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and needs is not None:
            raise WeightsError(
                f"refused to read {path}: its pickle asks to run {needs[1]}, and only tensors, numbers and plain "
                "containers are read; load it where you trust it and save the state dict alone with torch.save"
            ) from error
        reason = f"{type(error).__name__} {error}".strip().splitlines()[0]
        raise WeightsError(f"cannot read {path}, damaged, or not a checkpoint: {reason:.200}") from error


def unwrap(content: Any, source: str) -> dict[str, Tensor]:
    """The dictionary of tensors inside a trainer's checkpoint; WeightsError if there is none."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise WeightsError(f"expected named tensors in {source}, got {type(content).__name__}")
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    strange = [f"{key!s:.80}" for key in content if key not in tensors]
    if not tensors or strange:
        found = (
            f"{counted(tensors, 'tensor')} and {counted(strange, 'other entry', 'other entries')} {strange[:3]}"
        )
        raise WeightsError(
            f"expected named tensors in {source}, bare or under {', '.join(WRAPPERS)}, got {found}; "
            "save the state dict alone"
        )
    return tensors


def strip_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by their names without ``PREFIX``, if all of them have it, even repeatedly."""
    while state and all(name.startswith(PREFIX) for name in state):
        state = {name.removeprefix(PREFIX): value for name, value in state.items()}
    return state


def torch_caches() -> list[Path]:
    """Existing folders in which torch and the ports keep downloads."""
    home = expanded("~")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "torch"
    chosen = Path(os.environ["TORCH_HOME"]) if os.environ.get("TORCH_HOME") else cache
    folders = [home / ".torch" / "models"]
    for root in (chosen, cache):
        folders += [root / "hub" / "checkpoints", root / "checkpoints", root / "models"]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
