"""The picture of a report in docs/evaluation.md: synthetic street scenes, scored with a classifier of colours.

python benchmarks/report_figure.py [FILE.png] [--keep FOLDER]   (needs chromium; the report stays in FOLDER)
"""

from __future__ import annotations

import argparse
from pathlib import Path
import shutil
import subprocess
import tempfile
from typing import cast

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from refineseg.data.dataset import Sample, SegmentationData
from refineseg.evaluation.evaluate import evaluate
from refineseg.evaluation.report.evaluation_report import MEASURES
from refineseg.evaluation.report.page import write_report
from refineseg.inference.predictor import Segmenter
from refineseg.labels import IGNORE, LabelMap, UInt8
from refineseg.model.folders.model_folder import ModelCard
from refineseg.model.refinenet import RefineNet
import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEIGHT = 480, 320
NAMES = ["sky", "building", "tree", "road", "pavement", "car", "fence", "person"]
PALETTE = [
    (96, 150, 210),
    (150, 70, 60),
    (90, 140, 50),
    (110, 80, 130),
    (60, 80, 170),
    (200, 120, 30),
    (170, 150, 110),
]
LABELS = LabelMap.from_names(NAMES, [*PALETTE, (60, 170, 170)])
SEEN = np.array(  # colours in the pictures, by class
    [
        (190, 212, 235),
        (165, 130, 112),
        (84, 112, 62),
        (92, 92, 98),
        (150, 146, 142),
        (178, 44, 48),
        (142, 116, 84),
        (52, 62, 110),
    ]
)


class ColorNet(nn.Module):
    """Logits at stride 4: minus the squared distance of the mean colour to each class's."""

    def forward(self, images: Tensor, upsample: bool = True) -> Tensor:
        """Bx3xHxW in [0, 1] to logits BxKxhxw, or BxKxHxW with ``upsample``."""
        low = F.avg_pool2d(images, 5, stride=4, padding=2, count_include_pad=False)
        colors = torch.from_numpy(SEEN / 255).float()
        logits = -95 * (low[:, None] - colors[None, :, :, None, None]).square().sum(2)
        return F.interpolate(logits, images.shape[-2:], mode="bilinear") if upsample else logits


def scene(seed: int) -> tuple[UInt8, UInt8]:
    """A street: picture HxWx3 and labels HxW, drawn with the same shapes."""
    draw = np.random.default_rng(seed)
    truth = Image.new("L", (WIDTH, HEIGHT), 0)
    pen = ImageDraw.Draw(truth)
    horizon = int(draw.integers(140, 180))
    edge = 0
    while edge < WIDTH:
        wide = int(draw.integers(40, 110))
        if draw.random() < 0.7:
            pen.rectangle((edge, int(draw.integers(20, 110)), edge + wide, horizon + 10), fill=1)
        edge += wide
    for _ in range(draw.integers(2, 6)):
        x, y, size = (int(draw.integers(low, high)) for low, high in ((0, WIDTH), (80, 130), (20, 48)))
        pen.ellipse((x - size, y - size, x + size, y + size), fill=2)
        pen.rectangle((x - 4, y + size - 6, x + 4, max(y + size, horizon + 8)), fill=2)
    pen.rectangle((0, horizon, WIDTH, HEIGHT), fill=4)
    middle = int(draw.integers(180, 300))
    pen.polygon(((middle - 14, horizon), (middle + 14, horizon), (WIDTH - 30, HEIGHT), (30, HEIGHT)), fill=3)
    start = int(draw.integers(0, WIDTH - 160))
    pen.rectangle((start, horizon - 16, start + int(draw.integers(80, 160)), horizon + 6), fill=6)
    for _ in range(draw.integers(1, 4)):
        x, y, size = (int(draw.integers(low, high)) for low, high in ((60, 400), (horizon + 20, 290), (14, 34)))
        pen.rounded_rectangle((x - size, y - size // 2, x + size, y + size // 3), size // 4, fill=5)
        pen.rounded_rectangle((x - size // 2, y - size, x + size // 2, y), size // 4, fill=5)
    for _ in range(draw.integers(1, 5)):
        x, y, size = (int(draw.integers(low, high)) for low, high in ((10, 470), (horizon, 250), (5, 10)))
        pen.ellipse((x - size // 2, y - 4 * size, x + size // 2, y - 3 * size), fill=7)
        pen.rounded_rectangle((x - size, y - 3 * size, x + size, y + size), size // 2, fill=7)
    labels = np.array(truth)
    texture = draw.normal(0, 1, (HEIGHT // 8, WIDTH // 8, 3))
    coarse = np.stack(
        [
            np.array(Image.fromarray(texture[..., c]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
            for c in range(3)
        ],
        2,
    )
    light = 1 + 0.05 * draw.normal() + np.linspace(0.06, -0.06, HEIGHT)[:, None, None]
    picture = SEEN[labels] * light + 8 * coarse + draw.normal(0, 7, (HEIGHT, WIDTH, 3))
    blurred = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.2))
    labels[-14:] = IGNORE
    return np.array(blurred), labels


def with_slips(labels: UInt8, seed: int) -> UInt8:
    """Labels with a slip of the annotator in every third picture: a car, person or fence labelled as another."""
    if seed % 3:
        return labels
    wrong = labels.copy()
    wrong[labels == (5, 6, 7)[seed // 3 % 3]] = (7, 1, 6)[seed // 3 % 3]
    return wrong


def make_data(root: Path, pictures: int = 40) -> SegmentationData:
    """The synthetic scenes on disk."""
    samples = []
    for seed in range(pictures):
        picture, labels = scene(seed)
        image, mask = root / f"street_{seed:03}.png", root / f"street_{seed:03}_mask.png"
        Image.fromarray(picture).save(image)
        Image.fromarray(with_slips(labels, seed)).save(mask)
        samples.append(Sample(image.stem, image, mask))
    return SegmentationData("synthetic streets", root, LABELS, {"val": tuple(samples)})


def screenshot(page: Path, path: Path, height: int = 3000) -> None:
    """The page as headless chromium shows it, cut into two columns, in few colours to stay small."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("expected chromium on the PATH")
    with tempfile.TemporaryDirectory() as profile:
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ]
        options.append("--disable-background-networking")
        target = [f"--window-size=1200,{2 * height}", f"--screenshot={path}", page.resolve().as_uri()]
        subprocess.run([browser, *options, f"--user-data-dir={profile}", *target], check=True, capture_output=True)
    with Image.open(path) as image:
        columns = Image.new("RGB", (2400, height))
        for index in range(2):
            columns.paste(
                image.convert("RGB").crop((0, index * height, 1200, (index + 1) * height)), (index * 1200, 0)
            )
    small = columns.resize((1300, height * 1300 // 2400), Image.Resampling.LANCZOS)
    small.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Draw, score, report, take the picture."""
    default = Path(__file__).parents[1] / "docs/figures/report.png"
    parser = argparse.ArgumentParser()
    parser.add_argument("path", nargs="?", type=Path, default=default)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder))
        segmenter = Segmenter.from_network(cast(RefineNet, ColorNet()), ModelCard("colours", LABELS), "cpu")
        evaluation = evaluate(segmenter, data, measures=MEASURES)
        page = write_report(
            given.keep or Path(folder) / "report", evaluation, segmenter, data, "Colour classifier"
        )
        given.path.parent.mkdir(parents=True, exist_ok=True)
        screenshot(page, given.path)


if __name__ == "__main__":
    main()
