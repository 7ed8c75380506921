"""The result of a conversion, and the card of the converted model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from refineseg.config.resize import Resize
from refineseg.errors import WeightsError
from refineseg.labels import LabelMap
from refineseg.model.conversion.recognise import Architecture
from refineseg.model.folders.card import ModelCard
from refineseg.system.files import sha256_of
from refineseg.system.text import counted

DEPTH = "depth"  # the only class name of a model of depth
UNSTATED = "that of the checkpoint and of its training data, which the file does not state"


@dataclass(frozen=True)
class ConversionRequest:
    """A checkpoint to convert."""

    file: Path  # checkpoint, or folder of a network of transformers
    name: str  # name of the model
    # names and colours of the classes; None takes the checkpoint's own, or ``class 0``
    labels: LabelMap | None = None
    reset_head: int | None = None  # number of classes of a new, random classifier; None keeps the checkpoint's
    origin: str = ""  # source of the file, if not this machine


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion."""

    architecture: Architecture  # the recognised network
    num_classes: int | None  # number of classes of the result; None for a decoder and for depth
    tensors: int  # number of converted tensors
    reset: tuple[str, ...] = ()  # our names of tensors that were initialised at random
    left_out: tuple[str, ...] = ()  # names in the file that the network does not use
    # ``classes`` or ``depth`` of a model folder; ``decoder`` of a decoder folder
    outputs: Literal["classes", "depth", "decoder"] = "classes"
    named: bool = False  # whether the checkpoint itself names its classes


def make_card(
    request: ConversionRequest,
    conversion: Conversion,
    class_names: Sequence[str] = (),
    licence: str = UNSTATED,
    resize: Resize | None = None,
    notes: Mapping[str, str] | None = None,
) -> ModelCard:
    """The card of a converted model; class names, licence and resize rule are the checkpoint's own.

    Raises WeightsError if the labels have another number of classes than the network.
    """
    depth, count = conversion.outputs == "depth", conversion.num_classes or 1
    numbered = [f"class {index}" for index in range(count)]
    labels = request.labels or LabelMap.from_names([DEPTH] if depth else list(class_names) or numbered)
    if labels.num_classes != count:
        raise WeightsError(
            f"expected labels of {counted(count, 'class')}, as the classifier has, got {labels.num_classes}; give "
            f"the label set it was trained with, or --reset-head {labels.num_classes} for a new classifier"
        )
    named = "given with --labels" if request.labels else "config.json" if class_names else "not given"
    provenance = {
        "converted from": request.origin or request.file.name,
        "sha256 of that file": sha256_of(request.file),
        "recognised as": f"{conversion.architecture.preset} ({conversion.architecture.keys.name})",
        **({} if depth else {"class names": named}),
        **(notes or {}),
    }
    if conversion.reset:
        provenance["initialised at random"] = ", ".join(conversion.reset)
    return ModelCard(request.name, labels, provenance=provenance, licence=licence, resize=resize)
