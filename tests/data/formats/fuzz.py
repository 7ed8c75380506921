"""Damaged JSON: a good document with some of its values replaced or taken away."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from refineseg.errors import RefinesegError

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["polygon", "mask", "../../x.png", "a\x00.png", "x" * 5000 + ".png", "cat"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [path, *(place for key in keys for place in places(value[key], (*path, key)))]


def damage(document: Any, draw: Callable[[Any], Any]) -> Any:
    """One to three values of the document replaced by junk or deleted."""
    damaged = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        found = [place for place in places(damaged) if place]
        if not found:
            break
        place = draw(st.sampled_from(found))
        parent = damaged
        for key in place[:-1]:
            parent = parent[key]
        if draw(st.booleans()):
            parent[place[-1]] = draw(JUNK)
        else:
            del parent[place[-1]]
    return damaged


def one_line_or_nothing(act: Callable[[], object]) -> None:
    """The act works, or fails with an error for the user of one line; any other exception goes on."""
    message = ""
    try:
        act()
    except RefinesegError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 1500
