"""One pass over the files of a data set, on a few threads, in constant memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np

from refineseg.data.check.dataset_files import CheckedPair, DatasetFiles
from refineseg.data.check.measurements.edges import Floats, fit_outlines, gradient, working_size
from refineseg.data.check.measurements.image import measure_image
from refineseg.data.check.measurements.mask import measure_mask
from refineseg.data.check.measurements.measurement import Measurements, PairMeasurement
from refineseg.data.dataset import evenly_spaced
from refineseg.data.images import nearest
from refineseg.errors import InputError
from refineseg.system.hardware import cores
from refineseg.system.progress import Progress, tracked

IN_FLIGHT = 2  # pairs in flight per thread
QUICK_PAIRS = 48


def measure_all(
    files: DatasetFiles, *, quick: bool, crop: tuple[int, int], progress: Progress | None = None
) -> Measurements:
    """Measure every pair, or for a ``quick`` check at most QUICK_PAIRS, evenly spread over every split.

    ``crop``, height and width of the training crop, is for the rules.
    """
    pairs = spread_sample(files) if quick else list(files.pairs)
    measured: list[PairMeasurement] = []
    total: Floats | None = None
    fitted = 0
    for found, surface in tracked(_pooled(files, pairs), len(pairs), progress):
        measured.append(found)
        if surface is not None and found.fit is not None and found.fit.noise > 0:
            scaled = surface / np.float32(found.fit.noise)
            total = scaled if total is None else total + scaled
            fitted += 1
    return Measurements(tuple(measured), total, fitted, len(pairs) == len(files.pairs), crop)


def spread_sample(files: DatasetFiles, size: int = QUICK_PAIRS) -> list[CheckedPair]:
    """At most ``size`` pairs, evenly spread over every split, at least one of each."""
    chosen: list[CheckedPair] = []
    groups = files.by_split()
    for pairs in groups.values():
        chosen += evenly_spaced(pairs, max(1, size // len(groups)))
    return chosen


def _pooled(files: DatasetFiles, pairs: list[CheckedPair]) -> Iterator[tuple[PairMeasurement, Floats | None]]:
    """Results in order. Decoders and NumPy release the GIL, so threads suffice."""
    workers = min(8, cores())
    waiting = iter(pairs)
    with ThreadPoolExecutor(workers) as pool:
        flight: deque[Future[tuple[PairMeasurement, Floats | None]]] = deque()
        flight.extend(pool.submit(measure_pair, pair, files) for pair in islice(waiting, workers * IN_FLIGHT))
        while flight:
            yield flight.popleft().result()
            flight.extend(pool.submit(measure_pair, pair, files) for pair in islice(waiting, 1))


def measure_pair(pair: CheckedPair, files: DatasetFiles) -> tuple[PairMeasurement, Floats | None]:
    """Measurement of a pair, and its correlation surface (see ``edges``), if any. Never raises InputError."""
    image = mask = fitted = None
    image_error = mask_error = ""
    try:
        image, grey = measure_image(pair.image, files)
    except InputError as error:
        image_error = str(error)
    if pair.mask is not None:
        try:
            mask, labels = measure_mask(pair.mask, files)
        except InputError as error:
            mask_error = str(error)
    if image is not None and mask is not None and image.size == mask.size:
        size = working_size(*image.size)
        fitted = fit_outlines(gradient(grey), nearest(labels, size), size[0] / image.size[0])
    measured = PairMeasurement(pair, image, mask, image_error, mask_error, fitted[0] if fitted else None)
    return measured, fitted[1] if fitted else None
