"""Charts as inline SVG, coloured by the page's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from refineseg.evaluation.metrics import Floats, divide
from refineseg.system.text import counted

WIDTH, HEIGHT = 460, 320  # size of a plot, with its margins
LEFT, BOTTOM, TOP, RIGHT = 52, 46, 14, 14
LARGEST_CELL, SMALLEST_CELL, MATRIX = 46, 5, 640  # pixels of the confusion matrix
CELL_WITH_TEXT, CELL_WITH_NAME = 24, 9
NAMED = 0.005  # smallest share of a row that is written in its cell


def percent(value: float | None, digits: int = 1) -> str:
    """A share as ``64.2 %``; a dash for None or NaN."""
    return "&ndash;" if value is None or value != value else f"{100 * value:.{digits}f}&#8239;%"


def svg(width: float, height: float, content: str, label: str) -> str:
    """A drawing that shrinks with the page; ``label`` is for screen readers."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}px" role="img" '
        f'aria-label="{escape(label)}">{content}</svg>'
    )


def text(x: float, y: float, content: str, anchor: str = "middle", css_class: str = "") -> str:
    """Text at a position; ``content`` is HTML."""
    name = f' class="{css_class}"' if css_class else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{content}</text>'


def line(x1: float, y1: float, x2: float, y2: float, css_class: str) -> str:
    """A straight line of one of the style's kinds."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css_class}"/>'


def across(share: float) -> float:
    """x at a fraction of the plot's width."""
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def up(share: float) -> float:
    """y at a fraction of the plot's height."""
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def frame(
    xlabel: str, ylabel: str, xticks: Sequence[tuple[float, str]], yticks: Sequence[tuple[float, str]]
) -> str:
    """Grid lines, tick labels and axis labels; ticks are (fraction of the axis, label)."""
    rows = "".join(
        line(LEFT, up(at), WIDTH - RIGHT, up(at), "grid-line") + text(LEFT - 8, up(at) + 4, label, "end")
        for at, label in yticks
    )
    columns = "".join(text(across(at), HEIGHT - BOTTOM + 18, label) for at, label in xticks)
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'<text transform="translate(13 {middle:g}) rotate(-90)" text-anchor="middle">{ylabel}</text>'
    return rows + columns + text(across(0.5), HEIGHT - 8, xlabel) + turned


def ticks(high: float = 1.0, count: int = 5) -> list[tuple[float, str]]:
    """Even ticks in percent from 0 to ``high``."""
    return [(index / count, f"{100 * high * index / count:.3g}") for index in range(count + 1)]


def reliability_chart(confidence: Floats, accuracy: Floats, share: Floats) -> str:
    """Accuracy by confidence, with the gap to the diagonal: means per bin (NaN if empty), share of the pixels."""
    bins, parts = len(share), []
    width = (WIDTH - LEFT - RIGHT) / bins
    for index, (sure, right, weight) in enumerate(zip(confidence, accuracy, share, strict=True)):
        if np.isnan(right):
            continue
        x, tip = (
            across(index / bins),
            f"{percent(right)} right at {percent(sure)}; {percent(weight)} of the pixels",
        )
        gap_low, gap_high = sorted((up(right), up(sure)))
        opacity = 0.35 + 0.65 * min(1.0, weight * bins) ** 0.5
        parts.append(
            f'<g opacity="{opacity:.2f}"><title>{tip}</title>'
            f'<rect x="{x + 1:.1f}" y="{up(right):.1f}" width="{width - 2:.1f}" height="{up(0) - up(right):.1f}" '
            f'class="bar"/><rect x="{x + 1:.1f}" y="{gap_low:.1f}" width="{width - 2:.1f}" '
            f'height="{gap_high - gap_low:.1f}" class="gap"/></g>'
        )
    body = frame("confidence, %", "accuracy, %", ticks(), ticks())
    diagonal = line(across(0), up(0), across(1), up(1), "ideal")
    return svg(WIDTH, HEIGHT, body + "".join(parts) + diagonal, "Accuracy by confidence")


