"""Motion is found, scores follow it, noise is averaged away, and a cut begins anew."""

from __future__ import annotations

import numpy as np
import pytest

from refineseg.errors import InputError
from refineseg.inference.tiles.blending import Map, Strip
from refineseg.inference.tiles.receptive_field import probe_picture
from refineseg.inference.video.smoothing import Smoother, box_mean, cells_of, label_changes, motion, moved

SCENE = probe_picture(320, 480)


def strip(scores: Map) -> Strip:
    return Strip(0, 4 * scores.shape[2], (scores,), (0,), (scores.shape[2],))


def test_small_parts_by_hand() -> None:
    assert cells_of(np.full((5, 9, 3), 100, np.uint8)).shape == (2, 3)
    assert np.allclose(cells_of(np.full((5, 9, 3), 100, np.uint8)), 100)
    plane = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    flow = np.zeros((2, 3, 4), np.float32)
    flow[1] = 0.5
    assert np.allclose(moved(plane, flow)[0, 0], [0.5, 1.5, 2.5, 3.0])
    flow[:] = [[[1.0]], [[-1.0]]]
    assert np.allclose(moved(plane, flow)[0], [[4, 4, 5, 6], [8, 8, 9, 10], [8, 8, 9, 10]])
    assert np.allclose(box_mean(np.eye(3, dtype=np.float32), 1)[1, 1], 3 / 9)
    assert label_changes(np.zeros((2, 2), np.uint8), np.eye(2, dtype=np.uint8)) == 0.5


@pytest.mark.parametrize("shift", [(0, 0), (4, -8), (-12, 20), (2, 6), (0, 40)])
def test_motion_of_a_moved_picture(shift: tuple[int, int]) -> None:
    down, right = shift
    before = SCENE[64:256, 64:384]
    now = SCENE[64 + down : 256 + down, 64 + right : 384 + right]  # now[y, x] was at before[y + down, x + right]
    flow = motion(cells_of(before), cells_of(now))
    inner = flow[:, 14:-14, 14:-14] * 4
    off = np.abs(inner - np.array(shift)[:, None, None]).max(0)  # a cell is 4 pixels
    assert np.median(off) <= 2.5
    assert (off <= 4).mean() > 0.65
    if shift == (0, 0):
        assert not flow.any()


def test_noise_is_averaged_and_truth_follows_the_motion() -> None:
    rng = np.random.default_rng(1)
    truth = (cells_of(SCENE) > 128).astype(np.float32)
    smoother = Smoother(0.8)
    wrong_raw, wrong_smooth = [], []
    for step in range(12):
        place = (slice(4 * step, 4 * step + 192), slice(8 * step, 8 * step + 320))
        cells = truth[place[0].start // 4 : place[0].stop // 4, place[1].start // 4 : place[1].stop // 4]
        noise = rng.normal(0, 0.8, (1, 2, *cells.shape))
        scores = (np.stack([1 - cells, cells])[None] + noise).astype(np.float32)
        smooth = smoother(strip(scores), SCENE[place]).maps[0]
        if step >= 6:
            wrong_raw.append((scores[0].argmax(0) != cells).mean())
            wrong_smooth.append((smooth[0].argmax(0) != cells).mean())
    assert np.mean(wrong_raw) > 0.15
    assert np.mean(wrong_smooth) < 0.35 * np.mean(wrong_raw)


def test_a_cut_forgets_the_past() -> None:
    rng = np.random.default_rng(2)
    smoother = Smoother(0.9)
    old, new = (rng.normal(0, 1, (1, 2, 40, 60)).astype(np.float32) for _ in range(2))
    smoother(strip(old), SCENE[:160, :240])
    after = smoother(strip(new), np.ascontiguousarray(255 - SCENE[160:, 240:])).maps[0]
    assert np.abs(after - new).mean() < 0.25 * np.abs(old - new).mean()
    still = Smoother(0.9)
    still(strip(old), SCENE[:160, :240])
    same = still(strip(new), SCENE[:160, :240]).maps[0]
    np.testing.assert_allclose(same, 0.9 * old + 0.1 * new, atol=1e-5)  # nothing moved: the plain average


def test_other_scales_and_sizes() -> None:
    smoother = Smoother(0.5)
    maps = tuple(np.full((1, 2, h, w), 1.0, np.float32) for h, w in ((40, 60), (30, 45), (80, 120)))
    given = Strip(0, 160, maps, (0, 0, 0), (40, 30, 80))
    smoother(given, SCENE[:160, :240])
    after = smoother(given, SCENE[4:164, 4:244])
    assert all(np.allclose(x, 1) and x.shape == y.shape for x, y in zip(after.maps, maps, strict=True))
    other = strip(np.ones((1, 2, 10, 10), np.float32))
    assert smoother(other, SCENE[:40, :40]) == other or np.array_equal(other.maps[0], np.ones((1, 2, 10, 10)))
    for strength in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="smoothing of 0 up to below 1"):
            Smoother(strength)
