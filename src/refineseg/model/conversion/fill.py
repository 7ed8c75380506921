"""A network with a checkpoint's tensors, under its own names: all of them, or none."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from refineseg.model.classifier import change_classes
from refineseg.model.conversion.recognise import Architecture
from refineseg.model.conversion.result import Conversion
from refineseg.model.dpt.keymaps import joined_projections, split_projections
from refineseg.model.dpt.recognised import RecognisedNetwork
from refineseg.model.folders.model_folder import assign_weights, check_finite
from refineseg.model.presets import build
from refineseg.model.refinenet import RefineNet
from refineseg.model.tensors.mismatch import matched, without_counters


def fill(
    found: RecognisedNetwork, state: Mapping[str, Tensor], reset_head: int | None = None
) -> tuple[RefineNet, Conversion]:
    """The network with the checkpoint's tensors, in eval mode, and a summary.

    ``reset_head`` is the number of classes of a new, random classifier; None keeps the checkpoint's.

    Raises:
        MismatchError: a tensor is missing, left over or of another shape.
        WeightsError: a value is not finite.
    """
    with torch.device("meta"):
        network = build(found.config)
    reset = tuple(f"{network.CLASS_LAYER}.{leaf}" for leaf in ("weight", "bias") if reset_head is not None)
    state = without_counters(state)
    left_out = tuple(name for name in state if re.fullmatch("|".join(found.unused), name))
    skipped = {*left_out, *(found.keys.to_theirs(name) for name in reset)}
    taken = {name: value for name, value in state.items() if name not in skipped}
    own = without_counters(network.state_dict())
    expected = {name: tuple(value.shape) for name, value in own.items() if name not in reset}
    if any(":" in rule.ours for rule in found.keys.rules):
        expected = split_projections(expected)
    name = f"{found.config.preset} ({found.keys.name})"
    ours = joined_projections(matched(found.keys, name, taken, expected))
    check_finite(ours, "the checkpoint")
    assign_weights(network, ours)
    if reset_head is not None:
        change_classes(network, reset_head, {})
    count = None if found.config.outputs == "depth" else network.num_classes
    architecture = Architecture(found.config.preset, found.keys, count)
    named = bool(found.class_names) and not reset
    return network.eval(), Conversion(
        architecture, count, len(taken), reset, left_out, found.config.outputs, named
    )