def risk_chart(coverage: Floats, risk: Floats) -> str:
    """Error among the most confident pixels by their share."""
    high = nice(float(risk.max(initial=0.01)))
    points = " ".join(f"{across(x):.1f},{up(y / high):.1f}" for x, y in zip(coverage, risk, strict=True))
    first, last = (f"{across(x):.1f},{up(0):.1f}" for x in (coverage[0], coverage[-1]))
    body = frame("most confident pixels kept, %", "error among them, %", ticks(), ticks(high))
    curve = f'<polygon points="{first} {points} {last}" class="area"/><polyline points="{points}" class="curve"/>'
    return svg(WIDTH, HEIGHT, body + curve, "Error by coverage")


def history_chart(steps: Sequence[int], series: Mapping[str, Sequence[float]], end: int, label: str) -> str:
    """One or two lines over the steps of a training, to the step ``end``, with a legend.

    Shares are shown in percent if ``label``, that of the y axis, ends with ``%``.
    """
    highest = max((value for values in series.values() for value in values if value == value), default=1.0)
    high = nice(highest) if highest <= 1 else float(np.ceil(highest))
    unit = 100 if label.endswith("%") else 1
    yticks = [(index / 5, f"{unit * high * index / 5:.3g}") for index in range(6)]
    xticks = [(index / 4, f"{round(end * index / 4):,}") for index in range(5)]
    parts, names = [], []
    for place, (name, values) in enumerate(series.items()):
        css_class = f"line-{place}"
        known = [(across(step / end), up(value / high), value) for step, value in zip(steps, values, strict=True)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y, value in known if value == value)
        parts.append(f'<polyline points="{points}" class="curve {css_class}"/>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="{css_class}">'
            f"<title>{name} {unit * value:.3g}</title></circle>"
            for x, y, value in known
            if value == value
        ]
        names.append(f'<li><i class="{css_class}"></i>{name}</li>')
    chart = svg(WIDTH, HEIGHT, frame("step", label, xticks, yticks) + "".join(parts), f"{label} by step")
    return chart + (f'<ul class="key">{"".join(names)}</ul>' if len(series) > 1 else "")


