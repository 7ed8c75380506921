"""Options that several commands have, and parsing of option values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from refineseg.errors import InputError

AnyModel = Annotated[
    str, Option("--model", "-m", help="Bundled name, model folder, hf:ORG/NAME or exported file.")
]
Device = Annotated[str, Option(help="Device: auto, cpu or cuda.")]
JsonFile = Annotated[Path | None, Option("--json", help="Also write this to a JSON file.")]
Precision = Annotated[str, Option(help="Precision: 32 (float32) or bf16.")]
TileSize = Annotated[
    str | None, Option(help="Process large pictures in windows: auto, or a side in pixels.", metavar="auto|N")
]


def parse_scales(text: str) -> tuple[float, ...]:
    """``0.75,1,1.25`` to numbers; InputError otherwise."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"expected --scales as numbers with commas, such as 0.75,1.0,1.25, got {text!r}"
        ) from error


def parse_channels(text: str | None) -> tuple[int, ...] | None:
    """``3,2,1`` to numbers, nothing to None; InputError otherwise."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"expected --channels as numbers from 1 on with commas, such as 3,2,1, got {text!r}")
    return tuple(int(part) for part in parts)


def parse_size(text: str, option: str) -> list[int]:
    """``400`` or ``360x480`` to height and width; InputError that names the option otherwise."""
    try:
        parts = [int(part) for part in text.lower().split("x")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2) or min(parts) < 1:
        raise InputError(f"expected {option} N or HEIGHTxWIDTH, got {text!r}")
    return parts * 2 if len(parts) == 1 else parts


def model_fields(assignments: Sequence[str]) -> dict[str, Any]:
    """``name=value`` assignments to settings of a network; ``settings`` is the name of a published form."""
    from refineseg.config import ModelConfig

    forms = [text for text in assignments if text.partition("=")[0].strip() == "settings"]
    fields = ModelConfig.read([text for text in assignments if text not in forms])
    return fields | {"settings": forms[-1].partition("=")[2].strip()} if forms else fields


def parse_names(text: str) -> list[str]:
    """``a,b`` to names; empty ones are left out."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_pair(text: str, expected: str) -> tuple[str, str]:
    """``car=vehicle`` to its two sides; InputError with what was ``expected`` if one is empty."""
    left, _, right = (part.strip() for part in text.partition("="))
    if not (left and right):
        raise InputError(f"expected {expected}, got {text!r}")
    return left, right
