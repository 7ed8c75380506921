"""The report as one self-contained HTML page: findings, class balance, sizes, samples with overlay."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from refineseg.data.check.dataset_files import CheckedPair, DatasetFiles
from refineseg.data.check.findings import SEVERITIES, CheckReport, ClassFigures, Finding, Severity
from refineseg.data.images import nearest
from refineseg.errors import RefinesegError
from refineseg.html import css_color, data_url, document, fact_list, header, section, smaller, swatch
from refineseg.labels import IGNORE, UInt8
from refineseg.system.files import atomic_write
from refineseg.system.text import counted

THUMB = 360  # longer side of a sample, pixels
PER_FINDING = 4  # pictures beside one finding, at most
OPACITY = 0.5
MARK: dict[Severity, str] = {"error": "Error", "warning": "Warning", "note": "Note"}
SIZES = 12  # different sizes shown, at most


def write_page(report: CheckReport, path: str | Path) -> None:
    """Write the page; InputError if it cannot be written. The pictures shown are read again."""
    atomic_write(path, page(report))


def page(report: CheckReport) -> str:
    """The page as text."""
    parts = (_head(report), _findings(report), _balance(report), _sizes(report), _examples(report))
    return document(f"Check of {report.data}", "\n".join(filter(None, parts)), STYLE)


def _head(report: CheckReport) -> str:
    worst = next((severity for severity in SEVERITIES if report.of(severity)), None)
    verdict = {
        "error": "Fix the errors before training on this data.",
        "warning": "Training would run, but read the warnings first.",
        "note": "No errors or warnings; the notes are worth reading.",
        None: "No problems found.",
    }[worst]
    pictures = ", ".join(f"{count:,} {escape(split)}" for split, count in report.pictures.items())
    facts = [
        ("Pictures", pictures or "none"),
        ("Classes", str(len(report.classes))),
        ("Ignored pixels", f"{report.void_share:.1%}"),
        ("Pairs opened", f"{report.checked:,}" + (" (quick check: a sample)" if report.quick else "")),
        ("Time", f"{report.seconds:.1f} s"),
    ]
    return f"{header('check', escape(report.data), verdict, worst or 'clean')}\n{fact_list(facts)}"


# Findings --------------------------------------------------------------------------------------------------


def _findings(report: CheckReport) -> str:
    if not report.findings:
        return ""
    cards = "\n".join(_card(item, report.files) for item in report.findings)
    return section("Findings", report.summary, f"{cards}\n")


def _card(item: Finding, files: DatasetFiles | None) -> str:
    listed = ""
    if item.files:
        root = files.pairs[0].image.parent.parent if files else None
        paths = [Path(name) for name in item.files]
        paths = [path.relative_to(root) if root and path.is_relative_to(root) else path for path in paths]
        names = "".join(f"<li>{escape(str(path))}</li>" for path in paths)
        more = f"<li>and {item.count - len(item.files)} more</li>" if item.count > len(item.files) else ""
        title = counted(item.count, "file")
        listed = f"<details><summary>{title}</summary><ul>{names}{more}</ul></details>"
    return (
        f'<article class="finding {item.severity}"><h3><span class="mark">{MARK[item.severity]}</span> '
        f"<code>{escape(item.kind)}</code></h3><p>{_sentence(item.message)}</p>"
        f'<p class="fix"><b>What to do:</b> {_sentence(item.fix)}</p>{_evidence(item, files)}{listed}</article>'
    )


def _sentence(text: str) -> str:
    return escape(text[:1].upper() + text[1:] + ("" if text.endswith(("?", ".")) else "."))


def _evidence(item: Finding, files: DatasetFiles | None) -> str:
    """The first pictures of a finding with their masks overlaid."""
    if files is None:
        return ""
    by_file = {str(path): pair for pair in files.pairs for path in (pair.image, pair.mask) if path is not None}
    pairs = dict.fromkeys(by_file[name] for name in item.files if name in by_file)
    figures = [figure for pair in list(pairs)[:PER_FINDING] if (figure := _figure(pair, files, small=True))]
    return f'<div class="strip">{"".join(figures)}</div>' if figures else ""


# Classes and sizes -----------------------------------------------------------------------------------------


def _balance(report: CheckReport) -> str:
    labelled = sum(item.total for item in report.classes)
    if not labelled:
        return ""
    ranked = sorted(report.classes, key=lambda item: -item.total)
    top = ranked[0].total
    rows = "\n".join(
        _bar(item, item.total / labelled, item.total / top, "not seen" if report.quick else "absent")
        for item in ranked
    )
    note = "share of the labelled pixels; masks that show the class"
    return section("Class balance", note, f'<div class="bars">{rows}</div>')


def _bar(item: ClassFigures, share: float, length: float, nothing: str) -> str:
    masks = ", ".join(f"{count:,} {escape(split)}" for split, count in item.masks.items())
    figure = nothing if not item.total else (f"{share:.1%}" if share >= 0.001 else f"{share:.3%}")
    return (
        f'<div class="row{"" if item.total else " absent"}">'
        f'<span class="name">{swatch(item.color, item.name)}</span>'
        f'<span class="track"><b style="width:{100 * length:.2f}%;background:{css_color(item.color)}"></b></span>'
        f'<span class="figure">{figure}</span><span class="quiet">{masks}</span></div>'
    )


def _sizes(report: CheckReport) -> str:
    """A bar per size where there are few, else a histogram of the longer side."""
    if not report.sizes:
        return ""
    if len(report.sizes) <= SIZES:
        bars = [(f"{width} &times; {height}", count) for width, height, count in report.sizes]
        title = "width &times; height in pixels, number of pictures"
    else:
        bars = [(f"{low} to {high - 1}", count) for low, high, count in size_histogram(report.sizes)]
        title = f"longer side in pixels, number of pictures; {counted(report.sizes, 'different size')}"
    top = max(count for _, count in bars)
    rows = "".join(
        f'<div class="row"><span class="name">{name}</span><span class="track">'
        f'<b style="width:{100 * count / top:.2f}%"></b></span><span class="figure">{count:,}</span></div>'
        for name, count in bars
    )
    return section("Sizes", title, f'<div class="bars sizes">{rows}</div>')


def size_histogram(sizes: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """(from, below, pictures) of the longer side in at most about SIZES bins of 1, 2 or 5 times a power of ten."""
    sides, counts = [max(width, height) for width, height, _ in sizes], [count for *_, count in sizes]
    span = max(sides) - min(sides)
    step = next(s for power in range(9) for s in (10**power, 2 * 10**power, 5 * 10**power) if span < SIZES * s)
    starts = range(min(sides) // step * step, max(sides) + 1, step)
    bins = np.bincount([(side - starts[0]) // step for side in sides], counts, len(starts)).astype(int).tolist()
    return [(start, start + step, count) for start, count in zip(starts, bins, strict=True)]


# Samples ---------------------------------------------------------------------------------------------------


def _examples(report: CheckReport) -> str:
    if report.files is None or not report.examples:
        return ""
    figures = "\n".join(_figure(pair, report.files) for pair in report.examples)
    keys = "".join(f"<li>{swatch(item.color, item.name)}</li>" for item in report.classes if item.total)
    note = (
        "masks as training reads them, drawn over the pictures; ignored pixels and background stay clear, unknown "
        "values are magenta"
    )
    return section("Samples", note, f'<ul class="key">{keys}</ul>\n<div class="grid">{figures}</div>')


def _figure(pair: CheckedPair, files: DatasetFiles, *, small: bool = False) -> str:
    """A picture with its mask overlaid; "" if it cannot be read."""
    try:
        picture = files.visible(files.data.read_picture(pair.image))
    except RefinesegError:
        return ""
    shown = overlay(smaller(picture, THUMB / 2 if small else THUMB), pair, files)
    label = f"{escape(pair.stem)}" + ("" if small else f' <span class="quiet">{escape(pair.split)}</span>')
    image = f'<img alt="{escape(pair.stem)}" src="{data_url(shown)}">'
    return f"<figure>{image}<figcaption>{label}</figcaption></figure>"


def overlay(picture: UInt8, pair: CheckedPair, files: DatasetFiles) -> UInt8:
    """The mask of a pair over its picture (HxWx3), resized to the picture."""
    if pair.mask is None:
        return picture
    try:
        raw = files.data.read_raw(pair.mask)
    except RefinesegError:
        return picture
    colors, weight = _painted(nearest(raw, (picture.shape[1], picture.shape[0])), files)
    mixed = picture * (1 - weight[..., None]) + colors * weight[..., None]
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)


def _painted(raw: UInt8, files: DatasetFiles) -> tuple[UInt8, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Colours HxWx3 and opacity HxW in [0, 1]: 0 for ignored pixels and background, magenta for unknown values."""
    label_map = files.data.label_map
    if raw.ndim == 3 and not label_map.rgb:  # a colour mask where class numbers are expected: shown as stored
        return raw, np.full(raw.shape[:2], 0.8)
    if raw.ndim == 2 and label_map.rgb:
        return np.zeros((*raw.shape, 3), np.uint8), np.zeros(raw.shape)
    labels = np.full(raw.shape[:2], IGNORE, np.uint8)
    weight = np.zeros(raw.shape[:2])
    colors = np.zeros((*raw.shape[:2], 3), np.uint8)
    flat = raw.reshape(raw.shape[0] * raw.shape[1], -1)
    for value in np.unique(flat, axis=0):
        here = (raw == value).all(axis=2) if raw.ndim == 3 else raw == value[0]
        single = value.reshape(1, 1, -1) if raw.ndim == 3 else value.reshape(1, 1)
        if int(value.max()) > 65535 or int(value.min()) < 0 or label_map.unknown(single):
            colors[here], weight[here] = (255, 0, 255), 0.85
            continue
        labels[here] = label_map.encode(single)[0, 0]
    known = (labels != IGNORE) & ~np.isin(labels, label_map.background_ids)
    colors[known], weight[known] = label_map.colorize(labels)[known], OPACITY
    return colors, weight


# Style of this page, beyond the common one ---------------------------------------------------------------------

STYLE = """
.finding { background: var(--card); border: 1px solid var(--line); border-left: 5px solid var(--note);
  border-radius: 8px; padding: 14px 18px; margin: 0 0 12px; }
.finding.error { border-left-color: var(--error); } .finding.warning { border-left-color: var(--warning); }
.mark { color: var(--note); } .error .mark { color: var(--error); } .warning .mark { color: var(--warning); }
.fix { color: var(--ink); } .fix b { font-weight: 600; }
details { margin-top: 6px; font-size: 13px; } summary { cursor: pointer; color: var(--quiet); }
details ul { margin: 6px 0 0; padding-left: 20px; color: var(--quiet); }
.strip { display: flex; flex-wrap: wrap; gap: 10px; margin: 10px 0 2px; }
.strip figure { max-width: 190px; }
.sizes .row { grid-template-columns: minmax(90px, 120px) 1fr 74px; }
.row.absent { color: var(--quiet); }
.absent .track b { display: none; }
@media (max-width: 640px) { .sizes .row { grid-template-columns: 1fr 70px; gap: 3px 14px; } }
"""
