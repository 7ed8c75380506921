"""From unlabelled pictures to a folder with the pictures to label next, pre-labels, scores and a page."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from refineseg.config import TrainConfig
from refineseg.config.yaml import read_yaml
from refineseg.data.dataset import evenly_spaced
from refineseg.data.formats import WriteOptions, export_predictions
from refineseg.data.registry import open_data
from refineseg.errors import InputError, RefinesegError
from refineseg.inference.batch import output_names
from refineseg.inference.predictor import Segmenter
from refineseg.labels import UInt8
from refineseg.system.files import atomic_folder, check_new, expanded
from refineseg.system.lock import locked
from refineseg.system.progress import TaskProgress, tracked
from refineseg.system.text import counted, csv_path
from refineseg.training.run import SETTINGS
from refineseg.training.suggest.picture_features import PictureFeatures, feature_of, picture_features
from refineseg.training.suggest.selection import select_pictures
from refineseg.training.suggest.suggest_page import page, small_views

IMAGES, PRELABELS, SCORES, PAGE = "images", "prelabels", "suggestions.csv", "index.html"
KNOWN = 500  # largest number of labelled pictures for comparison, evenly spaced
COLUMNS = ("rank", "picture", "uncertainty", "unsure_area", "distance", "reason")
UNKNOWN = "unknown which pictures are labelled already: say so with --labelled NAME:ROOT"


@dataclass(frozen=True)
class Suggestion:
    """A picture to label."""

    picture: PictureFeatures  # its file and uncertainty
    name: str  # unique stem of its copy
    distance: float  # to the nearest labelled or earlier picture, 0 to 2

    @property
    def reason(self) -> str:
        """Why it is suggested."""
        unsure, pair = self.picture.unsure, self.picture.pair
        between = f", mostly between {pair[0]} and {pair[1]}" if pair else ""
        return f"unsure in {unsure:.0%} of its area{between}; distance {self.distance:.2f} to known pictures"


@dataclass(frozen=True)
class SuggestReport:
    """Output folder, suggestions in order, number of pictures examined, and notes on what was left out."""

    folder: Path
    suggestions: tuple[Suggestion, ...]
    pictures: int
    notes: tuple[str, ...]


def labelled_pictures(model: str, data: str | None = None) -> tuple[list[Path], str]:
    """Files of pictures with masks, and a line on their origin.

    The data is ``data``, else that in the config.yaml of the model's run. InputError if ``data`` cannot be
    opened; for the data of a run only the line says so.
    """
    folder, named, drop_bad = expanded(model), data, False
    settings = next((path for path in (folder / SETTINGS, folder.parent / SETTINGS) if path.is_file()), None)
    if data is None and settings is not None:
        config = TrainConfig.from_dict(read_yaml(settings))
        named, drop_bad = config.data, config.drop_bad
    if named is None:
        return [], UNKNOWN
    try:
        opened = open_data(named, drop_bad=drop_bad)
    except RefinesegError as error:
        if data is not None:
            raise
        return [], f"{UNKNOWN} ({error})"
    paths = [sample.image for samples in opened.splits.values() for sample in samples if sample.mask]
    return paths, f"labelled already: {counted(paths, 'picture')} of {named}"


def suggest(
    segmenter: Segmenter,
    pictures: Sequence[Path],
    out: str | Path,
    *,
    number: int = 40,
    format: str = "labelme",
    labelled: Sequence[Path] = (),
    progress: TaskProgress = lambda _what, _done, _all: None,
) -> SuggestReport:
    """Write OUT/images (copies of the pictures to label), OUT/prelabels, OUT/suggestions.csv and OUT/index.html.

    The model is a network, not an exported file. OUT is new or empty, and written as a whole; pre-labels have a
    format of ``refineseg data export``. Files that are ``labelled`` already are not suggested; nor are similar
    pictures, at first. InputError if no picture is left, and for an unknown format or an unusable OUT.
    """
    final = expanded(out)
    check_new(final)
    if number < 1:
        raise InputError(f"expected 1 or more pictures to suggest, got {number}")
    segmenter.model  # noqa: B018 - an exported file is refused before anything is predicted
    have = {path.resolve() for path in labelled}
    fresh = [path for path in pictures if path.resolve() not in have]
    measured, notes = _measure_all(segmenter, fresh, progress)
    if len(fresh) < len(pictures):
        notes.insert(0, f"left out {counted(len(pictures) - len(fresh), 'picture')} labelled already")
    if not measured:
        raise InputError(f"expected pictures without labels, found none; {'; '.join(notes)}".rstrip("; "))
    suggestions = _chosen(segmenter, measured, number, labelled, progress)
    with locked(final, beside=True), atomic_folder(final) as folder:
        views = _pre_labels(segmenter, suggestions, folder, format, progress)
        (folder / SCORES).write_text(_table(suggestions, measured), encoding="utf-8")
        title = f"{len(suggestions)} of {len(measured)} pictures to label next"
        shown = [(item.name, item.reason, view) for item, view in zip(suggestions, views, strict=True)]
        (folder / PAGE).write_text(page(title, segmenter.card, shown), encoding="utf-8")
    return SuggestReport(final, tuple(suggestions), len(measured), tuple(notes))


def _measure_all(
    segmenter: Segmenter, paths: Sequence[Path], progress: TaskProgress
) -> tuple[list[PictureFeatures], list[str]]:
    """Features of all readable pictures, and a note for each other one."""
    measured, notes = [], []
    for path in tracked(paths, len(paths), partial(progress, "looking")):
        try:
            measured.append(picture_features(segmenter, path))
        except InputError as error:
            notes.append(f"{path} is left out: {error}")
    return measured, notes


def _chosen(
    segmenter: Segmenter,
    measured: Sequence[PictureFeatures],
    number: int,
    labelled: Sequence[Path],
    progress: TaskProgress,
) -> list[Suggestion]:
    some = evenly_spaced(labelled, KNOWN)
    known = [feature_of(segmenter, path) for path in tracked(some, len(some), partial(progress, "comparing"))]
    features = np.stack([item.feature for item in measured])
    uncertainty = np.array([item.uncertainty for item in measured])
    chosen = select_pictures(features, uncertainty, number, np.stack(known) if known else None)
    names = output_names([measured[index].path for index, _ in chosen])
    return [Suggestion(measured[index], name, far) for (index, far), name in zip(chosen, names, strict=True)]


def _pre_labels(
    segmenter: Segmenter, suggestions: Sequence[Suggestion], folder: Path, format: str, progress: TaskProgress
) -> list[dict[str, UInt8]]:
    """Copy the pictures and write their pre-labels; returns small views for the page."""
    masks, images = folder / ".predicted", folder / IMAGES
    images.mkdir()
    views = []
    for item in tracked(suggestions, len(suggestions), partial(progress, "pre-labelling")):
        result = segmenter.predict(item.picture.path, probabilities=True, tile="auto")
        result.save(masks, ("mask",), item.name)
        shutil.copyfile(item.picture.path, images / f"{item.name}{item.picture.path.suffix}")
        views.append(small_views(result))
    labels = segmenter.card.labels
    export_predictions(masks, labels, format, folder / PRELABELS, images=images, options=WriteOptions())
    shutil.rmtree(masks)  # next to images/ they would look like manual labels
    return views


def _table(suggestions: Sequence[Suggestion], measured: Sequence[PictureFeatures]) -> str:
    """CSV of all pictures: the suggestions in order, then the others, most uncertain first."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(COLUMNS)
    for rank, chosen in enumerate(suggestions, 1):
        row = [rank, csv_path(chosen.picture.path), *_figures(chosen.picture), f"{chosen.distance:.4f}"]
        table.writerow([*row, chosen.reason])
    taken = {id(item.picture) for item in suggestions}
    rest = [item for item in measured if id(item) not in taken]
    for item in sorted(rest, key=lambda item: -item.uncertainty):
        table.writerow(["", csv_path(item.path), *_figures(item), "", ""])
    return stream.getvalue()


def _figures(item: PictureFeatures) -> tuple[str, str]:
    return f"{item.uncertainty:.4f}", f"{item.unsure:.4f}"
