"""Validated access to XML; document types and entities are refused."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from refineseg.data.formats.parsing.json_nodes import LARGEST
from refineseg.errors import InputError
from refineseg.system.files import read_file


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


def attribute(node: Element, key: str, place: str) -> str:
    """A required, non-blank attribute."""
    value = node.get(key)
    if value is None or not value.strip():
        raise InputError(f"{place}: expected the attribute {key!r}, found {', '.join(node.keys())[:80] or 'none'}")
    return value


def number(node: Element, key: str, place: str, default: str | None = None) -> float:
    """An attribute as a finite number in the range of coordinates."""
    text = default if default is not None and node.get(key) is None else attribute(node, key, place)
    return parse_number(text, key, place)


def integer(node: Element, key: str, place: str, default: str | None = None) -> int:
    """An attribute as an integer."""
    value = number(node, key, place, default)
    if value != int(value):
        raise InputError(f"{place}: expected {key} to be a whole number, got {value}")
    return int(value)


def parse_number(text: str, key: str, place: str) -> float:
    """A text as a finite number in the range of coordinates."""
    try:
        value = float(text)
    except ValueError as error:
        raise InputError(f"{place}: expected numbers in {key}, got {text[:40]!r}") from error
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise InputError(f"{place}: expected numbers in {key}, got {text[:40]!r}")
    return value
