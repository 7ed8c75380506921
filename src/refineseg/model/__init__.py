"""The network: blocks, backbones, the cascade, presets and weights."""

from refineseg.model.blocks import (
    ChainedResidualPooling,
    MultiResolutionFusion,
    RefineNetBlock,
    ResidualConvUnit,
)
from refineseg.model.presets import PRESETS, create_model, model_config
from refineseg.model.refinenet import Decoder, RefineNet

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
