"""The interface of a format: what its reader takes and gives. A format is one file with one ``FORMAT``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from refineseg.data.formats.faults import Faults
from refineseg.data.mask_files import check_threshold
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8

Shape = tuple[int, int]  # height, width
Picture = Path | Callable[[], bytes]  # a file, or a function that gives the encoded bytes


@dataclass(frozen=True)
class Item:
    """One picture with its annotation.

    Attributes:
        name: path of the picture in the source, without suffix; folders are separated by ``/``.
        image: the picture's file, or a function that returns its encoded bytes.
        labels: from the picture's (height, width) to HxW uint8 train ids; raises InputError.
        split: ``train``, ``val`` or ``test`` where the source says so.
    """

    name: str
    image: Picture
    labels: Callable[[Shape], UInt8]
    split: str | None = None


@dataclass(frozen=True)
class Unannotated:
    """A picture of the source that has no annotation; the fields are those of Item."""

    name: str
    image: Path
    split: str | None = None


@dataclass(frozen=True)
class AnnotatedData:
    """An opened data set.

    Attributes:
        label_map: the classes; raw values equal train ids.
        items: pictures with annotations; masks are made when they are needed, so that memory stays flat.
        notes: what was left out or assumed, in plain words.
        warnings: notes that probably need an action.
        unannotated: pictures without annotation; the importer leaves them out or takes them as background.
    """

    label_map: LabelMap
    items: Sequence[Item]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unannotated: Sequence[Unannotated] = ()


@dataclass(frozen=True)
class ClassEdits:
    """Changes to the classes of a source, made before anything is painted.

    Attributes:
        merge: new name to the names that become it.
        drop: names whose areas become unlabelled pixels.
        rename: old name to new name, after merging.
    """

    merge: Mapping[str, Sequence[str]] = field(default_factory=dict)
    drop: Sequence[str] = ()
    rename: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReadOptions:
    """How a source is read.

    Attributes:
        labels: classes by name (or by value or colour, for masks); found in the source if None.
        images: folder with the pictures, where they are not beside the annotations.
        unlabelled: meaning of pixels outside all areas, ``background`` or ``ignore``; masks have none.
        crowds: meaning of COCO's crowd regions: ``ignore`` (255) or ``class`` (their category).
        threshold: grey value (1 to 255) from which a mask file of any mode shows the second of two classes.
        edits: classes to merge, drop or rename.
        faults: collects what is wrong with single annotations.
    """

    labels: LabelMap | None = None
    images: Path | None = None
    unlabelled: str = "background"
    crowds: str = "ignore"
    threshold: int | None = None
    edits: ClassEdits = field(default_factory=ClassEdits)
    faults: Faults = field(default_factory=Faults)

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
    """A predicted mask and its picture, for export.

    Attributes:
        stem: file stem of the mask.
        labels: HxW uint8 train ids, 255 for ignored pixels.
        image_name: file name of the picture.
        image_path: path from the annotations to the picture.
    """

    stem: str
    labels: UInt8
    image_name: str
    image_path: str


@dataclass(frozen=True)
class WriteOptions:
    """How predictions are written.

    Attributes:
        shapes: ``polygon`` (simplified, one for each connected piece) or ``mask`` (lossless); the format's own
            default if None.
        tolerance: largest distance in pixels between a polygon and the outline that it simplifies.
        smallest: connected pieces of fewer pixels get no polygon.
    """

    shapes: str | None = None
    tolerance: float = 1.0
    smallest: int = 8

    def __post_init__(self) -> None:
        if self.shapes not in (None, "polygon", "mask"):
            raise InputError(f"expected shapes to be polygon or mask, got {self.shapes!r}")
        if not 0 <= self.tolerance <= 100 or self.smallest < 0:
            raise InputError("expected a tolerance of 0 to 100 pixels and a smallest area of 0 or more")


@dataclass(frozen=True)
class Written:
    """The annotation files that a format wrote, and what it left out."""

    files: Sequence[Path]
    notes: tuple[str, ...] = ()


Writer = Callable[[Iterator[Prediction], LabelMap, Path, WriteOptions], Written]


@dataclass(frozen=True)
class Format:
    """An annotation format.

    Attributes:
        name: name in ``--format``.
        title: what it is, for people.
        needs: what a folder or file of this format has, for the error when none is recognised.
        fits: whether a file or folder is of this format.
        read: opens it; raises InputError where nothing can be read at all.
        write: writes predictions into a new folder; None where the format is only read.
        threshold: whether its masks may be read by ``ReadOptions.threshold``.
        marks: what hints at this format even if something is missing: words as ``registry.seen`` gives them.
    """

    name: str
    title: str
    needs: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], AnnotatedData]
    write: Writer | None = None
    threshold: bool = False
    marks: tuple[str, ...] = ()
