"""Archives for benchmark servers (``data.benchmark.SubmissionFormat``): written, validated, and scored."""

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
from refineseg.data.pictures.pillow import open_image
from refineseg.data.registry import benchmark_names, find_benchmark
from refineseg.errors import InputError
from refineseg.evaluation.metrics import Scores, confusion_matrix, scores
from refineseg.evaluation.protocol import Protocol, find_protocol
from refineseg.inference.predictor import Segmenter
from refineseg.labels import IGNORE, UInt8
from refineseg.system.files import atomic_path, open_file
from refineseg.system.progress import Progress, tracked
from refineseg.system.text import counted, reason_of

LARGEST = 64 << 20  # bytes of an unpacked file; masks are far smaller


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

    InputError for an unknown benchmark or split, other classes than the model's, or pictures of wrong size or
    name.
    """
    form, views, samples = submission_format(name), find_protocol(protocol), data.split(split)
    data.check_classes(segmenter.class_names)
    with atomic_path(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for sample in tracked(samples, len(samples), progress):
                result = views.predict(segmenter, data.read_picture(sample.image))
                entry = str(PurePosixPath(form.folder.format(split=split)) / f"{picture_of(form, sample)}.png")
                archive.writestr(entry, encode_mask(form, data.label_map.submission(result.labels)))
        return check_submission(name, temporary, data, split=split)


def encode_mask(form: SubmissionFormat, values: UInt8) -> bytes:
    """Submission values HxW as PNG."""
    image = Image.fromarray(values)
    if form.palette:
        image.putpalette(np.array(voc_palette(256), np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def read_submission(
    name: str, path: str | Path, data: SegmentationData | None = None, *, split: str
) -> Iterator[tuple[Sample | None, UInt8]]:
    """The masks of an archive, checked as by the server: the sample (None without ``data``) and values HxW.

    Without ``data`` only the official number of pictures is checked, not names and sizes. InputError names the
    first problem, with its file and what was expected.
    """
    form = submission_format(name)
    with open_archive(path) as archive:
        entries = entries_by_picture(form, archive, split)
        samples = {picture_of(form, item): item for item in data.split(split)} if data else None
        check_set(form, set(entries), None if samples is None else set(samples), split)
        for picture, entry in entries.items():
            sample = samples[picture] if samples else None
            yield sample, read_entry(form, archive, entry, form.size or (size_of(sample) if sample else None))


def check_submission(
    name: str, path: str | Path, data: SegmentationData | None = None, *, split: str = "test"
) -> int:
    """Number of pictures in an archive that passes the checks of ``read_submission``."""
    return sum(1 for _ in read_submission(name, path, data, split=split))


def score_submission(name: str, path: str | Path, data: SegmentationData, *, split: str = "val") -> Scores:
    """Score of an archive on a labelled split, by the benchmark's rule for the mean."""
    count = data.label_map.num_classes
    ids, train_ids = np.arange(count, dtype=np.uint8), np.full(256, IGNORE, np.uint8)
    train_ids[data.label_map.submission(ids)] = ids
    confusion = np.zeros((count, count), np.int64)
    for sample, values in read_submission(name, path, data, split=split):
        if sample is not None:
            confusion += confusion_matrix(data.read(sample)[1], train_ids[values], count)
    return scores(confusion, find_protocol(name).mean_over)


def submission_format(name: str) -> SubmissionFormat:
    """The format of a benchmark's server. InputError if there is none."""
    found = find_benchmark(name).submission
    if found is None:
        able = [other for other in benchmark_names() if find_benchmark(other).submission is not None]
        raise InputError(f"{name} has no benchmark server: submissions are for {', '.join(able)}")
    return found


