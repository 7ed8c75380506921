"""Output kinds: the files that a prediction is written as. One module per kind, named as on the command line.

To add a kind, add a file here with an ``OutputKind`` as ``KIND``, or register one from another distribution under
the entry point group ``refineseg.outputs``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from refineseg.channels import Channels
from refineseg.config.model import ModelOutputs
from refineseg.data.pictures.picture import Picture
from refineseg.data.pictures.raster import Raster
from refineseg.errors import InputError
from refineseg.labels import LabelMap
from refineseg.system.files import atomic_path
from refineseg.system.plugins import load_plugin, module_names, plugin_names

if TYPE_CHECKING:
    from refineseg.inference.depth import Depth
    from refineseg.inference.result import Result

GROUP = "refineseg.outputs"
JSON = ("application/json", "application/geo+json")


@dataclass(frozen=True)
class LargeResult:
    """The segmentation of a picture larger than memory."""

    labels: Raster  # HxW train ids, on disk
    label_map: LabelMap  # names and colours
    picture: Picture  # the picture, read by windows; ``picture.geo`` is its place on the map
    channels: Channels | None  # channels of the picture; None for RGB
    kept: list[Raster]  # planes that the kind's ``keep`` returned, as bytes on disk
    from_tiff: bool  # whether the picture is a TIFF


class OutputKind(ABC):
    """One kind of output."""

    name: ClassVar[str]  # name in ``--save``
    folder: ClassVar[str]  # below the output folder
    suffix: ClassVar[str]  # suffix of its files
    media_type: ClassVar[str]  # media type of its content
    outputs: ClassVar[ModelOutputs] = "classes"  # what the model must predict, ``classes`` or ``depth``
    default: ClassVar[bool] = False  # whether it is written for pictures unless other kinds are named
    needs_probabilities: ClassVar[bool] = False  # whether ``write`` needs ``result.probabilities``
    kept_type: ClassVar[Any] = np.uint8  # NumPy type of what ``keep`` returns

    def path(self, folder: Path, name: str) -> Path:
        """The file of a picture."""
        return folder / self.folder / f"{name}{self.suffix}"

    @abstractmethod
    def write(self, result: Any, stream: BinaryIO, effort: int = 6) -> None:
        """Write a whole ``Result``, or ``Depth`` for a kind of depth; ``effort`` is zlib's level, 0 to 9."""

    def keep(self, probabilities: NDArray[np.float16]) -> NDArray[Any]:
        """Planes Pxhxw of ``kept_type`` to keep on disk for a strip Kxhxw of a large picture; none by default."""
        return probabilities[:0]

    def write_large(self, large: LargeResult, folder: Path, name: str) -> Path:
        """Write a result from its rasters on disk, strip by strip; returns the file.

        A kind without this method is refused for pictures read window by window.
        """
        raise NotImplementedError(f"{self.name} is not written by windows: {large.labels.path} {folder} {name}")

    @property
    def by_windows(self) -> bool:
        """Whether it can be written for pictures read window by window."""
        return type(self).write_large is not OutputKind.write_large


def built_in_kinds(outputs: ModelOutputs = "classes") -> dict[str, OutputKind]:
    """The kinds of this folder for models of classes or of depth, by name."""
    kinds = [import_module(f"{__name__}.{module}").KIND for module in module_names(__name__)]
    return {kind.name: kind for kind in kinds if kind.outputs == outputs}


def find_kinds(names: Iterable[str] | None, outputs: ModelOutputs = "classes") -> list[OutputKind]:
    """Built-in or registered kinds by name; None for those written by default.

    InputError for an unknown kind, or one that needs another model.
    """
    ours = built_in_kinds(outputs)
    if names is None:
        return [kind for kind in ours.values() if kind.default]
    return [ours[name] if name in ours else _registered(name, outputs, ours) for name in names]


def _registered(name: str, outputs: ModelOutputs, ours: Iterable[str]) -> OutputKind:
    found = load_plugin(GROUP, name)
    if found is None:
        model = "" if outputs == "classes" else f"with a model of {outputs} "
        raise InputError(f"expected --save {model}among {', '.join([*ours, *plugin_names(GROUP)])}, got {name!r}")
    is_class = isinstance(found, type) and issubclass(found, OutputKind) and not isabstract(found)
    kind = found() if is_class else found
    if not isinstance(kind, OutputKind) or kind.name != name:
        raise InputError(f"expected an OutputKind named {name!r} under {GROUP}, got {found!r}")
    if kind.outputs != outputs:
        raise InputError(f"--save {name} needs a model of {kind.outputs}, got one of {outputs}")
    return kind


def check_large(kinds: Iterable[OutputKind]) -> None:
    """InputError for a kind that cannot be written window by window."""
    for kind in kinds:
        if not kind.by_windows:
            raise InputError(f"expected kinds that can be written by windows, got {kind.name}: leave out --tile")


def need_probabilities(kinds: Iterable[OutputKind]) -> bool:
    """Whether any of these kinds needs probabilities."""
    return any(kind.needs_probabilities for kind in kinds)


def write_file(kind: OutputKind, result: Result | Depth, folder: Path, name: str) -> Path:
    """Write a whole result under its final name, in one step; returns the file."""
    path = kind.path(folder, name)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        kind.write(result, stream)
    return path
