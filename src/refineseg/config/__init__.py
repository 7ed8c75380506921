"""The settings of a network and of its training, as frozen dataclasses that are validated. No torch."""

from refineseg.config.augment import AugmentConfig
from refineseg.config.model import IMAGENET_MEAN, IMAGENET_STD, ModelConfig, scaled
from refineseg.config.recipes import RECIPES, paper_recipe
from refineseg.config.settings import Config
from refineseg.config.training import TrainConfig

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "RECIPES",
    "AugmentConfig",
    "Config",
    "ModelConfig",
    "TrainConfig",
    "paper_recipe",
    "scaled",
]
