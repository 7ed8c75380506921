"""Settings chosen from data, machine and time, each with its reason and its option."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refineseg.colors import is_background
from refineseg.model.classifier import name_key
from refineseg.model.folders.find_model import bundled_models
from refineseg.model.folders.model_folder import read_config
from refineseg.training.planning.data_summary import DataSummary
from refineseg.training.planning.speed import Machine

# Training starts from the bundled model if there are few pictures (500 is an estimate) and it knows this share of
# the classes by name. For other classes ImageNet weights are better: on 50 pictures of CamVid, in two minutes on
# one core, mean IoU 0.589 against 0.501 (benchmarks/small_data.py).
KNOWN_SHARE = 0.5
FEW_PICTURES = 500
GENERAL = "everyday"
PRESET = "refinenet-lw-mbv2"
# In fewer steps one block for all maps learns faster than four (docs/notebook/experiments.md: mean IoU 0.57
# against 0.44 after 70 steps, 0.479 against 0.467 after 360); 128 channels cost a third less than 256.
DEEP_FROM = 2000
QUICK = {"cascade": "single", "width": 128, "coarse_width": 128}
# Backbones of padded convolutions, whose cells are at multiples of the stride. CamVid after 150 steps, two seeds:
# mean IoU 0.498 and 0.513 with align_corners, 0.483 and 0.501 without.
PADDED = ("resnet", "mobilenetv2")
THIN, THICK = 4.0, 24.0  # pixels: one and six cells of the scores at stride 4
LARGE = 640  # shorter side in pixels from which half the size loses little if all classes are thick
CPU_AREA, GPU_AREA = 256 * 352, 512 * 512  # pixels of a crop at the network's input
MULTIPLE = 32  # the network's coarsest stride
UNEVEN = 20  # ratio of pixels of the most frequent to the rarest class
SELDOM = 0.1  # share of the pictures with a rare class


@dataclass(frozen=True)
class Choice:
    """A setting (by its name in config.yaml), its value and the reason."""

    setting: str
    value: Any
    reason: str

    @property
    def option(self) -> str:
        """The option of ``refineseg train`` that sets it."""
        value = self.value
        match self.setting:
            case "model" | "steps" | "precision":
                return f"--{self.setting} {value}"
            case "batch_size":
                return f"--batch-size {value}"
            case "augment.crop":
                return f"--crop {value[0]}x{value[1]}"
        name = self.setting.replace("fields.", "model.")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        # Brackets would be patterns of file names for the shell.
        return f'--set "{name}={text}"' if isinstance(value, list) else f"--set {name}={text}"


def choose_start(
    summary: DataSummary, own_fields: bool = False, class_map: Mapping[str, str] | None = None
) -> Choice:
    """The initial model: the bundled one if it knows the classes, also those that ``class_map`` maps to its own.

    A preset with ``own_fields`` of the network.
    """
    if not own_fields and summary.rgb and summary.train < FEW_PICTURES:
        known = known_names(summary.names, class_map or {})
        if len(known) >= KNOWN_SHARE * sum(not is_background(name) for name in summary.names) > 0:
            return Choice(
                "model",
                GENERAL,
                f"it knows {', '.join(known[:4])}, and there are few pictures: {summary.train}",
            )
    return Choice("model", PRESET, "light enough for any machine, and its ImageNet weights are in the package")


def known_names(names: Sequence[str], class_map: Mapping[str, str]) -> list[str]:
    """Class names, except the background, that the bundled general model has too, or under another name."""
    folder = bundled_models().get(GENERAL)
    if folder is None:
        return []
    known = {name_key(name) for name in read_config(folder)[1].labels.names}
    known |= {name_key(name) for own, name in class_map.items() if name_key(own) in known}
    return [name for name in names if name_key(name) in known and not is_background(name)]


def choose_network(summary: DataSummary, steps: int | None, backbone: str) -> list[Choice]:
    """Settings of a preset's network, by the number of steps, if known."""
    scale, why = input_scale(summary)
    chosen = [
        Choice(
            "fields.align_corners",
            backbone.startswith(PADDED),
            f"matches the positions of the cells of {backbone}",
        ),
        Choice("fields.exact_strides", True, "predictions in windows agree with those of the whole picture"),
        Choice("fields.dropout", 0.0, "dropout takes a tenth of each step's time"),
        Choice("fields.input_scales", [scale], why),
    ]
    if steps is None or steps < DEEP_FROM:
        reason = f"one block learns fastest in fewer than {DEEP_FROM:,} steps"
        chosen += [Choice(f"fields.{name}", value, reason) for name, value in QUICK.items()]
    return chosen


def input_scale(summary: DataSummary) -> tuple[float, str]:
    """The input scale, by the thinnest class, and the reason."""
    name, width = summary.thinnest
    if width < THIN:
        return 1.5, f"{name} is {width:.1f} pixels wide: less than one cell of the scores"
    if width > THICK and min(summary.size) >= LARGE:
        return 0.5, f"the thinnest class, {name}, is {width:.0f} pixels wide: half the size loses little"
    return 1.0, f"the thinnest class, {name}, is {width:.0f} pixels wide"


def choose_crop(summary: DataSummary, machine: Machine, scale: float) -> Choice:
    """The largest crop for the machine, in the shape of a picture."""
    area = (CPU_AREA if machine.device == "cpu" else GPU_AREA) / scale**2
    height, width = summary.size
    shrink = min(1.0, math.sqrt(area / (height * width)))
    unit = max(1, round(MULTIPLE / scale))
    # A whole picture is rounded up, so that nothing is cut off.
    fit = math.ceil if shrink == 1.0 else round
    crop = [max(1, fit(side * shrink / unit)) * unit for side in (height, width)]
    share = min(1.0, crop[0] * crop[1] / (height * width))
    what = "a whole picture" if shrink == 1.0 else f"{share:.0%} of a picture"
    where = "a processor" if machine.device == "cpu" else "a GPU"
    return Choice("augment.crop", crop, f"{what} of {width}x{height}, as large as {where} allows")


def choose_scales(summary: DataSummary, crop: list[int]) -> Choice:
    """The range of random scales, down to where a crop contains the whole picture."""
    whole = min(crop[0] / summary.size[0], crop[1] / summary.size[1])
    low = round(max(0.25, min(0.5, whole)), 2)
    return Choice("augment.scale", [low, 2.0], "other pictures may show objects nearer or farther away")


def choose_balance(summary: DataSummary) -> list[Choice]:
    """Class weights for uneven classes, balanced sampling for classes in few pictures."""
    seen, chosen = summary.shares > 0, []
    ratio = summary.shares.max() / summary.shares[seen].min() if seen.any() else 1.0
    if ratio > UNEVEN:
        rarest = summary.names[int(np.where(seen, summary.shares, np.inf).argmin())]
        reason = f"the most frequent class has {ratio:,.0f} times the pixels of {rarest}"
        chosen.append(Choice("class_weights", 0.3, reason))
    seldom = [name for name, share in zip(summary.names, summary.shown_by, strict=True) if 0 < share < SELDOM]
    if seldom:
        some = ", ".join(seldom[:3]) + (f" and {len(seldom) - 3} more" if len(seldom) > 3 else "")
        chosen.append(Choice("balanced_sampling", True, f"few pictures show {some}"))
    return chosen


def choose_precision(machine: Machine) -> Choice:
    """bf16 if the hardware has it."""
    what = "this processor" if machine.device == "cpu" else "this GPU"
    if machine.bf16:
        return Choice("precision", "bf16", f"{what} computes in bf16, up to twice as fast")
    return Choice("precision", "32", f"{what} has no bf16")
