"""Archives for benchmark servers: writing, reading, and scoring on a labelled split."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from refineseg.colors import voc_palette
from refineseg.data.benchmark import SubmissionFormat
from refineseg.data.dataset import Sample, SegmentationData
from refineseg.evaluation.metrics import Scores, confusion_matrix, scores
from refineseg.evaluation.protocol import Protocol, find_protocol
from refineseg.evaluation.submission import validate
from refineseg.inference.predictor import Segmenter
from refineseg.labels import IGNORE, UInt8
from refineseg.system.files import atomic_path
from refineseg.system.progress import Progress, tracked


def write_submission(
    name: str,
    segmenter: Segmenter,
    data: SegmentationData,
    path: str | Path,
    *,
    split: str = "test",
    protocol: str | Protocol = "single",
    progress: Progress | None = None,
) -> int:
    """Predict a split and write the archive, atomically and validated. Returns the number of pictures.

    Raises:
        InputError: unknown benchmark or split, other classes than the model's, or pictures of wrong size or name.
    """
    form, views, samples = validate.find_format(name), find_protocol(protocol), data.split(split)
    data.check_classes(segmenter.class_names)
    with atomic_path(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for sample in tracked(samples, len(samples), progress):
                image = data.read_picture(sample.image)
                scales = views.scales_for(*image.shape[:2])
                result = segmenter.predict(image, scales=scales, flip=views.flip, tile=views.window)
                entry = str(PurePosixPath(form.prefix(split)) / f"{validate.picture_of(form, sample)}.png")
                archive.writestr(entry, encode(form, data.label_map.submission(result.labels)))
        return validate.check_submission(name, temporary, data, split=split)


def encode(form: SubmissionFormat, values: UInt8) -> bytes:
    """Submission values HxW as PNG."""
    image = Image.fromarray(values)
    if form.palette:
        image.putpalette(np.array(voc_palette(256), np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def read_submission(
    name: str, path: str | Path, data: SegmentationData, *, split: str = "val"
) -> Iterator[tuple[Sample, UInt8]]:
    """Samples of a split with their train ids HxW in an archive. InputError as in ``check_submission``."""
    form, ids = validate.find_format(name), np.arange(data.label_map.num_classes, dtype=np.uint8)
    back = np.full(256, IGNORE, np.uint8)  # train id by submission value
    back[data.label_map.submission(ids)] = ids
    with validate.open_archive(path) as archive:
        entries = validate.entries_by_picture(form, archive, split)
        samples = data.split(split)
        validate.check_set(form, set(entries), {validate.picture_of(form, sample) for sample in samples}, split)
        for sample in samples:
            entry = entries[validate.picture_of(form, sample)]
            yield sample, back[validate.read_entry(form, archive, entry, form.size or validate.size_of(sample))]


def score_submission(name: str, path: str | Path, data: SegmentationData, *, split: str = "val") -> Scores:
    """Score of an archive on a labelled split, by the benchmark's rule for the mean."""
    count = data.label_map.num_classes
    confusion = np.zeros((count, count), np.int64)
    for sample, labels in read_submission(name, path, data, split=split):
        confusion += confusion_matrix(data.read(sample)[1], labels, count)
    return scores(confusion, find_protocol(name).mean_over)
