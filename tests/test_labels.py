"""LabelMap: hand-computed cases, and properties over drawn maps and masks."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from refineseg.colors import class_colors, distinct_colors, voc_palette
from refineseg.data.batches.transforms import Geometry, apply_geometry
from refineseg.errors import LabelError
from refineseg.labels import IGNORE, LabelClass, LabelMap

STREET = LabelMap(
    (
        LabelClass("road", (128, 64, 128), (7, 6), submission=7),
        LabelClass("person", (220, 20, 60), (24,)),
        LabelClass("car", (0, 0, 142), (26, 400)),
    ),
    ignore=(0, 255),
)
COLORED = LabelMap(
    (
        LabelClass("sky", (1, 2, 3), ((128, 128, 128), (0, 0, 1))),
        LabelClass("road", (4, 5, 6), ((128, 64, 128),)),
    ),
    ignore=((0, 0, 0),),
)
BODY = LabelMap(
    (
        LabelClass("body", (0, 0, 0), (0,)),
        LabelClass("left arm", (1, 0, 0), (1,), mirror="right arm"),
        LabelClass("right arm", (2, 0, 0), (2,), mirror="left arm"),
    )
)


@st.composite
def maps(draw: st.DrawFn) -> LabelMap:
    """Maps by number or by colour, of 1 to 6 classes with 1 to 3 raw values each, and 1 or 2 ignored ones."""
    count = draw(st.integers(1, 6))
    byte = st.integers(0, 255)
    values: st.SearchStrategy[Any] = (
        st.tuples(byte, byte, byte)
        if draw(st.booleans())
        else st.integers(*draw(st.sampled_from([(0, 255), (0, 65535), (-32768, 65535)])))
    )
    raw = draw(st.lists(values, unique=True, min_size=3 * count + 2, max_size=3 * count + 2))
    sizes = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    classes = tuple(
        LabelClass(f"class {index}", (index, 0, 0), tuple(raw[3 * index : 3 * index + size]))
        for index, size in enumerate(sizes)
    )
    return LabelMap(classes, tuple(raw[3 * count : 3 * count + draw(st.integers(1, 2))]))


def labels_of(label_map: LabelMap, seed: int, shape: tuple[int, int] = (5, 7)) -> NDArray[np.uint8]:
    ids = np.array([*range(label_map.num_classes), IGNORE], np.uint8)
    return np.asarray(np.random.default_rng(seed).choice(ids, shape))


def literal(label_map: LabelMap, value: Any) -> int:
    """Train id of one raw value by looking through the classes, as slow and plain as can be."""
    for train_id, item in enumerate(label_map.classes):
        if value in item.raw:
            return train_id
    assert value in label_map.ignore
    return IGNORE


# Encode and decode -----------------------------------------------------------------------------------------


def test_encode_by_hand() -> None:
    mask = np.array([[7, 6, 24], [26, 0, 255]], np.uint8)
    assert STREET.encode(mask).tolist() == [[0, 0, 1], [2, IGNORE, IGNORE]]
    assert STREET.encode(mask).dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_encode_of_wider_masks(dtype: Any) -> None:
    assert STREET.encode(np.array([[400, 7]], dtype)).tolist() == [[2, 0]]


def test_decode_by_hand() -> None:
    decoded = STREET.decode(np.array([[0, 1, 2, IGNORE]], np.uint8))
    assert decoded.tolist() == [[7, 24, 26, 0]]
    assert decoded.dtype == np.uint8  # the written values fit, although 400 is read


def test_decode_of_wide_values_has_one_dtype_whatever_the_picture() -> None:
    wide = LabelMap((LabelClass("a", (0, 0, 0), (1,)), LabelClass("b", (0, 0, 1), (300,))), ignore=(0,))
    for labels in ([[0, 0]], [[1, 0]]):
        assert wide.decode(np.array(labels, np.uint8)).dtype == np.uint16


def test_encode_of_colors_by_hand() -> None:
    mask = np.array([[(128, 128, 128), (0, 0, 1), (128, 64, 128), (0, 0, 0)]], np.uint8)
    assert COLORED.rgb
    assert COLORED.encode(mask).tolist() == [[0, 0, 1, IGNORE]]
    assert COLORED.decode(np.array([[0, 1, IGNORE]], np.uint8)).tolist() == [
        [[128, 128, 128], [128, 64, 128], [0, 0, 0]]
    ]


@given(maps(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_encode_of_decode_is_the_identity(label_map: LabelMap, seed: int) -> None:
    labels = labels_of(label_map, seed)
    assert np.array_equal(label_map.encode(label_map.decode(labels)), labels)


@given(maps(), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_encode_equals_a_search_through_the_classes(label_map: LabelMap, seed: int) -> None:
    values: list[Any] = [value for item in label_map.classes for value in item.raw] + list(label_map.ignore)
    chosen = np.random.default_rng(seed).integers(0, len(values), (4, 3))
    dtype = np.uint8 if label_map.rgb else np.int32
    mask = np.array([[values[index] for index in row] for row in chosen], dtype)
    expected = [[literal(label_map, values[index]) for index in row] for row in chosen]
    assert label_map.encode(mask).tolist() == expected


@given(maps(), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_storage_gives_the_map_back(label_map: LabelMap, seed: int) -> None:
    assert LabelMap.from_dict(json.loads(json.dumps(label_map.to_dict()))) == label_map
    assert LabelMap.from_dict(yaml.safe_load(yaml.safe_dump(label_map.to_dict()))) == label_map
    labels = labels_of(label_map, seed)
    assert np.array_equal(pickle.loads(pickle.dumps(label_map)).decode(labels), label_map.decode(labels))


# Values that the map does not know -------------------------------------------------------------------------


def test_unknown_values_are_named_with_file_count_and_ways_out() -> None:
    mask = np.array([[7, 9, 9], [9, 33, 24]], np.uint8)
    with pytest.raises(
        LabelError, match=r"city/a\.png.*6\.\.400.*9 \(3 pixels\), 33 \(1 pixel\).*'ignore'"
    ) as raised:
        STREET.encode(mask, "city/a.png")
    assert "\n" not in str(raised.value)
    assert STREET.unknown(mask) == {9: 3, 33: 1}


def test_unknown_colors_are_named_as_colors() -> None:
    mask = np.zeros((2, 2, 3), np.uint8)
    mask[0, 0] = (127, 128, 128)  # as a JPEG or a smoothed edge leaves it
    with pytest.raises(LabelError, match=r"\(127, 128, 128\) \(1 pixel\)"):
        COLORED.encode(mask)


def test_many_unknown_values_are_cut_short() -> None:
    with pytest.raises(LabelError, match="and 7 more values"):
        BODY.encode(np.arange(3, 15, dtype=np.uint8)[None])


@pytest.mark.parametrize("value", [-1, -70000, 65536, 70000, 2**31 - 1])
def test_values_outside_the_table_are_unknown(value: int) -> None:
    mask = np.array([[7, value]], np.int64)
    with pytest.raises(LabelError, match=f"found {value} "):
        STREET.encode(mask)
    assert STREET.unknown(mask) == {value: 1}


def test_masks_of_another_kind_are_refused() -> None:
    with pytest.raises(LabelError, match="whole numbers, got float32"):
        STREET.encode(np.zeros((2, 2), np.float32))
    with pytest.raises(LabelError, match="one channel"):
        STREET.encode(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(LabelError, match="expected an RGB mask"):
        COLORED.encode(np.zeros((2, 2), np.uint8))
    with pytest.raises(LabelError, match="uint16"):
        COLORED.encode(np.full((2, 2, 3), 300, np.uint16))


def test_bool_masks_are_0_and_1() -> None:
    two = LabelMap.from_names(["no", "yes"])
    assert two.encode(np.array([[True, False]])).tolist() == [[1, 0]]


def test_decode_refuses_ids_that_are_no_class() -> None:
    with pytest.raises(LabelError, match=r"train ids 0\.\.2.*got \[7\]"):
        STREET.decode(np.array([[0, 7]], np.uint8))
    none_ignored = LabelMap.from_names(["a", "b"], ignore=())
    with pytest.raises(LabelError, match=r"got \[255\]"):
        none_ignored.decode(np.array([[0, IGNORE]], np.uint8))


# Submission, colours, flip ---------------------------------------------------------------------------------


def test_submission_by_hand() -> None:
    wide = LabelMap((LabelClass("a", (0, 0, 0), (3,), submission=9), LabelClass("b", (0, 0, 1), (4,))))
    assert wide.submission(np.array([[0, 1, IGNORE]], np.uint8)).tolist() == [[9, 4, 0]]


def test_voc_palette_rule() -> None:
    # aeroplane, bicycle, bird, tvmonitor and the void colour, as in VOC's own palette.
    palette = voc_palette(256)
    assert palette[:4] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    assert palette[20] == (0, 64, 128)
    assert palette[255] == (224, 224, 192)
    assert len(set(palette)) == 256


def test_distinct_colors_are_distinct_and_leave_background_black() -> None:
    colors = distinct_colors(255)
    assert len(set(colors)) == 255
    assert (0, 0, 0) not in colors
    assert colors[0] == (230, 159, 0)  # Okabe and Ito's orange
    gaps = np.abs(np.array(colors)[:, None].astype(int) - np.array(colors)).sum(2) + 999 * np.eye(255, dtype=int)
    assert gaps[:20, :20].min() > 60
    assert gaps.min() >= 12
    assert class_colors(["sky", "Background", "road"]) == [colors[0], (0, 0, 0), colors[1]]
    named = LabelMap.from_names(["sky", "Background", "road"])
    assert named.background_ids == (1,)
    assert len(LabelMap.from_names([str(index) for index in range(255)]).classes) == 255


def test_colorize_takes_the_classes_colors_and_black() -> None:
    assert STREET.colorize(np.array([[1, IGNORE, 77]], np.uint8)).tolist() == [[[220, 20, 60], [0] * 3, [0] * 3]]


def test_flip_swaps_left_and_right() -> None:
    labels = np.array([[1, 0, 0, 2, IGNORE]], np.uint8)
    assert BODY.flip(labels).tolist() == [[IGNORE, 1, 0, 0, 2]]
    assert STREET.flip(labels).tolist() == [[IGNORE, 2, 0, 0, 1]]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_flipping_twice_changes_nothing(seed: int) -> None:
    labels = labels_of(BODY, seed)
    assert np.array_equal(BODY.flip(BODY.flip(labels)), labels)


def test_joint_transform_swaps_left_and_right_with_the_picture() -> None:
    mask = torch.tensor([[1, 1, 0, 2], [1, 0, 0, IGNORE]], dtype=torch.uint8)
    image = torch.stack([mask * 10] * 3)  # the picture shows its labels
    flipped = Geometry(scale=1.0, top=0, left=0, flip=True, size=(2, 4))
    out_image, out_mask = apply_geometry(image, mask, flipped, BODY)
    assert out_image[0].tolist() == mask.flip(-1).mul(10).tolist()
    assert out_mask.tolist() == [[1, 0, 2, 2], [IGNORE, 0, 0, 2]]
    assert out_mask.numpy().tolist() == BODY.flip(mask.numpy()).tolist()
    _, kept = apply_geometry(image, mask, Geometry(1.0, 0, 0, flip=False, size=(2, 4)), BODY)
    assert kept.tolist() == mask.tolist()


def test_a_mirror_must_mirror_back() -> None:
    one = LabelClass("left", (0, 0, 0), (0,), mirror="right")
    with pytest.raises(LabelError, match="right to mirror left in turn"):
        LabelMap((one, LabelClass("right", (0, 0, 1), (1,))))
    with pytest.raises(LabelError, match="to be a class, got 'right'"):
        LabelMap((one,))


# What a map may be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "ignore", "message"),
    [
        ((), (255,), "1 to 255 classes"),
        ((("a", 0), ("a", 1)), (255,), "once"),
        ((("a", 0), ("b", 0)), (255,), "0 more than once"),
        ((("a", 0), ("b", 255)), (255,), "255 more than once"),
        ((("a", 0), ("b", (1, 2, 3))), (), "got both"),
        ((("a", 70000),), (), r"-32768\.\.65535"),
        ((("a", (1, 2, 256)),), (), r"0\.\.255"),
    ],
)
def test_maps_that_cannot_be(classes: Any, ignore: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        LabelMap(tuple(LabelClass(name, (0, 0, 0), (raw,)) for name, raw in classes), ignore)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ([{"name": "a"}, {"name": "b", "value": 2}], "b has the key 'value', known are name, color, raw"),
        ([{"name": "a", "Raw": 3}], "'Raw'"),
        ([True, "other"], "a name is a bool, as YAML reads yes, no"),
    ],
)
def test_classes_that_would_be_misread_are_refused(classes: list[Any], words: str) -> None:
    with pytest.raises(LabelError, match=words):
        LabelMap.from_dict({"classes": classes})


def test_from_dict_fills_in_what_is_left_out() -> None:
    read = LabelMap.from_dict({"classes": ["sky", {"name": "road", "raw": [4, 5]}], "ignore": 9})
    assert [item.raw for item in read.classes] == [(0,), (4, 5)]
    assert [item.color for item in read.classes] == distinct_colors(2)
    assert read.ignore == (9,)
    assert LabelMap.from_dict({"classes": ["sky"]}).ignore == (IGNORE,)


def test_a_class_that_claims_255_leaves_none_to_ignore() -> None:
    binary = {"classes": ["background", {"name": "pond", "raw": 255}]}
    read = LabelMap.from_dict(binary)
    assert read.ignore == ()
    assert read.encode(np.array([[0, 255]], np.uint8)).tolist() == [[0, 1]]
    with pytest.raises(LabelError, match="255 more than once"):
        LabelMap.from_dict(binary | {"ignore": [255]})


def test_names_lose_marks_and_blanks() -> None:
    read = LabelMap.from_dict({"classes": ["\ufeffroad ", {"name": " side  walk"}]})
    assert read.names == ["road", "side walk"]
    with pytest.raises(LabelError, match="once"):
        LabelMap.from_dict({"classes": ["road", "road "]})


def test_from_dict_by_color_ignores_nothing_unless_told() -> None:
    read = LabelMap.from_dict({"classes": [{"name": "road", "raw": [[128, 64, 128]]}]})
    assert read.rgb
    assert read.ignore == ()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"classes": 3},
        {"classes": [{"color": [0, 0, 0]}]},
        {"classes": [{"name": "a", "color": [1]}]},
        {"classes": [{"name": "a", "color": [float("inf"), 0, 0]}]},
    ],
)
def test_from_dict_says_what_it_expects(values: dict[str, Any]) -> None:
    with pytest.raises(LabelError, match="expected"):
        LabelMap.from_dict(values)


@pytest.mark.parametrize("mirrors", [(None, None), ("y" * 5000, None), ("x" * 5000, "x" * 5000)])
def test_long_names_are_cut_in_messages(mirrors: tuple[str | None, str | None]) -> None:
    names = ["x" * 5000, "x" * 5000 if mirrors == (None, None) else "z" * 5000]
    classes = [
        {"name": name} | ({"mirror": other} if other else {}) for name, other in zip(names, mirrors, strict=True)
    ]
    with pytest.raises(LabelError) as caught:
        LabelMap.from_dict({"classes": classes})
    assert len(str(caught.value)) < 1000
