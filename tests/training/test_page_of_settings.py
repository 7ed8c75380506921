"""docs/settings.md and the code have the same settings, with the same defaults."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from refineseg.config import AugmentConfig, TrainConfig
from refineseg.config.yaml import parse_yaml

PAGE = Path(__file__).parents[2] / "docs/settings.md"
ON_THEIR_OWN = {"augment", "fields"}  # the second table, and the network's settings


def of_the_page() -> dict[str, Any]:
    """Setting to default, over both tables."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len({name for name, _ in rows}) == len(rows)
    return {name: None if text == "none" else parse_yaml(text) for name, text in rows}


@pytest.mark.parametrize("settings", [TrainConfig(), AugmentConfig()])
def test_every_setting_is_on_the_page_with_its_default(settings: TrainConfig | AugmentConfig) -> None:
    page = of_the_page()
    for field in dataclasses.fields(settings):
        if field.name not in ON_THEIR_OWN:
            value = getattr(settings, field.name)
            expected = list(value) if isinstance(value, tuple) else value
            assert page[field.name] == expected or str(page[field.name]) == expected, field.name


def test_the_page_has_no_other_settings() -> None:
    known = {field.name for config in (TrainConfig, AugmentConfig) for field in dataclasses.fields(config)}
    assert set(of_the_page()) == known - ON_THEIR_OWN
