"""Rules on masks that do not match their picture's edges: shifted, flipped or rotated."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import numpy as np

from refineseg.data.check.chance import beyond_chance
from refineseg.data.check.findings import Finding, Severity, file_finding
from refineseg.data.check.measurements.edges import NEAR, around, peak_of, working_size
from refineseg.data.check.measurements.measurement import Measurements, PairMeasurement, with_image
from refineseg.data.check.rules.masks import mask_files
from refineseg.system.text import counted

# In units of the surface's noise. Of 458 correct pairs of CamVid, Clothing Co-Parsing and VOC, five have their
# peak elsewhere, with at most 0.94 and 1.06 in the first two; of pairs whose mask was shifted by 12 to 25 pixels
# about three quarters exceed both bounds.
CLEAR = 1.3  # peak over its best rival
BETTER = 2.0  # peak over the score at offset 0
FAR = 4  # smallest offset, in working pixels, of a shifted mask
STRONG = 0.15  # gradient under the border at the peak, in standard deviations
TURNED = 5.0  # flipped or rotated mask over the mask as it is
SET_BETTER = 1.0  # as BETTER, for the mean over all pairs, where noise averages out
# Standard deviations of that mean that chance exceeds at one of the 57x57 offsets in one of 10,000 data sets
# (normal distribution, 3,249 tests).
SET_DEVIATIONS = 5.4
SET_PAIRS = 8


def find(measured: Measurements) -> Iterator[Finding]:
    """Findings on masks that fit better elsewhere: notes, unless there are more than expected by chance."""
    turned = _turned(measured)
    flagged = [item for item in measured.pairs if item.fit and item.image and item.image.orientation > 1]
    unrotated = [item for items in turned.values() for item in items if item in flagged]
    if unrotated:
        yield from _guess(
            "exif-unrotated-mask",
            "error",
            unrotated,
            len(flagged),
            "fits only the picture as stored: the EXIF rotation applies to the picture and not to the mask",
            "rotate these masks like the displayed pictures, or remove the EXIF flag",
        )
    for way, items in turned.items():
        rest = [item for item in items if item not in unrotated]
        if rest:
            yield from _guess(
                "turned-mask",
                "error",
                rest,
                measured.fitted,
                f"fits the picture's edges better after a flip or rotation ({way})",
                "transform picture and mask together; was one of them augmented, or stored from bottom to top?",
            )
    elsewhere = {item.pair.image for items in turned.values() for item in items}
    moved = [item for item in measured.pairs if item.pair.image not in elsewhere and is_moved(item)]
    common = common_offset(measured)
    if common is not None:
        yield Finding(
            "shifted-masks",
            "error",
            f"the masks of the whole set fit their pictures' edges better {_direction(common)}",
            "was one of the two cropped, padded or resized differently? Export both in the same way",
            tuple(str(path) for path in mask_files(moved)[:20]),
            measured.fitted,
        )
    elif moved:
        example = moved[0].fit
        yield from _guess(
            "shifted-mask",
            "warning",
            moved,
            measured.fitted,
            "fits the picture's edges better elsewhere"
            + (f" (the first: {_direction(example.offset)})" if example else ""),
            "the mask may belong to another picture or another crop",
        )


def _guess(
    kind: str, severity: Severity, suspects: list[PairMeasurement], tested: int, what: str, fix: str
) -> Iterator[Finding]:
    """A finding about single masks: a note to look at them, and of ``severity`` only beyond chance."""
    sure = beyond_chance(suspects, tested)
    verb = what if len(suspects) == 1 else what.replace("fits", "fit", 1)
    counts = f"{counted(suspects, 'mask')} of {tested:,} {verb}"
    extent = "; too many for chance" if sure else "; this also happens to correct masks by chance"
    advice = (
        fix if sure else f"look at {'it' if len(suspects) == 1 else 'them'} in the page that --html writes; {fix}"
    )
    yield from file_finding(kind, severity if sure else "note", counts + extent, advice, mask_files(suspects))


def is_moved(item: PairMeasurement) -> bool:
    """Whether a mask clearly fits better a few pixels or more away."""
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


def _turned(measured: Measurements) -> dict[str, list[PairMeasurement]]:
    """Pairs whose mask fits only flipped or rotated, by the way of turning."""
    found: dict[str, list[PairMeasurement]] = {}
    for item in measured.pairs:
        if item.fit is None or item.fit.noise <= 0:
            continue
        scores = dict(item.fit.turns)
        here = scores.pop("as it is")
        way = max(scores, key=lambda name: scores[name])
        gain = scores[way] - max(here, 0.0)
        if gain >= TURNED * item.fit.noise and scores[way] >= 3 * max(here, STRONG):
            found.setdefault(way, []).append(item)
    return found


def common_offset(measured: Measurements) -> tuple[int, int] | None:
    """Shift (down, right), in pixels of the typical picture, by which the masks fit better on average, or None."""
    if measured.surfaces is None or measured.fitted < SET_PAIRS:
        return None
    mean = measured.surfaces / np.float32(measured.fitted)
    offset = peak_of(mean)
    here = float(mean[around((0, 0), NEAR)].max())
    # The mean of N surfaces has 1/sqrt(N) of the noise of one, and a difference of two values sqrt(2) times that.
    needed = max(SET_BETTER, SET_DEVIATIONS * float(np.sqrt(2 / measured.fitted)))
    if max(abs(part) for part in offset) <= NEAR or float(mean.max()) - here < needed:
        return None
    scales = [working_size(*image.size)[0] / image.size[0] for _, image in with_image(measured.pairs)]
    scale = float(median(scales)) if scales else 1.0
    return tuple(int(part) for part in np.rint(np.array(offset) / scale))  # type: ignore[return-value]


def _direction(offset: tuple[int, int]) -> str:
    down, right = offset
    parts = []
    if down:
        parts.append(f"{counted(abs(down), 'pixel')} {'lower' if down > 0 else 'higher'}")
    if right:
        parts.append(f"{counted(abs(right), 'pixel')} to the {'right' if right > 0 else 'left'}")
    return " and ".join(parts) or "nearby"
