"""The report as one HTML page that needs nothing else: scores, classes, confusions, confidence, edges."""

from __future__ import annotations

from html import escape

import numpy as np

from refineseg.evaluation.measures.boundary import TRIMAP
from refineseg.evaluation.measures.confusions import top_confusions
from refineseg.evaluation.measures.distance import BOUNDARY_RINGS, WITHIN
from refineseg.evaluation.metrics import Sums
from refineseg.evaluation.report.charts import (
    by_similarity,
    confusion_chart,
    distance_chart,
    percent,
    reliability_chart,
    risk_chart,
)
from refineseg.evaluation.report.report import EvaluationReport
from refineseg.evaluation.report.sections import card, chip, pictures_section, section, suspects_section
from refineseg.evaluation.report.style import SCRIPT, STYLE
from refineseg.html import css_color, document


def page(report: EvaluationReport) -> str:
    """The page as text."""
    sections = (_head, _score, _classes, _confusion, _confidence, _edges, pictures_section, suspects_section)
    body = "\n".join(part for make in sections if (part := make(report)))
    return document(f"{report.model} on {report.evaluation.data}", body, STYLE, SCRIPT)


# Scores --------------------------------------------------------------------------------------------------------


def _head(report: EvaluationReport) -> str:
    evaluation = report.evaluation
    return (
        f'<header class="note"><p class="eyebrow">refineseg evaluate</p><h1>{escape(report.model)} on '
        f"{escape(evaluation.data)} {escape(evaluation.split)}</h1>"
        f'<p class="verdict">{_verdict(report)}</p></header>'
    )


def _verdict(report: EvaluationReport) -> str:
    """The weakest class and the largest confusion in one sentence."""
    iou, names = report.evaluation.scores.iou, report.evaluation.class_names
    known = np.flatnonzero(~np.isnan(iou))
    if not known.size:
        return "No labelled pixel was found."
    best, worst = (known[pick(iou[known])] for pick in (np.argmax, np.argmin))
    words = f"Best at {escape(names[best])} ({percent(iou[best], 0)} IoU)"
    return f"{words}, weakest at {escape(names[worst])} ({percent(iou[worst], 0)})."


def _score(report: EvaluationReport) -> str:
    evaluation, scores = report.evaluation, report.evaluation.scores
    low, high = evaluation.intervals()["mean_iou"]
    span = f"95&#8239;% interval {percent(low)} to {percent(high)}" if low == low else "one picture: no interval"
    outline = report.boundary.to_dict(evaluation.class_names)
    facts = [
        ("Pixel accuracy", percent(scores.pixel_accuracy)),
        ("Mean class accuracy", percent(scores.mean_class_accuracy)),
        ("Frequency-weighted IoU", percent(scores.frequency_weighted_iou)),
        ("Boundary IoU", percent(_number(outline["mean_boundary_iou"]))),
        ("Boundary F-score", percent(_number(outline["mean_f_score"]))),
        ("Calibration error (ECE)", percent(report.reliability.ece)),
        ("Classes", str(len(evaluation.class_names))),
        ("Pictures", f"{evaluation.pictures:,}"),
        ("Time per picture", f"{1000 * evaluation.seconds / evaluation.pictures:,.0f} ms"),
    ]
    if scores.category_iou:
        facts.insert(3, ("Category IoU", percent(scores.mean_category_iou)))
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return (
        f'<div class="score"><div class="headline"><span>Mean IoU</span><b>{percent(scores.mean_iou)}</b>'
        f'{_range(scores.mean_iou, low, high)}<span>{span}</span></div><dl class="facts">{cells}</dl></div>'
        f'<p class="quiet protocol"><b>Protocol</b> {escape(evaluation.protocol.describe())}.</p>'
    )


def _range(mean: float, low: float, high: float) -> str:
    """The mean and its interval on a line between the tens around them, so that a narrow interval is seen."""
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


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _classes(report: EvaluationReport) -> str:
    scores, names = report.evaluation.scores, report.evaluation.class_names
    share = report.evaluation.confusion.sum(1) / max(report.evaluation.confusion.sum(), 1)
    order = sorted(range(len(names)), key=lambda index: -np.nan_to_num(scores.iou[index], nan=-1))
    rows = "\n".join(_class_row(report, index, float(share[index])) for index in order)
    heads = "".join(
        f'<button class="number{on}" data-key="{key}">{title}</button>'
        for key, title, on in (("iou", "IoU", " on"), ("accuracy", "accuracy", ""), ("share", "pixels", ""))
    )
    first = '<button class="name" data-key="name">class</button><span class="space"></span>'
    head = f'<div class="row head">{first}{heads}</div>'
    note = "bar: IoU; mark: accuracy, the share of the class that is found; click a title to sort"
    return section("Classes", note, f'<div class="bars classes">{head}{rows}</div>')


