"""What a published checkpoint became, and the card of the model made from it."""

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

DEPTH = "depth"  # the one name in the label map of a model of depth
UNSTATED = "that of the checkpoint and of its training data, which the file does not state"


@dataclass(frozen=True)
class ConversionRequest:
    """What is to be converted.

    Attributes:
        file: Checkpoint, or folder of a network of transformers.
        name: name of the model.
        labels: names and colours of the classes; None for the checkpoint's own, or ``class 0`` ...
        reset_head: number of classes of a new, random classifier; None keeps the file's.
        origin: where the file comes from, if not from this machine.
    """

    file: Path
    name: str
    labels: LabelMap | None = None
    reset_head: int | None = None
    origin: str = ""


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        architecture: what the file was recognised as.
        num_classes: number of classes of the result; None for a decoder and for depth.
        tensors: number of tensors that were taken over.
        reset: our names of tensors that were drawn anew.
        left_out: the file's names that no forward pass of the result reads.
        outputs: ``classes`` or ``depth`` of a model folder; ``decoder`` of a decoder folder.
        named: whether the checkpoint itself names its classes.
    """

    architecture: Architecture
    num_classes: int | None
    tensors: int
    reset: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    outputs: Literal["classes", "depth", "decoder"] = "classes"
    named: bool = False


def make_card(
    request: ConversionRequest,
    conversion: Conversion,
    class_names: Sequence[str] = (),
    licence: str = UNSTATED,
    resize: Resize | None = None,
    notes: Mapping[str, str] | None = None,
) -> ModelCard:
    """The card of a converted model.

    Args:
        request: what was to be converted.
        conversion: what it became.
        class_names: the checkpoint's own.
        licence: the checkpoint's own.
        resize: how its pictures are resized.
        notes: further lines of its provenance.

    Raises WeightsError if the labels have another number of classes than the network.
    """
    depth, count = conversion.outputs == "depth", conversion.num_classes or 1
    numbered = [f"class {index}" for index in range(count)]
    labels = request.labels or LabelMap.from_names([DEPTH] if depth else list(class_names) or numbered)
    if labels.num_classes != count:
        raise WeightsError(
            f"expected labels of {count} classes, as the classifier has, got {labels.num_classes}; give the label "
            f"set it was trained with, or --reset-head {labels.num_classes} for a new classifier"
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
        provenance["drawn anew, untrained"] = ", ".join(conversion.reset)
    return ModelCard(request.name, labels, provenance=provenance, licence=licence, resize=resize)
