"""Windows cover, weights sum to one, and the tiled result is that of the whole picture."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refineseg.errors import InputError
from refineseg.inference.array_ops import ArrayOps
from refineseg.inference.options import PredictOptions
from refineseg.inference.predictor import Segmenter
from refineseg.inference.tiles.blending import Map, blend_weights, blended_strips, view_of
from refineseg.inference.tiles.receptive_field import cut_error, effective_radius, probe_picture
from refineseg.inference.tiles.tiling import BUDGET, POOLED_OVERLAP, grid_step, largest_tile, make_tiling, spans
from refineseg.labels import LabelMap, UInt8
from refineseg.model import MultiResolutionFusion, create_model
from refineseg.model.folders.card import ModelCard
from refineseg.model.memory import bytes_per_pixel
from tests.inference.lively import lively


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return lively()


def test_spans_by_hand() -> None:
    assert spans(100, 64, 32) == ((0, 64), (32, 100))
    assert spans(95, 64, 32) == ((0, 95),)
    assert spans(96, 64, 32) == ((0, 64), (32, 96))
    assert spans(1000, 512, 128) == ((0, 512), (384, 896), (480, 1000))
    assert spans(1, 64, 32) == ((0, 1),)
    assert spans(1000, 500, 0) == ((0, 512), (480, 1000))  # rounded up to 32


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 900), st.integers(0, 400), st.sampled_from([32, 96, 160]))
def test_spans_cover_with_overlap(length: int, tile: int, overlap: int, step: int) -> None:
    try:
        windows = spans(length, tile, overlap, step)
    except InputError:
        assert -(-tile // step) * step - overlap < step
        return
    assert windows[0][0] == 0
    assert windows[-1][1] == length
    assert all(start % step == 0 for start, _ in windows)
    sizes = [stop - start for start, stop in windows]
    assert all(size == -(-tile // step) * step for size in sizes[:-1])
    for before, after in pairwise(windows):
        assert before[0] < after[0]
        assert before[1] - after[0] >= overlap


@settings(max_examples=50, deadline=None)
@given(st.integers(40, 2000), st.sampled_from([96, 128, 256]), st.sampled_from([0, 32, 64]))
def test_weights_sum_to_one_and_spare_the_edges(length: int, tile: int, overlap: int) -> None:
    windows = spans(length, tile, overlap)
    cells = -(-length // 4)
    weights = blend_weights(windows, length, overlap, cells)
    assert np.allclose(np.sum(weights, axis=0), 1, atol=1e-6)
    for (start, stop), weight in zip(windows, weights, strict=True):
        centres = (np.arange(cells) + 0.5) * length / cells
        assert (weight[(centres < start) | (centres >= stop)] == 0).all()
        near = (centres > start) & (centres < start + overlap / 4)
        others = np.zeros(cells, np.bool_)  # cells deep inside another window
        for a, b in windows:
            after = (centres - a > overlap / 2) | (a == 0)
            before = (b - centres > overlap / 2) | (b == length)
            others |= (centres >= a) & (centres < b) & after & before
        if start > 0:
            assert (weight[near & others] < 1e-4).all()


def test_steps_of_scales() -> None:
    assert grid_step([1.0]) == 32
    assert grid_step([0.75, 1.0, 1.25]) == 128
    assert grid_step([0.6, 0.8, 1.2]) == 160
    with pytest.raises(InputError, match="rounder scales"):
        make_tiling((3000, 3000), 1024, 128, [0.77])


@pytest.mark.parametrize("size", [(200, 333), (321, 96), (64, 64)])
@pytest.mark.parametrize("start_row", [0, 70, 190])
def test_strips_are_rows_of_the_whole(size: tuple[int, int], start_row: int) -> None:
    """With scores that depend on their own cell only, tiles give exactly what the whole gives."""
    upsampled = ArrayOps().upsampled
    whole_map = torch.randn(1, 3, -(-size[0] // 4), -(-size[1] // 4)).numpy()
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(size[0])[:, None] // 4, np.arange(size[1]) // 4

    def score(window: UInt8) -> list[Map]:
        y, x = window[::4, 0, 0].astype(int), window[0, ::4, 1].astype(int)
        return [whole_map[:, :, y][..., x]]

    tiling = make_tiling(size, 96, 48)
    expected = upsampled(whole_map, 0, size[0], size)
    row = start_row
    views = [view_of(size, 1.0)]
    for strip in blended_strips(tiling, views, lambda t, b, x, r: pixels[t:b, x:r], score, start_row):
        assert strip.top == row
        got = upsampled(strip.maps[0], strip.top, strip.bottom, size, strip.firsts[0], strip.sources[0])
        np.testing.assert_allclose(got, expected[:, :, strip.top : strip.bottom], atol=1e-5, rtol=1e-5)
        assert strip.maps[0].shape[2] <= (96 + 32 + 96) // 4  # a row of windows and what is left of the one before
        row = strip.bottom
    assert row == max(size[0], start_row)
    assert make_tiling((50, 90), 96, 48).windows == 1


def test_views_of_scales() -> None:
    view = view_of((100, 200), 0.75)
    assert (view.sizes, view.ratio, view.cells(128)) == ((19, 38), Fraction(3, 4), 24)


def test_tiles_equal_the_whole(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = probe_picture(128, 1152)
    whole = segmenter.predict(picture).labels
    monkeypatch.setitem(segmenter.runner.__dict__, "overlap", 384)
    tiled = segmenter.predict(picture, tile=640).labels
    assert (whole == tiled).mean() >= 0.999
    upright = np.ascontiguousarray(picture.swapaxes(0, 1))
    assert (segmenter.predict(upright).labels == segmenter.predict(upright, tile=640).labels).mean() >= 0.999
    monkeypatch.setitem(segmenter.runner.__dict__, "overlap", 0)
    seams = whole != segmenter.predict(picture, tile=640).labels
    assert seams.mean() > 0.001  # without overlap it shows: the test can fail
    assert seams[:, 576:704].mean() > 10 * seams[:, 64:320].mean()


def test_sizes_that_32_does_not_divide(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last coarse cell reaches beyond the picture; with exact strides no window is stretched for it."""
    monkeypatch.setitem(segmenter.runner.__dict__, "overlap", 384)
    pictures = [np.ascontiguousarray(probe_picture(144, 1184)[:133, :1157])]
    pictures.append(np.ascontiguousarray(pictures[0].swapaxes(0, 1)))
    for picture in pictures:
        whole, tiled = segmenter.predict(picture).labels, segmenter.predict(picture, tile=640).labels
        assert (whole == tiled).mean() >= 0.999


