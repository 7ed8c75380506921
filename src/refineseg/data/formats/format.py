"""The interface of a format, and the faults of a source. A format is one file with one ``FORMAT``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from refineseg.data.images import check_threshold
from refineseg.errors import InputError, WriteError
from refineseg.labels import LabelMap, UInt8

T = TypeVar("T")
FAULTS_SHOWN = 4  # faults named in the error
LONGEST_FAULT = 260  # characters of each
Shape = tuple[int, int]  # height, width
PictureSource = Path | Callable[[], bytes]  # a file, or a function that gives the encoded bytes


@dataclass(frozen=True)
class Item:
    """A picture with its annotation."""

    name: str  # path of the picture in the source, without suffix; folders are separated by ``/``
    image: PictureSource  # the picture's file, or a function that returns its encoded bytes
    # from the picture's (height, width) to HxW uint8 train ids; raises InputError
    labels: Callable[[Shape], UInt8]
    split: str | None = None  # ``train``, ``val`` or ``test``; None if the source does not say


@dataclass(frozen=True)
class Unannotated:
    """A picture without annotation; fields as in Item."""

    name: str
    image: Path
    split: str | None = None


@dataclass(frozen=True)
class AnnotatedData:
    """An opened data set in another format."""

    label_map: LabelMap  # the classes; raw values equal train ids
    items: Sequence[Item]  # annotated pictures; masks are painted on demand
    notes: tuple[str, ...] = ()  # what was left out or assumed
    warnings: tuple[str, ...] = ()  # notes that probably need action
    # pictures without annotation, which the importer leaves out or takes as background
    unannotated: Sequence[Unannotated] = ()


@dataclass(frozen=True)
class ClassEdits:
    """Changes to the classes of a source, made before masks are painted."""

    merge: Mapping[str, Sequence[str]] = field(default_factory=dict)  # new name to the merged names
    drop: Sequence[str] = ()  # names whose areas become unlabelled
    rename: Mapping[str, str] = field(default_factory=dict)  # old name to new name, applied after merging


class Faults:
    """Errors of single annotations, pictures and files, after which reading goes on."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}
        self.without_pixels = Counter[str]()  # areas by class name; no faults, as small objects may have no pixel

    def __len__(self) -> int:
        return len(self._found)

    @property
    def found(self) -> list[str]:
        """The errors, each text once."""
        return list(self._found)

    def add(self, fault: str | InputError) -> None:
        """Add a fault."""
        self._found[" ".join(str(fault).split())] = None

    def stop_if_nothing_is_left(self, left: Sequence[object], source: Path) -> None:
        """FaultsError if everything has a fault."""
        if self._found and not left:
            raise FaultsError(str(source), self.found)

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Turn an InputError of the block into a fault; WriteError and missing packages are raised."""
        try:
            yield
        except WriteError:
            raise
        except InputError as error:
            self.add(error)


def not_empty(found: Sequence[T], expected: str, source: Path) -> Sequence[T]:
    """What was found at a source; InputError if it is nothing."""
    if not found:
        raise InputError(f"expected {expected} at {source}, found none")
    return found


class FaultsError(InputError):
    """A source with faults."""

    def __init__(self, source: str, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)  # all of them, each with file and place
        hint = "correct the source, or import the rest with --skip-bad"
        if len(faults) == 1:
            super().__init__(f"{faults[0]}; {hint}")
            return
        shown = "; ".join(
            fault if len(fault) <= LONGEST_FAULT else fault[:LONGEST_FAULT] + "..."
            for fault in faults[:FAULTS_SHOWN]
        )
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        super().__init__(f"{len(faults)} faults in {source}: {shown}{more}; {hint}")


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading a source."""

    labels: LabelMap | None = None  # the classes; taken from the source if None
    images: Path | None = None  # folder of the pictures, if they are not next to the annotations
    unlabelled: str = "background"  # meaning of pixels outside all areas: ``background`` or ``ignore``
    crowds: str = "ignore"  # meaning of COCO's crowd regions: ``ignore`` (255) or ``class`` (their category)
    threshold: int | None = None  # grey value (1 to 255) from which a pixel of a mask is the second of two classes
    edits: ClassEdits = field(default_factory=ClassEdits)  # classes to merge, drop or rename
    faults: Faults = field(default_factory=Faults)  # collects errors of single annotations

    def __post_init__(self) -> None:
        if self.unlabelled not in ("background", "ignore"):
            raise InputError(f"expected unlabelled pixels to be background or ignore, got {self.unlabelled!r}")
        if self.crowds not in ("ignore", "class"):
            raise InputError(f"expected crowds to be ignore or class, got {self.crowds!r}")
        if self.threshold is not None:
            check_threshold(self.threshold)
        if self.images is not None and not self.images.is_dir():
            raise InputError(f"Folder not found: {self.images}")


@dataclass(frozen=True)
class Prediction:
    """A predicted mask and its picture, for export."""

    stem: str  # file stem of the mask
    labels: UInt8  # HxW uint8 train ids, 255 for ignored pixels
    image_name: str  # file name of the picture
    image_path: str  # path from the annotations to the picture


@dataclass(frozen=True)
class WriteOptions:
    """Options for writing predictions."""

    # ``polygon`` (one simplified polygon per connected component) or ``mask`` (lossless); the format's default if
    # None
    shapes: str | None = None
    tolerance: float = 1.0  # largest distance in pixels between a polygon and the outline
    smallest: int = 8  # components of fewer pixels get no polygon

    def __post_init__(self) -> None:
        if self.shapes not in (None, "polygon", "mask"):
            raise InputError(f"expected shapes to be polygon or mask, got {self.shapes!r}")
        if not 0 <= self.tolerance <= 100 or self.smallest < 0:
            raise InputError("expected a tolerance of 0 to 100 pixels and a smallest area of 0 or more")


@dataclass(frozen=True)
class Written:
    """The annotation files written, and notes on what was left out."""

    files: Sequence[Path]
    notes: tuple[str, ...] = ()


Writer = Callable[[Iterator[Prediction], LabelMap, Path, WriteOptions], Written]


@dataclass(frozen=True)
class Format:
    """An annotation format."""

    name: str  # name in ``--format``
    title: str  # description for users
    needs: str  # what a folder or file of this format contains, for the error when none is recognised
    fits: Callable[[Path], object]  # whether a file or folder is in this format: true, or files that are
    read: Callable[[Path, ReadOptions], AnnotatedData]  # opens it; raises InputError if nothing can be read
    write: Writer | None = None  # writes predictions into a new folder; None if the format is read only
    threshold: bool = False  # whether ``ReadOptions.threshold`` applies to its masks
    # hints at this format for the error when none is recognised, such as ``file data.yaml`` or ``json key shapes``
    marks: tuple[str, ...] = ()
    # whether a folder that no format fits is probably in this one
    likely: Callable[[Path], object] = lambda _: False
