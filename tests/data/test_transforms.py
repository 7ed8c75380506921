"""One draw moves image and mask: proven on pictures whose pixels say where they came from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from refineseg.channels import Channels
from refineseg.config import AugmentConfig
from refineseg.data.batches.class_sampling import class_balanced_weights
from refineseg.data.batches.loader import Batches, SampleKey
from refineseg.data.batches.transforms import (
    Geometry,
    apply_geometry,
    augment,
    draw_geometry,
    generator,
    jitter_channels,
    paste_classes,
    photometric,
)
from refineseg.labels import IGNORE, LabelClass, LabelMap

LABELS = LabelMap.from_names([f"cell {index}" for index in range(64)])
PLAIN = AugmentConfig(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, blur=0.0)


def position_coded(height: int, width: int, cell: int = 16) -> tuple[Tensor, Tensor]:
    """A picture of cells, and the mask with each cell's number; the cell's colour says the same number."""
    rows, columns = torch.arange(height) // cell, torch.arange(width) // cell
    number = (rows[:, None] * 8 + columns[None] % 8) % 64
    return torch.stack([number * 4, number * 4, 255 - number * 4]).to(torch.uint8), number.to(torch.uint8)


def agreement(image: Tensor, mask: Tensor) -> tuple[int, int]:
    """Pixels inside cells on which image and mask name the same cell, and their number.

    At the borders between cells the image is a blend by design, so only pixels whose 3x3 neighbourhood in the
    mask is of one cell are asked.
    """
    labels = mask.float()[None, None]
    highest = torch.nn.functional.max_pool2d(labels, 5, 1, 2)[0, 0]
    lowest = -torch.nn.functional.max_pool2d(-labels, 5, 1, 2)[0, 0]
    inside = (highest == lowest) & (mask != IGNORE)
    for edge in (inside[:2], inside[-2:], inside[:, :2], inside[:, -2:]):
        edge[:] = False  # the blend may be with a cell that the crop has cut off
    seen = (image[0].float() / 4).round().to(torch.uint8)
    return int((seen == mask)[inside].sum()), int(inside.sum())


@pytest.mark.parametrize("scale", [(0.5, 2.0), (0.7, 1.3)])
def test_image_and_mask_agree_on_every_pixel(scale: tuple[float, float]) -> None:
    """1,000 draws over both tests' ranges: agreement 1.000."""
    image, mask = position_coded(90, 120)
    config = dataclasses.replace(PLAIN, crop=(64, 80), scale=scale)
    right = asked = 0
    for index in range(500):
        out_image, out_mask = augment(image, mask, config, LABELS, generator(1, 0, index))
        assert out_image.shape == (3, 64, 80)
        assert out_mask.shape == (64, 80)
        hit, of = agreement(out_image, out_mask)
        right, asked = right + hit, asked + of
    assert asked > 400 * 500
    assert right / asked == 1.0


def test_the_agreement_test_can_fail() -> None:
    """The same measure sees a mask that is off by two pixels, or cropped by another draw."""
    image, mask = position_coded(90, 120)
    config = dataclasses.replace(PLAIN, crop=(64, 80))
    moved, _ = augment(image, mask, config, LABELS, generator(1, 0, 0))
    _, other = augment(image, mask, config, LABELS, generator(1, 0, 1))
    hit, of = agreement(moved, other)
    assert hit / of < 0.6
    hit, of = agreement(image, mask.roll(4, 1))
    assert hit < of


def test_mask_resize_is_on_pixel_centres() -> None:
    """Doubling repeats each pixel; halving a picture of 2x2 blocks gives the blocks: no half-pixel shift."""
    from refineseg.data.batches.transforms import resize_sample

    mask = torch.arange(12, dtype=torch.uint8).view(3, 4)
    image = mask.expand(3, 3, 4).contiguous()
    _, doubled = resize_sample(image, mask, (6, 8))
    assert torch.equal(doubled, mask.repeat_interleave(2, 0).repeat_interleave(2, 1))
    _, back = resize_sample(image.repeat_interleave(2, 1).repeat_interleave(2, 2), doubled, (3, 4))
    assert torch.equal(back, mask)


def test_padding_is_ignored() -> None:
    image, mask = position_coded(20, 30)
    config = dataclasses.replace(PLAIN, crop=(64, 64), scale=(1.0, 1.0), rare_crop=0.0)
    out_image, out_mask = augment(image, mask, config, LABELS, generator(0, 0, 0))
    padded = out_mask == IGNORE
    assert int((~padded).sum()) == 20 * 30
    assert (out_image[:, padded] == 114).all()


