"""Reading and writing YAML: plain types of bounded size, errors that name the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refineseg.errors import ConfigError
from refineseg.system.files import read_file
from refineseg.system.text import decode_text

LARGEST_YAML = 200_000  # values in one file


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that holds a mapping; anything else is a ConfigError that names the file."""
    path = Path(path)
    try:
        values = parse_yaml(decode_text(read_file(path)))
    except FileNotFoundError as error:
        raise ConfigError(f"File not found: {path}") from error
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"expected a YAML file, cannot read {path}: {reason}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"expected names and values in {path}, got {type(values).__name__}")
    return values


def parse_yaml(text: str) -> Any:
    """The value of a YAML text: plain types only, of bounded size.

    Raises ConfigError for anything else, such as references that expand to more than LARGEST_YAML values or
    endlessly.
    """
    import yaml  # not needed for prediction with exported files

    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # ValueError: an impossible date or number
        raise ConfigError(f"invalid YAML: {' '.join(str(error).split()):.300}") from error
    except RecursionError as error:
        raise ConfigError("it is nested too deeply") from error
    left = LARGEST_YAML
    stack = [value]
    while stack:
        item, left = stack.pop(), left - 1
        if left < 0:
            raise ConfigError(f"its references make more than {LARGEST_YAML:,} values")
        stack += list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else ()
    return value


def to_yaml(values: Mapping[str, Any]) -> str:
    """YAML text with the order of the fields kept."""
    import yaml

    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=100)
