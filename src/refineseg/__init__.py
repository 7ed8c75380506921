"""RefineNet (Lin et al., CVPR 2017) for semantic segmentation and object parsing.

The names below are the library's door; each is imported when first used, so that ``import refineseg`` is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from refineseg._version import __version__
from refineseg.system.threads import wait_briefly

if TYPE_CHECKING:
    from refineseg.config import AugmentConfig, ModelConfig, TrainConfig
    from refineseg.data.registry import open_data
    from refineseg.deploy.export import export
    from refineseg.errors import RefinesegError
    from refineseg.evaluation.evaluate import evaluate
    from refineseg.inference.predictor import Segmenter
    from refineseg.inference.result import Result
    from refineseg.labels import LabelMap
    from refineseg.loading import load
    from refineseg.model.presets import create_model
    from refineseg.training.loop import train

wait_briefly()  # before torch is imported

_HOMES = {
    "AugmentConfig": "refineseg.config",
    "LabelMap": "refineseg.labels",
    "ModelConfig": "refineseg.config",
    "RefinesegError": "refineseg.errors",
    "Result": "refineseg.inference.result",
    "Segmenter": "refineseg.inference.predictor",
    "TrainConfig": "refineseg.config",
    "create_model": "refineseg.model.presets",
    "evaluate": "refineseg.evaluation.evaluate",
    "export": "refineseg.deploy.export",
    "load": "refineseg.loading",
    "open_data": "refineseg.data.registry",
    "train": "refineseg.training.loop",
}

__all__ = [
    "AugmentConfig",
    "LabelMap",
    "ModelConfig",
    "RefinesegError",
    "Result",
    "Segmenter",
    "TrainConfig",
    "__version__",
    "create_model",
    "evaluate",
    "export",
    "load",
    "open_data",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'refineseg' has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
