"""A network drawn as SVG: backbones, their maps by stride, blocks from coarse to fine, and the inside of a block.

The style follows the paper's Figures 2, 3 and 7. Colours follow the reader's light or dark mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from refineseg.config import ModelConfig
from refineseg.model.describe import NetworkDescription, Stage
from refineseg.system.text import counted

ROW, TOP = 150, 84  # distance between strides; centre of the first one
MAP, MAP_HEIGHT = 132, 30
LONGEST = 18  # longest backbone name in large letters
BLOCK, BLOCK_HEIGHT = 216, 112
GAP = 66  # between columns
PADDING = 14
Point = tuple[float, float]
STYLE = """
.ground{fill:#fff}.text{fill:#1f2328}.faint{fill:#57606a}.map{fill:#dbeafe;stroke:#3b6fb6}
.block{fill:#fde8d0;stroke:#b8691b}.head{fill:#dff3e0;stroke:#3c8c46}
.net{fill:none;stroke:#8c959f;stroke-dasharray:5 4}
.line{fill:none;stroke:#57606a;stroke-width:1.6}.tip{fill:#57606a}
text{font:13px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;text-anchor:middle}
.title{font-weight:600;font-size:14px}.small{font-size:11.5px}
@media (prefers-color-scheme:dark){.ground{fill:#0d1117}.text{fill:#e6edf3}.faint{fill:#9da7b3}
.map{fill:#13294b;stroke:#6ea8fe}.block{fill:#40270c;stroke:#f0a95b}.net{stroke:#6e7681}.head{fill:#12351a;stroke:#6cc676}
.line{stroke:#9da7b3}.tip{fill:#9da7b3}}
"""


def draw(description: NetworkDescription) -> str:
    """The description as the text of an SVG file."""
    config, strides = description.config, description.strides
    levels = sorted(set(strides))
    middle = {stride: float(TOP + ROW * row) for row, stride in enumerate(levels)}
    backbones = len(config.input_scales)
    columns = [PADDING + 96 + GAP / 2 + (backbones - 1 - k) * (MAP + GAP) for k in range(backbones)]
    left = PADDING + 96 + GAP / 2 + backbones * (MAP + GAP)
    right = left + BLOCK + GAP + 30
    bottom = middle[levels[-1]] + ROW / 2 + 10
    width, height = right + 150 + PADDING, bottom + 84
    places = _places(strides, columns, middle)
    parts = _image(description, middle[levels[0]])
    parts += _backbones(description, columns, middle, places)
    previous = 0.0
    for stage in description.stages[1:-1]:
        rows = [middle[strides[index]] for index in stage.taken]
        centre, span = sum(rows) / len(rows), max(rows) - min(rows)
        parts += _block(stage, left, centre, span)
        parts += [_path(*places[index], columns[0], left) for index in sorted(stage.taken)]
        top = centre - (BLOCK_HEIGHT + span) / 2
        if previous:
            parts.append(_arrow((left + BLOCK / 2, previous), (left + BLOCK / 2, top + BLOCK_HEIGHT + span)))
        previous = top
    parts += _head(description, left + BLOCK, right, centre)
    parts += _legend(config, width / 2, bottom + 22)
    title = escape(f"{config.preset}: {'DPT' if config.dpt else f'{config.cascade} cascade'}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="{title}">\n<title>{title}</title>\n<style>{STYLE}</style>\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto">'
        '<path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>\n'
        f'<rect class="ground" width="{width:g}" height="{height:g}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _image(description: NetworkDescription, y: float) -> list[str]:
    height, width = description.size
    x = PADDING
    return [
        _box("map", x, y - 24, 96, 48),
        _text(x + 48, y - 4, "image", "text title"),
        _text(x + 48, y + 13, f"{height} x {width}", "faint small"),
    ]


def _backbones(
    description: NetworkDescription, columns: list[float], middle: dict[float, float], places: list[Point]
) -> list[str]:
    """One dashed frame per backbone with its maps by stride, and an arrow from the image."""
    config = description.config
    parts = []
    top, bottom = min(middle.values()) - 62, max(middle.values()) + 58
    for x, scale in zip(columns, config.input_scales, strict=True):
        parts.append(_box("net", x - 12, top, MAP + 24, bottom - top))
        at = "" if scale == 1 else f" at {scale:g}"
        css_class = "text title" if len(config.backbone + at) <= LONGEST else "text small"
        parts.append(_text(x + MAP / 2, top + 18, config.backbone + at, css_class))
    names = [f"1/{stride:g}" for stride in description.strides]
    if config.image_pooling:
        names[-1] = "mean"
    for (x, y), name, (channels, high, wide) in zip(places, names, description.stages[0].outputs, strict=True):
        parts.append(_box("map", x, y - MAP_HEIGHT / 2, MAP, MAP_HEIGHT))
        parts.append(_text(x + MAP / 2, y + 4.5, f"{name}: {channels} x {high} x {wide}", "text small"))
    start = PADDING + 96
    parts.append(_arrow((start, min(middle.values())), (columns[-1] - 13, min(middle.values()))))
    if len(columns) > 1:
        y = top - 6
        for x in columns[:-1]:
            points = ((PADDING + 48, min(middle.values()) - 24), (PADDING + 48, y), (x + MAP / 2, y))
            parts.append(_arrow(*points, (x + MAP / 2, top - 1)))
    return parts


def _places(strides: Sequence[float], columns: list[float], middle: dict[float, float]) -> list[Point]:
    """Left edge and vertical middle of each map; maps of one stride of a backbone are stacked."""
    count = len(strides) // len(columns)
    # Backbone and stride of each map; the mean over the picture comes last and is of the first backbone.
    keys = [(index // count % len(columns), stride) for index, stride in enumerate(strides)]
    places = []
    for index, key in enumerate(keys):
        same = [other for other, its_key in enumerate(keys) if its_key == key]
        shift = (same.index(index) - (len(same) - 1) / 2) * (MAP_HEIGHT + 6)
        places.append((columns[key[0]], middle[key[1]] + shift))
    return places


def _path(x: float, y: float, nearest: float, left: float) -> str:
    """Arrow from a map to a block; from further backbones it passes below the maps of the nearest."""
    below = y if x == nearest else y + MAP_HEIGHT / 2 + 10
    return _arrow((x + MAP, y), (x + MAP + 20, y), (x + MAP + 20, below), (left, below))


def _block(stage: Stage, x: float, y: float, span: float) -> list[str]:
    high = BLOCK_HEIGHT + span
    channels, rows, columns = stage.outputs[0]
    lines = [
        (f"RefineNet {stage.name}", "text title"),
        (f"{counted(stage.inputs, 'path')} in", "text small"),
        (f"{channels} x {rows} x {columns} out", "text small"),
        (f"{stage.parameters / 1e6:.2f} M, {stage.gmac:.2f} GMAC", "faint small"),
    ]
    if stage.receptive_field is not None:
        lines.append((f"sees about {stage.receptive_field} px", "faint small"))
    first = y - 9.5 * (len(lines) - 1) + 4
    return [
        _box("block", x, y - high / 2, BLOCK, high),
        *(_text(x + BLOCK / 2, first + 19 * row, text, css_class) for row, (text, css_class) in enumerate(lines)),
    ]


def _head(description: NetworkDescription, start: float, x: float, y: float) -> list[str]:
    stage = description.stages[-1]
    classes, rows, columns = stage.outputs[0]
    lines = [
        ("classifier 3x3" if description.config.dpt is None else "head", "text title"),
        (f"{classes} x {rows} x {columns}", "text small"),
        ("then bilinear" if description.config.dpt is None else "bilinear inside", "faint small"),
        ("to the image's size", "faint small"),
    ]
    return [
        _arrow((start, y), (x, y)),
        _box("head", x, y - 46, 150, 92),
        *(_text(x + 75, y - 20 + 18 * row, text, css_class) for row, (text, css_class) in enumerate(lines)),
    ]


def _legend(config: ModelConfig, x: float, y: float) -> list[str]:
    """Lines on the inside of a block."""
    if config.dpt is not None:
        text = "map: conv 3x3 + 1 RCU  →  plus the coarser block's output  →  1 RCU, conv 1x1, bilinear"
        return [_text(x, y, "Inside a block", "text title"), _text(x, y + 20, text, "faint small")]
    size = f"{config.kernel_size}x{config.kernel_size}"
    order = "5x5 max-pool, conv" if config.pooling == "original" else "conv, 5x5 max-pool"
    units = f" + {config.rcus} RCU" if config.rcus else ""
    paths = [f"backbone path: conv {size}{units}"]
    if config.refined_rcus:
        paths.append(f"coarser path: {config.refined_rcus} RCU")
    steps = [
        "; ".join(paths),
        f"fusion: conv {size}, {config.upsampling} to the largest, sum",
    ]
    more = [
        f"chained residual pooling: {config.activation.replace('relu', 'ReLU')}, {config.crp_stages} x ({order})"
    ]
    if config.output_rcus:
        more.append(f"output: {config.output_rcus} RCU")
    if config.final_rcus:
        more.append(f"before the classifier: {config.final_rcus} RCU")
    return [
        _text(x, y, "Inside a block", "text title"),
        _text(x, y + 20, "  →  ".join(steps), "faint small"),
        _text(x, y + 38, "  →  ".join(more), "faint small"),
    ]


def _box(css_class: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{css_class}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>'


def _text(x: float, y: float, text: str, css_class: str) -> str:
    return f'<text class="{css_class}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def _arrow(*points: Point) -> str:
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<polyline class="line" points="{path}" marker-end="url(#tip)"/>'
