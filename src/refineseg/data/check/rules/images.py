"""Rules on single pictures: unreadable, blank, of mixed kinds, far larger than the crop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median

from refineseg.data.check.findings import Finding, file_finding
from refineseg.data.check.measurements.measurement import (
    ImageMeasurement,
    Measurements,
    PairMeasurement,
    with_image,
)
from refineseg.data.pictures.color_spaces import used_bits
from refineseg.system.text import counted

CHANNELS = {
    "1": "black and white",
    "L": "greyscale",
    "LA": "greyscale with transparency",
    "RGB": "colour",
    "RGBA": "colour with transparency",
    "P": "palette",
    "PA": "palette with transparency",
    "CMYK": "CMYK",
    "YCbCr": "colour",
}
LARGER = 8  # picture area over crop area from which there is a note
FAR_LARGER = 32  # and from which it is a warning


def find(measured: Measurements) -> Iterator[Finding]:
    """Findings on pictures."""
    unreadable = [item for item in measured.pairs if item.image_error]
    if unreadable:
        yield from file_finding(
            "unreadable-image",
            "error",
            f"{counted(unreadable, 'picture')} that cannot be read: {unreadable[0].image_error}",
            "copy or export them again; interrupted copies leave truncated files",
            [item.pair.image for item in unreadable],
        )
    readable = with_image(measured.pairs)
    blank = [item.pair.image for item, image in readable if image.blank]
    yield from file_finding(
        "blank-image",
        "warning",
        f"{counted(blank, 'picture')} of a single colour",
        "export them again, or remove them",
        blank,
    )
    yield from _notes(readable)
    yield from _depths(readable)
    yield from _channels(readable)
    yield from _sizes(readable, measured.crop)


def _notes(readable: list[tuple[PairMeasurement, ImageMeasurement]]) -> Iterator[Finding]:
    noted = [(item.pair.image, image.notes) for item, image in readable if image.notes]
    shown = Counter(note for _, notes in noted for note in notes)
    yield from file_finding(
        "partly-read",
        "warning",
        f"{counted(noted, 'picture')} of which reading leaves something out or assumes something: "
        + "; ".join(f"{note} ({counted(times, 'picture')})" for note, times in shown.most_common(3)),
        "save the part that is meant as a picture of its own (PNG or TIFF); none needed if the reading is right",
        [path for path, _ in noted],
    )


def _depths(readable: list[tuple[PairMeasurement, ImageMeasurement]]) -> Iterator[Finding]:
    many = [item.pair.image for item, image in readable if image.mode.startswith(("I", "F"))]
    if many and len(many) < len(readable):
        yield from file_finding(
            "mixed-bit-depths",
            "warning",
            f"{counted(many, 'picture')} of {len(readable):,} with 16 or more bits per channel, the rest 8: "
            "each is scaled to 8 bits by the depth that it uses",
            "convert them to 8 bits with one scaling for the whole set",
            many,
        )
    used = used_bits(max((image.largest for _, image in readable), default=0))
    partly = [item.pair.image for item, image in readable if image.largest] if used < 16 else []
    if partly:
        largest = max(image.largest for _, image in readable)
        yield from file_finding(
            "used-depth",
            "note",
            f"{counted(partly, 'picture')} of 16 bits that use {used} of them (the largest value is {largest:,}), "
            f"as cameras of {used} bits write",
            "none needed: values are scaled by that depth; use one camera, or convert all pictures to one depth",
            partly,
        )


def _channels(readable: list[tuple[PairMeasurement, ImageMeasurement]]) -> Iterator[Finding]:
    kinds = Counter(CHANNELS[image.mode] for _, image in readable if image.mode in CHANNELS)
    if len(kinds) < 2:
        return
    usual = kinds.most_common(1)[0][0]
    odd = [item.pair.image for item, image in readable if CHANNELS.get(image.mode, usual) != usual]
    shown = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    unsafe = any("transparency" in kind or kind == "CMYK" for kind in kinds)
    yield from file_finding(
        "mixed-channels",
        "warning" if unsafe else "note",
        f"pictures have several colour modes: {shown}; all are read as RGB"
        + (", transparent parts as white" if unsafe else ""),
        "correct if later pictures have the same mixture; otherwise convert them all to RGB",
        odd,
    )


def _sizes(readable: list[tuple[PairMeasurement, ImageMeasurement]], crop: tuple[int, int]) -> Iterator[Finding]:
    if not readable:
        return
    area = crop[0] * crop[1]
    ratios = [image.size[0] * image.size[1] / area for _, image in readable]
    typical = median(ratios)
    if typical >= LARGER:
        large = [item.pair.image for (item, _), ratio in zip(readable, ratios, strict=True) if ratio >= LARGER]
        width, height = readable[0][1].size
        yield from file_finding(
            "far-larger-than-crop",
            "warning" if typical >= FAR_LARGER else "note",
            f"pictures are {typical:.0f} times the area of the training crop of {crop[1]}x{crop[0]} (the first is "
            f"{width}x{height}): a crop shows a small part, with little context",
            f"train with a larger --crop, such as {min(height, 2 * crop[0])}x{min(width, 2 * crop[1])}, or on "
            "downscaled pictures and masks",
            large,
        )
