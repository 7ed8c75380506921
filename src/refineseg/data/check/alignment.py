"""Rules on masks that lie beside their picture's edges: moved, or turned over."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import numpy as np

from refineseg.data.check.edges import NEAR, around, peak_of, working_size
from refineseg.data.check.facts import PairFacts, Scan, with_image
from refineseg.data.check.findings import Finding, about, counted
from refineseg.data.check.masks import mask_files

# In units of the surface's own noise. Of 458 sound pairs of CamVid, Clothing Co-Parsing and VOC the five whose
# peak lies elsewhere have at most 0.94 and 1.06 in the first two; about three quarters of the pairs whose mask
# was moved by 12 to 25 pixels exceed both bounds.
CLEAR = 1.3  # peak over its best rival
BETTER = 2.0  # peak over where the mask is
FAR = 4  # offset in working pixels from which a mask counts as moved
STRONG = 0.15  # gradient under the border at the peak, in standard deviations
TURNED = 5.0  # turned over the mask as it is
SET_BETTER = 1.0  # the same for the mean over all pairs, where noise averages out
SET_PAIRS = 8


def find(scan: Scan) -> Iterator[Finding]:
    """Findings on masks that would fit better elsewhere."""
    turned = _turned(scan)
    unrotated = [item for items in turned.values() for item in items if item.image and item.image.orientation > 1]
    if unrotated:
        yield about(
            "exif-unrotated-mask",
            "error",
            f"{counted(unrotated, 'mask')} in place only on the picture as stored: the camera's EXIF "
            f"rotation applies to the "
            "picture, not to the mask",
            "turn these masks as the pictures are shown, or strip the EXIF flag if the mask was drawn unrotated",
            mask_files(unrotated),
        )
    for way, items in turned.items():
        rest = [item for item in items if item not in unrotated]
        if rest:
            yield about(
                "turned-mask",
                "error",
                f"{counted(rest, 'mask')} in place on the picture's edges only when turned over ({way})",
                "turn picture and mask together; was one of them augmented or stored bottom-up?",
                mask_files(rest),
            )
    elsewhere = {item.pair.image for items in turned.values() for item in items}
    moved = [item for item in scan.facts if item.pair.image not in elsewhere and is_moved(item)]
    common = common_offset(scan)
    if common is not None:
        yield Finding(
            "shifted-masks",
            "error",
            f"the masks of the whole set fit their pictures' edges better {_direction(common)}",
            "was one of the two cropped, padded or resized differently? Export both in the same way",
            tuple(str(path) for path in mask_files(moved)[:20]),
            scan.fitted,
        )
    elif moved:
        example = moved[0].fit
        yield about(
            "shifted-mask",
            "warning",
            f"{counted(moved, 'mask')} nearer to the picture's edges elsewhere"
            + (f", the first {_direction(example.offset)}" if example else ""),
            "look at them in the page (--html); a mask of another picture or of another crop does this",
            mask_files(moved),
        )


def is_moved(item: PairFacts) -> bool:
    """Whether a mask's borders clearly belong a few pixels or more from where they are."""
    found = item.fit
    if found is None or item.image is None or found.noise <= 0:
        return False
    scale = working_size(*item.image.size)[0] / item.image.size[0]
    return (
        max(abs(part) for part in found.offset) * scale >= FAR
        and found.peak >= STRONG
        and found.peak - found.rival >= CLEAR * found.noise
        and found.peak - found.here >= BETTER * found.noise
    )


def _turned(scan: Scan) -> dict[str, list[PairFacts]]:
    """Pairs whose mask fits only when turned over, by the way of turning."""
    found: dict[str, list[PairFacts]] = {}
    for item in scan.facts:
        if item.fit is None or item.fit.noise <= 0:
            continue
        scores = dict(item.fit.turns)
        here = scores.pop("as it is")
        way = max(scores, key=lambda name: scores[name])
        gain = scores[way] - max(here, 0.0)
        if gain >= TURNED * item.fit.noise and scores[way] >= 3 * max(here, STRONG):
            found.setdefault(way, []).append(item)
    return found


def common_offset(scan: Scan) -> tuple[int, int] | None:
    """(down, right) in pixels of the typical picture by which all masks together fit better; None if they fit."""
    if scan.surfaces is None or scan.fitted < SET_PAIRS:
        return None
    mean = scan.surfaces / np.float32(scan.fitted)
    offset = peak_of(mean)
    here = float(mean[around((0, 0), NEAR)].max())
    if max(abs(part) for part in offset) <= NEAR or float(mean.max()) - here < SET_BETTER:
        return None
    scales = [working_size(*image.size)[0] / image.size[0] for _, image in with_image(scan.facts)]
    scale = float(median(scales)) if scales else 1.0
    return tuple(int(part) for part in np.rint(np.array(offset) / scale))  # type: ignore[return-value]


def _direction(offset: tuple[int, int]) -> str:
    down, right = offset
    parts = []
    if down:
        parts.append(f"{abs(down)} pixels {'lower' if down > 0 else 'higher'}")
    if right:
        parts.append(f"{abs(right)} pixels to the {'right' if right > 0 else 'left'}")
    return " and ".join(parts) or "nearby"
