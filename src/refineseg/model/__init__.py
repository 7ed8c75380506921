"""The network: blocks, backbones, the cascade, presets and weights.

Names are imported when first used, so that model cards can be read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refineseg.model.blocks import (
        ChainedResidualPooling,
        MultiResolutionFusion,
        RefineNetBlock,
        ResidualConvUnit,
    )
    from refineseg.model.presets import PRESETS, create_model, model_config
    from refineseg.model.refinenet import Decoder, RefineNet

_HOMES = {
    "PRESETS": "presets",
    "ChainedResidualPooling": "blocks",
    "Decoder": "refinenet",
    "MultiResolutionFusion": "blocks",
    "RefineNet": "refinenet",
    "RefineNetBlock": "blocks",
    "ResidualConvUnit": "blocks",
    "create_model": "presets",
    "model_config": "presets",
}

__all__ = [
    "PRESETS",
    "ChainedResidualPooling",
    "Decoder",
    "MultiResolutionFusion",
    "RefineNet",
    "RefineNetBlock",
    "ResidualConvUnit",
    "create_model",
    "model_config",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'refineseg.model' has no attribute {name!r}")
    return getattr(import_module(f"refineseg.model.{_HOMES[name]}"), name)
