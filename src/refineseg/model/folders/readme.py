"""The README.md of a model folder: its model card in the Hub's form."""

from __future__ import annotations

import json
from typing import Any

from refineseg.model.folders.card import ModelCard
from refineseg.model.refinenet import RefineNet
from refineseg.system.text import counted, for_markdown

LIMITS = "known limits"  # entry of the provenance that has its own section


def model_card(model: RefineNet, card: ModelCard) -> str:
    """A model card in the Hub's form."""
    parameters = sum(value.numel() for value in model.parameters())
    depth = model.config.outputs == "depth"
    network = "RefineNet (Lin et al., CVPR 2017)" if model.config.dpt is None else "DPT (Ranftl et al., ICCV 2021)"
    gives = (
        "depth"
        if depth
        else f"{counted(model.config.num_classes, 'class')}: {for_markdown(', '.join(card.labels.names))}"
    )
    lines = [
        "---",
        "library_name: refineseg",
        f"pipeline_tag: {'depth-estimation' if depth else 'image-segmentation'}",
        "---",
        "",
        f"# {for_markdown(card.name)}",
        "",
        f"{network}, preset `{model.config.preset}`, backbone `{model.config.backbone}`, {parameters:,} "
        f"parameters, {gives}.",
        "",
        "```python",
        "import refineseg",
        "",
        f'refineseg.load({json.dumps(card.name)}).predict{"_depth" * depth}("street.jpg").save("out/")',
        "```",
        "",
        "## Scores",
        "",
    ]
    for score in card.scores:
        lines.append(
            f"- {score['data']} {score['split']}: mean IoU {score['mean_iou']:.4f}, pixel accuracy "
            f"{score['pixel_accuracy']:.4f}, mean class accuracy {score['mean_class_accuracy']:.4f} "
            f"({score['protocol']})"
        )
        lines += [f"- {line}" for line in _beyond_iou(score)]
        lines += ["", "| class | IoU |", "|---|---|"]
        lines += [
            f"| {for_markdown(name)} | {'-' if iou is None else f'{iou:.3f}'} |"
            for name, iou in score["iou"].items()
        ]
    if not card.scores:
        lines.append("None measured.")
    lines += ["", "## Calibration", "", *_calibrated(card.calibration)] if card.calibration else []
    provenance = {for_markdown(key): for_markdown(str(value)) for key, value in card.provenance.items()}
    limits = provenance.pop(LIMITS, "")
    lines += ["", "## Limits", "", limits] if limits else []
    lines += ["", "## Provenance", ""]
    lines += [f"- {key}: {value}" for key, value in provenance.items()] or ["Not recorded."]
    lines += ["", "## Licence", "", for_markdown(card.licence), ""]
    return "\n".join(lines)


def _beyond_iou(score: dict[str, Any]) -> list[str]:
    """Lines for further results of an evaluation: interval, outlines, calibration."""
    lines = []
    low, high = score.get("intervals", {}).get("mean_iou") or (None, None)
    if low is not None and high is not None:
        method = f"{score['intervals']['level']:.0%}, {score['intervals']['method']}"
        lines.append(f"confidence interval of the mean IoU: {low:.4f} to {high:.4f} ({method})")
    named = {
        "boundary": {"mean_boundary_iou": "boundary IoU", "mean_f_score": "boundary F-score"},
        "calibration": {"ece": "expected calibration error", "class_wise_ece": "class-wise"},
    }
    for part, names in named.items():
        figures = [f"{text} {score[part][key]:.4f}" for key, text in names.items() if score.get(part, {}).get(key)]
        if figures:
            lines.append(", ".join(figures))
    return lines


def _calibrated(calibration: dict[str, Any]) -> list[str]:
    """The line about the model's calibration."""
    kind, data, split = (calibration.get(key) for key in ("kind", "data", "split"))
    before, after = (calibration.get(key) for key in ("ece_before", "ece_after"))
    if before is None or after is None:
        return [f"- Probabilities are calibrated: temperatures {kind}, fitted on {data} {split}."]
    return [
        f"- Probabilities are calibrated: temperatures {kind}, fitted on {data} {split}; expected calibration "
        f"error {before:.4f} before, {after:.4f} after; each half of the pictures is scored with temperatures "
        "fitted on the other half."
    ]
