"""Training checkpoints: atomic and hashed; a damaged one is replaced by the one before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from refineseg.errors import WeightsError
from refineseg.system.files import atomic_path, atomic_write, sha256_of
from refineseg.system.text import reason_of

KEPT = 2


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write ``step-N.pt`` and its SHA-256, and remove all but the newest two."""
    path = folder / f"step-{step:08d}.pt"
    with atomic_path(path) as temporary:
        _save(state, temporary)
        # Hash first: a run killed in between would otherwise have a checkpoint without a hash.
        atomic_write(path.with_suffix(".sha256"), sha256_of(temporary) + "\n")
    for old in checkpoints(folder)[KEPT:]:
        old.with_suffix(".sha256").unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The newest intact checkpoint, and a line per newer one that was refused. WeightsError if there is none."""
    refused: list[str] = []
    for path in checkpoints(folder):
        hashed = path.with_suffix(".sha256")
        if not hashed.is_file():
            refused.append(f"{path.name} has no hash beside it: it was not finished")
        elif hashed.read_bytes().strip() != sha256_of(path).encode():
            refused.append(f"{path.name} does not match its hash: it is incomplete or was changed")
        else:
            return _load(path), refused
    reason = "; ".join(refused) or "there is none"
    raise WeightsError(f"expected an intact checkpoint in {folder}: {reason}; start again without --resume")


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint files, newest first."""
    return sorted((path for path in folder.glob("step-*.pt") if path.is_file()), reverse=True)


def _load(path: Path) -> dict[str, Any]:
    """Content of a checkpoint: tensors and plain containers. WeightsError for anything else."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises anything for invalid bytes
        reason = reason_of(error, 200)
        raise WeightsError(f"refused to read {path}: not a checkpoint of refineseg: {reason}") from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path} is not a checkpoint of refineseg: it holds a {type(state).__name__}")
    return state


def _save(state: dict[str, Any], path: Path) -> None:
    with path.open("wb") as stream:
        try:
            torch.save(state, stream)
        except RuntimeError as error:  # torch hides the system's error, such as a full disk
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise
