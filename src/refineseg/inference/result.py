"""What a prediction gives: labels, class shares, an overlay with legend, files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from refineseg.data.images import index_image
from refineseg.data.pictures.geotiff import Geo
from refineseg.errors import InputError
from refineseg.inference.outputs.polygons import write_geojson, write_polygons
from refineseg.inference.outputs.rle import encode_labels
from refineseg.labels import LabelMap, UInt8
from refineseg.system.files import atomic_path


@dataclass(frozen=True)
class Kind:
    """One kind of output: its folder, what its files end in, and its media type."""

    folder: str
    suffix: str
    media_type: str

    def path(self, folder: Path, name: str) -> Path:
        """The file of a picture."""
        return folder / self.folder / f"{name}{self.suffix}"


KINDS = {
    "mask": Kind("masks", ".png", "image/png"),
    "overlay": Kind("overlays", ".jpg", "image/jpeg"),
    "probs": Kind("probs", ".npz", "application/zip"),
    "uncertainty": Kind("uncertainty", ".png", "image/png"),
    "polygons": Kind("polygons", ".json", "application/json"),
    "geojson": Kind("geojson", ".geojson", "application/geo+json"),
    "rle": Kind("rle", ".json", "application/json"),
}
SCORED = frozenset({"probs", "uncertainty"})  # need probabilities
VECTORS = ("polygons", "geojson", "rle")  # made of the labels alone


def check_kinds(kinds: Iterable[str]) -> None:
    """InputError for a kind of output that there is not."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise InputError(f"expected --save among {', '.join(KINDS)}, got {unknown[0]!r}")


OVERLAY_ROWS = 64  # mixed at a time: numbers with a point take twelve times the picture
LEGEND_MIN_SHARE = 0.001  # classes below it are left out of the legend, not of the mask


