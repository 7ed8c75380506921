"""RefineNet (Lin et al., CVPR 2017) for semantic segmentation and object parsing.

The names below are its interface; each is imported when first used, so that ``import refineseg`` is instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from refineseg._version import __version__ as __version__
from refineseg.system.lazy import importer
from refineseg.system.telemetry import send_nothing
from refineseg.system.threads import limit_threads, wait_briefly

if TYPE_CHECKING:
    from refineseg.config import AugmentConfig as AugmentConfig
    from refineseg.config import ModelConfig as ModelConfig
    from refineseg.config import TrainConfig as TrainConfig
    from refineseg.data.registry import open_data as open_data
    from refineseg.deploy.export import export as export
    from refineseg.errors import RefinesegError as RefinesegError
    from refineseg.evaluation.evaluate import evaluate as evaluate
    from refineseg.inference.predictor import Segmenter as Segmenter
    from refineseg.inference.result import Result as Result
    from refineseg.labels import LabelMap as LabelMap
    from refineseg.loading import load as load
    from refineseg.model.presets import create_model as create_model
    from refineseg.training.loop import train as train

# Before torch is imported.
wait_briefly()
limit_threads()
send_nothing()

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
__all__ = ["__version__", *_HOMES]
__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
