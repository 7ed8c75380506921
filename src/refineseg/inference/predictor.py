"""The predictor: from pictures of any kind to results, with a model and whatever engine runs it. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.channels import Pixels, display_rgb
from refineseg.config.model import ModelOutputs
from refineseg.data.images import as_picture
from refineseg.errors import InputError
from refineseg.inference.depth import Depth
from refineseg.inference.memory import MemoryCheck
from refineseg.inference.options import PredictOptions, Tile, channels_of, row_ranges, scales_of, views_of
from refineseg.inference.result import Result
from refineseg.inference.runners import Runner
from refineseg.inference.scoring import Probabilities, Scoring
from refineseg.inference.tiles.blending import Map, Read, Strip, blended_strips, join_strips, view_of
from refineseg.inference.tiles.tiling import Tiling, choose_tiling
from refineseg.labels import UInt8
from refineseg.model.folders.card import ModelCard
from refineseg.system.text import counted

if TYPE_CHECKING:
    from refineseg.model.refinenet import RefineNet


class Segmenter:
    """Segments pictures with one model on any engine.

    Attributes:
        runner: runs the network; ``runner.name`` is ``torch``, ``onnxruntime`` or ``openvino``.
        card: name, labels, scores, provenance, licence, calibration.
        memory: how much memory pictures need, and whether they fit.
    """

    def __init__(self, runner: Runner, card: ModelCard, network: RefineNet | None = None) -> None:
        self.runner = runner
        self.card = card
        self._scoring = Scoring(runner, card)
        self._network = network
        self.memory = MemoryCheck(runner, self._scoring, card)

    def __repr__(self) -> str:
        classes = counted(self.card.labels.classes, "class") if self.outputs == "classes" else self.outputs
        return f"Segmenter({self.card.name!r}, {classes}, by {self.runner.name})"

    @classmethod
    def from_network(
        cls, model: RefineNet, card: ModelCard, device: str = "auto", precision: str = "32"
    ) -> Segmenter:
        """Run an nn.Module with torch on ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, in ``32`` or ``bf16``."""
        from refineseg.inference.runners.torch_module import NetworkRunner

        runner = NetworkRunner(model, device, precision)
        return cls(runner, card, runner.model)

    @property
    def model(self) -> RefineNet:
        """The network, an nn.Module in eval mode; InputError for an exported file, which has none."""
        if self._network is None:
            raise InputError(f"expected a model folder, {self.card.name} is an exported file: it has no nn.Module")
        return self._network

    @property
    def calibrated(self) -> bool:
        """Whether probabilities have the temperatures of a calibration."""
        return self._scoring.temperatures is not None

    @property
    def class_names(self) -> list[str]:
        """Class names by train id."""
        return self.card.labels.names

    @property
    def outputs(self) -> ModelOutputs:
        """Whether the model predicts classes or depth."""
        return self.runner.config.outputs

    def fingerprint(self) -> str:
        """A text of engine, precision and weights, which changes whenever labels of a picture may."""
        return self.runner.fingerprint()

    def predict(
        self,
        image: str | Path | Image.Image | NDArray[Any],
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        probabilities: bool = False,
        tile: Tile = None,
        channels: Sequence[int] | None = None,
    ) -> Result:
        """Segment one picture.

        Args:
            image: path, PIL image or HxWx3 uint8 RGB array; for a model of other channels the path of a TIFF or an
                HxWxC array of raw values.
            scales: scales of the picture over which class scores are averaged, as in the paper.
            flip: also average over the mirrored picture.
            probabilities: keep KxHxW float16 probabilities in the result; calibrated if the model is.
            tile: side in pixels of the windows of a large picture, rounded up to a multiple of 32; ``auto`` uses
                the whole picture if its activations fit in 768 MiB, else the largest windows that fit; None always
                uses the whole picture. For files larger than memory see ``inference.tiles.predict``.
            channels: channels of the file to use, counted from 1, in this order, such as (3, 2, 1).

        Returns:
            A Result with HxW uint8 train ids at the picture's own size; 255 where the picture has no data.

        Raises:
            InputError: the picture cannot be read, or an option is out of range.
            TooLargeError: ``tile`` is None and the picture does not fit in memory in one piece.
        """
        options = PredictOptions(scales_of(scales), flip, probabilities, channels_of(channels))
        picture = as_picture(image, self.card.channels, options.choice)
        (result,) = self.predict_batch([picture.pixels], options, tile)
        result = result.of(picture)
        return replace(result, name=Path(image).stem) if isinstance(image, str | Path) else result

    def predict_batch(
        self,
        pictures: Sequence[Pixels],
        options: PredictOptions,
        tile: Tile = None,
        each: Callable[[], None] | None = None,
    ) -> list[Result]:
        """Segment pictures of one size together; results equal those of ``predict`` except for rounding.

        Args:
            pictures: HxWx3 uint8 RGB; raw values HxWxC for a model of other channels.
            options: scales, flip, probabilities.
            tile: as for ``predict``; pictures of several windows are segmented one after the other.
            each: called after every window; an exception that it raises ends the work.

        Raises:
            InputError: the sizes differ, or windows do not fit.
        """
        self._check_outputs("classes")
        size = (pictures[0].shape[0], pictures[0].shape[1])
        if any(picture.shape[:2] != size for picture in pictures):
            raise InputError(
                f"expected pictures of one size, got {sorted({picture.shape[:2] for picture in pictures})}"
            )
        tiling = self.tiling(size, options, tile)
        if tile is None:
            self.memory.check(size, len(pictures), options)
        found: list[tuple[UInt8, Probabilities | None]] = []
        if tiling.windows == 1:
            labels, scores = self.segment(
                np.stack([self._scoring.scaled(picture) for picture in pictures]), options
            )
            # Copies, so that one result does not keep the whole batch alive.
            kept = [None] * len(pictures) if scores is None else [mine.copy() for mine in scores]
            found = [(mine.copy(), mine_scores) for mine, mine_scores in zip(labels, kept, strict=True)]
            if each is not None:
                for _ in pictures:
                    each()
        else:
            found = [self.in_windows(picture, options, tiling, each) for picture in pictures]
        return [
            Result(labels, self.card.labels, display_rgb(picture, self.card.channels), scores)
            for picture, (labels, scores) in zip(pictures, found, strict=True)
        ]

    def predict_video(
        self, source: str | Path | Sequence[Path], *, smooth: float = 0.0, seconds: float | None = None, **how: Any
    ) -> Iterator[Result]:
        """Segment a video frame by frame: a Result for each, in order.

        Args:
            source: a video file; the number of a camera or a stream's address, as text; or pictures in order.
            smooth: share of the past in each frame's scores, 0 up to below 1 (see ``inference.video.smoothing``).
            seconds: length to process; all of it by default.
            how: ``scales``, ``flip``, ``probabilities`` and ``tile`` as for ``predict``.

        Raises:
            InputError: the source cannot be read, or an option is out of range.
            MissingExtraError: PyAV is not installed (extra ``video``).
        """
        from refineseg.inference.video.predict import results

        return results(self, source, smooth, seconds, **how)

    def predict_depth(
        self,
        image: str | Path | Image.Image | NDArray[Any],
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        channels: Sequence[int] | None = None,
    ) -> Depth:
        """The depth of one picture, by a model of depth: the mean over scales and the mirrored picture.

        The arguments are those of ``predict``.

        Raises:
            InputError: the picture cannot be read, or the model predicts classes.
            TooLargeError: it does not fit in memory.
        """
        self._check_outputs("depth")
        options = PredictOptions(scales_of(scales), flip, False, channels_of(channels))
        picture = as_picture(image, self.card.channels, options.choice)
        size = picture.size
        self.memory.check(size, 1, options)
        array_ops = self.runner.array_ops
        maps = self._scoring.maps(self._scoring.scaled(picture.pixels)[None], options)
        full = [array_ops.to_numpy(array_ops.upsampled(depth, 0, size[0], size))[0, 0] for depth in maps]
        name = Path(image).stem if isinstance(image, str | Path) else "image"
        values = np.asarray(np.mean(full, axis=0), np.float32)
        shown, dpt = display_rgb(picture.pixels, self.card.channels), self.runner.config.dpt
        return Depth(values, "relative" if dpt is None else dpt.depth, shown, name, picture.notes)

    def _check_outputs(self, expected: ModelOutputs) -> None:
        """InputError unless the model predicts ``expected``."""
        if self.outputs != expected:
            instead = "refineseg predict, or predict_depth" if self.outputs == "depth" else "predict"
            raise InputError(
                f"expected a model of {expected}, {self.card.name} gives {self.outputs}: use {instead}"
            )

    def segment(self, pictures: NDArray[Any], options: PredictOptions) -> tuple[UInt8, Probabilities | None]:
        """Labels BxHxW uint8 and, if kept, probabilities BxKxHxW of pictures in one piece.

        Pictures are BxHxWxC, uint8 or floats in [0, 1].
        """
        size = (pictures.shape[1], pictures.shape[2])
        maps = self._scoring.maps(pictures, options)
        return self._scoring.finished(Strip.whole(maps, size[0]), (0, size[0]), size, options)

    # Windows -------------------------------------------------------------------------------------------------

    def tiling(self, size: tuple[int, int], options: PredictOptions, tile: Tile) -> Tiling:
        """The windows of a picture of ``size``; InputError if tiles are too small for the overlap.

        With ``auto``, a model that resizes pictures processes them whole, since windows are not resized.
        """
        whole = tile == "auto" and self.card.resize is not None
        return choose_tiling(size, options.scales, None if whole else tile, self.runner)

    def strips(
        self,
        tiling: Tiling,
        read: Read,
        options: PredictOptions,
        start_row: int = 0,
        each: Callable[[], None] | None = None,
        change: Callable[[Strip], Strip] | None = None,
    ) -> Iterator[tuple[int, UInt8, Probabilities | None]]:
        """Segment a picture in windows: strips of first row, labels hxW and, if kept, probabilities KxhxW.

        Only the scores of one row of windows and a strip are held in memory. ``read`` returns a window's pixels,
        ``each`` is called after every window, ``change`` maps the scores of the whole picture, as one strip, to
        those from which the labels are computed.
        """
        self._check_outputs("classes")
        inner, stride = self.runner.config.input_scales[0], self.runner.config.stride
        views = [view_of(tiling.size, scale, inner, stride) for scale, _ in views_of(options)]
        scoring, array_ops = self._scoring, self.runner.array_ops

        def score(pixels: Pixels) -> list[Map]:
            maps = scoring.maps(scoring.scaled(pixels)[None], options, window=tiling.windows > 1)
            return [array_ops.to_numpy(scores) for scores in maps]

        found = blended_strips(tiling, views, read, score, start_row, each)
        for strip in found if change is None else [change(join_strips(found))]:
            held = replace(strip, maps=tuple(map(array_ops.from_numpy, strip.maps)))
            for top, bottom in row_ranges(strip.top, strip.bottom, strip.maps[0].shape[1], tiling.size[1]):
                labels, scores = scoring.finished(held, (top, bottom), tiling.size, options)
                yield top, labels[0], None if scores is None else scores[0]

    def in_windows(
        self,
        pixels: Pixels,
        options: PredictOptions,
        tiling: Tiling,
        each: Callable[[], None] | None = None,
        change: Callable[[Strip], Strip] | None = None,
    ) -> tuple[UInt8, Probabilities | None]:
        """Labels HxW and, if kept, probabilities KxHxW of a picture in memory; options as for ``strips``."""

        def read(top: int, bottom: int, left: int, right: int) -> Pixels:
            return pixels[top:bottom, left:right]

        classes, labels = self.card.labels.num_classes, np.empty(tiling.size, np.uint8)
        kept = np.empty((classes, *tiling.size), np.float16) if options.probabilities else None
        for top, part, scores in self.strips(tiling, read, options, each=each, change=change):
            rows = slice(top, top + len(part))
            labels[rows] = part
            if kept is not None:
                kept[:, rows] = scores
        return labels, kept
