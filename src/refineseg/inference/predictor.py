"""The predictor: a network, its label map, and the way from a picture of any kind to a Result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from refineseg.data.images import read_image
from refineseg.errors import InputError, WeightsError
from refineseg.inference.result import Result
from refineseg.model.refinenet import RefineNet
from refineseg.model.weights import ModelInfo, load_model_folder

LOG_FLOOR = -20.0  # REFERENCE of the authors' evaluation: log scores below it count as it
TINY = 1e-9  # probabilities below it count as it when a temperature is applied
STRIP = 64  # rows upsampled at a time, so that the full-size score map never exists


@dataclass(frozen=True)
class PredictOptions:
    """How scores are made.

    Attributes:
        scales: the picture is seen at each, and the scores averaged.
        flip: also see it mirrored.
        probabilities: keep the class probabilities in the result.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    probabilities: bool = False

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale <= 8 for scale in self.scales):
            raise InputError(f"expected scales above 0 and up to 8, such as 0.75,1.0,1.25, got {self.scales}")


class Segmenter:
    """Segments pictures with one network.

    Attributes:
        model: the network, an nn.Module in eval mode.
        info: name, labels, scores, provenance, licence.
        device: where it runs.
        precision: ``32`` or ``bf16``.
    """

    def __init__(self, model: RefineNet, info: ModelInfo, device: str = "auto", precision: str = "32") -> None:
        if precision not in ("32", "bf16"):
            raise InputError(f"expected precision 32 or bf16, got {precision!r}")
        self.device = pick_device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()
        self.info = info
        self.precision = precision
        self.temperatures = _temperatures(info, self.device)

    @property
    def class_names(self) -> list[str]:
        """Class names by train id."""
        return self.info.labels.names

    @torch.inference_mode()
    def predict(
        self,
        image: str | Path | Image.Image | NDArray[Any],
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        probabilities: bool = False,
    ) -> Result:
        """Segment one picture.

        Args:
            image: path, PIL image or array HxWx3 of uint8 RGB.
            scales: the picture is seen at each; class scores are averaged as the paper does.
            flip: also average over the mirrored picture.
            probabilities: keep KxHxW float16 probabilities in the result; calibrated where the model is.

        Returns:
            A Result with labels HxW of uint8 train ids, at the picture's own size.

        Raises:
            InputError: the picture cannot be read, or an option is out of range.
        """
        options = PredictOptions(tuple(scales), flip, probabilities)
        pixels = read_image(image)
        batch = torch.from_numpy(np.require(pixels, requirements="W")).permute(2, 0, 1)[None].to(self.device)
        labels, scores = self.segment(batch, options)
        stem = Path(image).stem if isinstance(image, str | Path) else "image"
        return Result(
            labels=labels[0].cpu().numpy(),
            label_map=self.info.labels,
            image=pixels,
            probabilities=None if scores is None else scores[0].half().cpu().numpy(),
            name=stem,
        )

    def segment(self, images: Tensor, options: PredictOptions) -> tuple[Tensor, Tensor | None]:
        """Bx3xHxW uint8 to labels BxHxW uint8 and, if asked for, probabilities BxKxHxW float32."""
        size = (images.shape[-2], images.shape[-1])
        x = (images.float() / 255).contiguous(memory_format=torch.channels_last)
        views = [
            (scale, mirrored)
            for scale in options.scales
            for mirrored in ((False, True) if options.flip else (False,))
        ]
        if len(views) == 1:
            # One view: the largest probability is the largest logit, since softmax keeps their order.
            logits = self._logits(x, *views[0])
            if not options.probabilities:
                return _argmax_in_strips([logits], size, fused=False), None
            return self._calibrated(_upsample(logits, size).softmax(1))
        logs = [self._logits(x, *view).log_softmax(1).clamp_(min=LOG_FLOOR) for view in views]
        if not options.probabilities:
            return _argmax_in_strips(logs, size, fused=True), None
        scores = sum((_upsample(log, size).exp() for log in logs), torch.zeros(())) / len(logs)
        return self._calibrated(scores / scores.sum(1, keepdim=True))

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
        kind = self.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16"):
            logits: Tensor = self.model(x, upsample=False)
        logits = logits.float()
        if mirrored:
            swap = torch.from_numpy(self.info.labels.mirrored[: logits.shape[1]].astype(np.int64))
            logits = logits.flip(-1)[:, swap.to(logits.device)]
        return logits


def load(model: str | Path, device: str = "auto", precision: str = "32") -> Segmenter:
    """Open a trained model.

    Args:
        model: a bundled name (``camvid``) or a model folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``32`` or ``bf16`` (autocast).

    Raises:
        WeightsError: unknown name, or a damaged folder.
        InputError: the device is not there.
    """
    from refineseg.model.bundled import find_model

    network, info = load_model_folder(find_model(str(model)))
    return Segmenter(network, info, device, precision)


def pick_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one. InputError for a device that this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"expected a device such as auto, cpu or cuda, got {name!r}") from error
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise InputError(f"expected the device {name}, this machine has none; use --device cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"expected a device such as auto, cpu or cuda, got {name!r}")
    return device


def soften(scores: Tensor, labels: Tensor, temperatures: Tensor) -> Tensor:
    """Probabilities BxKxHxW with the temperature of each pixel's label BxHxW: softmax(log p / T[label])."""
    return (scores.clamp(min=TINY).log() / temperatures[labels][:, None]).softmax(1)


def _temperatures(info: ModelInfo, device: torch.device) -> Tensor | None:
    """A temperature per predicted class, K, from the model's calibration; None where it has none."""
    values = info.calibration.get("temperatures")
    if values is None:
        return None
    if len(values) != info.labels.num_classes or not all(0 < value < float("inf") for value in values):
        raise WeightsError(
            f"expected {info.labels.num_classes} temperatures above 0 in the model's calibration, got {values}"
        )
    return torch.tensor(values, dtype=torch.float32, device=device)


def _upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def _argmax_in_strips(maps: list[Tensor], size: tuple[int, int], fused: bool) -> Tensor:
    """Labels BxHxW of the maps upsampled to ``size``; only a strip of the full-size scores exists at a time.

    Bilinear upsampling is done row by row by hand, so that a strip is exactly the same rows of the whole.
    """
    height, width = size
    labels = torch.empty((maps[0].shape[0], height, width), dtype=torch.uint8, device=maps[0].device)
    for top in range(0, height, STRIP):
        bottom = min(top + STRIP, height)
        total: Tensor | None = None
        for scores in maps:
            part = rows_upsampled(scores, top, bottom, size)
            part = part.exp_() if fused else part
            total = part if total is None else total.add_(part)
        assert total is not None
        labels[:, top:bottom] = total.argmax(1)
    return labels


def rows_upsampled(scores: Tensor, top: int, bottom: int, size: tuple[int, int]) -> Tensor:
    """Rows ``top`` to ``bottom`` of the bilinear upsampling (half-pixel centres) of BxKxhxw to ``size``."""
    height, width = size
    source = scores.shape[-2]
    position = (torch.arange(top, bottom, device=scores.device, dtype=torch.float32) + 0.5) * (
        source / height
    ) - 0.5
    position = position.clamp(min=0)
    above = position.floor().long().clamp(max=source - 1)
    below = (above + 1).clamp(max=source - 1)
    weight = (position - above).view(1, 1, -1, 1)
    rows = torch.lerp(scores[:, :, above], scores[:, :, below], weight)
    return F.interpolate(rows, (bottom - top, width), mode="bilinear", align_corners=False)