def test_rare_crops_hold_the_rare_class() -> None:
    mask = torch.zeros(100, 100, dtype=torch.uint8)
    mask[3, 90] = 1
    config = dataclasses.replace(PLAIN, crop=(16, 16), scale=(1.0, 1.0), rare_crop=1.0)
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    held = 0
    for index in range(200):
        _, out = augment(image, mask, config, LABELS, generator(0, 0, index))
        held += bool((out == 1).any())
    assert 70 < held < 130  # drawn evenly from the two classes of the picture


def test_pasted_classes_come_whole_from_the_other_picture() -> None:
    mask = torch.tensor([[0, 0, 1], [1, 2, 2]], dtype=torch.uint8)
    other_mask = torch.tensor([[5, 6, 5], [7, IGNORE, 6]], dtype=torch.uint8)
    image, other = torch.zeros(3, 2, 3, dtype=torch.uint8), torch.full((3, 2, 3), 9, dtype=torch.uint8)
    seen = set()
    for index in range(40):
        out, labels = paste_classes(image, mask, other, other_mask, generator(index))
        from_other = out[0] == 9
        pasted = set(labels[from_other].tolist())
        assert len(pasted) == 2, "two of the classes 5, 6 and 7; void never"
        for label in pasted:
            assert (from_other[other_mask == label]).all(), "all pixels of a pasted class"
        assert (labels[~from_other] == mask[~from_other]).all()
        assert (labels[from_other] == other_mask[from_other]).all()
        seen.add(tuple(sorted(pasted)))
    assert seen == {(5, 6), (5, 7), (6, 7)}
    assert (image == 0).all()
    assert mask.tolist() == [[0, 0, 1], [1, 2, 2]]


def test_mixed_pictures_keep_image_and_mask_together() -> None:
    image, mask = position_coded(90, 120)
    other, other_mask = image.flip(-1), mask.flip(-1)
    config = dataclasses.replace(PLAIN, crop=(64, 80), scale=(1.0, 1.0), class_mix=1.0)
    asked = mixed = 0
    for index in range(100):
        out, labels = augment(
            image, mask, config, LABELS, generator(1, 0, index), others=lambda draw: (other, other_mask)
        )
        seen = (out[0].float() / 4).round().to(torch.uint8)
        inside = labels != IGNORE
        assert (seen == labels)[inside].all()
        plain, _ = augment(image, mask, dataclasses.replace(config, class_mix=0.0), LABELS, generator(1, 0, index))
        asked += int(inside.sum())
        mixed += int((plain != out).any(0).sum())
    assert 0.2 < mixed / asked < 0.8


def test_no_mixing_draws_nothing() -> None:
    image, mask = position_coded(90, 120)

    def refuse(draw: torch.Generator) -> tuple[Tensor, Tensor]:
        raise AssertionError("no other picture is needed")

    with_others = augment(image, mask, PLAIN, LABELS, generator(3), others=refuse)
    without = augment(image, mask, PLAIN, LABELS, generator(3))
    assert torch.equal(with_others[0], without[0])
    assert torch.equal(with_others[1], without[1])


def test_flip_swaps_paired_classes() -> None:
    labels = LabelMap(
        (
            LabelClass("body", (0, 0, 0), (0,)),
            LabelClass("left arm", (255, 0, 0), (1,), mirror="right arm"),
            LabelClass("right arm", (0, 255, 0), (2,), mirror="left arm"),
        )
    )
    mask = torch.tensor([[1, 0, 2, IGNORE]], dtype=torch.uint8)
    image = torch.arange(4, dtype=torch.uint8).view(1, 1, 4).repeat(3, 1, 1)
    config = dataclasses.replace(PLAIN, crop=(1, 4), scale=(1.0, 1.0), flip=1.0, rare_crop=0.0)
    geometry = draw_geometry(mask, config, 3, generator(0, 0, 0))
    out_image, out_mask = apply_geometry(image, mask, geometry, labels)
    assert out_image[0].tolist() == [[3, 2, 1, 0]]
    # the picture's left arm is now drawn as a right arm
    assert out_mask.tolist() == [[IGNORE, 1, 0, 2]]


