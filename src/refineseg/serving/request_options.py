"""Options of a request, given as query parameters, form fields or JSON keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from refineseg.inference.options import PredictOptions, Tile
from refineseg.inference.outputs import built_in_kinds, need_probabilities
from refineseg.serving.problems import Problem

SUMMARY = "json"
KINDS = built_in_kinds()
OUTPUTS = (SUMMARY, *KINDS)
SCALES, CHANNELS, TILES = (0.1, 8), (1, 999_999), (32, 4096)  # least and largest
MAX_SCALES, MAX_CHANNELS = 8, 64


@dataclass(frozen=True)
class RequestOptions:
    """Options of one request."""

    outputs: tuple[str, ...] = (SUMMARY,)  # one of OUTPUTS, or several, which are returned in one document
    predict: PredictOptions = field(default_factory=PredictOptions)  # scales, flip, probabilities, channels
    tile: Tile = "auto"  # side of windows in pixels, or ``auto``

    @property
    def pixel_factor(self) -> float:
        """Pixels to process for each pixel of the picture, over all scales and flips."""
        return sum(scale**2 for scale in self.predict.scales) * (2 if self.predict.flip else 1)


@dataclass(frozen=True)
class Option:
    """How an option's text is read, and its description for OpenAPI."""

    read: Callable[[str], Any]  # ValueError or KeyError for other texts
    expected: str  # the allowed values, in words
    description: str
    schema: dict[str, Any]


def _outputs(text: str) -> tuple[str, ...]:
    names = text.split(",")
    if not set(names) <= set(OUTPUTS) or len(set(names)) < len(names):
        raise ValueError(text)
    return tuple(names)


def _numbers(text: str, number: Callable[[str], float], bounds: tuple[float, float], most: int) -> tuple[Any, ...]:
    found = tuple(number(part) for part in text.split(",", most - 1))  # any further ones make the last no number
    if not all(bounds[0] <= value <= bounds[1] for value in found):
        raise ValueError(text)
    return found


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):  # int() takes signs, spaces and underscores too
        raise ValueError(text)
    return int(text)


def _bounded(kind: str, bounds: tuple[float, float]) -> dict[str, Any]:
    return {"type": kind, "minimum": bounds[0], "maximum": bounds[1]}


def _list_of(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1, **more}


OPTIONS = {
    "output": Option(
        _outputs,
        f"one or more of {', '.join(OUTPUTS)}, each once, with commas",
        "A single output is returned as a file, several in a JSON document.",
        _list_of({"type": "string", "enum": list(OUTPUTS)}, uniqueItems=True, default=[SUMMARY]),
    ),
    "scales": Option(
        lambda text: _numbers(text, float, SCALES, MAX_SCALES),
        f"up to {MAX_SCALES} numbers of 0.1 to 8 with commas, such as 0.75,1.0,1.25",
        "Scales of the picture over which class scores are averaged.",
        _list_of(_bounded("number", SCALES), maxItems=MAX_SCALES, default=[1.0]),
    ),
    "flip": Option(
        lambda text: {"true": True, "1": True, "false": False, "0": False}[text],
        "true or false",
        "Also average over the mirrored picture.",
        {"type": "boolean", "default": False},
    ),
    "tile": Option(
        lambda text: text if text == "auto" else _numbers(text, _whole, TILES, 1)[0],
        "auto or a number of pixels of 32 to 4096",
        "Side in pixels of the windows of a large picture.",
        {"anyOf": [{"type": "string", "enum": ["auto"]}, _bounded("integer", TILES)], "default": "auto"},
    ),
    "channels": Option(
        lambda text: _numbers(text, _whole, CHANNELS, MAX_CHANNELS),
        "numbers from 1 on with commas, such as 3,2,1",
        "Channels of the file to use, counted from 1; three for RGB.",
        _list_of(_bounded("integer", CHANNELS), maxItems=MAX_CHANNELS),
    ),
}


def read_options(given: Iterable[tuple[str, str]]) -> RequestOptions:
    """Parse names and values. Problem (422) for an unknown name, one given twice, or a value out of range."""
    values: dict[str, Any] = {}
    for name, text in given:
        if name not in OPTIONS:
            raise Problem(422, f"expected options among {', '.join(OPTIONS)}, got {name[:40]!r}")
        if name in values:
            raise Problem(422, f"expected the option {name} once, got it twice: join values with commas")
        try:
            values[name] = OPTIONS[name].read(text)
        except (KeyError, ValueError):
            raise Problem(422, f"expected {name} as {OPTIONS[name].expected}, got {text[:60]!r}") from None
    outputs, tile = values.pop("output", (SUMMARY,)), values.pop("tile", "auto")
    kept = need_probabilities(KINDS[name] for name in outputs if name in KINDS)
    return RequestOptions(outputs, PredictOptions(**values, probabilities=kept), tile)