@torch.inference_mode()
def test_places_do_not_depend_on_the_size(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns far from the edge are the same in a picture that is longer, which stretched maps are not."""
    x = torch.from_numpy(probe_picture(64, 1184)).permute(2, 0, 1)[None] / 255

    def difference() -> float:
        short, long = (segmenter.model(part, upsample=False)[..., :100] for part in (x[..., :1157], x))
        return float((short - long).abs().mean() / long.std())

    exact = difference()
    for part in segmenter.model.modules():
        if isinstance(part, MultiResolutionFusion):
            monkeypatch.setattr(part, "factors", None)  # resized to the finer map's size, as published
    assert exact < 1e-3
    assert difference() > 20 * exact


def test_errors_do_not_gather_at_borders(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = probe_picture(64, 1664)
    monkeypatch.setitem(segmenter.runner.__dict__, "overlap", 256)
    tiling = segmenter.tiling((64, 1664), PredictOptions(), 512)
    wrong = segmenter.predict(picture).labels != segmenter.predict(picture, tile=512).labels
    near = np.zeros(1664, np.bool_)
    for start, stop in tiling.columns:
        for x in (start, stop):
            near[max(0, x - 16) : x + 16] |= 0 < x < 1664
    assert tiling.windows > 4
    assert wrong[:, near].mean() <= 1.05 * wrong[:, ~near].mean() + 1e-3


def test_probabilities_scales_and_flips_in_tiles(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(segmenter.runner.__dict__, "overlap", 256)
    picture = probe_picture(64, 896)
    for scales, flip in (((0.75, 1.0), False), ((1.0,), True)):
        whole = segmenter.predict(picture, scales=scales, flip=flip, probabilities=True)
        tiled = segmenter.predict(picture, scales=scales, flip=flip, probabilities=True, tile=512)
        assert whole.probabilities is not None
        assert tiled.probabilities is not None
        assert (whole.labels == tiled.labels).mean() > 0.995
        assert np.abs(whole.probabilities.astype(float) - tiled.probabilities).mean() < 1e-3
        labels = segmenter.predict(picture, scales=scales, flip=flip, tile=512).labels
        assert (labels == tiled.labels).mean() > 0.999


def test_field_is_measured(segmenter: Segmenter) -> None:
    device = torch.device("cpu")
    error = cut_error(segmenter.model, probe_picture(64, 512), device)
    assert error.shape == (64,)
    assert error[0] > 0.1
    assert error[-8:].max() < 0.005
    assert 8 <= effective_radius(segmenter.model, device) <= 256


def test_memory_sets_the_tile(segmenter: Segmenter) -> None:
    per_pixel = bytes_per_pixel(segmenter.model, 3, torch.device("cpu"))
    assert 256 * 4 / 16 < per_pixel < 10_000  # at least one 256-wide map at stride 4
    assert largest_tile(1000.0, 128, 1e9) == 992
    assert largest_tile(1e9, 128, 1e9) == 160
    assert segmenter.tiling((300, 300), PredictOptions(), "auto").windows == 1
    tiling = segmenter.tiling((20_000, 20_000), PredictOptions(), "auto")
    assert (tiling.rows[0][1]) ** 2 * per_pixel <= BUDGET
    with pytest.raises(InputError, match="--tile"):
        segmenter.predict(probe_picture(32, 32), tile=0)


def test_a_network_that_pools_the_picture_has_a_fixed_overlap() -> None:
    """No radius is enough: the mean over the window is part of every score."""
    model = create_model("refinenet-lw-mbv2", 3, width=16, coarse_width=16, image_pooling=True).eval()
    segmenter = Segmenter.from_network(model, ModelCard("pooled", LabelMap.from_names(list("abc"))), device="cpu")
    assert segmenter.runner.overlap == POOLED_OVERLAP
    picture = np.zeros((64, 1200, 3), np.uint8)
    assert segmenter.predict(picture, tile=512).labels.shape == (64, 1200)
