"""LabelMap: the one owner of label conventions, from the raw value in a mask file to the submission id.

Train ids are 0 .. K-1 and IGNORE (255) for pixels that count neither in the loss nor in a score. Every other
part of the project takes names, colours, ignored values and ids from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from refineseg.colors import Color as Color
from refineseg.colors import class_colors, is_background
from refineseg.config.settings import plain
from refineseg.errors import LabelError
from refineseg.raw_values import Raw, color_of, mask_numbers, number_text, number_to_color, raw_number, raw_values
from refineseg.system.text import counted

IGNORE = 255
LOWEST, HIGHEST = -(1 << 15), (1 << 16) - 1  # numbers in mask files
UNKNOWN = LOWEST - 1  # stands for no number
UNLABELLED = 254  # in training: pixels of pictures without a mask, which only a teacher model labels
KEYS = ("name", "color", "raw", "submission", "mirror")  # of a class
UInt8 = NDArray[np.uint8]


@dataclass(frozen=True)
class LabelClass:
    """One class."""

    name: str  # name as printed
    color: Color  # RGB, 0..255, in palettes and overlays
    raw: tuple[Raw, ...]  # values (or RGB colours) in mask files that mean this class; several are merged into one
    submission: int | None = None  # value that a benchmark's server takes; the first raw value if None
    # name of the class that this one becomes in a horizontally flipped picture (left arm, right arm)
    mirror: str | None = None


@dataclass(frozen=True)
class LabelMap:
    """Classes in the order of their train ids, and the raw values that are ignored.

    Attributes:
        classes: the index in this tuple is the train id.
        ignore: raw values (or RGB colours) that become IGNORE.
    """

    classes: tuple[LabelClass, ...]
    ignore: tuple[Raw, ...] = (IGNORE,)

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= IGNORE:
            raise LabelError(f"expected 1 to {IGNORE} classes, got {len(self.classes)}")
        names = self.names
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise LabelError(f"expected every class name once, got {sorted(repeated)!s:.200} more than once")
        values = [value for item in self.classes for value in item.raw] + list(self.ignore)
        if len(set(values)) != len(values):
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            raise LabelError(f"expected every mask value in one place, got {', '.join(twice):.200} more than once")
        if len({isinstance(value, int) for value in values}) > 1:
            raise LabelError("expected mask values to be all numbers or all RGB colours, got both")
        for value in values:
            parts = (value,) if isinstance(value, int) else value
            low, high = (LOWEST, HIGHEST) if isinstance(value, int) else (0, 255)
            if not all(low <= part <= high for part in parts):
                raise LabelError(f"expected mask values in {low}..{high}, got {value!s:.200}")
        self._check_mirrors()

    def _check_mirrors(self) -> None:
        mirrors = {item.name: item.mirror for item in self.classes}
        for name, mirror in mirrors.items():
            if mirror is None:
                continue
            if mirror not in mirrors:
                raise LabelError(f"expected the mirror of {name:.200} to be a class, got {mirror!r:.200}")
            # Flipping twice must give back the labels.
            if (mirrors[mirror] or mirror) != name:
                found = f"{mirrors[mirror]!r:.200}"
                raise LabelError(f"expected {mirror:.200} to mirror {name:.200} in turn, got {found} there")

    @property
    def names(self) -> list[str]:
        """Class names by train id."""
        return [item.name for item in self.classes]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def rgb(self) -> bool:
        """Whether masks are colour pictures rather than numbers."""
        values = [value for item in self.classes for value in item.raw] or list(self.ignore)
        return bool(values) and not isinstance(values[0], int)

    @cached_property
    def palette(self) -> UInt8:
        """256x3 colours by train id; ignored and unused values are black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: self.num_classes] = [item.color for item in self.classes]
        return palette

    @cached_property
    def background_ids(self) -> tuple[int, ...]:
        """Train ids of background, by name, which overlays do not colour."""
        return tuple(index for index, name in enumerate(self.names) if is_background(name))

    @cached_property
    def mirrored(self) -> UInt8:
        """256 train ids: what each becomes in a horizontally flipped picture."""
        swap = np.arange(256, dtype=np.uint8)
        for index, item in enumerate(self.classes):
            if item.mirror is not None:
                swap[index] = self.names.index(item.mirror)
        return swap

    @cached_property
    def _table(self) -> NDArray[np.int16]:
        """Raw number to train id, -1 where unknown; negative numbers from the end. Colours are 24-bit numbers."""
        table = np.full(1 << 24 if self.rgb else 1 + HIGHEST - LOWEST, -1, np.int16)
        for train_id, item in enumerate(self.classes):
            for value in item.raw:
                table[raw_number(value)] = train_id
        for value in self.ignore:
            table[raw_number(value)] = IGNORE
        return table

    def encode(self, mask: NDArray[Any], source: str = "mask") -> UInt8:
        """Raw mask to train ids.

        Args:
            mask: HxW integers, or HxWx3 uint8 where the map is by colour.
            source: what to call the mask in an error, such as its file name.

        Raises:
            LabelError: values that the map does not know, each with its number of pixels.
        """
        numbers = mask_numbers(mask, self.rgb, source)
        encoded = self._lookup(numbers)
        if (encoded < 0).any():
            raise LabelError(self._explain(numbers[encoded < 0], source))
        return encoded.astype(np.uint8)

    def unknown(self, mask: NDArray[Any], source: str = "mask") -> dict[int, int]:
        """Raw values outside the map (colours as 24-bit numbers) and how many pixels have each."""
        numbers = mask_numbers(mask, self.rgb, source)
        values, counts = np.unique(numbers[self._lookup(numbers) < 0], return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))

    def decode(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Train ids to raw values: the first raw value of each class, IGNORE to the first ignored one.

        ``encode(decode(labels))`` is ``labels``. Colours come as HxWx3 uint8; numbers as uint8, uint16 or int32,
        whichever holds all values of the map.

        Raises:
            LabelError: an id outside the classes, or IGNORE where the map ignores nothing.
        """
        ignored = raw_number(self.ignore[0]) if self.ignore else None
        return self._raw_values(labels, [item.raw[0] if item.raw else None for item in self.classes], ignored)

    def submission(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Train ids to the values that the benchmark's server takes; IGNORE becomes 0."""
        values = [
            item.submission if item.submission is not None else item.raw[0] if item.raw else None
            for item in self.classes
        ]
        return self._raw_values(labels, values, 0)

    def _raw_values(self, labels: NDArray[Any], values: Sequence[Raw | None], ignored: int | None) -> NDArray[Any]:
        table = np.full(256, UNKNOWN, np.int64)
        for train_id, value in enumerate(values):
            if value is not None:
                table[train_id] = raw_number(value)
        if ignored is not None:
            table[IGNORE] = ignored
        numbers = table[labels]
        if (numbers == UNKNOWN).any():
            bad = sorted(set(labels[numbers == UNKNOWN].tolist()))
            raise LabelError(
                f"expected train ids 0..{self.num_classes - 1} that have a mask value, got {bad}; "
                "give the class a 'raw' value, or 'ignore' one"
            )
        if any(not isinstance(value, int) for value in values if value is not None):
            return np.stack(number_to_color(numbers), axis=-1).astype(np.uint8)
        signed = min(table[table != UNKNOWN], default=0) < 0
        return np.asarray(numbers, np.int32 if signed else np.uint8 if table.max() < 256 else np.uint16)

    def colorize(self, labels: NDArray[Any]) -> UInt8:
        """Train ids HxW to RGB HxWx3."""
        return np.asarray(self.palette[labels])

    def flip(self, labels: UInt8) -> UInt8:
        """Labels HxW of the horizontally flipped picture, left and right classes swapped."""
        return np.ascontiguousarray(self.mirrored[labels[:, ::-1]])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML; what a class lacks is left out."""
        values = plain(asdict(self))
        classes = [{key: value for key, value in item.items() if value is not None} for item in values["classes"]]
        return {"classes": classes, "ignore": values["ignore"]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``; ``color`` and ``raw`` may be left out, and a class may be a bare name.

        Without ``ignore`` the value 255 is ignored, unless a class claims it or masks are by colour.
        """
        try:
            entries = values["classes"]
            if not isinstance(entries, list | tuple):
                raise TypeError(f"'classes' is a {type(entries).__name__}")
            given = [entry if isinstance(entry, Mapping) else {"name": entry} for entry in entries]
            for entry in given:
                if isinstance(entry["name"], bool) or not isinstance(entry["name"], str | int | float):
                    hint = ", as YAML reads yes, no, on and off without quotes" * isinstance(entry["name"], bool)
                    raise TypeError(f"a name is a {type(entry['name']).__name__}{hint}")
                unknown = [key for key in entry if key not in KEYS]
                if unknown:
                    raise KeyError(
                        f"{entry['name']!s:.80} has the key {unknown[0]!r:.80}, known are {', '.join(KEYS)}"
                    )
            names = [class_name(str(entry["name"])) for entry in given]
            colors = class_colors(names)
            classes = tuple(
                LabelClass(
                    name,
                    color_of(entry.get("color", color)),
                    raw_values(entry.get("raw", train_id)),
                    entry.get("submission"),
                    entry.get("mirror"),
                )
                for train_id, (name, color, entry) in enumerate(zip(names, colors, given, strict=True))
            )
            by_color = any(not isinstance(value, int) for item in classes for value in item.raw)
            claimed = any(IGNORE in item.raw for item in classes)  # a class of value 255 leaves none to ignore
            return cls(classes, raw_values(values.get("ignore", [] if by_color or claimed else IGNORE)))
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:  # the last: infinite colours
            raise LabelError(
                "expected labels with a list 'classes' of names or of {name, color: [R, G, B], raw: [values]}, "
                f"and 'ignore': [values]; got {values!r:.200} ({error})"
            ) from error

    @classmethod
    def from_names(
        cls,
        names: Sequence[str],
        colors: Sequence[Sequence[int]] | None = None,
        first: int = 0,
        ignore: Sequence[int] = (IGNORE,),
    ) -> Self:
        """Classes whose raw values are ``first``, ``first`` + 1, ..."""
        chosen = class_colors(names) if colors is None else colors
        classes = tuple(
            LabelClass(name, color_of(color), (first + index,))
            for index, (name, color) in enumerate(zip(names, chosen, strict=True))
        )
        return cls(classes, tuple(ignore))

    def _lookup(self, numbers: NDArray[Any]) -> NDArray[np.int16]:
        """Train ids, -1 where a number is unknown."""
        table = self._table
        if numbers.dtype in (np.uint8, np.uint16) or self.rgb:  # cannot lie outside the table
            return np.asarray(table[numbers])
        inside = (numbers >= LOWEST) & (numbers <= HIGHEST)
        return np.where(inside, table[np.where(inside, numbers, 0)], np.int16(-1))

    def _explain(self, numbers: NDArray[Any], source: str) -> str:
        values, counts = np.unique(numbers, return_counts=True)
        order = np.argsort(-counts)[:5]
        shown = ", ".join(
            f"{number_text(int(values[i]), self.rgb)} ({counted(int(counts[i]), 'pixel')})" for i in order
        )
        more = f" and {counted(len(values) - 5, 'more value')}" if len(values) > 5 else ""
        known = sorted(raw_number(value) for item in self.classes for value in item.raw)
        span = "" if self.rgb or not known else f" {known[0]}..{known[-1]}"
        return (
            f"{source}: expected the values{span} of {counted(self.classes, 'class')} or ignored "
            f"{list(self.ignore)}, found {shown}{more}; add the value to a class or to 'ignore' in the label map"
        )


def class_name(text: str) -> str:
    """A class name as it is meant: without a byte order mark, blanks around it or runs of blanks inside.

    Spreadsheets write the mark, and people write "road" and "road " for one class.
    """
    return " ".join(text.replace("\ufeff", "").split())
