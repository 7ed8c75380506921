"""Groups of related pictures, guessed from names: tiles and copies of one photograph, neighbouring video frames.

A group must not be on both sides of a split, or scores are too good.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from refineseg.errors import InputError

SHARE = 20  # a sequence is cut into groups of at most 1/SHARE of the data set
# Suffixes that tools add to the names of copies and tiles; several may follow one another.
DERIVED = (
    re.compile(r"[._]rf[._][0-9a-zA-Z]{6,}$"),  # Roboflow: name_jpg.rf.<hash>
    re.compile(r"_(jpg|jpeg|png|bmp|tif|tiff|webp|JPG|JPEG|PNG)$"),  # Roboflow keeps the suffix in the name
    re.compile(
        r"[-_ .](scaled?|aug|augmented|rot|rotated?|[hv]?flip|flipped|mirror|mirrored|crop|cropped|patch|tile|"
        r"piece|part|copy)([-_ ]?\d+){0,4}$",
        re.IGNORECASE,
    ),
    re.compile(r"[-_ ][xrXR]\d+[-_ ][ycYC]\d+$"),  # tiles by place: _x0_y512, _r3_c4
    re.compile(r" ?\(\d+\)$"),  # copies by file managers
)
NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)


def original_name(stem: str) -> str:
    """Name of the photograph that a picture is a copy or tile of, judged by its name.

    ``yard_jpg.rf.0a1b2c3d`` and ``yard_scaled_0`` are both ``yard``; other names are returned unchanged.
    """
    name, before = stem, ""
    while name != before:
        before = name
        for pattern in DERIVED:
            name = pattern.sub("", name) or name
    return name


def guess_groups(stems: Sequence[str]) -> list[str]:
    """A group for each picture, by name.

    Copies and tiles of one photograph are one group. Photographs numbered after the same prefix
    (``drive3_000120``) are one sequence, which is cut into groups of at most 1/20 of the photographs.
    """
    originals = [original_name(stem) for stem in stems]
    films: dict[str, dict[int, str]] = {}
    groups: dict[str, str] = {}
    for name in dict.fromkeys(originals):
        found = NUMBERED.fullmatch(name)
        if found is None or int(found[2]) in films.get(found[1], {}):
            groups[name] = name
        else:
            films.setdefault(found[1], {})[int(found[2])] = name
    longest = max(1, len(set(originals)) // SHARE)
    for prefix, frames in films.items():
        for place, number in enumerate(sorted(frames)):
            groups[frames[number]] = f"{prefix}#{place // longest}"
    return [groups[name] for name in originals]


def groups_by_pattern(stems: Sequence[str], pattern: str) -> list[str]:
    """A group for each picture: the match of the first group of ``pattern``, or of all of it, in its name.

    InputError if it is not a regular expression, or does not match a name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"invalid regular expression {pattern!r}: {error}") from error
    found = {stem: compiled.search(stem) for stem in stems}
    unmatched = [stem for stem, match in found.items() if match is None]
    if unmatched:
        raise InputError(
            f"expected {pattern!r} to match every picture's name, got {len(unmatched)} of {len(stems)} without a "
            f"match, such as {unmatched[0]}"
        )
    return [(match[1] if compiled.groups else match[0]) or "" for match in found.values() if match is not None]
