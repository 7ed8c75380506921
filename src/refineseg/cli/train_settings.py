"""The settings of refineseg train: from the recipe, the file and the options to one TrainConfig."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from refineseg.cli.options import parse_size
from refineseg.errors import InputError

if TYPE_CHECKING:
    from refineseg.config import TrainConfig


def build_config(
    file: Path | None, recipe: str, chosen: dict[str, Any], crop: str | None, assignments: list[str]
) -> TrainConfig:
    """Settings from the recipe, then the file, then the options, then --set."""
    from refineseg.config import RECIPES, TrainConfig
    from refineseg.config.yaml import read_yaml

    if recipe not in RECIPES:
        raise InputError(f"expected --recipe {' or '.join(RECIPES)}, got {recipe!r}")
    values = RECIPES[recipe]().to_dict()
    given = read_yaml(file) if file else {}
    augment = given.pop("augment", {}) or {}
    values |= given
    if not isinstance(augment, dict):
        raise InputError(f"expected settings under augment in {file}, got {augment!r:.100}")
    values["augment"] |= augment
    values |= {name: value for name, value in chosen.items() if value is not None}
    for name in ("epochs", "steps", "minutes"):  # an option overrides the length in the file
        if chosen.get(name) is not None:
            values |= {other: None for other in ("steps", "minutes") if chosen.get(other) is None}
    if crop is not None:
        values["augment"]["crop"] = parse_size(crop, "--crop")
    # model.NAME is short for fields.NAME.
    fields = [text for text in assignments if text.startswith("model.")]
    config = TrainConfig.from_dict(values)
    if fields:
        from refineseg.config import ModelConfig

        changed = ModelConfig.read([text.removeprefix("model.") for text in fields])
        config = TrainConfig.from_dict(config.to_dict() | {"fields": config.fields | changed})
    return config.override([text for text in assignments if text not in fields])


def explicit_settings(
    file: Path | None, chosen: dict[str, Any], crop: str | None, assignments: list[str]
) -> set[str]:
    """Names of the settings given explicitly, which a plan must not change."""
    from refineseg.config.yaml import read_yaml

    given = read_yaml(file) if file else {}
    names = {name for values in (given, chosen) for name, value in values.items() if value is not None}
    for group in ("augment", "fields"):
        names |= {f"{group}.{name}" for name in given.get(group) or {}}
    names |= {text.partition("=")[0].strip() for text in assignments}
    names |= {"augment.crop"} if crop is not None else set()
    return {f"fields.{name.removeprefix('model.')}" if name.startswith("model.") else name for name in names}
