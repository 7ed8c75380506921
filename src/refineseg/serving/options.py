"""Options of a request, given as query parameters, form fields or JSON keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite

from refineseg.errors import InputError
from refineseg.inference.options import PredictOptions, Tile
from refineseg.inference.outputs import built_in_kinds
from refineseg.serving.problems import Problem

SUMMARY = "json"
KINDS = built_in_kinds()
OUTPUTS = (SUMMARY, *KINDS)
NAMES = ("output", "scales", "flip", "tile", "channels")
MAX_SCALES = 8
MAX_CHANNELS = 64
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


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


def read_options(given: Iterable[tuple[str, str]]) -> RequestOptions:
    """Parse names and values. Problem (422) for an unknown name, one given twice, or a value out of range."""
    values: dict[str, str] = {}
    for name, value in given:
        if name not in NAMES:
            raise Problem(422, f"expected options among {', '.join(NAMES)}, got {name[:40]!r}")
        if name in values:
            raise Problem(422, f"expected the option {name} once, got it twice: join values with commas")
        values[name] = value
    outputs = tuple(values.get("output", SUMMARY).split(","))
    unknown = [kind for kind in outputs if kind not in OUTPUTS]
    if unknown or len(set(outputs)) < len(outputs):
        raise Problem(
            422,
            f"expected output as one or more of {', '.join(OUTPUTS)}, each once, with commas, "
            f"got {values['output'][:60]!r}",
        )
    return RequestOptions(
        outputs,
        PredictOptions(
            _scales(values),
            _flip(values),
            probabilities=any(name in KINDS and KINDS[name].needs_probabilities for name in outputs),
            channels=_channels(values),
        ),
        _tile(values),
    )


def _scales(values: dict[str, str]) -> tuple[float, ...]:
    text = values.get("scales", "1.0")
    try:
        scales = tuple(float(part) for part in text.split(",", MAX_SCALES)[: MAX_SCALES + 1])
        if len(scales) <= MAX_SCALES and all(isfinite(scale) and scale >= 0.1 for scale in scales):
            return PredictOptions(scales).scales
    except (ValueError, InputError):
        pass
    raise Problem(
        422,
        f"expected scales as up to {MAX_SCALES} numbers of 0.1 to 8 with commas, such as 0.75,1.0,1.25, "
        f"got {text[:60]!r}",
    )


def _channels(values: dict[str, str]) -> tuple[int, ...] | None:
    text = values.get("channels")
    if text is None:
        return None
    parts = text.split(",", MAX_CHANNELS)
    if len(parts) <= MAX_CHANNELS and all(p.isascii() and p.isdecimal() and int(p[:6]) > 0 for p in parts):
        return tuple(int(part[:6]) for part in parts)
    raise Problem(422, f"expected channels as numbers from 1 on with commas, such as 3,2,1, got {text[:60]!r}")


def _flip(values: dict[str, str]) -> bool:
    text = values.get("flip", "false")
    if text not in BOOLEANS:
        raise Problem(422, f"expected flip as true or false, got {text[:40]!r}")
    return BOOLEANS[text]


def _tile(values: dict[str, str]) -> Tile:
    text = values.get("tile", "auto")
    if text == "auto":
        return "auto"
    if text.isascii() and text.isdecimal() and 32 <= int(text[:6]) <= 4096:
        return int(text[:6])
    raise Problem(422, f"expected tile auto or a number of pixels of 32 to 4096, got {text[:40]!r}")