def read_entry(
    form: SubmissionFormat, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, size: tuple[int, int] | None
) -> UInt8:
    """The values HxW of a valid mask; ``size`` is the required width and height, None for any."""
    name = entry.filename
    if entry.flag_bits & 1:
        raise InputError(f"expected files without a password, {name} has one")
    if entry.file_size > LARGEST:
        raise InputError(
            f"expected masks below {LARGEST >> 20} MiB, {name} unpacks to {entry.file_size >> 20} MiB"
        )
    try:
        content = archive.read(entry)
    except Exception as error:  # BadZipFile, zlib.error and others, without a common base class
        raise InputError(f"cannot unpack {name}: {error}; write the archive again") from error
    try:
        with open_image(content) as image:
            image.load()
    except Exception as error:  # decoders raise OSError, ValueError, SyntaxError ...
        raise InputError(f"cannot read {name} as a picture ({reason_of(error)})") from error
    if image.format != "PNG":
        raise InputError(f"expected PNG files, {name} is {image.format}: compression changes labels")
    expected = "P" if form.palette else "L"
    if image.mode != expected:
        kind = "a palette picture" if form.palette else "one channel of 8 bits"
        raise InputError(f"expected {kind} (mode {expected}), {name} has mode {image.mode}")
    if size is not None and image.size != size:
        raise InputError(f"expected {size[0]}x{size[1]} pixels, {name} has {image.size[0]}x{image.size[1]}")
    values = np.array(image)
    odd = sorted(set(np.unique(values).tolist()) - set(form.values))
    if odd:
        shown = f"{odd[:8]}{' and more' if len(odd) > 8 else ''}"
        raise InputError(f"expected values of {counted(form.values, 'class')}, {name} holds {shown}: {form.hint}")
    if form.palette:
        _check_palette(name, image, int(values.max(initial=0)) + 1)
    return values


def _check_palette(name: str, image: Image.Image, used: int) -> None:
    colors = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)[:used]
    expected = np.array(voc_palette(used), np.uint8)
    if colors.shape != expected.shape or (colors != expected).any():
        raise InputError(f"expected VOC's palette (128, 0, 0 for class 1 ...), {name} has other colours")


def open_archive(path: str | Path) -> zipfile.ZipFile:
    """An archive for reading; InputError for anything else."""
    try:
        open_file(Path(path)).close()  # refuses a pipe, for which zipfile would wait
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise InputError(f"File not found: {path}") from error
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"expected a zip archive, cannot read {path}: {error}") from error


def entries_by_picture(form: SubmissionFormat, archive: zipfile.ZipFile, split: str) -> dict[str, zipfile.ZipInfo]:
    """The archive's files by picture; InputError for wrong folders, names or duplicates."""
    entries: dict[str, zipfile.ZipInfo] = {}
    prefix = form.folder.format(split=split)
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename:
            raise InputError(f"expected plain paths within the archive, got {entry.filename!r}")
        if entry.is_dir():
            continue
        if path.name.startswith(".") or "__MACOSX" in path.parts or path.suffix != ".png":
            raise InputError(f"expected .png files only, got {entry.filename}: leave other files out")
        if str(path.parent) != (prefix or "."):
            where = f"folder {prefix}" if prefix else "root of the archive"
            raise InputError(f"expected the masks in the {where}, got {entry.filename}")
        picture = form.picture(path.stem)
        if picture is None:
            raise InputError(f"expected names such as {form.stem}, got {path.name}")
        if picture in entries:
            raise InputError(
                f"expected one mask per picture, {picture} has {entries[picture].filename} and {entry.filename}"
            )
        entries[picture] = entry
    if not entries:
        raise InputError(f"expected masks named {form.stem} in {archive.filename}, the archive has none")
    return entries


def check_set(form: SubmissionFormat, found: set[str], expected: set[str] | None, split: str) -> None:
    """InputError unless exactly the expected pictures are there; for None, their official number."""
    if expected is None:
        if len(found) != form.pictures.get(split, len(found)):
            raise InputError(
                f"expected {counted(form.pictures[split], 'mask')} for {split}, got {len(found)}; "
                "for part of a split give its pictures with --data"
            )
        return
    missing, unknown = sorted(expected - found), sorted(found - expected)
    if missing:
        raise InputError(f"expected a mask for every picture, found none for {len(missing)}, such as {missing[0]}")
    if unknown:
        raise InputError(
            f"expected pictures of {split} only, got {counted(unknown, 'other')}, such as {unknown[0]}"
        )


def picture_of(form: SubmissionFormat, sample: Sample) -> str:
    """The benchmark's id of a sample's picture; InputError if its stem does not match."""
    picture = form.picture(sample.stem)
    if picture is None:
        raise InputError(f"expected pictures named {form.stem}, got {sample.stem}")
    return picture


def size_of(sample: Sample) -> tuple[int, int]:
    """Width and height of a picture, from its header."""
    try:
        with open_image(sample.image, decode=False) as image:
            return image.size
    except OSError as error:
        raise InputError(f"cannot read {sample.image} as a picture: {error}") from error
