"""Validated access to JSON and to attributes of XML: errors name the file and the position."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from refineseg.data.formats.parsing.tables import read_text
from refineseg.errors import InputError
from refineseg.system.files import read_file
from refineseg.system.text import reason_of

LARGEST = 1e7  # largest plausible coordinate
LONGEST_ID = 18  # digits


@dataclass(frozen=True)
class Node:
    """A value of JSON or XML and its position, such as ``FILE: annotations[3].segmentation``, for errors."""

    value: Any
    place: str

    def fail(self, expected: str) -> InputError:
        """The error for an unexpected value."""
        return InputError(f"{self.place}: expected {expected}, got {_brief(self.value)}")

    def __getitem__(self, key: str) -> Node:
        """The value of a required key."""
        if not isinstance(self.value, dict):
            raise self.fail(f"an object with the key {key!r}")
        if key not in self.value:
            raise InputError(f"{self.place}: expected the key {key!r}, found {_brief(list(self.value)[:8])}")
        return Node(self.value[key], self._below(key))

    def get(self, key: str) -> Node | None:
        """The value of an optional key; None if it is absent or null."""
        if not isinstance(self.value, dict):
            raise self.fail(f"an object, perhaps with the key {key!r}")
        found = self.value.get(key)
        return None if found is None else Node(found, self._below(key))

    def optional(self, key: str, default: Any) -> Node:
        """The value of a key, or the default if it is absent or null."""
        return self.get(key) or Node(default, self._below(key))

    def __iter__(self) -> Iterator[Node]:
        if not isinstance(self.value, list):
            raise self.fail("a list")
        for index, value in enumerate(self.value):
            yield Node(value, f"{self.place}[{index}]" if ": " in self.place else f"{self.place}: [{index}]")

    def text(self) -> str:
        """The value as non-empty text."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.fail("text")
        return self.value

    def base64(self) -> bytes:
        """The value as the bytes of a text in base64."""
        try:
            return base64.b64decode(self.text(), validate=True)
        except ValueError as error:
            raise InputError(f"{self.place}: expected base64, cannot read it: is it cut off?") from error

    def parsed(self) -> float:
        """A number that is written as text, as in XML; otherwise as ``number``."""
        try:
            return Node(float(self.text()), self.place).number()
        except ValueError as error:
            raise self.fail("a number") from error

    def parsed_integer(self) -> int:
        """A whole number that is written as text."""
        value = self.parsed()
        if value != int(value):
            raise self.fail("a whole number")
        return int(value)

    def number(self) -> float:
        """The value as a finite number in the range of coordinates."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail("a number")
        if not -LARGEST <= value <= LARGEST or math.isnan(value):
            raise self.fail("a number that a coordinate can be")
        return float(value)

    def integer(self) -> int:
        """The value as a non-negative integer of any size."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < 0:
            raise self.fail("a whole number of 0 or more")
        return self.value

    def size(self, height: str, width: str) -> tuple[int, int] | None:
        """The integers of two keys; None if one is absent or null."""
        sides = self.get(height), self.get(width)
        return None if sides[0] is None or sides[1] is None else (sides[0].integer(), sides[1].integer())

    def identifier(self) -> Hashable:
        """The value as an id: an integer, also if written as text, or another text."""
        if isinstance(self.value, str):
            text = self.text().strip()
            digits = text.removeprefix("-")
            return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_ID else text
        if isinstance(self.value, float) and self.value.is_integer():
            return int(self.value)
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.fail("a whole number or text")
        return self.value

    def items(self) -> Iterator[tuple[str, Node]]:
        """The keys and values of an object."""
        if not isinstance(self.value, dict):
            raise self.fail("an object")
        for key, value in self.value.items():
            yield key, Node(value, self._below(key))

    def empty(self) -> bool:
        """Whether the value is null, empty, or a list of such values."""
        return _is_empty(self.value)

    def numbers(self) -> list[float]:
        """The value as a list of numbers."""
        return [node.number() for node in self]

    def points(self, least: int) -> list[tuple[float, float]]:
        """The value as a list of [x, y]."""
        points = []
        for node in self:
            pair = node.numbers()
            if len(pair) != 2:
                raise node.fail("a point [x, y]")
            points.append((pair[0], pair[1]))
        if len(points) < least:
            raise InputError(f"{self.place}: expected at least {least} points, got {len(points)}")
        return points

    def _below(self, key: str) -> str:
        return f"{self.place}.{key}" if ": " in self.place else f"{self.place}: {key}"


def read_json(path: Path) -> Node:
    """A JSON file; InputError if it cannot be parsed."""
    try:
        return Node(json.loads(read_text(path)), str(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected JSON, cannot read {path} ({reason_of(error)}): is it cut off?") from error


def read_xml(path: Path) -> Element:
    """Root of an XML file. Document types and entities are refused: they can read files and fill memory."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise InputError(f"{path}: expected plain XML, got a document type or entity definition; CVAT writes none")

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(read_file(path), True)
        return builder.close()
    except FileNotFoundError as error:
        raise InputError(f"File not found: {path}") from error
    except (expat.ExpatError, OSError, ValueError, LookupError) as error:
        raise InputError(f"expected XML, cannot read {path} ({error}): is it cut off?") from error


def _is_empty(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_empty, value))
    return value is None or value in ({}, "")


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with keys {list(value)[:6]!r:.100}"
    text = repr(value) if not isinstance(value, list) else repr(value[:8])
    return text if len(text) <= 80 else text[:77] + "..."
