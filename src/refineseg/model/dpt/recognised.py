"""A recognised DPT checkpoint, and the network with its tensors, loaded strictly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from refineseg.config import ModelConfig
from refineseg.config.resize import Resize
from refineseg.model.dpt.keymaps import joined_projections, split_projections
from refineseg.model.dpt.network import DPT
from refineseg.model.folders.model_folder import assign_weights
from refineseg.model.tensors.keymaps import KeyMap
from refineseg.model.tensors.mismatch import matched

HYBRID = "vit_base_r50_s16_384"  # timm's name of the transformer on a ResNet-50
COUNTER = ".num_batches_tracked"  # a batch norm's counter, which inference does not use


@dataclass(frozen=True)
class RecognisedDPT:
    """The recognised network of a checkpoint."""

    config: ModelConfig  # settings of our network
    keys: KeyMap  # map of its names
    unread: tuple[str, ...]  # patterns for the whole names of tensors that the network does not use
    resize: Resize | None = None  # published resize rule for pictures; None for any size
    class_names: tuple[str, ...] = ()  # class names beside the weights; empty if there are none
    notes: Mapping[str, str] = field(default_factory=dict)  # further lines of the model card, by heading


def fill(found: RecognisedDPT, state: Mapping[str, Tensor]) -> tuple[DPT, tuple[str, ...]]:
    """The network with the checkpoint's tensors, in eval mode, and the names of unused tensors.

    Raises:
        MismatchError: a tensor is missing, left over or of another shape.
        WeightsError: a value is not finite.
    """
    unread = re.compile("|".join(found.unread)) if found.unread else None
    left_out = tuple(name for name in state if unread is not None and unread.fullmatch(name))
    taken = {key: value for key, value in state.items() if key not in left_out and not key.endswith(COUNTER)}
    with torch.device("meta"):
        network = DPT(found.config)
    expected = {
        key: tuple(value.shape) for key, value in network.state_dict().items() if not key.endswith(COUNTER)
    }
    if any(":" in rule.ours for rule in found.keys.rules):
        expected = split_projections(expected)
    ours = joined_projections(matched(found.keys, found.keys.name, taken, expected))
    assign_weights(network, ours, "the checkpoint")
    return network.eval(), tuple(name for name in left_out if not name.endswith(COUNTER))


def quarters(depth: int) -> tuple[int, ...]:
    """Indices of the last blocks of a transformer's quarters."""
    return tuple(depth * part // 4 - 1 for part in (1, 2, 3, 4))


def count_blocks(names: Iterable[str], prefix: str) -> int:
    """Number of blocks ``PREFIX.N.`` in the names."""
    found = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return max((int(match[1]) + 1 for name in names if (match := found.match(name))), default=0)
