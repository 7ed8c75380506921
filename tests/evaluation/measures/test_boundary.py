"""Outline measures against a brute-force reference, by hand, and their behaviour at void."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refineseg.errors import InputError
from refineseg.evaluation.measures.boundary import BoundaryCounts, ContourPoints, OutlineDistances, near_outline
from refineseg.labels import IGNORE, UInt8
from tests.evaluation import references


def blobs(seed: int, void: bool) -> tuple[UInt8, UInt8, int]:
    """Truth and prediction of rectangles, the prediction moved and speckled."""
    draw = np.random.default_rng(seed)
    num_classes = int(draw.integers(2, 5))
    height, width = (int(side) for side in draw.integers(4, 15, 2))
    truth = np.zeros((height, width), np.uint8)
    for _ in range(4):
        top, left = draw.integers(0, height), draw.integers(0, width)
        truth[top : top + draw.integers(1, 8), left : left + draw.integers(1, 8)] = draw.integers(num_classes)
    prediction = np.roll(truth, tuple(draw.integers(-2, 3, 2)), (0, 1))
    speckled = draw.random(truth.shape) < 0.05
    prediction = np.where(speckled, draw.integers(0, num_classes, truth.shape), prediction).astype(np.uint8)
    if void:
        truth[draw.random(truth.shape) < 0.1] = IGNORE
        truth[: draw.integers(0, 4), : draw.integers(0, 6)] = IGNORE
    return truth, prediction, num_classes


def test_equal_to_brute_force_on_a_hundred_masks() -> None:
    for seed in range(100):
        truth, prediction, num_classes = blobs(seed, void=seed % 2 == 1)
        distances = OutlineDistances(1 + seed % 3, seed % 5, 1 + seed % 2)
        counts = BoundaryCounts.zeros(num_classes, distances)
        counts.add(truth, prediction)
        ours = np.stack([counts.boundary_iou, counts.f_score, counts.trimap_iou], 1)
        theirs = [
            references.boundary(
                truth, prediction, item, distances.region, distances.contour, distances.trimap, num_classes
            )
            for item in range(num_classes)
        ]
        np.testing.assert_allclose(ours, theirs, atol=1e-9, err_msg=f"seed {seed}")


def test_far_cells_and_large_distances_agree_with_brute_force() -> None:
    draw = np.random.default_rng(0)
    for distance in (0, 3, 15, 16, 17, 40):
        truth = np.zeros((70, 90), np.uint8)
        truth[draw.integers(0, 70, 12), draw.integers(0, 90, 12)] = 1
        prediction = np.zeros_like(truth)
        prediction[draw.integers(0, 70, 12), draw.integers(0, 90, 12)] = 1
        mine, theirs = ContourPoints.of(prediction), ContourPoints.of(truth)
        found = mine.matched(theirs, distance)
        for item, row, column, hit in zip(mine.labels, mine.rows, mine.columns, found, strict=True):
            same = theirs.labels == item
            gaps = np.hypot(theirs.rows[same] - row, theirs.columns[same] - column)
            assert hit == bool(same.any() and gaps.min() <= distance)


def test_region_of_a_square_by_hand() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[2:7, 2:7] = 1  # 5x5: within 1 pixel of its outline are 25 - 9, within 2 are 25 - 1
    assert (near_outline(labels, 1) & (labels == 1)).sum() == 16
    assert (near_outline(labels, 2) & (labels == 1)).sum() == 24
    # The frame is an outline of the outer class, as in Cheng et al.; not where it is left out.
    assert near_outline(labels, 1)[0].all()
    assert not near_outline(labels, 1, frame=False)[0].any()


def test_figures_by_hand() -> None:
    # A 1-pixel shift of a vertical edge in a 10x20 picture.
    truth = np.zeros((10, 20), np.uint8)
    truth[:, 10:] = 1
    prediction = np.zeros_like(truth)
    prediction[:, 11:] = 1
    exact = BoundaryCounts.zeros(2, OutlineDistances(1, 0, 1))
    exact.add(truth, prediction)
    assert exact.f_score.tolist() == [0.0, 0.0]  # outlines at columns 9|10 and 10|11: none coincides
    near = BoundaryCounts.zeros(2, OutlineDistances(1, 1, 1))
    near.add(truth, prediction)
    assert near.f_score.tolist() == [1.0, 1.0]
    # Trimap: columns 9 and 10 are the band, all predicted 0.
    assert near.trimap_iou.tolist() == [0.5, 0.0]
    # Frame and edge, class 0: truth 10+10+8+8 = frame of 10x10 (36), prediction frame of 10x11 (38);
    # in both: the frame of the truth without its right inner column (28), as 8 of its pixels are inner now.
    assert near.boundary_iou[0] == pytest.approx(28 / (36 + 38 - 28))


def test_sums_over_pictures_then_divided_once() -> None:
    both = BoundaryCounts.zeros(3, OutlineDistances(2, 1, 1))
    parts = []
    for seed in (4, 9):
        truth, prediction, _ = blobs(seed, void=True)
        truth[truth < 255] %= 3
        prediction %= 3
        both.add(truth, prediction)
        one = BoundaryCounts.zeros(3, OutlineDistances(2, 1, 1))
        one.add(truth, prediction)
        parts.append(one)
    assert (both.region == parts[0].region + parts[1].region).all()
    assert (both.contour == parts[0].contour + parts[1].contour).all()
    assert (both.band == parts[0].band + parts[1].band).all()


def test_void_counts_nowhere_and_makes_no_outline() -> None:
    truth = np.ones((20, 20), np.uint8)
    truth[5:15, 5:15] = IGNORE
    for inside in (0, 1, 2):  # whatever is predicted in the void
        prediction = np.ones_like(truth)
        prediction[5:15, 5:15] = inside
        counts = BoundaryCounts.zeros(3, OutlineDistances(2, 2, 2))
        counts.add(truth, prediction)
        assert counts.boundary_iou[1] == 1  # the frame
        assert math.isnan(counts.boundary_iou[0])
        assert np.isnan(counts.f_score).all()
        assert not counts.band.any()


def test_perfect_and_empty() -> None:
    truth, _, num_classes = blobs(7, void=True)
    counts = BoundaryCounts.zeros(num_classes)
    counts.add(truth, np.where(truth == IGNORE, 0, truth).astype(np.uint8))
    figures = counts.to_dict([f"c{index}" for index in range(num_classes)])
    assert figures["mean_boundary_iou"] == figures["mean_f_score"] == figures["mean_trimap_iou"] == 1
    nothing = BoundaryCounts.zeros(2).to_dict(["a", "b"])
    assert nothing["mean_boundary_iou"] is None
    assert nothing["f_score"] == {"a": None, "b": None}
    with pytest.raises(InputError, match="one size"):
        counts.add(truth, truth[:-1])


def test_published_distances() -> None:
    distances = OutlineDistances.for_size(1024, 2048)  # diagonal 2289.7
    assert (distances.region, distances.contour) == (46, 18)
    assert OutlineDistances.for_size(3, 4).region == 1


def test_where_void_hides_the_outlines_only_boundary_iou_is_given() -> None:
    """PASCAL VOC's masks: a ring of void, five pixels wide, around every object."""
    truth = np.zeros((40, 40), np.uint8)
    truth[8:32, 8:32] = IGNORE
    truth[13:27, 13:27] = 1
    counts = BoundaryCounts.zeros(2, OutlineDistances(region=7, contour=2, trimap=5))
    counts.add(truth, np.where(truth == 1, truth, 0).astype(np.uint8))
    figures = counts.to_dict(["other", "thing"])
    assert counts.hidden == 4 * 24 + 4 * 13  # outside and inside of the ring
    assert figures["mean_boundary_iou"] == 1
    assert figures["mean_f_score"] is None
    assert figures["mean_trimap_iou"] is None
    assert set(figures["f_score"].values()) == {None}


def test_a_corner_of_void_hides_nothing() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 20:] = 1
    truth[:5, :5] = IGNORE
    counts = BoundaryCounts.zeros(2)
    counts.add(truth, truth)
    assert counts.hidden == 10
    assert counts.to_dict(["left", "right"])["mean_f_score"] == 1
