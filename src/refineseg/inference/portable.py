"""The predictor without torch: an exported file, NumPy, and the same views, fusion and tiles as the Segmenter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.channels import Channels, Pixels, visible
from refineseg.data.images import read_image
from refineseg.data.pictures.opening import read_channels
from refineseg.errors import WeightsError
from refineseg.inference.options import LOG_FLOOR, TINY, PredictOptions, Tile, row_ranges, views_of
from refineseg.inference.result import Result
from refineseg.inference.runners import Engine, open_engine
from refineseg.inference.tiles.blending import (
    Map,
    Plan,
    Read,
    Strip,
    blended_strips,
    joined,
    put_together,
    view_of,
)
from refineseg.inference.tiles.plan import plan_windows
from refineseg.labels import UInt8
from refineseg.model.card import ModelCard

Rows = NDArray[np.float32]  # KxhxW or Kxhxw


class PortableSegmenter:
    """Segments pictures with an exported network.

    Attributes:
        engine: what runs it.
        card: name, labels, scores, provenance, licence, calibration, as the file says.
        input_scales, overlap, bytes_per_pixel: of the network; measured when it was exported.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.card: ModelCard = engine.exported.card
        export = engine.exported.values["export"]
        self.input_scales: tuple[float, ...] = tuple(engine.exported.values["model"]["input_scales"])
        self.overlap: int = export["overlap"]
        self.bytes_per_pixel: float = export["bytes_per_pixel"]
        self.temperatures = temperatures(self.card)

    @property
    def class_names(self) -> list[str]:
        """Class names by train id."""
        return self.card.labels.names

    def fingerprint(self) -> str:
        """Of weights, engine and how the file was made."""
        return f"{self.engine.name} {self.engine.exported.values['export']}"

    def predict(
        self,
        image: str | Path | Image.Image | NDArray[Any],
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        probabilities: bool = False,
        tile: Tile = None,
    ) -> Result:
        """Segment one picture; arguments and result are those of ``Segmenter.predict``."""
        options = PredictOptions(tuple(scales), flip, probabilities)
        pixels = read_picture(image, self.card.channels)
        size = (pixels.shape[0], pixels.shape[1])
        if tile is None:
            found = self._whole(pixels, options)
        else:
            plan = self.plan(size, options, tile)
            found = self.strips(plan, lambda t, b, x, r: pixels[t:b, x:r], options)
        labels, scores = put_together(found, size, self.card.labels.num_classes if probabilities else None)
        name = Path(image).stem if isinstance(image, str | Path) else "image"
        return Result(labels, self.card.labels, visible(pixels, self.card.channels), scores, name)

    def plan(self, size: tuple[int, int], options: PredictOptions, tile: int | Literal["auto"]) -> Plan:
        """The windows of a picture of ``size``; InputError where tiles are too small for the overlap."""
        return plan_windows(size, options.scales, tile, self)

    def strips(
        self,
        plan: Plan,
        read: Read,
        options: PredictOptions,
        start_row: int = 0,
        each: Callable[[], None] | None = None,
        change: Callable[[Strip], Strip] | None = None,
    ) -> Iterator[tuple[int, UInt8, Rows | None]]:
        """See ``Segmenter.strips``."""
        views = [view_of(plan.size, scale, self.input_scales[0]) for scale, _ in views_of(options)]

        def score(pixels: Pixels) -> list[Map]:
            return self._maps(pixels, options)

        found = blended_strips(plan, views, read, score, start_row, each)
        for strip in found if change is None else [change(joined(found))]:
            for top, bottom in row_ranges(strip.top, strip.bottom, strip.maps[0].shape[1], plan.size[1]):
                parts = [
                    rows_between(scores[0], top, bottom, plan.size[0], first, source)
                    for scores, first, source in zip(strip.maps, strip.firsts, strip.sources, strict=True)
                ]
                yield self._finished(parts, top, plan.size[1], options)

    def _whole(self, pixels: Pixels, options: PredictOptions) -> Iterator[tuple[int, UInt8, Rows | None]]:
        maps = self._maps(pixels, options)
        height, width = pixels.shape[:2]
        for top, bottom in row_ranges(0, height, maps[0].shape[1], width):
            parts = [rows_between(scores[0], top, bottom, height) for scores in maps]
            yield self._finished(parts, top, width, options)

    def _finished(
        self, parts: list[Rows], top: int, width: int, options: PredictOptions
    ) -> tuple[int, UInt8, Rows | None]:
        """Labels and probabilities of a strip, from rows Kxhxw of all views."""
        fused = len(parts) > 1
        places = interpolation(width, [part.shape[2] for part in parts])
        if not options.probabilities:
            return top, _largest(parts, places, fused), None
        scores = np.zeros((len(parts[0]), parts[0].shape[1], width), np.float32)
        for part, place in zip(parts, places, strict=True):
            wide = columns_between(part, *place)
            scores += np.exp(wide) if fused else softmax(wide)
        scores /= scores.sum(0)
        labels = scores.argmax(0)
        if self.temperatures is not None:
            scores = softmax(np.log(np.maximum(scores, TINY)) / self.temperatures[labels])
        return top, labels.astype(np.uint8), scores

    def _maps(self, pixels: Pixels, options: PredictOptions) -> list[Map]:
        """A map 1xKxhxw per view at stride 4: logits of a single view, floored log-probabilities of several."""
        views = views_of(options)
        planes = self._planes(pixels)
        maps = [self._logits(planes, *view) for view in views]
        return maps if len(views) == 1 else [np.maximum(_log_softmax(x), LOG_FLOOR) for x in maps]

    def _planes(self, pixels: Pixels) -> NDArray[np.float32]:
        """HxWxC to CxHxW in [0, 1]."""
        channels = self.card.channels
        unit = pixels.astype(np.float32) / np.float32(255) if channels is None else channels.to_unit(pixels)
        return unit.transpose(2, 0, 1)

    def _logits(self, planes: NDArray[np.float32], scale: float, mirrored: bool) -> Map:
        """Logits of one view at stride 4, mirrored back."""
        if scale != 1.0:
            planes = resized(planes, *(max(1, round(side * scale)) for side in planes.shape[1:]))
        if not mirrored:
            return self.engine(planes[None])
        logits = self.engine(planes[None, :, :, ::-1])
        return logits[..., ::-1][:, self.card.labels.mirrored[: logits.shape[1]]]


