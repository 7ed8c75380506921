"""The settings of refineseg train: from the recipe, the file and the options to one TrainConfig."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from refineseg.cli.options import model_fields, parse_size
from refineseg.errors import InputError

if TYPE_CHECKING:
    from refineseg.config import TrainConfig


def build_config(
    file: Path | None, recipe: str, chosen: dict[str, Any], crop: str | None, assignments: list[str]
) -> tuple[TrainConfig, set[str]]:
    """Settings from the recipe, then the file, then the options, then --set.

    Also the names of those given explicitly, by any but the recipe, which a plan must not change.
    """
    from refineseg.config import RECIPES, TrainConfig
    from refineseg.config.yaml import read_yaml

    if recipe not in RECIPES:
        raise InputError(f"expected --recipe {' or '.join(RECIPES)}, got {recipe!r}")
    values = RECIPES[recipe]().to_dict()
    given = read_yaml(file) if file else {}
    augment = given.pop("augment", {}) or {}
    if not isinstance(augment, dict):
        raise InputError(f"expected settings under augment in {file}, got {augment!r:.100}")
    if crop is not None:
        augment["crop"] = parse_size(crop, "--crop")
    options = {name: value for name, value in chosen.items() if value is not None}
    values |= given | options
    values["augment"] |= augment
    if options.keys() & {"epochs", "steps", "minutes"}:  # an option overrides the length in the file
        values |= {name: options.get(name) for name in ("steps", "minutes")}
    config = TrainConfig.from_dict(values)
    # model.NAME is short for fields.NAME.
    fields = model_fields([text.removeprefix("model.") for text in assignments if text.startswith("model.")])
    others = [text for text in assignments if not text.startswith("model.")]
    explicit = {name for name, value in given.items() if value is not None} | options.keys()
    explicit |= {f"augment.{name}" for name in augment}
    explicit |= {f"fields.{name}" for name in (given.get("fields") or {}) | fields}
    explicit |= {text.partition("=")[0].strip() for text in others}
    config = TrainConfig.from_dict(config.to_dict() | {"fields": config.fields | fields})
    return config.override(others), explicit
