"""Segment a few photographs with the bundled model and show them on one HTML page.

    python scripts/demo.py -o out/demo [PICTURE ...]

Without pictures it takes photographs that installed packages bring along; offline.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from PIL import Image

from refineseg.cli.common import console, errors, progress_bar, quiet_libraries
from refineseg.data.images import read_image
from refineseg.errors import RefinesegError
from refineseg.files import atomic_write
from refineseg.inference.batch import Entry, find_inputs, predict_files
from refineseg.inference.predictor import PredictOptions, load
from refineseg.labels import LabelMap

# Photographs that come with packages and may be shown freely: package, file, credit.
PHOTOGRAPHS = (
    ("sklearn.datasets", "images/china.jpg", "china.jpg by danielbuechele, CC BY 2.0, from scikit-learn"),
    ("skimage.data", "rocket.jpg", "rocket.jpg by SpaceX, public domain (CC0), from scikit-image"),
)
PAGE = Path(__file__).with_name("demo.html")
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
    return (
        PAGE.read_text(encoding="utf-8").replace("{{model}}", html.escape(model)).replace("{{sections}}", sections)
    )


def _section(entry: Entry, folder: Path, labels: LabelMap, credits: dict[str, str]) -> str:
    picture = Image.fromarray(read_image(entry.input))
    mask = Image.open(folder / entry.files["mask"]).convert("RGB")
    mixed = Image.blend(picture, mask, 0.55)
    colors = dict(zip(labels.names, (item.color for item in labels.classes), strict=True))
    bars = "".join(
        f'<li><i style="background:rgb{colors[name]}"></i><b>{html.escape(name)}</b>'
        f'<span class="bar"><span style="width:{share:.2%};background:rgb{colors[name]}"></span></span>'
        f"<span>{share:.1%}</span></li>"
        for name, share in entry.class_shares.items()
        if share >= 0.001
    )
    credit = credits.get(entry.input.name, "")
    title = html.escape(entry.input.name)
    size = f"{entry.size[0]}x{entry.size[1]}" if entry.size else ""
    return f"""<section><h2>{title} <small>{size}, {entry.seconds * 1000:.0f} ms</small></h2>
<div class="pair"><figure><img src="{_inline(picture)}" alt="{title}"><figcaption>picture</figcaption></figure>
<figure><img src="{_inline(mixed)}" alt="{title} segmented"><figcaption>segmented</figcaption></figure></div>
<ul>{bars}</ul><p class="credit">{html.escape(credit)}</p></section>"""


def _inline(image: Image.Image) -> str:
    image = image.copy()
    image.thumbnail((LARGEST_SHOWN, LARGEST_SHOWN))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


if __name__ == "__main__":
    sys.exit(main())
