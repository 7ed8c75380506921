"""The report as one self-contained HTML page: scores, classes, confusions, confidence, edges, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np

from refineseg.data.dataset import SegmentationData
from refineseg.evaluation.evaluate import Evaluation
from refineseg.evaluation.measures.boundary import TRIMAP
from refineseg.evaluation.measures.distance import BOUNDARY_RINGS, WITHIN
from refineseg.evaluation.measures.suspects import SURE, Suspect
from refineseg.evaluation.metrics import means
from refineseg.evaluation.report.charts import (
    distance_chart,
    percent,
    pictures_chart,
    reliability_chart,
    risk_chart,
)
from refineseg.evaluation.report.evaluation_report import (
    EvaluationReport,
    Group,
    make_report,
)
from refineseg.evaluation.report.sections import (
    chip,
    classes_section,
    confusion_section,
    framed,
    key_of_classes,
    picture_article,
)
from refineseg.evaluation.report.style import SCRIPT, STYLE
from refineseg.html import data_url, document, fact_list, header, section, swatch
from refineseg.inference.predictor import Segmenter
from refineseg.labels import UInt8
from refineseg.system.files import atomic_write, writable_folder
from refineseg.system.text import counted

PAGE, FIGURES = "index.html", "evaluation.json"
TITLES: dict[Group, str] = {"worst": "Worst", "median": "Median"}


def write_report(
    folder: str | Path, evaluation: Evaluation, segmenter: Segmenter, data: SegmentationData, model: str
) -> Path:
    """Write DIR/evaluation.json and DIR/index.html, and return its path; other files in the folder stay.

    The evaluation has the measures of ``MEASURES``. InputError if the folder cannot be written, or a picture
    cannot be read any more.
    """
    target = writable_folder(folder)
    report = make_report(evaluation, segmenter, data, model)
    figures = evaluation.to_dict() | {"model": model}
    atomic_write(target / FIGURES, json.dumps(figures, indent=1) + "\n")
    atomic_write(target / PAGE, page(report))
    return target / PAGE


def page(report: EvaluationReport) -> str:
    """The page as text."""
    evaluation, label_map = report.evaluation, report.label_map
    parts = (
        _head(report),
        _score(report),
        classes_section(evaluation, label_map),
        confusion_section(evaluation, label_map),
        _confidence(report),
        _edges(report),
        _pictures(report),
        _suspects(report),
    )
    body = "\n".join(part for part in parts if part)
    return document(f"{report.model} on {report.evaluation.data}", body, STYLE, SCRIPT)


def _head(report: EvaluationReport) -> str:
    """Model and data, with the best and the weakest class."""
    evaluation, iou, verdict = report.evaluation, report.evaluation.scores.iou, "No labelled pixel was found."
    known = np.flatnonzero(~np.isnan(iou))
    if known.size:
        best, worst = (known[pick(iou[known])] for pick in (np.argmax, np.argmin))
        names = [escape(name) for name in evaluation.class_names]
        verdict = (
            f"Best at {names[best]} ({percent(iou[best], 0)} IoU), weakest at {names[worst]} "
            f"({percent(iou[worst], 0)})."
        )
    title = f"{escape(report.model)} on {escape(evaluation.data)} {escape(evaluation.split)}"
    return header("evaluate", title, verdict)


def _score(report: EvaluationReport) -> str:
    evaluation, scores = report.evaluation, report.evaluation.scores
    low, high = evaluation.intervals()["mean_iou"]
    span = f"95&#8239;% interval {percent(low)} to {percent(high)}" if low == low else "one picture: no interval"
    outline = report.boundary.to_dict(evaluation.class_names)
    facts = [
        ("Pixel accuracy", percent(scores.pixel_accuracy)),
        ("Mean class accuracy", percent(scores.mean_class_accuracy)),
        ("Frequency-weighted IoU", percent(scores.frequency_weighted_iou)),
        ("Boundary IoU", percent(outline["mean_boundary_iou"])),
        ("Boundary F-score", percent(outline["mean_f_score"])),
        ("Calibration error (ECE)", percent(report.reliability.ece)),
        ("Classes", str(len(evaluation.class_names))),
        ("Pictures", f"{evaluation.pictures:,}"),
        ("Time per picture", f"{1000 * evaluation.seconds / evaluation.pictures:,.0f} ms"),
    ]
    if scores.category_iou:
        facts.insert(3, ("Category IoU", percent(scores.mean_category_iou)))
    return (
        f'<div class="score"><div class="headline"><span>Mean IoU</span><b>{percent(scores.mean_iou)}</b>'
        f"{_range(scores.mean_iou, low, high)}<span>{span}</span></div>{fact_list(facts)}</div>"
        f'<p class="quiet protocol"><b>Protocol</b> {escape(evaluation.protocol.describe())}.</p>'
    )


def _range(mean: float, low: float, high: float) -> str:
    """The mean and its interval on a line between the surrounding multiples of 10 %."""
    shown = [value for value in (mean, low, high) if value == value]
    if not shown:
        return ""
    start = np.floor(10 * min(shown)) / 10
    end = max(np.ceil(10 * max(shown)) / 10, start + 0.1)

    def place(value: float) -> float:
        return float(100 * (value - start) / (end - start))

    band = f'<i style="left:{place(low):.2f}%;width:{place(high) - place(low):.2f}%"></i>' if low == low else ""
    ends = f"<small><span>{percent(start, 0)}</span><span>{percent(end, 0)}</span></small>"
    return f'<div class="range">{band}<u style="left:{place(mean):.2f}%"></u></div>{ends}'


def _confidence(report: EvaluationReport) -> str:
    reliability = report.reliability
    confidence, accuracy, share = reliability.curve()
    if not share.sum():
        return ""
    gap = float(np.nansum((confidence - accuracy) * share))
    lean = (
        "neither overconfident nor underconfident"
        if abs(gap) < 0.005
        else (f"{percent(abs(gap))} {'over' if gap > 0 else 'under'}confident on average")
    )
    state = (
        "its stored temperatures are applied"
        if report.calibrated
        else ("it is not calibrated; <code>refineseg evaluate --calibrate class</code> fits temperatures")
    )
    coverage, risk = reliability.risk_coverage()
    half = float(risk[min(int(np.searchsorted(coverage, 0.5)), len(risk) - 1)])
    some = np.unique(np.linspace(0, len(coverage) - 1, min(201, len(coverage))).astype(np.int64))
    first = framed(
        "Does confidence match accuracy?",
        reliability_chart(confidence, accuracy, share)
        + f"<p>ECE {percent(reliability.ece)}, class-wise {percent(float(np.mean(reliability.class_ece)), 2)}. "
        f"The model is {lean}; {state}.</p>"
        '<p class="quiet">Red is the gap to the dashed line, where confidence equals accuracy; pale bins have few '
        "pixels.</p>",
    )
    second = framed(
        "Are confident pixels more accurate?",
        risk_chart(coverage[some], risk[some])
        + f"<p>{percent(half, 1 if half >= 0.001 else 2)} of the more confident half of the pixels are wrong, "
        f"{percent(float(risk[-1]))} of all.</p>"
        f'<p class="quiet">Area under the curve (AURC) {reliability.aurc:.4f}; lower is better.</p>',
    )
    return section(
        "Confidence", "probability of the predicted class", f'<div class="charts">{first}{second}</div>'
    )


def _edges(report: EvaluationReport) -> str:
    distance = report.distance
    near, far = distance.overall
    pixels = distance.counts[0].sum(1).astype(np.float64)
    wrong = pixels - distance.counts[1].sum(1)
    at_edge = float(wrong[:BOUNDARY_RINGS].sum() / wrong.sum()) if wrong.sum() else float("nan")
    chart = distance_chart(WITHIN, distance.accuracy, pixels)
    first = framed(
        "Accuracy by distance from an outline",
        f"{chart}<p>{percent(near)} correct within {TRIMAP} pixels of an outline, {percent(far)} farther inside; "
        f"{percent(at_edge, 0)} of the errors are at outlines.</p>",
    )
    rows = "".join(_edge_row(report, int(index)) for index in np.flatnonzero(distance.counts[0].sum(0)))
    second = framed(
        "By class", f'<div class="edges">{rows}</div><p class="quiet">Solid: at the outline; pale: inside.</p>'
    )
    return section(
        "Outline against interior",
        "share of the true pixels that are predicted correctly",
        f'<div class="charts">{first}{second}</div>',
    )


def _edge_row(report: EvaluationReport, index: int) -> str:
    near, far = float(report.distance.boundary[index]), float(report.distance.interior[index])
    bars = "".join(f'<b style="width:{100 * np.nan_to_num(value):.1f}%"></b>' for value in (far, near))
    item = report.label_map.classes[index]
    return (
        f'<div class="row"><span class="name">{swatch(item.color, item.name)}</span>'
        f'<span class="track">{bars}</span>'
        f'<span class="figure">{percent(near, 0)} / {percent(far, 0)}</span></div>'
    )


def _pictures(report: EvaluationReport) -> str:
    """The worst and the median pictures, below a histogram of all."""
    if not report.pictures:
        return ""
    pictures = report.evaluation.by_picture
    figures = means(pictures.sums)
    scores = figures["mean_iou"]
    marked = [item.index for item in report.pictures if item.group == "worst"]
    chart = pictures_chart(scores, marked, float(np.nanmedian(scores)))
    note = '<p class="quiet">Dashed: the median. Red: the worst, shown below.</p>'
    shown = [item.index for item in report.pictures]
    seen = np.flatnonzero(pictures.sums.union[shown].any(0)).tolist()
    parts = [framed("Mean IoU of each picture, %", f'<div class="scroll">{chart}</div>{note}')]
    parts.append(key_of_classes(report.label_map, seen))
    for group, title in TITLES.items():
        articles = []
        for item in report.pictures:
            if item.group == group:
                score, right = (percent(figures[name][item.index]) for name in ("mean_iou", "pixel_accuracy"))
                words = f"mean IoU {score}, {right} of the pixels correct"
                articles.append(picture_article(pictures.names[item.index], words, item.views))
        if articles:
            parts.append(f'<h3 class="group">{title}</h3>' + "\n".join(articles))
    return section("Pictures", "click a picture to enlarge it; void is dark", "\n".join(parts))


def _suspects(report: EvaluationReport) -> str:
    """Crops of the strongest suspects."""
    if not report.suspects:
        return section(
            "Label-error suspects", "none", "<p>The model contradicts no label with high confidence.</p>"
        )
    sure = "" if report.calibrated else " The model is not calibrated, so it may be overconfident."
    intro = (
        f"<p>Regions where the model gives another class than the label with at least {percent(SURE, 0)} "
        f"probability, ranked by area times confidence. Either the model or the label is wrong.{sure}</p>"
    )
    cards = "\n".join(_suspect(report, rank, *item) for rank, item in enumerate(report.suspects, 1))
    note = f"the first {len(report.suspects)} of {report.found} kept; all are in evaluation.json"
    return section("Label-error suspects", note, f'{intro}<div class="suspects">{cards}</div>')


def _suspect(report: EvaluationReport, rank: int, item: Suspect, views: Mapping[str, UInt8]) -> str:
    names, picture = report.evaluation.class_names, escape(report.evaluation.by_picture.names[item.picture])
    words = f"labelled {names[item.label]}, the model says {names[item.predicted]}"
    images = "".join(
        f'<img alt="{picture}, {name}: {escape(words)}" src="{data_url(view, 80)}" decoding="async">'
        for name, view in views.items()
    )
    return (
        f'<article class="card"><div class="pair">{images}</div><p><span class="rank">{rank}.</span> label '
        f"<b>{chip(report.label_map, item.label)}</b>, model <b>{chip(report.label_map, item.predicted)}</b> "
        f"{percent(item.confidence, 0)}</p>"
        f'<p class="quiet">{picture}, {counted(item.area, "pixel")}</p></article>'
    )
