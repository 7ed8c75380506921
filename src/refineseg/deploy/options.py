"""Options of an export, and all checks that can be made before the long part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, get_args

from refineseg.data.dataset import SegmentationData
from refineseg.deploy import int8 as quantisation
from refineseg.deploy.formats import check_packages, export_format, files_of
from refineseg.errors import InputError
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners.exported import Input, Outputs


class ExportKeywords(TypedDict, total=False):
    """The keywords of ``refineseg.export``; see ``ExportOptions``."""

    format: str | None
    int8: bool
    calibrate: str | Path | SegmentationData | None
    overwrite: bool
    input: Input
    outputs: Outputs


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export."""

    format: str | None = None  # ``onnx``, ``openvino`` or ``torch``; None goes by the file's suffix
    int8: bool = False  # whether to quantise to 8 bits; needs ``calibrate``
    # a data set (NAME:ROOT or YAML) whose pictures are used for the checks; for int8 its ``train`` split
    # calibrates and its ``val`` split gives the scores
    calibrate: str | Path | SegmentationData | None = None
    overwrite: bool = False  # whether to replace existing files
    input: Input = "float32"  # ``float32`` (RGB in [0, 1], BxCxHxW) or ``uint8`` (BxHxWx3)
    # ``logits``, which refineseg's own predictor needs; or for other programs ``labels`` (uint8) or
    # ``probabilities`` (float32, calibrated if the model is), upsampled to the picture's size
    outputs: Outputs = "logits"

    def format_for(self, path: Path) -> str:
        """The format; InputError if options contradict each other or do not fit the file."""
        format = export_format(path, self.format)
        for name, value, allowed in (
            ("input", self.input, get_args(Input)),
            ("outputs", self.outputs, get_args(Outputs)),
        ):
            if value not in allowed:
                raise InputError(f"expected --{name} {' or '.join(allowed)}, got {value!r}")
        if self.int8 and format == "torch":
            raise InputError("expected --format onnx or openvino with --int8, got torch")
        if self.int8 and self.calibrate is None:
            raise InputError("expected --calibrate DATA with --int8: a data set that ranges and scores come from")
        for file in files_of(path):
            if file.is_dir() or (file.exists() and not self.overwrite):
                raise InputError(f"expected a new file, {file} exists: add --overwrite or change -o")
        check_packages(format)
        if self.int8:
            quantisation.nncf_package()
        return format

    def check(self, segmenter: Segmenter, data: SegmentationData | None) -> None:
        """InputError if the model or the data does not fit the options."""
        card, dpt = segmenter.card, segmenter.model.config.dpt
        if dpt is not None and dpt.swin is not None:
            side = dpt.swin.image
            raise InputError(
                f"expected a model for pictures of any size, since exported files take any; {card.name} over Swin "
                f"takes only {side}x{side}"
            )
        if self.input == "uint8" and card.channels is not None:
            raise InputError(
                f"expected --input float32 for {card.name}, whose pictures are not 8-bit RGB; got uint8"
            )
        if self.outputs != "logits" and (segmenter.outputs == "depth" or card.resize is not None):
            reason = (
                "gives depth" if segmenter.outputs == "depth" else "resizes pictures before the network sees them"
            )
            raise InputError(f"expected --outputs logits for {card.name}, which {reason}; got {self.outputs}")
        if data is not None:
            data.check_classes(segmenter.class_names)
            if self.int8:
                data.split("val")  # raises now, before the long part
