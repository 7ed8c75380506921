from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from refineseg.data.formats.parsing.shapes import (
    bounds,
    box,
    ellipse,
    polygon,
    region_to_runs,
    runs_to_region,
    turn,
)
from refineseg.errors import InputError
from tests.data.formats.helpers import pixels_inside, rows


def test_a_box_on_pixel_borders_covers_these_pixels() -> None:
    expected = rows("....", ".11.", ".11.", "....")
    np.testing.assert_array_equal(box(1, 1, 3, 3, (4, 4)), expected)
    np.testing.assert_array_equal(polygon([(1, 1), (3, 1), (3, 3), (1, 3)], (4, 4)), expected)


def test_parts_outside_the_picture_are_cut_off() -> None:
    np.testing.assert_array_equal(box(-9, -9, 2, 1, (3, 3)), rows("11.", "...", "..."))
    assert not box(7, 7, 9, 9, (3, 3)).any()


def test_a_box_turned_by_a_quarter_swaps_its_sides() -> None:
    np.testing.assert_array_equal(box(0, 1, 3, 2, (3, 3), degrees=90), rows(".1.", ".1.", ".1."))


def test_turning_is_clockwise_with_y_down() -> None:
    assert turn((2, 1), (1, 1), 90) == pytest.approx((1, 2))


def test_an_ellipse_holds_the_pixels_whose_centre_it_holds() -> None:
    found = ellipse((4, 3), (3.2, 1.7), (6, 8))
    expected = [[((x + 0.5 - 4) / 3.2) ** 2 + ((y + 0.5 - 3) / 1.7) ** 2 < 1 for x in range(8)] for y in range(6)]
    np.testing.assert_array_equal(found, expected)
    turned = ellipse((3, 4), (3.2, 1.7), (8, 6), degrees=90)
    np.testing.assert_array_equal(turned, np.array(expected).T)


@given(
    st.lists(
        st.tuples(st.floats(-2, 10, width=32), st.floats(-2, 8, width=32)).map(
            lambda point: (point[0] + 0.0137, point[1] + 0.0071)  # off the centres, where either answer is right
        ),
        min_size=3,
        max_size=3,
    )
)
def test_a_triangle_is_the_literal_reference(points: list[tuple[float, float]]) -> None:
    difference = polygon(points, (6, 8)) != pixels_inside(points)
    # A centre that lies on an edge to rounding may fall either way.
    edges = list(zip(points, points[1:] + points[:1], strict=True))
    for row, column in np.argwhere(difference):
        assert min(_distance((column + 0.5, row + 0.5), *edge) for edge in edges) < 1e-4


def _distance(point: tuple[float, float], a: tuple[float, float], b: tuple[float, float]) -> float:
    p, start, end = np.array(point), np.array(a), np.array(b)
    length = float(((end - start) ** 2).sum())
    along = 0.0 if length == 0 else float(np.clip(((p - start) * (end - start)).sum() / length, 0, 1))
    return float(np.hypot(*(p - start - along * (end - start))))


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7)))
def test_runs_and_regions_are_inverse(region: np.ndarray) -> None:
    runs = region_to_runs(region)
    shape = (region.shape[0], region.shape[1])
    np.testing.assert_array_equal(runs_to_region(runs, shape, "here"), region)
    transposed = runs_to_region(runs, shape[::-1], "here", order="F")
    np.testing.assert_array_equal(transposed, region.T)


def test_runs_by_hand() -> None:
    region = rows("..1", "11.") > 0
    assert region_to_runs(region) == [2, 3, 1]
    assert region_to_runs(~region) == [0, 2, 3, 1]
    assert bounds(rows("....", "..1.", ".1..") > 0) == (1, 1, 3, 3)


@pytest.mark.parametrize("runs", [[5], [2, 3, 2], [], [7, -1]])
def test_runs_that_do_not_fill_the_region_are_refused(runs: list[int]) -> None:
    with pytest.raises(InputError, match=r"a\.xml: mask 0: expected runs of 6 pixels"):
        runs_to_region(runs, (2, 3), "a.xml: mask 0")


def test_a_polygon_of_many_corners_in_a_large_picture_is_filled_quickly() -> None:
    """The time must not grow with pixels times corners: an outline of 400 corners took 17 seconds."""
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    started = time.perf_counter()
    found = polygon(
        list(zip(2000 + 1900 * np.cos(angles), 1500 + 1400 * np.sin(angles), strict=True)), (3000, 4000)
    )
    assert time.perf_counter() - started < 3
    assert found.mean() == pytest.approx(np.pi * 1900 * 1400 / 12e6, rel=1e-3)


def test_an_outline_through_centres_belongs_to_the_polygon() -> None:
    np.testing.assert_array_equal(polygon([(0, 0), (3, 3), (0, 3)], (3, 3)), rows("1..", "11.", "111"))
    level = [(0.5, 0.5), (2.5, 0.5), (2.5, 2.5), (0.5, 2.5)]
    np.testing.assert_array_equal(polygon(level, (4, 4)), rows("111.", "111.", "111.", "...."))