def test_scale_steps_are_those_of_the_paper() -> None:
    mask = torch.zeros(100, 100, dtype=torch.uint8)
    config = dataclasses.replace(PLAIN, scale=(0.7, 1.3), scale_step=0.1)
    scales = {round(draw_geometry(mask, config, 1, generator(0, 0, i)).scale, 4) for i in range(300)}
    assert scales == {0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3}


def test_draws_depend_on_their_key_only() -> None:
    image, mask = position_coded(60, 60)
    config = AugmentConfig(crop=(32, 32))
    first = augment(image, mask, config, LABELS, generator(7, 3, 11))
    torch.manual_seed(99)
    torch.rand(5)
    again = augment(image, mask, config, LABELS, generator(7, 3, 11))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    other = augment(image, mask, config, LABELS, generator(7, 3, 12))
    assert not torch.equal(first[0], other[0])


def test_keys_are_well_mixed() -> None:
    values = [float(torch.rand((), generator=generator(0, e, p))) for e in range(20) for p in range(50)]
    assert abs(np.mean(values) - 0.5) < 0.03
    assert abs(np.std(values) - 12**-0.5) < 0.02
    assert len(set(values)) == 1000


def test_photometric_changes_the_image_only_in_value() -> None:
    image, _ = position_coded(40, 40)
    out = photometric(image, AugmentConfig(blur=1.0), generator(0, 0, 0))
    assert out.shape == image.shape
    assert out.dtype == torch.uint8
    assert not torch.equal(out, image)
    assert torch.equal(photometric(image, PLAIN, generator(0, 0, 0)), image)


def test_batches_depend_on_the_step_only_and_split_over_processes() -> None:
    whole = [Batches(10, 4, seed=3).at(step) for step in range(7)]
    batches = Batches(10, 4, seed=3)
    assert [batches.at(step) for step in range(3, 7)] == whole[3:]
    halves = [[Batches(10, 4, seed=3, rank=rank, world=2).at(step) for step in range(7)] for rank in range(2)]
    for step, batch in enumerate(whole):
        together = halves[0][step] + halves[1][step]
        assert sorted(together, key=lambda draw: draw.position) == batch
    first_epoch = [draw.index for batch in whole[:2] for draw in batch]
    assert len(set(first_epoch)) == 8
    assert whole[2][0].epoch == 1


def test_batches_of_a_tiny_set_go_round() -> None:
    batch = Batches(3, 8).at(0)
    assert [draw.position for draw in batch] == list(range(8))
    assert {draw.index for draw in batch} == {0, 1, 2}
    assert isinstance(batch[0], SampleKey)


def test_class_balanced_weights_by_hand() -> None:
    pixels = torch.tensor([[100, 0], [50, 0], [50, 1], [10, 0]])
    # class 0 is in four pictures, class 1 in one: 1/4, 1/4, 1/4 + 1, 1/4
    assert class_balanced_weights(pixels).tolist() == [0.25, 0.25, 1.25, 0.25]


# Channels -----------------------------------------------------------------------------------------------------

FIVE = Channels("uint16", (0.0,) * 5, (65535.0,) * 5, (0.02, 0.03, 0.04, 0.05, 0.06), (0.01,) * 5, (0, 1, 2))


def test_image_and_mask_of_bands_agree() -> None:
    """The cell's number in every band, in the units of 12 bits in 16: no band is clipped or left behind."""
    image, mask = position_coded(90, 120)
    wide = image[:1].float().repeat(5, 1, 1) / 4096
    config = dataclasses.replace(PLAIN, crop=(64, 80), scale=(0.7, 1.3))
    right = asked = 0
    for index in range(50):
        out, labels = augment(wide, mask, config, LABELS, generator(1, 0, index), FIVE)
        assert out.shape == (5, 64, 80)
        assert torch.equal(out[0], out[4]) or (labels == IGNORE).any()  # the padding differs by band
        hit, of = agreement(out[:1] * 4096, labels)
        right, asked = right + hit, asked + of
    assert asked > 400 * 50
    assert right / asked == 1.0


def test_padding_of_bands_is_their_mean() -> None:
    image, mask = torch.zeros(5, 8, 8), torch.zeros(8, 8, dtype=torch.uint8)
    config = dataclasses.replace(PLAIN, crop=(16, 16), scale=(1.0, 1.0))
    out, labels = augment(image, mask, config, LABELS, generator(0), FIVE)
    padded = labels == IGNORE
    assert int(padded.sum()) == 16 * 16 - 8 * 8
    assert torch.allclose(out[:, padded], torch.tensor(FIVE.mean)[:, None])
    assert (out[:, ~padded] == 0).all()


