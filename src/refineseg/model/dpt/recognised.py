"""A recognised checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from refineseg.config import ModelConfig
from refineseg.config.resize import Resize
from refineseg.model.tensors.keymaps import KeyMap

HYBRID = "vit_base_r50_s16_384"  # timm's name of the transformer on a ResNet-50


@dataclass(frozen=True)
class RecognisedNetwork:
    """The recognised network of a checkpoint."""

    config: ModelConfig  # settings of our network
    keys: KeyMap  # map of its names
    unused: tuple[str, ...] = ()  # patterns for the whole names of tensors that the network does not use
    resize: Resize | None = None  # published resize rule for pictures; None for any size
    class_names: tuple[str, ...] = ()  # class names beside the weights; empty if there are none
    notes: Mapping[str, str] = field(default_factory=dict)  # further lines of the model card, by heading