@dataclass(frozen=True)
class Result:
    """The segmentation of one picture.

    Attributes:
        labels: HxW uint8 train ids.
        label_map: names and colours.
        image: the picture, HxWx3 uint8 RGB.
        probabilities: KxHxW float16 in [0, 1], or None if they were not asked for.
        name: stem of the files that ``save`` writes.
        geo: where the picture lies on the map, for GeoJSON; empty for most.
    """

    labels: UInt8
    label_map: LabelMap
    image: UInt8
    probabilities: NDArray[np.float16] | None = None
    name: str = "image"
    geo: Geo = field(default_factory=Geo)

    @property
    def class_names(self) -> list[str]:
        """Class names by train id."""
        return self.label_map.names

    @property
    def class_shares(self) -> dict[str, float]:
        """Share of the picture by class name, largest first, in [0, 1]; absent classes are left out."""
        counts = np.bincount(self.labels.ravel(), minlength=256)[: self.label_map.num_classes]
        order = np.argsort(-counts, kind="stable")
        return {self.class_names[i]: float(counts[i] / self.labels.size) for i in order if counts[i]}

    def overlay(self, opacity: float = 0.55, legend: bool = True) -> Image.Image:
        """The picture with classes in colour, borders between them drawn, and a legend beside it.

        Args:
            opacity: of the colours, 0 to 1.
            legend: whether names and shares stand at the right.
        """
        mixed = np.empty(self.image.shape, np.uint8)
        picture_share, color_share = np.float32(1 - opacity), np.float32(opacity)
        for top in range(0, len(mixed), OVERLAY_ROWS):
            rows = slice(top, top + OVERLAY_ROWS)
            colors = self.label_map.colorize(self.labels[rows])
            mixed[rows] = np.clip(self.image[rows] * picture_share + colors * color_share, 0, 255)
        mixed[borders(self.labels)] = 255
        picture = Image.fromarray(mixed)
        return beside(picture, self.legend(picture.height)) if legend else picture

    def save(
        self, folder: str | Path, save: tuple[str, ...] = ("mask", "overlay"), name: str | None = None
    ) -> dict[str, Path]:
        """Write masks/NAME.png (palette index PNG of train ids), overlays/NAME.jpg and what else is asked for.

        Args:
            folder: output folder, made if it is not there.
            save: what to write, each into its own folder: ``mask``, ``overlay``, ``probs`` (probs/NAME.npz, KxHxW
                float16) and ``uncertainty`` (uncertainty/NAME.png, see ``uncertainty``) only if probabilities were
                kept; ``polygons`` (polygons/NAME.json), ``geojson`` (geojson/NAME.geojson, in map coordinates
                where ``geo`` has them), ``rle`` (rle/NAME.json, COCO's compressed run lengths by class).
            name: stem of the files, instead of the picture's.

        Returns:
            The files by kind. Raises InputError for an unknown kind, or if they cannot be written.
        """
        check_kinds(save)
        folder, name = Path(folder), name or self.name
        files: dict[str, Path] = {}
        for kind in save:
            if kind in SCORED and self.probabilities is None:
                continue
            files[kind] = KINDS[kind].path(folder, name)
            with atomic_path(files[kind]) as temporary, temporary.open("wb") as stream:
                self.write(kind, stream)
        return files

    def write(self, kind: str, stream: BinaryIO, effort: int = 6) -> None:
        """One kind of output (see ``save``), as the content of its file.

        ``effort`` is what is spent on making a mask's PNG small: 0 none, 9 most; the pixels are the same.
        Raises InputError for ``probs`` and ``uncertainty`` of a result without probabilities.
        """
        if kind == "mask":
            index_image(self.labels, self.label_map).save(stream, format="PNG", compress_level=effort)
        elif kind == "overlay":
            self.overlay().save(stream, format="JPEG", quality=92)
        elif kind in VECTORS:
            write_vectors(kind, stream, self.labels, self.label_map, self.geo)
        elif self.probabilities is None:
            raise InputError(f"expected a result with probabilities for {kind}: predict with probabilities=True")
        elif kind == "probs":
            np.savez_compressed(stream, probabilities=self.probabilities, class_names=self.class_names)
        else:
            Image.fromarray(uncertainty(self.probabilities)).save(stream, format="PNG")

    def legend(self, height: int, with_shares: bool = True) -> Image.Image:
        """Colours and names of the picture's classes, largest first, as a picture of ``height`` rows."""
        shares = {name: share for name, share in self.class_shares.items() if share >= LEGEND_MIN_SHARE}
        size = int(np.clip(height / 24, 11, 30))
        font: Any = ImageFont.load_default(size)
        line = size * 1.55
        rows = max(1, min(len(shares), int((height - size) / line)))
        texts = [f"{name}  {share:.1%}" if with_shares else name for name, share in list(shares.items())[:rows]]
        width = round(max((font.getlength(text) for text in texts), default=0) + size * 3.2)
        image = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(image)
        for row, (name, text) in enumerate(zip(shares, texts, strict=False)):
            top = size * 0.7 + row * line
            color = self.label_map.classes[self.class_names.index(name)].color
            box = (size * 0.7, top, size * 1.7, top + size)
            draw.rectangle(box, fill=color, outline=(90, 90, 90))
            draw.text((size * 2.2, top + size / 2), text, fill=(30, 30, 30), font=font, anchor="lm")
        return image


def uncertainty(probabilities: NDArray[Any]) -> UInt8:
    """Entropy of KxHxW probabilities divided by that of K equal ones: 0 is certain, 255 all classes alike."""
    p = np.clip(probabilities.astype(np.float32), 1e-9, 1)
    if len(p) == 1:
        return np.zeros(p.shape[1:], np.uint8)
    entropy = -(p * np.log(p)).sum(0) / np.log(len(p))
    return np.asarray(np.clip(np.rint(entropy * 255), 0, 255), np.uint8)


def save_vectors(
    labels: UInt8, label_map: LabelMap, geo: Geo, folder: Path, name: str, save: tuple[str, ...]
) -> dict[str, Path]:
    """Polygons, GeoJSON and run lengths of HxW train ids, as far as ``save`` names them; the files by kind."""
    files = {kind: KINDS[kind].path(folder, name) for kind in VECTORS if kind in save}
    for kind, path in files.items():
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            write_vectors(kind, stream, labels, label_map, geo)
    return files


def write_vectors(kind: str, stream: BinaryIO, labels: UInt8, label_map: LabelMap, geo: Geo) -> None:
    """One of ``VECTORS``, made of HxW train ids."""
    if kind == "polygons":
        write_polygons(stream, labels, label_map)
    elif kind == "geojson":
        write_geojson(stream, labels, label_map, geo)
    else:
        stream.write(json.dumps(encode_labels(labels, label_map)).encode() + b"\n")


def borders(labels: UInt8) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour has another label."""
    edge = np.zeros(labels.shape, np.bool_)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two pictures of one height in one."""
    image = Image.new("RGB", (left.width + right.width, left.height), "white")
    image.paste(left, (0, 0))
    image.paste(right, (left.width, 0))
    return image