def test_jitter_of_bands_by_hand() -> None:
    """A band of 1 and 3 (mean 2, deviation 1) and one a thousand times that, below zero: the same in its units."""
    image = torch.tensor([[[1.0, 3.0]], [[-1000.0, -3000.0]]])
    assert jitter_channels(image, 1.0, 1.0).tolist() == image.tolist()
    # Contrast 1.5: 2 -+ 1.5 and -2000 +- 1500; brightness 1.2: up by a fifth of a deviation.
    expected = torch.tensor([[[0.7, 3.7]], [[-300.0, -3300.0]]])
    assert torch.allclose(jitter_channels(image, 1.2, 1.5), expected)


def test_photometric_changes_of_bands_do_not_depend_on_their_units() -> None:
    image = torch.rand(5, 24, 32, generator=generator(3))
    config = AugmentConfig(crop=(24, 32), blur=0.5)
    for index in range(20):
        one = photometric(image, config, generator(index))
        other = photometric(image * 1e-3 - 5, config, generator(index))
        assert torch.allclose((other + 5) * 1e3, one, atol=5e-3)
    assert not torch.equal(one, image)


def test_turned_by_a_quarter_the_picture_shows_its_labels() -> None:
    """90 degrees about the middle of an even square is a permutation of its pixels, as numpy turns it."""
    mask = torch.arange(64, dtype=torch.uint8).view(8, 8)
    image = torch.stack([mask * 3] * 3)
    geometry = Geometry(1.0, 2, 2, flip=False, size=(4, 4), angle=90.0)
    out_image, out_mask = apply_geometry(image, mask, geometry)
    expected = torch.rot90(mask[2:6, 2:6])
    assert out_mask.tolist() == expected.tolist()
    assert out_image[0].tolist() == (expected * 3).tolist()


def test_turning_fills_the_outside_with_void() -> None:
    mask = torch.zeros(8, 8, dtype=torch.uint8)
    geometry = Geometry(1.0, 0, 0, flip=False, size=(8, 8), angle=45.0)
    _, out = apply_geometry(torch.zeros(3, 8, 8, dtype=torch.uint8), mask, geometry)
    assert out[0, 0] == out[-1, -1] == IGNORE
    assert (out[2:6, 2:6] == 0).all()


def test_two_flips_are_half_a_turn_and_swap_no_sides() -> None:
    from tests.test_labels import BODY

    mask = torch.tensor([[0, 1, 2, 2], [1, 0, 0, 2]], dtype=torch.uint8)
    image = torch.stack([mask] * 3)
    both = Geometry(1.0, 0, 0, flip=True, size=(2, 4), vertical_flip=True)
    _, turned = apply_geometry(image, mask, both, BODY)
    assert turned.tolist() == mask.flip(0, 1).tolist()
    _, once = apply_geometry(image, mask, Geometry(1.0, 0, 0, flip=False, size=(2, 4), vertical_flip=True), BODY)
    assert once.tolist() == torch.from_numpy(BODY.mirrored)[mask.flip(0).long()].tolist()


def test_a_crop_shrinks_with_the_picture_and_short_edges_are_brought_into_range() -> None:
    mask = torch.zeros(100, 300, dtype=torch.uint8)
    config = AugmentConfig(crop=(400, 400), scale=(1.0, 1.0), pad=False, short_edge=(150, 1100), rare_crop=1.0)
    geometry = draw_geometry(mask, config, 1, generator(1))
    assert geometry.scale == 1.5
    assert geometry.size == (150, 150)  # square, as in the authors' code
    _, out = apply_geometry(torch.zeros(3, 100, 300, dtype=torch.uint8), mask, geometry)
    assert out.shape == (150, 150)
    assert IGNORE not in out


@pytest.mark.parametrize(
    ("crop", "picture", "size"),
    [
        ((400, 400), (500, 401), (400, 400)),
        ((400, 400), (500, 399), (398, 398)),
        ((400, 401), (401, 401), (400, 401)),
        ((200, 400), (190, 300), (150, 300)),
        ((400, 400), (1, 900), (1, 1)),
    ],
)
def test_a_shrunk_crop_keeps_its_shape(
    crop: tuple[int, int], picture: tuple[int, int], size: tuple[int, int]
) -> None:
    config = AugmentConfig(crop=crop, scale=(1.0, 1.0), pad=False)
    assert draw_geometry(torch.zeros(picture, dtype=torch.uint8), config, 1, generator(2)).size == size
