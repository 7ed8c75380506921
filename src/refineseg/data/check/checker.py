"""The whole check: list the files, measure each pair once, apply the rules."""

from __future__ import annotations

import time
from pathlib import Path

from refineseg.config import AugmentConfig
from refineseg.data.check.dataset_files import find_files
from refineseg.data.check.findings import CheckReport, Finding, ordered
from refineseg.data.check.measurements.measure_all import measure_all
from refineseg.data.check.rules import alignment, classes, duplicates, images, left_right, masks, names, values
from refineseg.data.dataset import evenly_spaced
from refineseg.errors import InputError
from refineseg.system.progress import Progress

EXAMPLES = 12


def check_data(
    data: str | Path, *, quick: bool = False, crop: tuple[int, int] | None = None, progress: Progress | None = None
) -> CheckReport:
    """Check a data set before anything trains on it.

    Args:
        data: ``NAME:ROOT`` or a YAML file, as for ``open_data``.
        quick: open a sample of the pairs only, which takes seconds. Names and lists are checked in full; absent
            and rare classes and duplicates need the full check.
        crop: height and width of the training crop in pixels; the default of training if left out.
        progress: called with (pairs done, total).

    Returns:
        The report; ``report.errors`` is empty if the data can be trained on. A data set that cannot be listed
        gives a report with one error, not an exception.
    """
    start = time.perf_counter()
    try:
        files = find_files(data)
    except InputError as error:
        refused = Finding("cannot-open", "error", str(error), "see the message; then check again", count=1)
        return CheckReport(str(data), (refused,), quick=quick, seconds=time.perf_counter() - start)
    measured = measure_all(files, quick=quick, crop=crop or AugmentConfig().crop, progress=progress)
    figures, void = classes.class_figures(files, measured), classes.void_share(files, measured)
    findings = [
        *(*names.find(files), *left_right.find(files.data.label_map), *images.find(measured)),
        *(*masks.find(files, measured), *values.find(files, measured), *alignment.find(measured)),
        *(duplicates.find(files, measured) if measured.complete else ()),
    ]
    if not any(item.kind in values.MISREAD for item in findings):
        findings += classes.find(files, measured, figures, void)
    if files.refusal is not None and not any(item.severity == "error" for item in findings):
        findings.append(
            Finding("cannot-open", "error", files.refusal, "see the message; then check again", count=1)
        )
    readable = [item.pair for item in measured.pairs if item.image is not None and item.mask is not None]
    return CheckReport(
        data=str(data),
        findings=ordered(findings),
        pictures={split: len(pairs) for split, pairs in files.by_split().items()},
        checked=len(measured.pairs),
        quick=not measured.complete,
        seconds=time.perf_counter() - start,
        classes=figures,
        void_share=void,
        sizes=classes.sizes(measured),
        examples=tuple(evenly_spaced(readable, EXAMPLES)),
        files=files,
    )
