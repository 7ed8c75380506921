"""The result of a prediction: labels, class shares, an overlay with legend, files."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from refineseg.data.pictures.geotiff import Geo
from refineseg.data.pictures.picture import InMemory
from refineseg.errors import InputError
from refineseg.inference.fonts import font_for
from refineseg.inference.outputs import OutputKind, find_kinds, write_file
from refineseg.labels import IGNORE, LabelMap, UInt8

OVERLAY_ROWS = 64  # rows mixed at a time, since floats take twelve times the picture's memory
NOTEBOOK = (1600, 1200)  # largest width and height of an overlay in a notebook
LEGEND_MIN_SHARE = 0.001  # classes below it are left out of the legend, not of the mask


@dataclass(frozen=True)
class Result:
    """The segmentation of one picture.

    Attributes:
        labels: HxW uint8 train ids; 255 where the picture has no data.
        label_map: names and colours.
        image: the picture, HxWx3 uint8 RGB.
        probabilities: KxHxW float16 in [0, 1], or None if they were not kept.
        name: stem of the files that ``save`` writes.
        geo: position of the picture on the map, for GeoJSON; empty for most.
        notes: what was assumed or left out when the picture was read, a sentence each.
    """

    labels: UInt8
    label_map: LabelMap
    image: UInt8
    probabilities: NDArray[np.float16] | None = None
    name: str = "image"
    geo: Geo = field(default_factory=Geo)
    notes: tuple[str, ...] = ()

    def of(self, picture: InMemory) -> Result:
        """The same result with the picture's place on the map, its notes, and 255 where it has no data."""
        height, width = picture.size
        void = picture.void(0, height, 0, width)
        labels, probabilities = self.labels, self.probabilities
        if void is not None:
            labels = np.where(void, np.uint8(IGNORE), labels)
            probabilities = None if probabilities is None else np.where(void, np.float16(0), probabilities)
        return replace(self, labels=labels, probabilities=probabilities, notes=picture.notes, geo=picture.geo)

    def __repr__(self) -> str:
        height, width = self.size
        shares = ", ".join(f"{name} {share:.0%}" for name, share in list(self.class_shares.items())[:5])
        return f"Result({self.name!r}, {width}x{height}: {shares})"

    def _repr_png_(self) -> bytes:
        """The overlay, which notebooks display."""
        overlay, stream = self.overlay(), io.BytesIO()
        overlay.thumbnail(NOTEBOOK)
        overlay.save(stream, "PNG")
        return stream.getvalue()

    @property
    def class_names(self) -> list[str]:
        """Class names by train id."""
        return self.label_map.names

    @property
    def class_shares(self) -> dict[str, float]:
        """Share of the picture by class name, largest first, in [0, 1]; absent classes are left out.

        Pixels without data do not count.
        """
        return shares_of(np.bincount(self.labels.ravel(), minlength=256), self.class_names)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.labels.shape[0], self.labels.shape[1]

    @property
    def summary(self) -> dict[str, Any]:
        """Part of predictions.json: the class shares."""
        return {"class_shares": self.class_shares}

    def overlay(self, opacity: float = 0.55, legend: bool = True) -> Image.Image:
        """The picture with classes in colour, borders between them drawn, and a legend beside it.

        Background and pixels without data show the picture unchanged.

        Args:
            opacity: opacity of the colours, 0 to 1.
            legend: whether to add names and shares at the right.
        """
        mixed = np.empty(self.image.shape, np.uint8)
        picture_share, color_share = np.float32(1 - opacity), np.float32(opacity)
        for top in range(0, len(mixed), OVERLAY_ROWS):
            rows = slice(top, top + OVERLAY_ROWS)
            colors = self.label_map.colorize(self.labels[rows])
            mixed[rows] = np.clip(self.image[rows] * picture_share + colors * color_share, 0, 255)
            background = np.isin(self.labels[rows], self.label_map.background_ids)
            mixed[rows][background] = self.image[rows][background]
        mixed[borders(self.labels)] = 255
        void = self.labels == IGNORE
        mixed[void] = self.image[void]
        picture = Image.fromarray(mixed)
        if not legend:
            return picture
        names = self.legend(picture.height)
        both = Image.new("RGB", (picture.width + names.width, picture.height))
        both.paste(picture, (0, 0))
        both.paste(names, (picture.width, 0))
        return both

    def save(
        self, folder: str | Path, save: tuple[str, ...] = ("mask", "overlay"), name: str | None = None
    ) -> dict[str, Path]:
        """Write masks/NAME.png (palette index PNG of train ids), overlays/NAME.jpg and further kinds.

        Args:
            folder: output folder, created if missing.
            save: kinds of output, each in its own folder: ``mask``, ``overlay``; ``probs`` (.npz, KxHxW float16),
                ``confidence`` and ``uncertainty`` (grey PNG), for which probabilities must have been kept;
                ``polygons``, ``geojson`` (in map coordinates if ``geo`` has them), ``rle`` (COCO's compressed run
                lengths by class); and kinds registered by other packages.
            name: stem of the files, instead of the picture's.

        Returns:
            The files by kind.

        Raises:
            InputError: a kind is unknown or needs probabilities, or a file cannot be written.
        """
        folder, name = Path(folder), name or self.name
        kinds = find_kinds(save)
        self._check(kinds)
        return {kind.name: write_file(kind, self, folder, name) for kind in kinds}

    def write(self, kind: str, stream: BinaryIO, effort: int = 6) -> None:
        """Write one kind of output (see ``save``) as the content of its file.

        ``effort`` is the compression level of a PNG, 0 to 9. Raises InputError for a kind that needs probabilities
        which the result does not have.
        """
        kinds = find_kinds([kind])
        self._check(kinds)
        kinds[0].write(self, stream, effort)

    def _check(self, kinds: list[OutputKind]) -> None:
        scored = [kind.name for kind in kinds if kind.needs_probabilities]
        if scored and self.probabilities is None:
            raise InputError(
                f"expected a result with probabilities for {scored[0]}: predict with probabilities=True"
            )

    def legend(self, height: int, with_shares: bool = True) -> Image.Image:
        """Colours and names of the picture's classes, largest first, as a picture of ``height`` rows.

        Background, which overlays do not colour, has an empty box.
        """
        shares = {name: share for name, share in self.class_shares.items() if share >= LEGEND_MIN_SHARE}
        size = int(np.clip(height / 24, 11, 30))
        font: Any = font_for("".join(shares), size)
        line = size * 1.55
        rows = max(1, min(len(shares), int((height - size) / line)))
        texts = [f"{name}  {share:.1%}" if with_shares else name for name, share in list(shares.items())[:rows]]
        width = round(max((font.getlength(text) for text in texts), default=0) + size * 3.2)
        image = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(image)
        for row, (name, text) in enumerate(zip(shares, texts, strict=False)):
            top = size * 0.7 + row * line
            label = self.class_names.index(name)
            color = None if label in self.label_map.background_ids else self.label_map.classes[label].color
            box = (size * 0.7, top, size * 1.7, top + size)
            draw.rectangle(box, fill=color, outline=(90, 90, 90))
            draw.text((size * 2.2, top + size / 2), text, fill=(30, 30, 30), font=font, anchor="lm")
        return image


def shares_of(counts: NDArray[np.int64], names: list[str]) -> dict[str, float]:
    """Share of each class by name, largest first, from pixel counts by label; 255 (no data) does not count."""
    of_classes = counts[: len(names)]
    order = np.argsort(-of_classes, kind="stable")
    return {names[i]: float(of_classes[i] / of_classes.sum()) for i in order if of_classes[i]}


def borders(labels: UInt8) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour has another label."""
    edge = np.zeros(labels.shape, np.bool_)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge
