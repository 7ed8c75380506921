"""Files that other tools write, as their users report them, each with its right outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refineseg.data.formats import FaultsError, ImportOptions, ReadOptions, import_data
from tests.data.formats.helpers import brought_in

FILES = Path(__file__).parent / "strangers"
ROAD_CAR = {"background": 1922, "road": 600, "car": 550}  # the same mask in several layouts

# Folder, file in it, format, pixels by class over all pictures, and words that the notes must hold.
CASES: list[tuple[str, str, str, dict[str, int], list[str]]] = [
    (
        "coco_empty_inner",
        ".",
        "coco",
        {"background": 2672, "cat": 400},
        ["left out 1 annotation without an outline"],
    ),
    ("coco_keypoints_mixed", ".", "coco", {"background": 2672, "cat": 400}, ["without an outline", "cat 1"]),
    ("coco_string_cat", "ann/a.json", "coco", {"background": 2672, "cat": 400}, []),
    ("roboflow_split", ".", "coco", {"background": 5344, "cat": 400, "dog": 400}, ["things"]),
    ("dm_coco_panoptic", ".", "coco-panoptic", {"background": 25542, "road": 6600, "car": 1650}, ["frame 4.jpg"]),
    ("cvat_skeleton", ".", "cvat", {"background": 2472, "road": 600}, ["pose, nose", "skeleton"]),
    ("cvat_video_frames", ".", "cvat", {"background": 4944, "road": 600, "car": 600}, []),
    (
        "dd_voc_segmentation",
        ".",
        "rgb",
        {"background": 25542, "road": 6600, "car": 1650},
        ["1 picture", "frame_04"],
    ),
    ("lm_label_spaces", ".", "labelme", {"background": 2408, "road": 664}, ["'road '"]),
    ("lm_mask_fractional2", ".", "labelme", {"background": 2841, "road": 231}, []),
    ("lm_mask_outside", ".", "labelme", {"background": 2896, "road": 176}, []),
    (
        "lm_no_json",
        ".",
        "labelme",
        {"background": 2472, "road": 600},
        ["left out 1 picture without annotation", "p2.jpg"],
    ),
    ("lm_oriented_rect", ".", "labelme", {"background": 2646, "road": 426}, []),
    ("lm_xany_rotation", ".", "labelme", {"background": 2646, "road": 426}, []),
    ("ls_bitmask", ".", "labelstudio", {"background": 2286, "car": 600, "road": 186}, []),
    ("ls_bitmask_only", ".", "labelstudio", {"background": 2472, "car": 600}, []),
    ("mk_nested", ".", "palette", {name: 2 * count for name, count in ROAD_CAR.items()}, []),
    ("mk_nested_partly", ".", "palette", {name: 2 * count for name, count in ROAD_CAR.items()}, []),
    ("mk_split_first", ".", "palette", {name: 2 * count for name, count in ROAD_CAR.items()}, []),
    ("mk_cityscapes", ".", "palette", ROAD_CAR, []),
    ("mk_per_class", ".", "class-masks", ROAD_CAR, []),
    ("mk_roboflow_sem", ".", "roboflow", {name: 2 * count for name, count in ROAD_CAR.items()}, []),
    ("mk_csv_bom", ".", "rgb", ROAD_CAR, []),
    ("mk_csv_semicolon", ".", "rgb", ROAD_CAR, []),
    ("mk_list_bom", ".", "list", ROAD_CAR, []),
    ("yolo_seg", ".", "yolo", {"background": 2304, "road": 768}, ["used 1 picture of several splits only once"]),
    ("supervisely", ".", "supervisely", {"background": 2780, "road": 292}, []),
    ("via", ".", "via", {"background": 2882, "road": 190}, []),
]


def pixels(src: Path, root: Path, **options: Any) -> tuple[dict[str, int], str]:
    """Pixels by class name over all pictures (``ignored`` for 255), and the notes and warnings as one text."""
    report, masks = brought_in(src, root, **options)
    names = {**dict(enumerate(report.class_names)), 255: "ignored"}
    counts: dict[str, int] = {}
    for mask in masks.values():
        for value, count in zip(*np.unique(mask, return_counts=True), strict=True):
            counts[names[int(value)]] = counts.get(names[int(value)], 0) + int(count)
    return counts, " | ".join((*report.notes, *report.warnings))


@pytest.mark.parametrize(("folder", "file", "format", "expected", "words"), CASES, ids=[case[0] for case in CASES])
def test_a_case(
    tmp_path: Path, folder: str, file: str, format: str, expected: dict[str, int], words: list[str]
) -> None:
    """Recognised without --format, every pixel in its class, and what was left out is named."""
    report = import_data(FILES / folder / file, tmp_path / "first")
    assert report.format == format
    counts, notes = pixels(FILES / folder / file, tmp_path / "out")
    assert counts == expected
    for word in words:
        assert word in notes
    if not words:
        assert "left out" not in notes


def test_every_folder_is_tried() -> None:
    others = {"coco_missing_image", "coco_odd_count", "cvat_coco_mixed", "ls_two_images", "mk_dup_stem_masks2"}
    assert {path.name for path in FILES.iterdir()} == {case[0] for case in CASES} | others


def test_brush_masks_of_cvat_are_crowds_and_are_counted(tmp_path: Path) -> None:
    """Pictures under images/train and images/val are found; 6 of 12 cars are brush masks."""
    counts, notes = pixels(FILES / "cvat_coco_mixed", tmp_path / "ignored")
    assert counts == {"background": 27684, "road": 7200, "car": 1080, "ignored": 900}
    assert "car 6 of 12" in notes
    assert "--crowds class" in notes
    counts, notes = pixels(FILES / "cvat_coco_mixed", tmp_path / "class", crowds="class")
    assert counts == {"background": 27684, "road": 7200, "car": 1980}
    assert "car 6 of 12" in notes


def test_regions_go_to_their_own_picture(tmp_path: Path) -> None:
    _, masks = brought_in(FILES / "ls_two_images", tmp_path / "out")
    assert {name: np.unique(mask).tolist() for name, mask in masks.items()} == {"p1": [0, 2], "p2": [0, 1]}
    # x 10 % to 50 % of 64, y 10 % to 50 % of 48: pixels whose centre is inside.
    inside = np.zeros((48, 64), np.bool_)
    inside[5:24, 6:32] = True
    np.testing.assert_array_equal(masks["p1"] == 2, inside)


@pytest.mark.parametrize(
    ("folder", "place"),
    [("coco_missing_image", "images[1].file_name"), ("coco_odd_count", "annotations[1].segmentation[0]")],
)
def test_faults_are_named_and_can_be_skipped(tmp_path: Path, folder: str, place: str) -> None:
    src = FILES / folder / "ann/a.json"
    with pytest.raises(FaultsError, match=r"--skip-bad") as caught:
        import_data(src, tmp_path / "out")
    assert place in str(caught.value)
    assert not (tmp_path / "out").exists()
    report = import_data(src, tmp_path / "out", how=ImportOptions(skip_bad=True))
    assert (report.pictures, len(report.faults)) == (1, 1)
    left_out = (tmp_path / "out/left_out.txt").read_text().splitlines()
    assert len(left_out) == 1
    assert place in left_out[0]


def test_two_masks_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FaultsError, match=r"a\.png and a\.tif"):
        import_data(FILES / "mk_dup_stem_masks2", tmp_path / "out")


def test_a_frame_without_mask_may_be_background(tmp_path: Path) -> None:
    report = import_data(
        FILES / "dd_voc_segmentation", tmp_path / "out", how=ImportOptions(unannotated="background")
    )
    assert report.pictures == 12
    assert any("1 picture without annotation: all pixels are background" in note for note in report.notes)
    assert import_data(FILES / "dd_voc_segmentation", tmp_path / "some", options=ReadOptions()).pictures == 11
