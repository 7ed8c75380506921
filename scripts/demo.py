"""Segment a few photographs with the bundled models and show them on one HTML page.

    python scripts/demo.py -o out/demo [-m MODEL] [PICTURE ...]

Without pictures each model shows itself on photographs that installed packages bring along; offline. Pictures of
your own are seen by the model that -m names, or by every bundled one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from refineseg.cli.common import console, errors, progress_bar, quiet_libraries
from refineseg.data.images import read_image
from refineseg.errors import RefinesegError
from refineseg.html import css_color, data_url, document
from refineseg.inference.batch import Entry, find_inputs, predict_files
from refineseg.inference.options import PredictOptions
from refineseg.labels import LabelMap
from refineseg.loading import load
from refineseg.model.folders.find_model import bundled_models
from refineseg.system.files import atomic_write
from refineseg.system.text import file_name


@dataclass(frozen=True)
class Photograph:
    """A picture that a package brings along and that may be shown freely, and the model that it suits."""

    package: str
    file: str
    credit: str
    model: str


ASTRONAUT = "astronaut.png: Eileen Collins, by NASA, public domain, from scikit-image"
PHOTOGRAPHS = (
    Photograph(
        "skimage.data",
        "chelsea.png",
        "chelsea.png: Chelsea the cat, by Stefan van der Walt, public domain (CC0), from scikit-image",
        "everyday",
    ),
    Photograph("skimage.data", "astronaut.png", ASTRONAUT, "everyday"),
    Photograph(
        "skimage.data",
        "astronaut.png",
        ASTRONAUT,
        "people",
    ),
    Photograph(
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "grace_hopper.jpg: Grace Hopper, by the US Navy, public domain, from matplotlib",
        "people",
    ),
    Photograph(
        "sklearn.datasets",
        "images/china.jpg",
        "china.jpg by danielbuechele, CC BY 2.0, from scikit-learn",
        "camvid",
    ),
    Photograph(
        "skimage.data", "rocket.jpg", "rocket.jpg by SpaceX, public domain (CC0), from scikit-image", "camvid"
    ),
)
# At which scales a model sees these pictures: portraits show faces larger than the street photographs do.
SCALES = {"people": (0.35, 0.5, 0.75)}
ABOUT = {
    "everyday": "20 everyday things in photographs",
    "people": "people and their clothes",
    "camvid": "streets",
    "camvid-fast": "streets, for cameras",
}
STYLE = """
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; margin-bottom: 6px; } .pair img { width: 100%; }
h1.model { font-size: 1.15rem; margin: 26px 0 4px; }
.row { grid-template-columns: minmax(110px, 190px) 1fr 74px; }
@media (max-width: 700px) { .pair { grid-template-columns: 1fr; } }
"""
LARGEST_SHOWN = 1000  # pixels; the page carries its pictures inside


@dataclass(frozen=True)
class Shown:
    """What one model made of its pictures; files are relative to its folder."""

    model: str
    labels: LabelMap
    folder: Path
    entries: list[Entry]


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description="Segment photographs and show them on one page.")
    parser.add_argument("pictures", nargs="*", help="files, folders or globs; photographs from packages if none")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-m", "--model", help="a bundled name or a model folder; every bundled one if none")
    given = parser.parse_args()
    quiet_libraries()
    page = given.output / "index.html"
    try:
        work, credits = planned(given.pictures, given.model)
        shown = [segment(model, pictures, given.output) for model, pictures in work.items()]
        atomic_write(page, render(shown, credits))
    except RefinesegError as error:
        errors.print(f"error: {error}")
        return 2
    failed = [entry for one in shown for entry in one.entries if entry.error is not None]
    for one in shown:
        tell(one)
    for entry in failed:
        errors.print(f"error: {entry.error}")
    console.print()
    console.print(f"side by side: {page}")
    return 2 if failed else 0


def planned(pictures: Sequence[str], model: str | None) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """The pictures of each model, and credits by file name.

    Raises:
        RefinesegError: no such picture, or no package brings any along.
    """
    if pictures:
        found = find_inputs(pictures)
        return dict.fromkeys([model] if model else bundled_models(), found), {}
    work: dict[str, list[Path]] = {}
    credits: dict[str, str] = {}
    for photograph in PHOTOGRAPHS:
        try:
            path = Path(str(files(photograph.package) / photograph.file))
        except ModuleNotFoundError:
            continue
        if path.is_file():
            work.setdefault(model or photograph.model, []).append(path)
            credits[path.name] = photograph.credit
    if not work:
        raise RefinesegError(
            "expected scikit-learn or scikit-image for their photographs: pip install 'refineseg[demo]', or name "
            "pictures"
        )
    return work, credits


def segment(model: str, pictures: Sequence[Path], output: Path) -> Shown:
    """Masks and overlays of one model under OUTPUT/NAME."""
    segmenter = load(model)
    folder = output / file_name(segmenter.card.name)
    options = PredictOptions(SCALES.get(model, (1.0,)))
    with progress_bar() as bar:
        task = bar.add_task(segmenter.card.name, total=len(pictures), note="")
        entries = predict_files(segmenter, pictures, folder, options, progress=lambda _entry: bar.advance(task))
    return Shown(segmenter.card.name, segmenter.card.labels, folder, entries)


def tell(shown: Shown) -> None:
    """Print what was found in each picture, and where the files are."""
    for entry in shown.entries:
        if entry.error is not None:
            continue
        shares = "  ".join(f"{name} {share:.1%}" for name, share in entry.class_shares.items() if share >= 0.001)
        took = f"{shown.model}, {entry.seconds * 1000:.0f} ms"
        for line in ("", f"{Path(entry.input).name} ({took})", f"  {shares}"):
            console.print(line)
        for kind, file in entry.files.items():
            console.print(f"  {kind:8}{shown.folder / file}")


def render(shown: Sequence[Shown], credits: dict[str, str]) -> str:
    """A self-contained page: each picture beside its overlay, with the shares of its classes."""
    sections = []
    for one in shown:
        about = f", {ABOUT[one.model]}" if one.model in ABOUT else ""
        sections.append(f'<h1 class="model">{escape(one.model)}<span class="quiet">{about}</span></h1>')
        sections += [_section(entry, one, credits) for entry in one.entries if entry.error is None]
    body = "\n".join(sections)
    head = "<p>Every pixel named, by the models that come with the package, on this machine.</p>"
    return document("refineseg demo", f"<header><h1>refineseg</h1>{head}</header>\n{body}", STYLE)


def _section(entry: Entry, shown: Shown, credits: dict[str, str]) -> str:
    picture = Image.fromarray(read_image(entry.input))
    mask = Image.open(shown.folder / entry.files["mask"]).convert("RGB")
    colors = {item.name: css_color(item.color) for item in shown.labels.classes}
    bars = "".join(
        f'<div class="row"><span class="name"><i style="background:{colors[name]}"></i>{escape(name)}</span>'
        f'<span class="track"><b style="width:{share:.2%};background:{colors[name]}"></b></span>'
        f'<span class="figure">{share:.1%}</span></div>'
        for name, share in entry.class_shares.items()
        if share >= 0.001
    )
    title = escape(Path(entry.input).name)
    size = f"{entry.size[0]}x{entry.size[1]}" if entry.size else ""
    return f"""<section><h2>{title} <span class="quiet">{size}, {entry.seconds * 1000:.0f} ms</span></h2>
<div class="pair"><figure><img src="{_inline(picture)}" alt="{title}"></figure>
<figure><img src="{_inline(Image.blend(picture, mask, 0.55))}" alt="{title} segmented"></figure></div>
<p class="quiet">{escape(credits.get(Path(entry.input).name, ""))}</p>
<div class="bars">{bars}</div></section>"""


def _inline(image: Image.Image) -> str:
    image = image.copy()
    image.thumbnail((LARGEST_SHOWN, LARGEST_SHOWN))
    return data_url(np.asarray(image), quality=88)


if __name__ == "__main__":
    sys.exit(main())