def nice(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten, at most 1."""
    steps = [digit * 10.0**power for power in range(-4, 1) for digit in (1, 2, 5)]
    return min(1.0, next((step for step in steps if step >= value), 1.0))


def distance_chart(within: Sequence[int], accuracy: Floats, pixels: Floats) -> str:
    """Accuracy by distance from outlines."""
    count = len(accuracy)
    labels = ring_labels(within)
    parts, slot = [], (WIDTH - LEFT - RIGHT) / count
    for index, value in enumerate(accuracy):
        if np.isnan(value):
            continue
        x, share = across(index / count), pixels[index] / max(pixels.sum(), 1)
        parts.append(
            f"<g><title>{percent(value)} right; {percent(share)} of the pixels</title>"
            f'<rect x="{x + 5:.1f}" y="{up(value):.1f}" width="{slot - 10:.1f}" height="{up(0) - up(value):.1f}" '
            f'class="bar"/>{text(x + slot / 2, up(value) - 6, percent(value, 0), css_class="figure-text")}</g>'
        )
    places = [((index + 0.5) / count, label) for index, label in enumerate(labels)]
    body = frame("distance from the next true outline, pixels", "accuracy, %", places, ticks())
    return svg(WIDTH, HEIGHT, body + "".join(parts), "Accuracy by distance from the outline")


def ring_labels(within: Sequence[int]) -> list[str]:
    """``1``, ``2``, ``3-5`` ... and the rest."""
    starts = [1, *(distance + 1 for distance in within[:-1])]
    spans = [f"{low}" if low == high else f"{low}&ndash;{high}" for low, high in zip(starts, within, strict=True)]
    return [*spans, f"&gt;{within[-1]}"]


def pictures_chart(values: Floats, marked: Sequence[int], mean: float) -> str:
    """Histogram of the pictures' scores in 25 bins; bins with a marked picture are coloured."""
    known = np.flatnonzero(~np.isnan(values))
    bins = 25
    place = np.clip((values[known] * bins).astype(np.int64), 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    lit = set(place[np.isin(known, list(marked))].tolist())
    width, height, floor = 940, 120, 92
    step, parts = (width - 20) / bins, []
    for index in np.flatnonzero(counts):
        tall = 70 * counts[index] / counts.max()
        css_class = "bar lit" if index in lit else "bar"
        tip = (
            f"{counted(int(counts[index]), 'picture')} from {100 * index // bins} to {100 * (index + 1) // bins} %"
        )
        parts.append(
            f'<rect x="{10 + index * step + 1:.1f}" y="{floor - tall:.1f}" width="{step - 2:.1f}" '
            f'height="{tall:.1f}" class="{css_class}"><title>{tip}</title></rect>'
        )
    axis = line(10, floor, width - 10, floor, "grid-line")
    axis += "".join(text(10 + at * (width - 20), floor + 18, label) for at, label in ticks()[1:-1])
    axis += text(10, floor + 18, "0", "start") + text(width - 10, floor + 18, "100", "end")
    where = 10 + mean * (width - 20) if mean == mean else 0
    mark = line(where, 12, where, floor, "ideal") if mean == mean else ""
    return svg(width, height, "".join(parts) + axis + mark, "Pictures by their mean IoU")


def by_similarity(shares: Floats) -> list[int]:
    """Order of classes that puts confused ones side by side, from KxK confusions with normalised rows.

    By the Fiedler vector of their graph (Atkins, Boman and Hendrickson, 1998).
    """
    if len(shares) < 2:
        return list(range(len(shares)))
    links = np.nan_to_num(shares)
    links = (links + links.T) / 2 + 1e-6
    np.fill_diagonal(links, 0)
    scale = 1 / np.sqrt(links.sum(1))
    laplacian = np.eye(len(links)) - scale[:, None] * links * scale
    second = np.linalg.eigh(laplacian)[1][:, 1] * scale
    # The sign of an eigenvector is arbitrary: the first class is in the first half.
    return [int(index) for index in np.argsort(second if second[0] <= 0 else -second, kind="stable")]


def confusion_chart(confusion: Floats, names: Sequence[str], order: Sequence[int]) -> str:
    """The confusion matrix KxK with normalised rows (true classes), for the train ids of ``order``."""
    shares = divide(confusion, np.broadcast_to(confusion.sum(1, keepdims=True), confusion.shape))
    cell = float(np.clip(MATRIX / max(len(order), 1), SMALLEST_CELL, LARGEST_CELL))
    named = cell >= CELL_WITH_NAME
    size = 12.0 if cell >= 14 else cell * 0.85
    margin = max(len(names[index]) for index in order) * size * 0.6 + 14 if named else 8
    side = cell * len(order)
    parts = []
    for row, true in enumerate(order):
        for column, predicted in enumerate(order):
            parts.append(
                _cell(shares[true, predicted], row, column, cell, margin, (names[true], names[predicted]))
            )
        if named:
            middle = margin + (row + 0.5) * cell
            word = f'style="font-size:{size:.1f}px">{escape(names[true])}</text>'
            parts.append(f'<text x="{margin - 6:.1f}" y="{middle + size / 3:.1f}" text-anchor="end" {word}')
            parts.append(
                f'<text transform="translate({middle + size / 3:.1f} {margin - 6:.1f}) rotate(-90)" {word}'
            )
    border = f'<rect x="{margin:.1f}" y="{margin:.1f}" width="{side:.1f}" height="{side:.1f}" class="border"/>'
    total = margin + side + 2
    return svg(total, total, "".join(parts) + border, "Confusion matrix, rows normalised")


def _cell(share: float, row: int, column: int, cell: float, margin: float, pair: tuple[str, str]) -> str:
    """One cell; empty for a tiny share."""
    if not share >= 0.0005:
        return ""
    x, y = margin + column * cell, margin + row * cell
    css_class, opacity = ("right", 0.6 * share) if row == column else ("wrong", 0.75 * share**0.5)
    figure = ""
    if cell >= CELL_WITH_TEXT and share >= NAMED:
        figure = text(x + cell / 2, y + cell / 2 + 4, f"{100 * share:.0f}", css_class="figure-text")
    tip = f"{percent(share)} of {escape(pair[0])} is predicted as {escape(pair[1])}"
    return (
        f'<g><title>{tip}</title><rect x="{x:.1f}" y="{y:.1f}" width="{cell:.1f}" height="{cell:.1f}" '
        f'class="{css_class}" fill-opacity="{opacity:.3f}"/>{figure}</g>'
    )
