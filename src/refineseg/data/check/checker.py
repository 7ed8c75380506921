"""The check as a whole: list the files, open each once, ask the rules."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from refineseg.config import AugmentConfig
from refineseg.data.check import (
    alignment,
    contents,
    conventions,
    images,
    leakage,
    masks,
    pairing,
    sides,
    statistics,
)
from refineseg.data.check.facts import Scan
from refineseg.data.check.findings import CheckReport, Finding, ordered
from refineseg.data.check.listing import Listing, Pair, list_data
from refineseg.data.check.scan import Progress, scan
from refineseg.errors import InputError

EXAMPLES = 12


def check_data(
    data: str | Path,
    *,
    quick: bool = False,
    crop: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Look a data set over before anything trains on it.

    Args:
        data: ``NAME:ROOT`` or a YAML file, as for ``open_data``.
        quick: open a sample of the pairs only, for the start of a training: seconds, whatever the size. Names and
            lists are looked at in full; absent and rare classes and repeated pictures need the full check.
        crop: height and width of the training crop in pixels; the default of training if left out.
        progress: told (pairs done, pairs in all).

    Returns:
        The report; ``report.errors`` is empty where training would be right. A data set that cannot even be
        listed gives a report with one error, not an exception.
    """
    start = time.perf_counter()
    try:
        listing = list_data(data)
    except InputError as error:
        refused = Finding("cannot-open", "error", str(error), "see the message; then check again", count=1)
        return CheckReport(str(data), (refused,), quick=quick, seconds=time.perf_counter() - start)
    seen = scan(listing, quick=quick, crop=crop or AugmentConfig().crop, progress=progress)
    figures, void = statistics.class_figures(listing, seen), statistics.void_share(listing, seen)
    findings = [*pairing.find(listing), *sides.find(listing.label_map), *_opened(listing, seen)]
    if not any(item.kind in conventions.MISREAD for item in findings):
        findings += [*contents.find(listing, seen), *statistics.find(listing, seen, figures, void)]
    if listing.refusal is not None and not any(item.severity == "error" for item in findings):
        findings.append(
            Finding("cannot-open", "error", listing.refusal, "see the message; then check again", count=1)
        )
    return CheckReport(
        data=str(data),
        findings=ordered(findings),
        pictures={split: len(pairs) for split, pairs in listing.by_split().items()},
        checked=len(seen.facts),
        quick=not seen.complete,
        seconds=time.perf_counter() - start,
        classes=figures,
        void_share=void,
        sizes=statistics.sizes(seen),
        examples=_examples(seen),
        listing=listing,
    )


def _opened(listing: Listing, seen: Scan) -> Iterator[Finding]:
    """Findings of the rules that look at what was opened."""
    yield from images.find(seen)
    yield from masks.find(listing, seen)
    yield from conventions.find(listing, seen)
    yield from alignment.find(seen)
    if seen.complete:
        yield from leakage.find(listing, seen)


def _examples(seen: Scan) -> tuple[Pair, ...]:
    """Some readable pairs, spread evenly."""
    readable = [item.pair for item in seen.facts if item.image is not None and item.mask is not None]
    count = min(EXAMPLES, len(readable))
    return tuple(readable[index * len(readable) // count] for index in range(count))
