"""Plugins of other distributions, by entry points (PyPA entry points specification), imported when first used.

A distribution registers an object under a group of ours in its pyproject.toml:

    [project.entry-points."refineseg.outputs"]
    heatmap = "their_package.heatmap:Heatmap"

Listing the names imports nothing, and importing registers nothing.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from refineseg.errors import InputError


def module_names(package: str) -> list[str]:
    """Names of the modules in a package of ours, sorted; none of them is imported."""
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return sorted(module.name for module in iter_modules(places or []))


def plugin_names(group: str) -> list[str]:
    """Names that installed distributions register under ``group``, sorted; nothing is imported."""
    return sorted({point.name for point in entry_points(group=group)})


def load_plugin(group: str, name: str) -> Any | None:
    """The object registered as ``name`` under ``group``, imported now; None if it is not registered.

    Raises:
        InputError: two distributions register the name, or the object cannot be imported.
    """
    found = {point.value: point for point in entry_points(group=group, name=name)}
    if not found:
        return None
    if len(found) > 1:
        owners = " and ".join(sorted(_owner(point) for point in found.values()))
        raise InputError(f"expected one {name!r} in {group}, {owners} both register it: uninstall one of them")
    (point,) = found.values()
    try:
        return point.load()
    except Exception as error:  # whatever their module raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"cannot load {name!r} ({group}) from {_owner(point)}: {reason:.200}") from error


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
