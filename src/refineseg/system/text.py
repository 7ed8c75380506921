"""Text from files, and for display: durations, errors, and untrusted names made safe for where they are shown.

In HTML such names go through ``html.escape``; none is passed to a shell.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sized
from pathlib import Path
from typing import SupportsInt

UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # first characters that spreadsheets take for one


def decode_text(data: bytes, errors: str = "strict") -> str:
    """The text of a file of UTF-8 or, by its byte order mark, UTF-16; UnicodeDecodeError for others."""
    return data.decode("utf-16" if data.startswith(UTF16) else "utf-8-sig", errors)


def composed(text: str) -> str:
    """Letters with their accents as one character (NFC): macOS writes file names with two."""
    return unicodedata.normalize("NFC", text)


def unique_name(name: str, taken: set[str]) -> str:
    """The name, numbered from 2 on if it is taken, which ignores case; what is returned joins ``taken``."""
    unique, number = name, 2
    while unique.lower() in taken:
        unique, number = f"{name}_{number}", number + 1
    taken.add(unique.lower())
    return unique


def counted(count: SupportsInt | Sized, one: str, more: str | None = None) -> str:
    """``1 mask``, ``2,000 masks``, ``2 classes``; ``more`` is a plural without -s or -es."""
    number = len(count) if isinstance(count, Sized) else int(count)
    plural = more or one + ("es" if one.endswith(("s", "x")) else "s")
    return f"{number:,} {one if number == 1 else plural}"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def escaped(text: str) -> str:
    """For terminals: what cannot be printed, such as escape sequences and line breaks, as Python's escapes."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def reason_of(error: Exception, longest: int = 120) -> str:
    """Another package's error in one line of at most ``longest`` characters."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:longest] or type(error).__name__


def for_markdown(text: str) -> str:
    """For Markdown: on one line, without links, HTML, code or borders of table cells."""
    return re.sub(r"([\\`<>|\[\]])", r"\\\1", escaped(text))


def csv_path(path: Path) -> str:
    """For a table that a spreadsheet may open: a path that looks like a formula begins with ``./``."""
    text = str(path)
    return f"./{text}" if text.startswith(FORMULA) else text


def file_name(text: str) -> str:
    """For a file or folder: letters, digits and ``-_.+()``, no folder, nothing hidden, 100 at most."""
    plain = "".join(letter if letter.isalnum() or letter in "-_.+() " else "_" for letter in text)
    return plain.lstrip(".")[:100].strip() or "unnamed"
