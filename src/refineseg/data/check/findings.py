"""The results of a check: findings, class statistics, and the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from refineseg.data.check.dataset_files import CheckedPair, DatasetFiles
from refineseg.errors import InputError
from refineseg.system.text import counted

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
SHOWN = 20  # files named in one finding, at most


@dataclass(frozen=True)
class Finding:
    """A problem, or something worth knowing."""

    kind: str  # stable name, such as ``off-by-one``
    # ``error`` if training would fail or learn the wrong thing, ``warning`` if results probably suffer, ``note``
    # for information
    severity: Severity
    message: str  # what was found
    fix: str  # the setting or command that fixes it
    files: tuple[str, ...] = ()  # files concerned, at most SHOWN
    count: int = 0  # number of files (or classes) concerned


def file_finding(kind: str, severity: Severity, message: str, fix: str, files: Iterable[Path]) -> list[Finding]:
    """A finding about files, with their number; none if there are no files."""
    names = [str(path) for path in files]
    return [Finding(kind, severity, message, fix, tuple(names[:SHOWN]), len(names))] if names else []


@dataclass(frozen=True)
class ClassFigures:
    """Number of pixels of a class and of masks that contain it, by split."""

    name: str
    color: tuple[int, int, int]
    pixels: Mapping[str, int]
    masks: Mapping[str, int]

    @property
    def total(self) -> int:
        """Number of pixels in all splits."""
        return sum(self.pixels.values())


@dataclass(frozen=True)
class CheckReport:
    """The outcome of ``check_data``."""

    data: str  # data set as the user wrote it, such as ``folder:DIR``
    findings: tuple[Finding, ...]  # most severe first
    pictures: Mapping[str, int] = field(default_factory=dict)  # number of pictures by split
    checked: int = 0  # number of pairs opened; a sample in a quick check
    quick: bool = False  # whether only a sample was opened
    seconds: float = 0.0  # duration of the check
    classes: tuple[ClassFigures, ...] = ()  # statistics by train id; empty if the data set could not be listed
    void_share: float = 0.0  # share of ignored pixels in readable masks, 0 to 1
    sizes: tuple[tuple[int, int, int], ...] = ()  # (width, height, number of pictures), most frequent first
    examples: tuple[CheckedPair, ...] = field(default=(), repr=False)  # pairs evenly spread over the data set
    # files of the data set; None if it could not be listed
    files: DatasetFiles | None = field(default=None, repr=False)

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(item for item in self.findings if item.severity == severity)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings of severity ``error``."""
        return self.of("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings of severity ``warning``."""
        return self.of("warning")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Findings of severity ``note``."""
        return self.of("note")

    @property
    def summary(self) -> str:
        """``2 errors, 1 note``, or ``no problems found``."""
        counts = {severity: len(self.of(severity)) for severity in SEVERITIES}
        parts = [counted(count, name) for name, count in counts.items() if count]
        return ", ".join(parts) or "no problems found"

    def raise_errors(self) -> None:
        """InputError that lists every error and its fix, if there are errors."""
        if self.errors:
            listed = "; ".join(f"{item.message}: {item.fix}" for item in self.errors)
            raise InputError(f"{self.data}: {listed} (refineseg check shows more)")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        labelled = sum(item.total for item in self.classes)
        return {
            "data": self.data,
            "ok": not self.errors,
            "quick": self.quick,
            "pictures": dict(self.pictures),
            "checked": self.checked,
            "seconds": round(self.seconds, 3),
            "counts": {severity: len(self.of(severity)) for severity in SEVERITIES},
            "findings": [asdict(item) for item in self.findings],
            "void_share": self.void_share,
            "classes": [
                {
                    "name": item.name,
                    "share": item.total / labelled if labelled else 0.0,
                    "pixels": dict(item.pixels),
                    "masks": dict(item.masks),
                }
                for item in self.classes
            ],
            "sizes": [{"width": w, "height": h, "pictures": count} for w, h, count in self.sizes],
        }


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors, then warnings, then notes; in the order of discovery within each."""
    return tuple(sorted(findings, key=lambda item: SEVERITIES.index(item.severity)))
