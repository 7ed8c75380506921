"""Records of all known weights.

The historic ones are listed with what is known of them. Their hashes were never published, so they cannot be
fetched; whoever still has a file can import it with ``refineseg convert``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refineseg.model.folders.find_model import bundled_exports, bundled_models
from refineseg.model.folders.model_folder import WEIGHTS, read_config
from refineseg.model.folders.pretrained import PACKAGED
from refineseg.system.files import sha256_of


@dataclass(frozen=True)
class PublishedScore:
    """A score and how it was measured."""

    mean_iou: float  # mean IoU in [0, 1]
    split: str  # split of the data set
    protocol: str  # scales, flips, source
    interval: tuple[float, float] | None = None  # 95 % interval of the mean IoU; None if none was published


@dataclass(frozen=True)
class WeightRecord:
    """The record of one set of weights."""

    name: str  # network and tag, ``refinenet-lw-r50.nekrasov-voc2012``
    preset: str | None  # preset that it fits; None if the depth is unknown
    dataset: str  # training data
    licence: str  # licence of the weights
    source: str  # page or paper that published it
    class_names: str  # source of the class names
    sha256: str | None = None  # SHA-256 of the file in hexadecimal; None if it was never published
    score: PublishedScore | None = None  # published score
    state: str = "available"  # availability

    def __post_init__(self) -> None:
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"expected 64 lower-case hexadecimal digits for {self.name}, got {self.sha256!r}")


# Historic weights -------------------------------------------------------------------------------------------

NON_COMMERCIAL = "academic use only; its authors ask to be contacted for any other"
DEAD_SHARE = "not available since 2023: the university's cloud share was closed, and the author has no copies"
DRIVES = "not available: it was on two file hosting services, without a published hash"
SINGLE = "single scale, no flip, as published"

# Mean IoU in percent by data set, for ResNet-50, -101 and -152 (Nekrasov et al., BMVC 2018, and its repository).
LIGHT_SCORES: dict[str, tuple[float | None, float, float]] = {
    "voc2012": (78.5, 80.3, 82.1),
    "person-part": (64.9, 66.7, 67.6),
    "nyudv2": (41.7, 43.6, 44.4),
    "pascal-context": (None, 45.1, 45.8),
}
# Lin et al. (CVPR 2017); the depth is None if the paper does not say which network the figure belongs to.
MATLAB_SCORES: tuple[tuple[int | None, str, str, float], ...] = (
    (None, "voc2012", "test", 83.4),
    (101, "cityscapes", "test", 73.6),
    (152, "nyudv2", "val", 46.5),
    (None, "sunrgbd", "val", 45.9),
    (None, "pascal-context", "val", 47.3),
    (101, "ade20k", "val", 40.2),
    (152, "ade20k", "val", 40.7),
    (101, "person-part", "val", 68.6),
    (152, "person-part", "val", 68.8),
)


def _port(preset: str, dataset: str, percent: float, repository: str) -> WeightRecord:
    return WeightRecord(
        name=f"{preset}.nekrasov-{dataset}",
        preset=preset,
        dataset=dataset,
        licence=NON_COMMERCIAL,
        source=f"https://github.com/DrSleep/{repository}",
        class_names=f"--labels {dataset}: the benchmark's own; the file has none",
        score=PublishedScore(round(percent / 100, 4), "val", SINGLE),
        state=DEAD_SHARE,
    )


def _matlab(depth: int | None, dataset: str, split: str, percent: float) -> WeightRecord:
    preset = None if depth is None else f"refinenet-r{depth}"
    return WeightRecord(
        name=f"{preset or 'refinenet'}.lin-{dataset}",
        preset=preset,
        dataset=dataset,
        licence=NON_COMMERCIAL,
        source="https://github.com/guosheng/refinenet (MATLAB; Lin et al., CVPR 2017)",
        class_names="the benchmark's own",
        score=PublishedScore(round(percent / 100, 4), split, "multi-scale, as published"),
        state=DRIVES,
    )


HISTORIC: tuple[WeightRecord, ...] = (
    *(
        _port(f"refinenet-lw-r{depth}", dataset, percent, "light-weight-refinenet")
        for dataset, row in LIGHT_SCORES.items()
        for depth, percent in zip((50, 101, 152), row, strict=True)
        if percent is not None
    ),
    _port("refinenet-lw-mbv2-released", "voc2012", 76.2, "light-weight-refinenet"),
    _port("refinenet-r101", "voc2012", 80.5, "refinenet-pytorch"),
    *(_matlab(*row) for row in MATLAB_SCORES),
)


def bundled_records() -> list[WeightRecord]:
    """Records of the bundled models."""
    records = []
    for name, folder in bundled_models().items():
        config, card = read_config(folder)
        best = max(card.scores, key=lambda entry: float(entry["mean_iou"]), default=None)
        records.append(
            WeightRecord(
                name=name,
                preset=config.preset,
                dataset=str(best["data"]) if best else str(card.provenance.get("data", "not recorded")),
                licence=card.licence,
                source="this package",
                class_names=", ".join(card.labels.names),
                sha256=sha256_of(folder / WEIGHTS),
                score=_measured(best) if best else None,
                state="bundled",
            )
        )
        file = bundled_exports().get(f"{name}-int8")
        if file is not None:
            records.append(_int8_record(records[-1], file))
    return records


def _int8_record(record: WeightRecord, file: Path) -> WeightRecord:
    """Record of a bundled model's int8 form, with the score of its export report unless on training pictures."""
    report = json.loads(file.with_name(f"{file.name}.report.json").read_text(encoding="utf-8"))["int8"]
    protocol = record.score.protocol if record.score else "single scale, no flip"
    score = None if report["trained_on_it"] else PublishedScore(report["mean_iou"], report["judged_on"], protocol)
    return replace(record, name=f"{record.name}-int8", sha256=sha256_of(file), score=score)


def _measured(score: dict[str, Any]) -> PublishedScore:
    """The score of a model card."""
    low, high = score.get("intervals", {}).get("mean_iou") or (None, None)
    interval = None if low is None or high is None else (float(low), float(high))
    return PublishedScore(float(score["mean_iou"]), str(score["split"]), str(score["protocol"]), interval)


def imagenet_records() -> list[WeightRecord]:
    """Records of the backbones' ImageNet weights in the package."""
    return [
        WeightRecord(
            name=f"{name}.imagenet",
            preset=None,
            dataset="imagenet-1k",
            licence=weights.licence,
            source=weights.source,
            class_names="none: a backbone without classifier",
            sha256=weights.sha256,
            state="bundled",
        )
        for name, weights in PACKAGED.items()
    ]


def all_records() -> list[WeightRecord]:
    """Records of the bundled models, of the backbones' weights, and of historic weights."""
    return [*bundled_records(), *imagenet_records(), *HISTORIC]
