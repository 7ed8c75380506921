"""Rules on single masks: unreadable, wrong size, not index masks, antialiased, renumbered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from refineseg.data.check.chance import beyond_chance
from refineseg.data.check.dataset_files import DatasetFiles
from refineseg.data.check.findings import Finding, file_finding
from refineseg.data.check.measurements.measurement import (
    MaskMeasurement,
    Measurements,
    PairMeasurement,
    class_values,
    ignored_values,
    with_mask,
)
from refineseg.labels import LabelMap
from refineseg.raw_values import number_text, raw_number
from refineseg.system.text import counted

SMOOTHED = 0.1  # share of borders with an in-between value; at most 0.006 in CamVid
PHOTO_COLORS = 600  # a mask with more distinct values may be a photograph
PHOTO_FLAT = 0.5  # it is one if its most frequent values cover a smaller share
LOSSY = frozenset({"JPEG", "MPO", "JPEG2000"})


def find(files: DatasetFiles, measured: Measurements) -> Iterator[Finding]:
    """Findings on single masks."""
    pairs = measured.pairs
    unreadable = [item for item in pairs if item.mask_error]
    if unreadable:
        yield from file_finding(
            "unreadable-mask",
            "error",
            f"{counted(unreadable, 'mask')} that cannot be read: {unreadable[0].mask_error}",
            "copy or export them again; interrupted copies leave truncated files",
            mask_files(unreadable),
        )
    yield from _sizes(pairs)
    yield from _formats(files.data.label_map, pairs)
    yield from _smoothed(files.data.label_map, pairs)
    yield from _palettes(pairs)


def mask_files(pairs: list[PairMeasurement]) -> list[Path]:
    """The mask files of some pairs."""
    return [item.pair.mask for item in pairs if item.pair.mask is not None]


def main_cause(mask: MaskMeasurement, label_map: LabelMap) -> str:
    """Kind of finding that makes the values of a mask meaningless; "" if there is none.

    A mask with only known values is never taken for a photograph or an antialiased mask.
    """
    unknown = not (class_values(label_map).keys() | ignored_values(label_map)).issuperset(mask.values.tolist())
    colorful = mask.distinct > PHOTO_COLORS and mask.counts.sum() < PHOTO_FLAT * mask.pixels
    noisy = mask.distinct > 200 and mask.counts[:32].sum() < PHOTO_FLAT * mask.pixels and not mask.rgb
    if unknown and (colorful or noisy):
        return "photograph-as-mask"
    if mask.format in LOSSY:
        return "jpeg-mask"
    if mask.rgb and not label_map.rgb:
        return "rgb-mask"
    if label_map.rgb and not mask.rgb:
        return "index-mask"
    if unknown and mask.smoothed_share > SMOOTHED:
        return "antialiased-mask"
    return ""


def valid_masks(
    pairs: Iterable[PairMeasurement], label_map: LabelMap
) -> list[tuple[PairMeasurement, MaskMeasurement]]:
    """Pairs whose mask has values with a meaning."""
    return [(item, mask) for item, mask in with_mask(pairs) if not main_cause(mask, label_map)]


def _formats(label_map: LabelMap, pairs: tuple[PairMeasurement, ...]) -> Iterator[Finding]:
    groups: dict[str, list[PairMeasurement]] = {}
    for item, mask in with_mask(pairs):
        groups.setdefault(main_cause(mask, label_map), []).append(item)
    said = {
        "photograph-as-mask": (
            "that look like photographs",
            "are the folders of pictures and masks swapped? See 'images' and 'masks' in labels.yaml",
        ),
        "jpeg-mask": (
            "in JPEG files, whose compression changes values near borders",
            "export them as PNG from the annotation tool (saving the JPEG as PNG does not restore the values); "
            "for two classes write 'threshold: 128' in labels.yaml",
        ),
        "rgb-mask": (
            _rgb_message(label_map, groups.get("rgb-mask", [])),
            "give the colours in labels.yaml as 'raw: [[R, G, B]]' per class, or export index masks",
        ),
        "index-mask": (
            "with numbers, while the label map has colours",
            "give numbers as 'raw' in the label map, or export the masks in colour",
        ),
        "antialiased-mask": (
            "that were smoothed or lossily compressed: borders contain values in between, which are other "
            "classes' numbers or unknown",
            "export them without antialiasing, and resize masks by nearest neighbour only",
        ),
    }
    for kind, (what, fix) in said.items():
        found = groups.get(kind, [])
        yield from file_finding(kind, "error", f"{counted(found, 'mask')} {what}", fix, mask_files(found))


def _smoothed(label_map: LabelMap, pairs: tuple[PairMeasurement, ...]) -> Iterator[Finding]:
    """Masks that look antialiased although all values are known; one-pixel outlines look the same."""
    valid = valid_masks(pairs, label_map)
    found = [item for item, mask in valid if mask.smoothed_share > SMOOTHED]
    yield from file_finding(
        "antialiased-mask",
        "warning" if beyond_chance(found, len(valid)) else "note",
        f"{counted(found, 'mask')} of {len(valid):,} whose borders contain values in between, "
        "which are other classes' numbers: a sign of smoothing, or of one-pixel outlines",
        "if they were resized, export them again; resize masks by nearest neighbour only",
        mask_files(found),
    )


def _rgb_message(label_map: LabelMap, found: list[PairMeasurement]) -> str:
    masks = [mask for _, mask in with_mask(found)]
    if masks and all(mask.grey for mask in masks):
        return "in grey saved as RGB: the label map expects one channel of numbers"
    colors = {int(value) for mask in masks for value in mask.values[:64]}
    ours = {raw_number(item.color) for item in label_map.classes}
    known = f", {len(colors & ours)} of them in the label map" if colors & ours else ""
    shown = ", ".join(number_text(c, rgb=True) for c in sorted(colors)[:4])
    return f"in RGB ({counted(colors, 'colour')} such as {shown}{known}), while the label map has numbers"


def _sizes(pairs: tuple[PairMeasurement, ...]) -> Iterator[Finding]:
    wrong: dict[str, list[PairMeasurement]] = {}
    sizes: dict[str, str] = {}
    for item, mask in with_mask(pairs):
        if item.image is None or item.image.size == mask.size:
            continue
        kind = "size-mismatch"
        if item.image.size == mask.size[::-1]:
            kind = "exif-unrotated-mask" if item.image.orientation > 4 else "transposed-mask"
        wrong.setdefault(kind, []).append(item)
        (width, height), (mask_width, mask_height) = item.image.size, mask.size
        sizes.setdefault(kind, f"{width}x{height}, mask {mask_width}x{mask_height}")
    said = {
        "exif-unrotated-mask": (
            "that match the picture only as stored: the camera's EXIF rotation applies to the picture, not "
            "to the mask",
            "rotate these masks like the displayed pictures, or remove the EXIF flag if they were drawn unrotated",
        ),
        "transposed-mask": (
            "with width and height swapped",
            "transpose them when exporting: arrays are rows by columns, that is height by width",
        ),
        "size-mismatch": (
            "whose size differs from the picture's",
            "export them again at the picture's size; resize masks by nearest neighbour only",
        ),
    }
    for kind, (what, fix) in said.items():
        found = wrong.get(kind, [])
        message = f"{counted(found, 'mask')} {what} (the first: picture {sizes.get(kind)})"
        yield from file_finding(kind, "error", message, fix, mask_files(found))


def _palettes(pairs: tuple[PairMeasurement, ...]) -> Iterator[Finding]:
    """Palette masks whose indices have other colours than in most masks: an image editor renumbered them."""
    colors: dict[int, dict[tuple[int, ...], list[PairMeasurement]]] = {}
    for item, mask in with_mask(pairs):
        if mask.palette is None:
            continue
        for value, color in zip(mask.values.tolist(), mask.palette.tolist(), strict=True):
            colors.setdefault(value, {}).setdefault(tuple(color), []).append(item)
    usual = {value: max(by_color, key=lambda c: len(by_color[c])) for value, by_color in colors.items()}
    owners = {color: value for value, color in usual.items()}
    odd: dict[Path, PairMeasurement] = {}
    for value, by_color in colors.items():
        for color, items in by_color.items():
            # Only if the colour belongs to another index elsewhere: other tints are harmless.
            if color != usual[value] and color in owners:
                odd |= {item.pair.image: item for item in items}
    yield from file_finding(
        "palettes-differ",
        "warning",
        f"{counted(odd, 'palette mask')} whose colours have other numbers than in the rest: an image "
        "editor may have renumbered them, and only the numbers count",
        "compare the numbers; export these masks again from the annotation tool",
        mask_files(list(odd.values())),
    )
