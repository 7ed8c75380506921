"""The report of an export, beside the file: figures as JSON and a page in Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from refineseg._version import __version__
from refineseg.deploy.verification import AGREEMENT, ERROR, MIOU_LOSS, REPEATS, TIMED, SizeComparison, agreement
from refineseg.system.files import atomic_write
from refineseg.system.text import counted


@dataclass(frozen=True)
class Int8Scores:
    """Mean IoU of a network and of its int8 file."""

    data: str  # name of the data set
    calibrated_on: str  # split for the ranges
    calibration_pictures: int  # number of its pictures used
    judged_on: str  # split for the scores
    judged_pictures: int  # number of its pictures
    mean_iou_float32: float  # score of the network
    mean_iou: float  # score of the int8 file
    # whether the network was trained on these pictures: then only the loss means something
    trained_on_it: bool = False

    @property
    def loss(self) -> float:
        """Points of mean IoU."""
        return 100 * (self.mean_iou_float32 - self.mean_iou)

    @property
    def refused(self) -> str | None:
        """The reason to refuse it, or None."""
        if self.loss <= MIOU_LOSS:
            return None
        limit = f"at most {MIOU_LOSS} points of mean IoU on {self.data}"
        return f"expected int8 to lose {limit}, it loses {self.loss:.2f}"


@dataclass(frozen=True)
class ExportReport:
    """An export and its checks."""

    file: str  # file name
    # names of the model, of the file's format and precision, of its engine
    model: str
    format: str
    precision: str
    engine: str
    pictures: str  # source of the pictures, in words
    checks: tuple[SizeComparison, ...]  # comparisons of file and network, by size
    # median milliseconds for a 480x360 picture, with the engine and with torch, in turns
    engine_ms: float
    torch_ms: float
    megabytes: float  # size of the file or files
    source: str  # hash of the network's weights
    int8: Int8Scores | None = None  # scores of an int8 file, else None
    refused: str | None = None  # reason to refuse it, or None
    input: str = "float32"  # the file's input: float32 or uint8
    outputs: str = "logits"  # the file's output: logits, labels, probabilities or depth
    sha256: str = ""  # SHA-256 of the file(s)

    @property
    def agreement(self) -> float:
        """Share of all compared pixels with the network's label."""
        return agreement(list(self.checks))

    @property
    def closeness(self) -> str:
        """Agreement of file and network, in words."""
        if self.outputs == "depth":
            error = max(check.error or 0 for check in self.checks)
            return f"depth differs from the network's by at most {error:.1e} standard deviations"
        return f"{self.agreement:.4%} of the labels agree with the network's"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self) | {
            "refineseg": __version__,
            "passed": self.refused is None,
            "agreement": self.agreement,
            "limits": {"agreement": AGREEMENT, "error": ERROR, "miou_loss": MIOU_LOSS},
        }
        if self.int8 is not None:
            values["int8"]["loss_points"] = self.int8.loss
        return values

    def to_text(self) -> str:
        """A page in Markdown."""
        verdict = "passed" if self.refused is None else f"refused: {self.refused}"
        width, height = TIMED[1], TIMED[0]
        lines = [
            f"# {self.file}: {verdict}",
            "",
            f"- Model {self.model} as {self.format}, {self.precision}, {self.input} pictures to {self.outputs}, "
            f"{self.megabytes:.1f} MB, run by {self.engine}.",
            f"- Check: {self.closeness}, {sum(check.pixels for check in self.checks):,} pixels; float32 must "
            f"reach {f'{ERROR:.0%}' if self.outputs == 'depth' else f'{AGREEMENT:.2%}'}.",
            f"- Pictures: {self.pictures}.",
            f"- A {width}x{height} picture: {self.engine_ms:.0f} ms with {self.engine}, {self.torch_ms:.0f} ms "
            f"with torch, picture to labels, median of {REPEATS} alternating runs, on the exporting machine.",
        ]
        if self.int8 is not None:
            known = (
                " The network was trained on these pictures: only the loss counts."
                if self.int8.trained_on_it
                else ""
            )
            judged = counted(self.int8.judged_pictures, "picture")
            calibrated = counted(self.int8.calibration_pictures, "picture")
            lines += [
                f"- Mean IoU on {self.int8.data} {self.int8.judged_on} ({judged}): "
                f"{self.int8.mean_iou:.4f}, of the network {self.int8.mean_iou_float32:.4f}: {self.int8.loss:.2f} "
                f"points lost, {MIOU_LOSS} allowed. Calibrated on {calibrated} of "
                f"{self.int8.calibrated_on}.{known}",
            ]
        lines += ["", "| size | pictures | labels agree | error |", "|---|---|---|---|"]
        lines += [
            f"| {check.width}x{check.height} | {check.batch} | {check.agreement:.4%} | "
            f"{'-' if check.error is None else f'{check.error:.1e}'} |"
            for check in self.checks
        ]
        lines += [
            "",
            f"Error: mean absolute difference by the standard deviation of the network's {self.outputs}.",
            "",
        ]
        return "\n".join(lines)


def files(path: Path) -> tuple[Path, Path]:
    """Paths of a file's report: JSON and Markdown."""
    return path.with_name(path.name + ".report.json"), path.with_name(path.name + ".report.md")


def write_export_report(report: ExportReport, path: Path) -> None:
    """Write both beside the file."""
    figures, page = files(path)
    atomic_write(figures, json.dumps(report.to_dict(), indent=1) + "\n")
    atomic_write(page, report.to_text())
