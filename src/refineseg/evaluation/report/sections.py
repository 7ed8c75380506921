"""Sections shared by the pages of evaluations and training runs: classes, confusions, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from refineseg.evaluation.evaluate import Evaluation
from refineseg.evaluation.metrics import Counts, Floats, Sums
from refineseg.evaluation.report.charts import by_similarity, confusion_chart, percent
from refineseg.html import css_color, data_url, section, swatch
from refineseg.labels import LabelMap, UInt8

VIEWS = {
    "picture": "picture",
    "truth": "truth",
    "prediction": "prediction",
    "errors": "errors, in red",
    "uncertainty": "uncertainty, in orange",
}

TOP = 10
LEAST = 0.001  # share of the labelled pixels below which a class is left out


def framed(title: str, content: str) -> str:
    """A framed part of a section."""
    return f'<div class="card"><h3>{title}</h3>{content}</div>'


def chip(label_map: LabelMap, index: int) -> str:
    """A class by colour and name."""
    item = label_map.classes[index]
    square = f'<i class="swatch" style="background:{css_color(item.color)}"></i>'
    return f'<span class="chip">{square}{escape(item.name)}</span>'


def key_of_classes(label_map: LabelMap, shown: Sequence[int]) -> str:
    """The colours of the given train ids, with their names."""
    items = [label_map.classes[index] for index in shown]
    entries = "".join(f"<li>{swatch(item.color, item.name)}</li>" for item in items)
    return f'<ul class="key" style="margin-top:16px">{entries}</ul>'


def picture_article(name: str, figures: str, views: Mapping[str, UInt8]) -> str:
    """Views of a picture (HxWx3 by names of VIEWS) side by side, with its name and figures."""
    shown = "".join(
        f'<figure><img alt="{escape(name)}: {VIEWS[view]}" src="{data_url(pixels, 80)}" decoding="async">'
        f"<figcaption>{VIEWS[view]}</figcaption></figure>"
        for view, pixels in views.items()
    )
    return (
        f'<article class="shown"><h3>{escape(name)} <span class="quiet">{figures}</span></h3>'
        f'<div class="views">{shown}</div></article>'
    )


def classes_section(evaluation: Evaluation, label_map: LabelMap, before: Floats | None = None) -> str:
    """A sortable table of the classes: IoU as a bar, accuracy as a mark, share of the pixels.

    With ``before``, the IoU by class at the previous validation, the change replaces the share.
    """
    scores, names = evaluation.scores, evaluation.class_names
    share = evaluation.confusion.sum(1) / max(evaluation.confusion.sum(), 1)
    change = None if before is None else scores.iou - before
    last = [percent(value, 1 if value >= 0.001 or not value else 2) for value in share]
    keys = share if change is None else np.nan_to_num(change)
    if change is not None:
        last = [signed(value) for value in change]
    order = sorted(range(len(names)), key=lambda index: -np.nan_to_num(scores.iou[index], nan=-1))
    rows = "\n".join(_class_row(evaluation, label_map, index, float(keys[index]), last[index]) for index in order)
    titles = (
        ("iou", "IoU", " on"),
        ("accuracy", "accuracy", ""),
        ("last", "pixels" if change is None else "change", ""),
    )
    heads = "".join(f'<button class="number{on}" data-key="{key}">{title}</button>' for key, title, on in titles)
    first = '<button class="name" data-key="name">class</button><span class="space"></span>'
    head = f'<div class="row head">{first}{heads}</div>'
    since = "" if change is None else "; change: of the IoU since the previous validation"
    note = (
        f"bar: IoU; mark: accuracy, the share of the class's pixels that are found{since}; click a title to sort"
    )
    return section("Classes", note, f'<div class="bars classes">{head}{rows}</div>')


def signed(value: float) -> str:
    """A difference of shares in points: ``+1.3``; a dash for NaN."""
    return "&ndash;" if value != value else f"{100 * value:+.1f}".replace("-", "&minus;")


def _class_row(evaluation: Evaluation, label_map: LabelMap, index: int, key: float, last: str) -> str:
    scores, item = evaluation.scores, label_map.classes[index]
    iou, accuracy = float(scores.iou[index]), float(scores.accuracy[index])
    bar = f'<b style="width:{100 * iou:.2f}%;background:{css_color(item.color)}"></b>' if iou == iou else ""
    mark = f'<u style="left:{100 * accuracy:.2f}%"></u>' if accuracy == accuracy else ""
    known = [-1 if value != value else value for value in (iou, accuracy)]
    return (
        f'<div class="row" data-name="{escape(item.name)}" data-iou="{known[0]:.6f}" '
        f'data-accuracy="{known[1]:.6f}" data-last="{key:.8f}">'
        f'<span class="name">{swatch(item.color, item.name)}</span><span class="track">{bar}{mark}</span>'
        f'<span class="figure">{percent(iou)}</span><span class="figure">{percent(accuracy)}</span>'
        f'<span class="figure">{last}</span></div>'
    )


@dataclass(frozen=True)
class Confusion:
    """True and predicted train id, share of the true class's pixels, and share of all wrong pixels."""

    true: int
    predicted: int
    share: float
    of_errors: float


def top_confusions(confusion: Counts, most: int = TOP) -> list[Confusion]:
    """The largest shares of a class that are predicted as another, without rare classes.

    Shares, not pixels, since every class has the same weight in the mean IoU.
    """
    wrong = confusion.astype(np.float64)
    np.fill_diagonal(wrong, 0)
    rows, errors = confusion.sum(1), wrong.sum()
    frequent = rows >= LEAST * rows.sum()
    shares = np.where(frequent[:, None], wrong / np.maximum(rows, 1)[:, None], 0)
    order = np.argsort(-shares, axis=None, kind="stable")[:most]
    pairs = [(int(place // len(rows)), int(place % len(rows))) for place in order]
    return [
        Confusion(true, predicted, float(shares[true, predicted]), float(wrong[true, predicted] / errors))
        for true, predicted in pairs
        if shares[true, predicted] > 0
    ]


def confusion_section(evaluation: Evaluation, label_map: LabelMap) -> str:
    """The confusion matrix and its largest entries in words; empty without labelled pixels."""
    confusion, names = evaluation.confusion, evaluation.class_names
    used = np.flatnonzero(Sums.of(confusion).union)
    if not used.size:
        return ""
    rows = np.maximum(confusion.sum(1, keepdims=True), 1)
    inner = by_similarity((confusion / rows)[np.ix_(used, used)])
    chart = confusion_chart(confusion.astype(np.float64), names, [int(used[index]) for index in inner])
    words = "".join(
        f"<li><b>{percent(item.share, 0 if item.share >= 0.01 else 1)}</b> of {chip(label_map, item.true)} "
        f"is predicted as {chip(label_map, item.predicted)} "
        f'<span class="quiet">{percent(item.of_errors)} of all errors</span></li>'
        for item in top_confusions(confusion)
    )
    note = "rows are true classes, in percent of the row; often confused classes are next to each other"
    listing = f'<div><h3>Largest confusions</h3><ol class="words">{words}</ol></div>' if words else ""
    content = f'<div class="card matrix"><div class="scroll">{chart}</div>{listing}</div>'
    return section("Confusion matrix", note, content)
