"""Output kinds: what a prediction is written as. One file per kind, named as on the command line.

To add a kind, add a file here with a ``Kind`` as ``KIND``; or register one from another distribution by its name,
under the entry point group ``refineseg.outputs``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from refineseg.channels import Channels
from refineseg.data.pictures.picture import Picture
from refineseg.data.pictures.raster import Raster
from refineseg.errors import InputError
from refineseg.labels import LabelMap
from refineseg.system.files import atomic_path
from refineseg.system.plugins import load_plugin, plugin_names

if TYPE_CHECKING:
    from refineseg.inference.result import Result

GROUP = "refineseg.outputs"
JSON = ("application/json", "application/geo+json")


@dataclass(frozen=True)
class LargeResult:
    """The segmentation of a picture larger than memory.

    Attributes:
        labels: HxW train ids, on disk.
        label_map: names and colours.
        picture: read by windows; ``picture.geo`` is its place on the map.
        channels: channels of the picture; None for RGB.
        kept: planes of what the kind's ``keep`` gave, as bytes, on disk.
        from_tiff: whether the picture is a TIFF.
    """

    labels: Raster
    label_map: LabelMap
    picture: Picture
    channels: Channels | None
    kept: list[Raster]
    from_tiff: bool


class Kind(ABC):
    """One kind of output.

    Attributes:
        name: name in ``--save``.
        folder: below the output folder.
        suffix: suffix of its files.
        media_type: media type of its content.
        needs_probabilities: whether ``write`` needs ``result.probabilities``.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    suffix: ClassVar[str]
    media_type: ClassVar[str]
    needs_probabilities: ClassVar[bool] = False
    kept_type: ClassVar[Any] = np.uint8

    def path(self, folder: Path, name: str) -> Path:
        """The file of a picture."""
        return folder / self.folder / f"{name}{self.suffix}"

    @abstractmethod
    def write(self, result: Result, stream: BinaryIO, effort: int = 6) -> None:
        """Write a whole result; ``effort`` is spent on a small file: 0 none, 9 most."""

    def planes(self, _classes: int) -> int:
        """Number of planes that ``keep`` gives."""
        return 0

    def keep(self, probabilities: NDArray[np.float16]) -> NDArray[Any]:
        """Planes Pxhxw of ``kept_type`` to be kept on disk for a strip Kxhxw of a large picture."""
        raise NotImplementedError(f"{self.name} keeps nothing")

    def write_large(self, large: LargeResult, folder: Path, name: str) -> Path:
        """Write a result from its rasters on disk, without holding all of it; the file.

        Without this a kind is refused for pictures seen in windows.
        """
        raise NotImplementedError(f"{self.name} is not written by windows: {large.labels.path} {folder} {name}")


def built_in() -> dict[str, Kind]:
    """The kinds of this folder by name."""
    names = sorted(module.name for module in iter_modules(__path__))
    return {name: import_module(f"{__name__}.{name}").KIND for name in names}


def find_kinds(names: Iterable[str]) -> list[Kind]:
    """Kinds by name, ours or registered; InputError for an unknown one."""
    ours = built_in()
    return [ours[name] if name in ours else _registered(name, ours) for name in names]


def _registered(name: str, ours: Iterable[str]) -> Kind:
    found = load_plugin(GROUP, name)
    if found is None:
        raise InputError(f"expected --save among {', '.join([*ours, *plugin_names(GROUP)])}, got {name!r}")
    kind = found() if isinstance(found, type) and issubclass(found, Kind) and not isabstract(found) else found
    if not isinstance(kind, Kind) or kind.name != name:
        raise InputError(f"expected a Kind named {name!r} under {GROUP}, got {found!r}")
    return kind


def find_large_kinds(names: Iterable[str]) -> list[Kind]:
    """Kinds by name; InputError also for one that cannot be written by windows."""
    kinds = find_kinds(names)
    for kind in kinds:
        if type(kind).write_large is Kind.write_large:
            raise InputError(f"expected kinds that can be written by windows, got {kind.name}: leave out --tile")
    return kinds


def need_probabilities(names: Iterable[str]) -> bool:
    """Whether any of these kinds needs probabilities."""
    return any(kind.needs_probabilities for kind in find_kinds(names))


def write_file(kind: Kind, result: Result, folder: Path, name: str) -> Path:
    """Write a whole result under its final name, in one step."""
    path = kind.path(folder, name)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        kind.write(result, stream)
    return path
