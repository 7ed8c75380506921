"""A new classifier for a network that was trained on other classes; common classes keep their weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from refineseg.errors import ConfigError
from refineseg.model.blocks import conv
from refineseg.model.refinenet import RefineNet, init_paper

HEAD = ("classifier.weight", "classifier.bias")
SEPARATORS = str.maketrans("", "", " _-\t")


def change_classes(model: RefineNet, num_classes: int, rows: Mapping[int, int], seed: int = 0) -> None:
    """Give a network a classifier of ``num_classes`` classes, in place; backbone and decoder are not changed.

    ``rows`` has the old class of each new class whose weights and bias are copied; all others are random.

    Raises ConfigError if the network does not predict classes.
    """
    if model.config.outputs != "classes":
        raise ConfigError(f"expected a network that predicts classes, got one of {model.config.outputs}")
    old = model.get_submodule(model.CLASS_LAYER)
    assert isinstance(old, nn.Conv2d)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        new = conv(old.in_channels, num_classes, old.kernel_size[0], bias=True)
        if model.config.init == "paper":
            new.apply(init_paper)
        for to, source in rows.items():
            for name, value in new.named_parameters():
                value[to] = old.get_parameter(name)[source]
    model.set_submodule(model.CLASS_LAYER, new.train(old.training))
    model.config = replace(model.config, num_classes=num_classes)


def same_classes(new: Sequence[str], old: Sequence[str], aliases: Mapping[str, str]) -> dict[int, int]:
    """Index in ``old`` for each class of ``new`` found there by name; case, spaces, ``_`` and ``-`` are ignored.

    ``new`` are the data's names, ``old`` the model's; ``aliases`` are names in the data by names in the model.

    Raises ConfigError if an alias names an unknown class.
    """
    by_name = {name_key(name): index for index, name in reversed(list(enumerate(old)))}
    targets = {name_key(name): index for index, name in enumerate(new)}
    found = {index: by_name[name_key(name)] for index, name in enumerate(new) if name_key(name) in by_name}
    for source, target in aliases.items():
        _known(source, by_name, old, "the model")
        _known(target, targets, new, "the data")
        found[targets[name_key(target)]] = by_name[name_key(source)]
    return dict(sorted(found.items()))


def name_key(name: str) -> str:
    """A class name in lower case without separators."""
    return name.casefold().translate(SEPARATORS)


def _known(name: str, known: Iterable[str], names: Sequence[str], where: str) -> None:
    if name_key(name) not in known:
        shown = ", ".join(names)
        raise ConfigError(f"expected --map MODEL_CLASS=DATA_CLASS, {where} has no class {name!r}: {shown:.300}")
