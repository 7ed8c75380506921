"""Shared parts of the self-contained HTML pages: style, light and dark, and small helpers.

A page needs nothing else: style and pictures are inside. Light or dark colours follow the reader's system.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape

import numpy as np
from PIL import Image

from refineseg.labels import Color, UInt8


def document(title: str, body: str, style: str = "", script: str = "", refresh: int | None = None) -> str:
    """A whole page.

    ``style`` is added to the common one; ``title`` is plain text, ``body`` is HTML; browsers reload the page every
    ``refresh`` seconds.
    """
    again = f'<meta http-equiv="refresh" content="{refresh}">\n' if refresh else ""
    code = f"<script>{script}</script>\n" if script else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{again}<title>{escape(title)}</title>\n<style>{TOKENS}{STYLE}{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n{code}</body>\n</html>\n"
    )


def header(command: str, title: str, verdict: str, css_class: str = "note", more: str = "") -> str:
    """The head of a page of ``refineseg COMMAND``; ``css_class`` gives its colour. All are HTML."""
    return (
        f'<header class="{css_class}"><p class="eyebrow">refineseg {command}</p><h1>{title}</h1>'
        f'<p class="verdict">{verdict}</p>{more}</header>'
    )


def section(title: str, note: str, content: str) -> str:
    """A titled part of a page, all HTML."""
    return f'<section><h2>{title} <span class="quiet">{note}</span></h2>\n{content}</section>'


def fact_list(facts: Iterable[tuple[str, str]]) -> str:
    """Names and values, both HTML, as a list of class ``facts``, which each page lays out."""
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f'<dl class="facts">{cells}</dl>'


def jpeg(picture: UInt8, quality: int = 82) -> bytes:
    """A picture HxWx3 as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def data_url(picture: UInt8, quality: int = 82) -> str:
    """A picture HxWx3 as a data: URL of a JPEG."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture, quality)).decode()


def css_color(color: Color) -> str:
    """RGB as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def swatch(color: Color, name: str) -> str:
    """A square in the colour of a class, and its name."""
    return f'<i style="background:{css_color(color)}"></i>{escape(name)}'


def smaller(picture: UInt8, longest: float) -> UInt8:
    """A picture HxWx3, reduced to ``longest`` pixels at its longer side."""
    height, width = picture.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


TOKENS = """
:root { color-scheme: light dark;
  --paper: #f7f7f5; --card: #ffffff; --ink: #1d2126; --quiet: #69717b; --line: #e2e3e0; --track: #ecedea;
  --bar: #4a6fa5; --error: #c0362c; --warning: #b26a00; --note: #3b6ea8; --clean: #2f7d4f; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --card: #1d2125; --ink: #e7e9ea; --quiet: #98a1aa; --line: #30363c; --track: #2a2f34;
  --bar: #7fa3d6; --error: #ff7b6e; --warning: #f0b454; --note: #86b6ef; --clean: #6fcf97; } }
"""

STYLE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 36px 24px 64px; }
h1 { font-size: 24px; line-height: 1.25; margin: 2px 0 6px; }
h2 { font-size: 18px; margin: 40px 0 12px; }
h3 { font-size: 14px; margin: 0 0 4px; display: flex; gap: 10px; align-items: baseline; }
p { margin: 0 0 6px; }
code { font: 13px/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; color: var(--quiet); }
.quiet { color: var(--quiet); font-weight: 400; font-size: 13px; }
.eyebrow { color: var(--quiet); font-size: 13px; letter-spacing: .04em; }
header { border-left: 5px solid var(--clean); padding-left: 16px; }
header.error { border-color: var(--error); } header.warning { border-color: var(--warning); }
header.note { border-color: var(--note); }
.verdict { font-size: 16px; }
.facts { display: flex; flex-wrap: wrap; gap: 8px 36px; margin: 22px 0 0; }
.facts dt { color: var(--quiet); font-size: 13px; } .facts dd { margin: 0; font-size: 16px; }
.bars { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 18px; }
.row { display: grid; grid-template-columns: minmax(110px, 190px) 1fr 74px minmax(110px, 170px); gap: 14px;
  align-items: center; padding: 3px 0; }
.name { display: flex; align-items: center; gap: 9px; }
.name i, .key i { width: 13px; height: 13px; border-radius: 3px; flex: none; display: inline-block;
  border: 1px solid color-mix(in srgb, var(--ink) 35%, transparent); }
.track { background: var(--track); border-radius: 4px; height: 12px; overflow: hidden; }
.track b { display: block; height: 100%; min-width: 1px; background: var(--bar); border-radius: 4px;
  box-shadow: inset 0 0 0 1px color-mix(in srgb, var(--ink) 30%, transparent); }
.row > *, .key li, .grid > * { min-width: 0; }
.figure { text-align: right; font-variant-numeric: tabular-nums; }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 14px; padding: 0;
  font-size: 13px; }
.key li { display: flex; align-items: center; gap: 7px; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 16px; align-items: end; }
figure { margin: 0; } figure img { display: block; max-width: 100%; border-radius: 6px; }
.grid img { width: 100%; }
figcaption { font-size: 13px; margin-top: 4px; }
@media (max-width: 640px) { .row { grid-template-columns: 1fr 70px; gap: 3px 14px; }
  .row .track { grid-column: 1 / -1; order: 3; }
  .row .quiet { grid-column: 1 / -1; order: 4; } }
"""
