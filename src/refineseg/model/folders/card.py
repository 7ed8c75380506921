"""The description of a model beside its weights, in model folders and exported files. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from refineseg.channels import Channels
from refineseg.config.resize import Resize
from refineseg.labels import LabelMap


@dataclass(frozen=True)
class ModelCard:
    """The description of a model."""

    name: str  # name of the model
    labels: LabelMap  # label map that it was trained with
    scores: tuple[dict[str, Any], ...] = ()  # one entry per evaluation: data set, split, protocol and figures
    # command, commit, training data and splits, time, initial weights
    provenance: dict[str, Any] = field(default_factory=dict)
    licence: str = "unknown"  # licence of weights and training data
    # temperatures by predicted class and how they were fitted (evaluation.measures.calibration); or empty
    calibration: dict[str, Any] = field(default_factory=dict)
    channels: Channels | None = None  # contents of the channels of its pictures; None for RGB
    # how pictures are resized before the network sees them; None for pictures as they are
    resize: Resize | None = None

    def was_trained_on(self, data: str, split: str) -> bool:
        """Whether a split of a data set is known to be training data, so that a score on it says little."""
        splits = str(self.provenance.get("trained on", "")).split(", ")
        return self.provenance.get("data") == data and split in splits

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From the content of config.json; KeyError, TypeError, ValueError or RefinesegError if it is damaged."""
        channels = values.get("channels") or values.get("bands")  # "bands" up to 0.1
        resize = (values.get("preprocessing") or {}).get("resize")
        return cls(
            name=str(values["name"]),
            labels=LabelMap.from_dict(values["labels"]),
            scores=tuple(map(_score, values.get("scores", ()))),
            provenance=dict(values.get("provenance", {})),
            licence=str(values.get("licence", "unknown")),
            calibration=dict(values.get("calibration", {})),
            channels=Channels.from_dict(channels) if channels else None,
            resize=Resize.from_dict(resize) if resize else None,
        )


def _score(entry: Any) -> dict[str, Any]:
    """An entry of ``scores`` as a dictionary; TypeError if it lacks what model cards and the server show."""
    texts, figures = ("data", "split", "protocol"), ("mean_iou", "pixel_accuracy", "mean_class_accuracy")
    if (
        not isinstance(entry, Mapping)
        or not all(isinstance(entry.get(name), str) for name in texts)
        or not all(isinstance(entry.get(name), int | float) for name in figures)
        or not isinstance(entry.get("iou"), Mapping)
    ):
        raise TypeError(f"expected scores with {', '.join((*texts, *figures))} and iou, got {entry!r:.60}")
    return dict(entry)
