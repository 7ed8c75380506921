"""Segment a few photographs with the bundled model and show them on one HTML page.

    python scripts/demo.py -o out/demo [PICTURE ...]

Without pictures it takes photographs that installed packages bring along; offline.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from refineseg.cli.common import console, errors, progress_bar, quiet_libraries
from refineseg.data.images import read_image
from refineseg.errors import RefinesegError
from refineseg.files import atomic_write
from refineseg.inference.batch import Entry, find_inputs, predict_files
from refineseg.inference.predictor import PredictOptions, load
from refineseg.labels import LabelMap
from refineseg.page import css_color, document, picture_address

# Photographs that come with packages and may be shown freely: package, file, credit.
PHOTOGRAPHS = (
    ("sklearn.datasets", "images/china.jpg", "china.jpg by danielbuechele, CC BY 2.0, from scikit-learn"),
    ("skimage.data", "rocket.jpg", "rocket.jpg by SpaceX, public domain (CC0), from scikit-image"),
)
STYLE = """
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; margin-bottom: 6px; } .pair img { width: 100%; }
.row { grid-template-columns: minmax(110px, 190px) 1fr 74px; }
@media (max-width: 700px) { .pair { grid-template-columns: 1fr; } }
"""
LARGEST_SHOWN = 1000  # pixels; the page carries its pictures inside


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description="Segment photographs and show them on one page.")
    parser.add_argument("pictures", nargs="*", help="files, folders or globs; photographs from packages if none")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-m", "--model", default="camvid")
    given = parser.parse_args()
    quiet_libraries()
    try:
        pictures, credits = (find_inputs(given.pictures), {}) if given.pictures else bundled_photographs()
        segmenter = load(given.model)
        with progress_bar() as bar:
            task = bar.add_task("segmenting", total=len(pictures), note="")
            entries = predict_files(
                segmenter, pictures, given.output, PredictOptions(), progress=lambda _entry: bar.advance(task)
            )
        page = given.output / "index.html"
        atomic_write(page, render(entries, given.output, segmenter.info.labels, segmenter.info.name, credits))
    except RefinesegError as error:
        errors.print(f"error: {error}", markup=False)
        return 2
    for entry in entries:
        if entry.error is not None:
            errors.print(f"error: {entry.error}", markup=False)
            continue
        shares = "  ".join(f"{name} {share:.1%}" for name, share in entry.class_shares.items() if share >= 0.001)
        console.print(f"\n{entry.input.name} ({entry.seconds * 1000:.0f} ms)\n  {shares}", markup=False)
        for kind, file in entry.files.items():
            console.print(f"  {kind:8}{given.output / file}", markup=False)
    console.print(f"\nside by side: {page}", markup=False)
    return 2 if any(entry.error for entry in entries) else 0


def bundled_photographs() -> tuple[list[Path], dict[str, str]]:
    """Pictures that packages bring along, and their credits by file name."""
    found: list[Path] = []
    credits: dict[str, str] = {}
    for package, name, credit in PHOTOGRAPHS:
        try:
            path = Path(str(files(package) / name))
        except ModuleNotFoundError:
            continue
        if path.is_file():
            found.append(path)
            credits[path.name] = credit
    if not found:
        raise RefinesegError(
            "expected scikit-learn for its photographs: pip install 'refineseg[demo]', or name pictures"
        )
    return found, credits


def render(entries: Sequence[Entry], folder: Path, labels: LabelMap, model: str, credits: dict[str, str]) -> str:
    """A self-contained page: each picture beside its overlay, with the shares of its classes."""
    sections = "\n".join(_section(entry, folder, labels, credits) for entry in entries if entry.error is None)
    head = f"<p>Every pixel named, by the bundled model <b>{escape(model)}</b> on this machine.</p>"
    return document("refineseg demo", f"<header><h1>refineseg</h1>{head}</header>\n{sections}", STYLE)


def _section(entry: Entry, folder: Path, labels: LabelMap, credits: dict[str, str]) -> str:
    picture = Image.fromarray(read_image(entry.input))
    mask = Image.open(folder / entry.files["mask"]).convert("RGB")
    colors = {item.name: css_color(item.color) for item in labels.classes}
    bars = "".join(
        f'<div class="row"><span class="name"><i style="background:{colors[name]}"></i>{escape(name)}</span>'
        f'<span class="track"><b style="width:{share:.2%};background:{colors[name]}"></b></span>'
        f'<span class="figure">{share:.1%}</span></div>'
        for name, share in entry.class_shares.items()
        if share >= 0.001
    )
    title = escape(entry.input.name)
    size = f"{entry.size[0]}x{entry.size[1]}" if entry.size else ""
    return f"""<section><h2>{title} <span class="quiet">{size}, {entry.seconds * 1000:.0f} ms</span></h2>
<div class="pair"><figure><img src="{_inline(picture)}" alt="{title}"></figure>
<figure><img src="{_inline(Image.blend(picture, mask, 0.55))}" alt="{title} segmented"></figure></div>
<p class="quiet">{escape(credits.get(entry.input.name, ""))}</p>
<div class="bars">{bars}</div></section>"""


def _inline(image: Image.Image) -> str:
    image = image.copy()
    image.thumbnail((LARGEST_SHOWN, LARGEST_SHOWN))
    return picture_address(np.asarray(image), quality=88)


if __name__ == "__main__":
    sys.exit(main())
