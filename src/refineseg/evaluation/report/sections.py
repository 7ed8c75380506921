"""Sections of the report with pictures: worst and median ones, and label-error suspects."""

from __future__ import annotations

from html import escape

import numpy as np

from refineseg.evaluation.measures.suspects import SURE, Suspects
from refineseg.evaluation.report.charts import percent, pictures_chart
from refineseg.evaluation.report.evaluation_report import EvaluationReport, Group, ShownSuspect, picture_scores
from refineseg.evaluation.report.shared import card, chip, key_of_classes, picture_article, section

TITLES: dict[Group, str] = {"worst": "Worst", "median": "Median"}


def pictures_section(report: EvaluationReport) -> str:
    """The worst and the median pictures, below a histogram of all."""
    if not report.pictures:
        return ""
    scores = picture_scores(report.evaluation)[0]
    place = {name: index for index, name in enumerate(report.evaluation.by_picture.names)}
    marked = [place[item.name] for item in report.pictures if item.group == "worst"]
    chart = pictures_chart(scores, marked, float(np.nanmedian(scores)))
    note = '<p class="quiet">Dashed: the median. Red: the worst, shown below.</p>'
    shown = [place[item.name] for item in report.pictures]
    seen = np.flatnonzero(report.evaluation.by_picture.sums.union[shown].any(0)).tolist()
    parts = [card("Mean IoU of each picture, %", f'<div class="scroll">{chart}</div>{note}')]
    parts.append(key_of_classes(report.label_map, seen))
    for group, title in TITLES.items():
        articles = []
        for item in report.pictures:
            if item.group == group:
                figures = f"mean IoU {percent(item.mean_iou)}, {percent(item.accuracy)} of the pixels right"
                articles.append(picture_article(item.name, figures, item.views))
        if articles:
            parts.append(f'<h3 class="group">{title}</h3>' + "\n".join(articles))
    return section("Pictures", "click one for a closer look; void is dark", "\n".join(parts))


def suspects_section(report: EvaluationReport) -> str:
    """Crops of the strongest suspects."""
    measure = report.evaluation.measures["suspects"]
    found = len(measure.ranked) if isinstance(measure, Suspects) else 0
    sure = "" if report.calibrated else " The model is not calibrated, so it may be too sure."
    intro = (
        f"<p>Regions where the model gives another class than the label with at least {percent(SURE, 0)} "
        f"probability, ranked by area times confidence. Each is an error of one of the two: look.{sure}</p>"
    )
    if not report.suspects:
        return section(
            "Label-error suspects", "none", "<p>Nowhere does the model firmly contradict the labels.</p>"
        )
    cards = "\n".join(_suspect(report, rank, item) for rank, item in enumerate(report.suspects, 1))
    note = f"the first {len(report.suspects)} of {found} kept; all are in evaluation.json"
    return section("Label-error suspects", note, f'{intro}<div class="suspects">{cards}</div>')


def _suspect(report: EvaluationReport, rank: int, shown: ShownSuspect) -> str:
    item, names = shown.suspect, report.evaluation.class_names
    words = f"labelled {names[item.label]}, the model says {names[item.predicted]}"
    images = "".join(
        f'<img alt="{escape(shown.name)}, {name}: {escape(words)}" src="{address}" decoding="async">'
        for name, address in shown.views.items()
    )
    return (
        f'<article class="card"><div class="pair">{images}</div><p><span class="rank">{rank}.</span> label '
        f"<b>{chip(report.label_map, item.label)}</b>, model <b>{chip(report.label_map, item.predicted)}</b> "
        f"{percent(item.confidence, 0)}</p>"
        f'<p class="quiet">{escape(shown.name)}, {item.area:,} pixels</p></article>'
    )
