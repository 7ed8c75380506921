"""What a check says: findings, figures of the classes, and the report that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from refineseg.data.check.listing import CheckedPair, DatasetFiles
from refineseg.errors import InputError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
SHOWN = 20  # files named in one finding, at most


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing.

    Attributes:
        kind: stable name, such as ``off-by-one``.
        severity: ``error`` where training would go wrong or stop, ``warning`` where it probably suffers,
            ``note`` for what is worth knowing.
        message: what was found, in plain words.
        fix: the setting or command that fixes it.
        files: the files it is about, SHOWN at most.
        count: number of files (or classes) that it concerns.
    """

    kind: str
    severity: Severity
    message: str
    fix: str
    files: tuple[str, ...] = ()
    count: int = 0


def about(kind: str, severity: Severity, message: str, fix: str, files: Iterable[Path] = ()) -> Finding:
    """A finding about some files, counted."""
    names = [str(path) for path in files]
    return Finding(kind, severity, message, fix, tuple(names[:SHOWN]), len(names))


def counted(items: Sized, one: str, more: str | None = None) -> str:
    """``1 mask``, ``2 masks``."""
    count = len(items)
    return f"{count:,} {one if count == 1 else more or one + 's'}"


@dataclass(frozen=True)
class ClassFigures:
    """How much of one class there is, by split: pixels, and masks that hold any."""

    name: str
    color: tuple[int, int, int]
    pixels: Mapping[str, int]
    masks: Mapping[str, int]

    @property
    def total(self) -> int:
        """Pixels over all splits."""
        return sum(self.pixels.values())


@dataclass(frozen=True)
class CheckReport:
    """The outcome of ``check_data``.

    Attributes:
        data: data set as the user wrote it, such as ``folder:DIR``.
        findings: worst first.
        pictures: number of pictures by split.
        checked: pairs that were opened; fewer than there are in a quick check.
        quick: whether only a sample was opened.
        seconds: seconds that the check took.
        classes: figures per class, by train id; empty if the set could not be listed.
        void_share: ignored pixels among all pixels of readable masks, 0 to 1.
        sizes: (width, height, number of pictures), most frequent first.
        examples: some pairs to look at, spread over the set.
        files: the files that were found, or None if the set could not be listed.
    """

    data: str
    findings: tuple[Finding, ...]
    pictures: Mapping[str, int] = field(default_factory=dict)
    checked: int = 0
    quick: bool = False
    seconds: float = 0.0
    classes: tuple[ClassFigures, ...] = ()
    void_share: float = 0.0
    sizes: tuple[tuple[int, int, int], ...] = ()
    examples: tuple[CheckedPair, ...] = field(default=(), repr=False)
    files: DatasetFiles | None = field(default=None, repr=False)

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(item for item in self.findings if item.severity == severity)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that make training wrong."""
        return self.of("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that training probably suffers from."""
        return self.of("warning")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Findings worth knowing."""
        return self.of("note")

    @property
    def summary(self) -> str:
        """``2 errors, 1 note``, or ``no problems found``."""
        counts = {severity: len(self.of(severity)) for severity in SEVERITIES}
        parts = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count]
        return ", ".join(parts) or "no problems found"

    def raise_errors(self) -> None:
        """InputError with every error and its fix in one line, if any: for a command about to train."""
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
