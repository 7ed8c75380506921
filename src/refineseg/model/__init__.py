"""The network: blocks, backbones, the cascade, presets and weights.

Names are imported when first used, so that model cards can be read without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from refineseg.system.lazy import importer

if TYPE_CHECKING:
    from refineseg.model.blocks import ChainedResidualPooling as ChainedResidualPooling
    from refineseg.model.blocks import MultiResolutionFusion as MultiResolutionFusion
    from refineseg.model.blocks import RefineNetBlock as RefineNetBlock
    from refineseg.model.blocks import ResidualConvUnit as ResidualConvUnit
    from refineseg.model.presets import PRESETS as PRESETS
    from refineseg.model.presets import create_model as create_model
    from refineseg.model.presets import model_config as model_config
    from refineseg.model.refinenet import Decoder as Decoder
    from refineseg.model.refinenet import RefineNet as RefineNet

_HOMES = {
    "PRESETS": "refineseg.model.presets",
    "ChainedResidualPooling": "refineseg.model.blocks",
    "Decoder": "refineseg.model.refinenet",
    "MultiResolutionFusion": "refineseg.model.blocks",
    "RefineNet": "refineseg.model.refinenet",
    "RefineNetBlock": "refineseg.model.blocks",
    "ResidualConvUnit": "refineseg.model.blocks",
    "create_model": "refineseg.model.presets",
    "model_config": "refineseg.model.presets",
}
__all__ = list(_HOMES)
__getattr__ = importer(__name__, _HOMES)