def load(model: str | Path, engine: str = "auto", precision: str = "32") -> PortableSegmenter:
    """Open an exported file; see ``inference.engines.open_engine`` for arguments and errors."""
    return PortableSegmenter(open_engine(model, engine, precision))


def read_picture(image: str | Path | Image.Image | NDArray[Any], channels: Channels | None) -> Pixels:
    """A picture of any kind as a network's pixels: HxWx3 uint8 RGB, or HxWxC raw values of ``channels``.

    Raises:
        InputError: it cannot be read, or has other channels or another type of number than ``channels``.
    """
    if channels is None:
        return read_image(image)
    if isinstance(image, str | Path):
        return read_channels(Path(image), channels)
    pixels = np.asarray(image)
    channels.check(pixels, "picture")
    return pixels


def temperatures(card: ModelCard) -> NDArray[np.float32] | None:
    """A temperature per predicted class, K, from the model's calibration; None where it has none."""
    values = card.calibration.get("temperatures")
    if values is None:
        return None
    if len(values) != card.labels.num_classes or not all(0 < value < float("inf") for value in values):
        raise WeightsError(
            f"expected {card.labels.num_classes} temperatures above 0 in the model's calibration, got {values}"
        )
    return np.asarray(values, np.float32)


# Arrays ----------------------------------------------------------------------------------------------------


def resized(planes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """CxHxW bilinear to another size, half-pixel centres; smoothed where it gets smaller, as torch's antialias."""
    resample = Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(plane).resize((width, height), resample)) for plane in planes])


def rows_between(
    scores: Rows, top: int, bottom: int, height: int, first: int = 0, source: int | None = None
) -> Rows:
    """Rows ``top`` to ``bottom`` of the bilinear upsampling of Kxhxw to ``height`` rows: Kx(bottom - top)xw.

    Where ``scores`` are only rows ``first`` and on of a map of ``source`` rows, all that are needed must be there.
    """
    source = scores.shape[1] if source is None else source
    above, below, weight = _neighbours(np.arange(top, bottom), source, height)
    upper, lower = scores[:, above - first], scores[:, below - first]
    return np.asarray(upper + weight[:, None] * (lower - upper))


def interpolation(width: int, sources: Sequence[int]) -> list[tuple[Any, Any, Any]]:
    """What ``columns_between`` needs for each of the sources."""
    return [_neighbours(np.arange(width), source, width) for source in sources]


def columns_between(rows: Rows, left: Any, right: Any, weight: Any) -> Rows:
    """...xw to ...xW."""
    start = rows.take(left, -1)
    return np.asarray(start + weight * (rows.take(right, -1) - start))


def _neighbours(places: Any, source: int, target: int) -> tuple[Any, Any, Any]:
    """For places on the target axis: the cells of the source on either side, and the share of the second."""
    position = np.maximum((places.astype(np.float32) + 0.5) * np.float32(source / target) - 0.5, 0)
    before = np.minimum(position.astype(np.int64), source - 1)
    return before, np.minimum(before + 1, source - 1), (position - before).astype(np.float32)


def _largest(parts: list[Rows], places: list[tuple[Any, Any, Any]], fused: bool) -> UInt8:
    """Labels hxW of rows Kxhxw; class by class, so that what is worked on stays in the cache."""
    labels = np.zeros((parts[0].shape[1], len(places[0][0])), np.uint8)
    best = np.full(labels.shape, -np.inf, np.float32)
    for index in range(len(parts[0])):
        score = np.zeros((), np.float32)
        for part, place in zip(parts, places, strict=True):
            wide = columns_between(part[index], *place)
            score = score + np.exp(wide) if fused else wide
        better = score > best
        np.copyto(best, score, where=better)
        labels[better] = index
    return labels


def _log_softmax(x: Map) -> Map:
    """BxKxHxW over K."""
    x = x - x.max(1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(1, keepdims=True)))


def softmax(x: Rows) -> Rows:
    """K x ... over K."""
    x = np.exp(x - x.max(0))
    return np.asarray(x / x.sum(0))
