"""The predictor: a network, its label map, and the way from a picture of any kind to a Result."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from refineseg.channels import Pixels, visible
from refineseg.errors import InputError, TooLargeError
from refineseg.inference.devices import pick_device
from refineseg.inference.fast.network import Fast
from refineseg.inference.memory_estimate import Need, imagined, need_of, tensors_of
from refineseg.inference.options import LOG_FLOOR, row_ranges, views_of
from refineseg.inference.options import PredictOptions as PredictOptions
from refineseg.inference.options import Tile as Tile
from refineseg.inference.portable import read_picture, temperatures
from refineseg.inference.result import Result
from refineseg.inference.runners import Engine
from refineseg.inference.scores import (
    argmax_in_strips,
    largest_of,
    probabilities_of,
    rows_upsampled,
    soften,
    upsample,
)
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
from refineseg.inference.tiles.plan import BUDGET, needed_overlap, plan_windows
from refineseg.inference.tiles.receptive_field import bytes_per_pixel, effective_radius
from refineseg.labels import UInt8
from refineseg.model.card import ModelCard
from refineseg.model.model_folder import load_model_folder, weights_hash
from refineseg.model.refinenet import RefineNet
from refineseg.system.memory import free_memory

GIB = 1 << 30
LOOKED_AT = 1 << 20  # pixels from which on it is asked whether memory is enough


class Segmenter:
    """Segments pictures with one network.

    Attributes:
        model: the network, an nn.Module in eval mode.
        card: name, labels, scores, provenance, licence.
        device: where it runs.
        precision: ``32`` or ``bf16``.
        engine: what runs an exported form of the network in its place, or None.
    """

    def __init__(
        self,
        model: RefineNet,
        card: ModelCard,
        device: str = "auto",
        precision: str = "32",
        engine: Engine | None = None,
    ) -> None:
        if precision not in ("32", "bf16"):
            raise InputError(f"expected precision 32 or bf16, got {precision!r}")
        self.device = pick_device("cpu" if device == "auto" and engine is not None else device)
        if engine is not None and self.device.type != "cpu":
            raise InputError(f"expected --device cpu with the engine {engine.name}, got {device}")
        self.engine = engine
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()
        self.card = card
        self.precision = precision
        self._fast = Fast(self.model, torch.bfloat16 if precision == "bf16" else torch.float32)
        self._needs: dict[tuple[tuple[int, int], PredictOptions, int], int] = {}  # planning takes a second or more
        values = temperatures(card)
        self.temperatures = None if values is None else torch.from_numpy(values).to(self.device)

    @property
    def class_names(self) -> list[str]:
        """Class names by train id."""
        return self.card.labels.names

    def fingerprint(self) -> str:
        """Of all that labels depend on beside picture and options: weights, engine, precision."""
        return f"{self.engine.name if self.engine else 'torch'} {self.precision} {weights_hash(self.model)}"

    @torch.inference_mode()
    def predict(
        self,
        image: str | Path | Image.Image | NDArray[Any],
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        probabilities: bool = False,
        tile: Tile = None,
    ) -> Result:
        """Segment one picture.

        Args:
            image: path, PIL image or array HxWx3 of uint8 RGB; for a model of other channels a TIFF's
                path or an array HxWxC of raw values.
            scales: the picture is seen at each; class scores are averaged as the paper does.
            flip: also average over the mirrored picture.
            probabilities: keep KxHxW float16 probabilities in the result; calibrated where the model is.
            tile: side of the windows in pixels in which a large picture is seen, rounded up to 32; ``auto`` takes
                the whole picture where its activations fit in 768 MiB, else the largest windows that do; None is
                always the whole picture. Files that memory does not hold: inference.large.

        Returns:
            A Result with labels HxW of uint8 train ids, at the picture's own size.

        Raises:
            InputError: the picture cannot be read, or an option is out of range.
            TooLargeError: it does not fit in memory in one piece; ``tile`` was None.
        """
        options = PredictOptions(tuple(scales), flip, probabilities)
        (result,) = self.predict_batch([read_picture(image, self.card.channels)], options, tile)
        return replace(result, name=Path(image).stem) if isinstance(image, str | Path) else result

    @torch.inference_mode()
    def predict_batch(
        self,
        pictures: Sequence[Pixels],
        options: PredictOptions,
        tile: Tile = None,
        each: Callable[[], None] | None = None,
    ) -> list[Result]:
        """Segment pictures of one size together; ``predict`` of each, but for rounding.

        Args:
            pictures: HxWx3 uint8 RGB; raw values HxWxC for a model of other channels.
            options: scales, flip, probabilities.
            tile: as of ``predict``; pictures that are seen in windows are taken one after the other.
            each: called after every window, and after pictures that are one window each; what it raises ends the
                work.

        Raises:
            InputError: the sizes differ, or windows do not fit.
        """
        size = (pictures[0].shape[0], pictures[0].shape[1])
        if any(picture.shape[:2] != size for picture in pictures):
            raise InputError(
                f"expected pictures of one size, got {sorted({picture.shape[:2] for picture in pictures})}"
            )
        plan = None if tile is None else self.plan(size, options, tile)
        if plan is None:
            self._check_memory(size, len(pictures), options)
        if plan is None or plan.windows == 1:
            found = self._whole(pictures, options)
            if each is not None:
                for _ in pictures:
                    each()
        else:
            found = [self._tiled(picture, options, plan, each) for picture in pictures]
        return [
            Result(labels, self.card.labels, visible(picture, self.card.channels), scores)
            for picture, (labels, scores) in zip(pictures, found, strict=True)
        ]

    def predict_video(
        self, source: str | Path | Sequence[Path], *, smooth: float = 0.0, seconds: float | None = None, **how: Any
    ) -> Iterator[Result]:
        """Segment a video frame by frame: a Result for each, in order.

        Args:
            source: a video file; the number of a camera or a stream's address, as text; or pictures in order.
            smooth: share of the past in each frame's scores, 0 up to below 1 (see ``inference.smoothing``).
            seconds: how much to take; all of it by default.
            how: ``scales``, ``flip``, ``probabilities`` and ``tile`` as of ``predict``.

        Raises:
            InputError: the source cannot be read, or an option is out of range.
            MissingExtraError: PyAV is not installed (extra ``video``).
        """
        from refineseg.inference.video.predict import results

        return results(self, source, smooth, seconds, **how)

    def segment(self, images: Tensor, options: PredictOptions) -> tuple[Tensor, Tensor | None]:
        """Labels BxHxW uint8 and, if asked for, probabilities BxKxHxW float32 of Bx3xHxW uint8 pictures.

        Channels come as BxCxHxW float in [0, 1].
        """
        size = (images.shape[-2], images.shape[-1])
        maps = self._maps(images, options)
        fused = len(maps) > 1
        if not options.probabilities:
            return argmax_in_strips(maps, size, fused), None
        return self._calibrated(probabilities_of([upsample(scores, size) for scores in maps], fused))

    def need(self, size: tuple[int, int], options: PredictOptions | None = None, batch: int = 1) -> Need:
        """Bytes that pictures of ``size`` (height, width) need in one piece, without running the network.

        Not for engines: they manage memory by themselves.
        """

        def prepare(mode: FakeTensorMode) -> tuple[list[Tensor], Callable[[], object]]:
            twin = copy.copy(self)
            twin.model = imagined(self.model, mode)
            twin._fast = Fast(twin.model, self._fast.dtype)
            with torch.no_grad():
                resting = tensors_of(twin.model) + tensors_of(twin._fast.network(self.model.mean))
            dtype = torch.uint8 if self.card.channels is None else torch.float32
            images = torch.empty(batch, self.model.config.in_channels, *size, dtype=dtype, device=self.device)
            chosen = PredictOptions() if options is None else options
            return [*resting, images], lambda: torch.inference_mode()(twin.segment)(images, chosen)

        return need_of(prepare)

    def _check_memory(self, size: tuple[int, int], batch: int, options: PredictOptions) -> None:
        """TooLargeError for pictures that would not fit in memory. Small ones are not looked at."""
        small = batch * size[0] * size[1] * max(options.scales) ** 2 < LOOKED_AT
        # Engines manage memory by themselves; a network that only behaves like a RefineNet cannot be planned.
        if small or self.engine is not None or not isinstance(self.model, RefineNet):
            return
        free = free_memory() if self.device.type == "cpu" else torch.cuda.mem_get_info(self.device)[0]
        pixels = batch * size[0] * size[1]
        scores = 8 * self.card.labels.num_classes * len(views_of(options)) if options.probabilities else 0
        rough = pixels * (self.bytes_per_pixel * max(1.0, *options.scales) ** 2 + scores)
        if free is not None and 3 * rough < free:
            return  # nowhere near the limit: planning would take longer than the prediction
        asked = (size, options, batch)
        if asked not in self._needs:
            self._needs[asked] = self.need(size, options, batch).working
        need = self._needs[asked]
        if free is not None and need > free:
            raise TooLargeError(
                f"expected a picture that fits in memory, {size[1]}x{size[0]} in one piece needs "
                f"{need / GIB:.1f} GiB and {free / GIB:.1f} are free: use --tile auto"
            )

    # Tiles ---------------------------------------------------------------------------------------------------

    @property
    def input_scales(self) -> tuple[float, ...]:
        """Scales at which the network takes its input."""
        return self.model.config.input_scales

    @cached_property
    def overlap(self) -> int:
        """Pixels that windows share: two effective radii of the network, measured once."""
        return needed_overlap(effective_radius(self.model, self.device))

    @cached_property
    def bytes_per_pixel(self) -> float:
        """Memory of the activations by pixel of a window, measured once."""
        return bytes_per_pixel(self.model, self.device)

    def at_once(self, size: tuple[int, int], options: PredictOptions) -> int:
        """How many pictures of ``size`` to take together, so that their activations fit in 768 MiB; at least 1."""
        costs = self.bytes_per_pixel * max(1.0, *options.scales) ** 2
        return max(1, int(BUDGET / (costs * size[0] * size[1])))

    def plan(self, size: tuple[int, int], options: PredictOptions, tile: int | Literal["auto"]) -> Plan:
        """The windows of a picture of ``size``; InputError where tiles are too small for the overlap."""
        return plan_windows(size, options.scales, tile, self)

    @torch.inference_mode()
    def strips(
        self,
        plan: Plan,
        read: Read,
        options: PredictOptions,
        start_row: int = 0,
        each: Callable[[], None] | None = None,
        change: Callable[[Strip], Strip] | None = None,
    ) -> Iterator[tuple[int, UInt8, NDArray[np.float32] | None]]:
        """Strips of a picture seen in windows: first row, labels hxW and, if asked for, probabilities Kxhxw.

        Only a row of windows' scores and a strip are held. ``read`` gives pixels; rows above ``start_row`` are
        left out; ``each`` is called after every window. ``change`` is given the scores of the whole picture in
        one strip, which then are held, and labels are made of what it returns.
        """
        views = [view_of(plan.size, scale, self.input_scales[0]) for scale, _ in views_of(options)]

        def score(pixels: Pixels) -> list[Map]:
            return [scores.cpu().numpy() for scores in self._maps(self._batch(pixels), options)]

        found = blended_strips(plan, views, read, score, start_row, each)
        for strip in found if change is None else [change(joined(found))]:
            for top, bottom in row_ranges(strip.top, strip.bottom, strip.maps[0].shape[1], plan.size[1]):
                yield self._finished(strip, top, bottom, plan.size, options)

    def _finished(
        self, strip: Strip, top: int, bottom: int, size: tuple[int, int], options: PredictOptions
    ) -> tuple[int, UInt8, NDArray[np.float32] | None]:
        parts = [
            rows_upsampled(torch.from_numpy(scores), top, bottom, size, first, source)
            for scores, first, source in zip(strip.maps, strip.firsts, strip.sources, strict=True)
        ]
        fused = len(parts) > 1
        if not options.probabilities:
            return top, largest_of(parts, fused)[0].to(torch.uint8).numpy(), None
        labels, scores = self._calibrated(probabilities_of([part.to(self.device) for part in parts], fused))
        return top, labels[0].cpu().numpy(), scores[0].cpu().numpy()

    def _tiled(
        self, pixels: Pixels, options: PredictOptions, plan: Plan, each: Callable[[], None] | None
    ) -> tuple[UInt8, NDArray[np.float16] | None]:

        def read(top: int, bottom: int, left: int, right: int) -> Pixels:
            return pixels[top:bottom, left:right]

        classes = self.card.labels.num_classes if options.probabilities else None
        return put_together(self.strips(plan, read, options, each=each), plan.size, classes)

    # The network ---------------------------------------------------------------------------------------------

    def _batch(self, pixels: Pixels) -> Tensor:
        """HxWx3 uint8 as 1x3xHxW uint8; raw values of other channels as 1xCxHxW float32 in [0, 1]."""
        if self.card.channels is not None:
            pixels = self.card.channels.to_unit(pixels)
        return torch.from_numpy(np.require(pixels, requirements="W")).permute(2, 0, 1)[None].to(self.device)

    def _whole(
        self, pictures: Sequence[Pixels], options: PredictOptions
    ) -> list[tuple[UInt8, NDArray[np.float16] | None]]:
        labels, scores = self.segment(torch.cat([self._batch(picture) for picture in pictures]), options)
        kept = [None] * len(pictures) if scores is None else list(scores.half().cpu().numpy())
        # Copies, so that one result does not keep the whole batch alive.
        return [(mine.copy(), mine_scores) for mine, mine_scores in zip(labels.cpu().numpy(), kept, strict=True)]

    def _maps(self, images: Tensor, options: PredictOptions) -> list[Tensor]:
        """A map per view at stride 4: logits of a single view, floored log-probabilities of several."""
        x = images if images.is_floating_point() else images.float() / 255
        x = x.contiguous(memory_format=torch.channels_last)
        views = views_of(options)
        if len(views) == 1:
            # One view: the largest probability is the largest logit, since softmax keeps their order.
            return [self._logits(x, *views[0])]
        return [self._logits(x, *view).log_softmax(1).clamp_(min=LOG_FLOOR) for view in views]

    def _calibrated(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Labels, then probabilities with the model's temperatures, which so never change a label."""
        labels = scores.argmax(1)
        if self.temperatures is not None:
            scores = soften(scores, labels, self.temperatures)
        return labels.to(torch.uint8), scores

    def _logits(self, x: Tensor, scale: float, mirrored: bool) -> Tensor:
        """Logits of one view at stride 4, float32, mirrored back."""
        if scale != 1.0:
            size = [max(1, round(side * scale)) for side in x.shape[-2:]]
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=scale < 1)
        if mirrored:
            x = x.flip(-1)
        logits = self._network(x)
        if mirrored:
            swap = torch.from_numpy(self.card.labels.mirrored[: logits.shape[1]].astype(np.int64))
            logits = logits.flip(-1)[:, swap.to(logits.device)]
        return logits

    def _network(self, x: Tensor) -> Tensor:
        """RGB in [0, 1] to logits at stride 4, float32."""
        if self.engine is not None:
            return torch.from_numpy(self.engine(x.numpy()))
        network = self._fast.network(x)
        ordinary = network is self.model  # the copy has weights in bf16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=ordinary and self.precision == "bf16"):
            logits: Tensor = network(x, upsample=False)
        return logits.float()


def load(model: str | Path, device: str = "auto", precision: str = "32") -> Segmenter:
    """Open a trained model.

    Args:
        model: a bundled name (``camvid``), a model folder, or ``hf:ORG/NAME[@REVISION]`` on the Hub.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``32`` or ``bf16`` (autocast).

    Raises:
        WeightsError: unknown name, or a damaged folder.
        InputError: the device is not there.
    """
    from refineseg.model.find_model import find_model
    from refineseg.model.hub import origin_of

    folder = find_model(str(model))
    network, card = load_model_folder(folder)
    card = replace(card, provenance=card.provenance | origin_of(str(model), folder))
    return Segmenter(network, card, device, precision)