def _class_row(report: EvaluationReport, index: int, share: float) -> str:
    scores, item = report.evaluation.scores, report.label_map.classes[index]
    iou, accuracy = float(scores.iou[index]), float(scores.accuracy[index])
    color = css_color(item.color)
    bar = f'<b style="width:{100 * iou:.2f}%;background:{color}"></b>' if iou == iou else ""
    mark = f'<u style="left:{100 * accuracy:.2f}%"></u>' if accuracy == accuracy else ""
    known = [-1 if value != value else value for value in (iou, accuracy)]
    return (
        f'<div class="row" data-name="{escape(item.name)}" data-iou="{known[0]:.6f}" '
        f'data-accuracy="{known[1]:.6f}" data-share="{share:.8f}"><span class="name">'
        f'<i style="background:{color}"></i>{escape(item.name)}</span><span class="track">{bar}{mark}</span>'
        f'<span class="figure">{percent(iou)}</span><span class="figure">{percent(accuracy)}</span>'
        f'<span class="figure">{percent(share, 1 if share >= 0.001 or not share else 2)}</span></div>'
    )


# Confusions ----------------------------------------------------------------------------------------------------


def _confusion(report: EvaluationReport) -> str:
    confusion, names = report.evaluation.confusion, report.evaluation.class_names
    used = np.flatnonzero(Sums.of(confusion).union)
    if not used.size:
        return ""
    rows = np.maximum(confusion.sum(1, keepdims=True), 1)
    inner = by_similarity((confusion / rows)[np.ix_(used, used)])
    chart = confusion_chart(confusion.astype(np.float64), names, [int(used[index]) for index in inner])
    words = "".join(
        f"<li><b>{percent(item.share, 0 if item.share >= 0.01 else 1)}</b> of {chip(report, item.true)} "
        f"is called {chip(report, item.predicted)} "
        f'<span class="quiet">{percent(item.of_errors)} of all errors</span></li>'
        for item in top_confusions(confusion)
    )
    note = "rows are the truth, in percent of the row; classes that are confused stand side by side"
    listing = f'<div><h3>In words</h3><ol class="words">{words}</ol></div>' if words else ""
    content = f'<div class="card matrix"><div class="scroll">{chart}</div>{listing}</div>'
    return section("What is taken for what", note, content)


# Confidence and edges ------------------------------------------------------------------------------------------


def _confidence(report: EvaluationReport) -> str:
    reliability = report.reliability
    confidence, accuracy, share = reliability.curve()
    if not share.sum():
        return ""
    gap = float(np.nansum((confidence - accuracy) * share))
    lean = (
        "about as sure as it is right"
        if abs(gap) < 0.005
        else (f"{percent(abs(gap))} too {'sure' if gap > 0 else 'modest'} on average")
    )
    state = (
        "its stored temperatures are applied"
        if report.calibrated
        else ("it is not calibrated; <code>refineseg evaluate --calibrate class</code> fits temperatures")
    )
    coverage, risk = reliability.risk_coverage()
    half = float(risk[min(int(np.searchsorted(coverage, 0.5)), len(risk) - 1)])
    some = np.unique(np.linspace(0, len(coverage) - 1, min(201, len(coverage))).astype(np.int64))
    first = card(
        "Is it as sure as it is right?",
        reliability_chart(confidence, accuracy, share)
        + f"<p>ECE {percent(reliability.ece)}, class-wise {percent(float(np.mean(reliability.class_ece)), 2)}. "
        f"The model is {lean}; {state}.</p>"
        '<p class="quiet">Red is the gap to the dashed line, where confidence is accuracy; pale bins hold few '
        "pixels.</p>",
    )
    second = card(
        "Does it know where it is wrong?",
        risk_chart(coverage[some], risk[some])
        + f"<p>Of the surer half of the pixels {percent(half, 1 if half >= 0.001 else 2)} are wrong, "
        f"of all {percent(float(risk[-1]))}.</p>"
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
    first = card(
        "How far from an outline?",
        f"{chart}<p>{percent(near)} right within {TRIMAP} pixels of an outline, {percent(far)} farther inside; "
        f"{percent(at_edge, 0)} of the errors are at outlines.</p>",
    )
    rows = "".join(_edge_row(report, int(index)) for index in np.flatnonzero(distance.counts[0].sum(0)))
    second = card(
        "By class", f'<div class="edges">{rows}</div><p class="quiet">Solid: at the outline; pale: inside.</p>'
    )
    return section(
        "Outline against interior",
        "share of the true pixels that are right",
        f'<div class="charts">{first}{second}</div>',
    )


def _edge_row(report: EvaluationReport, index: int) -> str:
    near, far = float(report.distance.boundary[index]), float(report.distance.interior[index])
    item = report.label_map.classes[index]
    return (
        f'<div class="row"><span class="name"><i style="background:{css_color(item.color)}"></i>'
        f'{escape(item.name)}</span><span class="track">{_bar(far)}{_bar(near)}</span>'
        f'<span class="figure">{percent(near, 0)} / {percent(far, 0)}</span></div>'
    )


def _bar(value: float) -> str:
    return f'<b style="width:{100 * np.nan_to_num(value):.1f}%"></b>'
