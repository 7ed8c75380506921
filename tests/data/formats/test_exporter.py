from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from refineseg.data import open_data, read_mask
from refineseg.data.formats import ReadOptions, WriteOptions, export_predictions, import_data
from refineseg.data.images import write_mask
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8
from tests.data.formats.helpers import labels_map, mask_file, picture, rows

WRITTEN = ("labelme", "cvat", "coco")
HOLES = rows(
    "1111.2..", "1..1.222", "1.31.2.2", "1111.222", "x......3", "xx2121.3"
)  # holes, single pixels, touching
MAPS = (
    labels_map("background", "road", "car", "void-ish"),
    labels_map("sky", "road", "car", "pole"),
    labels_map("sky", "road", "Background", "pole"),
)


def predicted(folder: Path, masks: list[UInt8], label_map: LabelMap) -> Path:
    for index, mask in enumerate(masks):
        write_mask(folder / f"out/masks/p{index}.png", mask, label_map)
        picture(folder / f"photos/p{index}.png", mask.shape[0], mask.shape[1], index)
    return folder / "out"


def exported(*given: Any, **named: Any) -> list[Path]:
    """The files of an export without loss."""
    return list(export_predictions(*given, **named, options=WriteOptions("mask")).files)


def round_trip(folder: Path, masks: list[UInt8], label_map: LabelMap, format: str) -> LabelMap:
    """Masks to pre-labels and back; they must be the same. Gives the label map that came back."""
    predictions, photos = predicted(folder, masks, label_map), folder / "photos"
    exported(predictions, label_map, format, folder / "pre", images=photos)
    report = import_data(folder / "pre", folder / "back", options=ReadOptions(images=photos))
    assert report.format == format
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(read_mask(folder / f"back/masks/p{index}.png"), mask)
    return open_data(f"folder:{folder / 'back'}").label_map


@pytest.mark.parametrize("format", WRITTEN)
@pytest.mark.parametrize("label_map", MAPS, ids=lambda item: item.names[2])
def test_nothing_is_lost(tmp_path: Path, format: str, label_map: LabelMap) -> None:
    masks = [HOLES, np.zeros((3, 5), np.uint8), np.full((1, 1), 255, np.uint8), np.full((4, 2), 3, np.uint8)]
    back = round_trip(tmp_path, masks, label_map, format)
    assert back.names == label_map.names
    assert [item.color for item in back.classes] == [item.color for item in label_map.classes]


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 3, 255])
    ),
    st.sampled_from(WRITTEN),
    st.sampled_from(MAPS),
)
def test_nothing_is_lost_of_any_mask(mask: UInt8, format: str, label_map: LabelMap) -> None:
    with tempfile.TemporaryDirectory() as name:
        round_trip(Path(name), [mask], label_map, format)


@pytest.mark.parametrize("format", WRITTEN)
def test_the_files_alone_bring_the_classes_back(tmp_path: Path, format: str) -> None:
    """Without labels.yaml the classes come from the annotations; the background is first."""
    predictions = predicted(tmp_path, [HOLES], MAPS[0])
    exported(predictions / "masks", MAPS[0], format, tmp_path / "pre", images=tmp_path / "photos")
    (tmp_path / "pre/labels.yaml").unlink()
    report = import_data(tmp_path / "pre", tmp_path / "back", options=ReadOptions(images=tmp_path / "photos"))
    assert sorted(report.class_names) == sorted(MAPS[0].names)
    found = np.array([*report.class_names, *["?"] * 251, "ignored"])[read_mask(tmp_path / "back/masks/p0.png")]
    np.testing.assert_array_equal(found, np.array([*MAPS[0].names, *["?"] * 251, "ignored"])[HOLES])


def test_labelme_points_at_the_pictures(tmp_path: Path) -> None:
    predictions = predicted(tmp_path, [HOLES], MAPS[0])
    (file,) = exported(predictions, MAPS[0], "labelme", tmp_path / "pre", images=tmp_path / "photos")
    values = json.loads(file.read_text())
    assert (file.parent / values["imagePath"]).is_file()
    assert [shape["label"] for shape in values["shapes"]] == ["road", "car", "void-ish", "__ignore__"]
    assert values["shapes"][1]["points"] == [[2, 0], [7, 5]]
    import_data(tmp_path / "pre", tmp_path / "back")  # the path alone is enough


def test_coco_is_what_pycocotools_reads(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    predictions = predicted(tmp_path, [HOLES], MAPS[0])
    (file,) = exported(predictions, MAPS[0], "coco", tmp_path / "pre")
    coco = COCO(str(file))
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[1])):
        name = coco.loadCats([annotation["category_id"]])[0]["name"]
        value = 255 if name == "__ignore__" else MAPS[0].names.index(name)
        region = np.equal(HOLES, value)
        np.testing.assert_array_equal(coco.annToMask(annotation), region)
        assert annotation["area"] == region.sum()
        ys, xs = np.nonzero(region)
        assert annotation["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
    assert coco.loadImgs([1])[0]["file_name"] == "p0.jpg"  # a guess without --images


def test_pictures_are_those_of_predictions_json(tmp_path: Path) -> None:
    predictions = predicted(tmp_path, [HOLES, HOLES], MAPS[0])
    entries = [
        {"input": str(tmp_path / "photos/p1.png"), "files": {"mask": "masks/p0.png"}},
        {"input": str(tmp_path / "gone.png"), "files": {"mask": "masks/p1.png"}},
        {"input": "broken.png", "error": "cannot read it"},
    ]
    (predictions / "predictions.json").write_text(json.dumps({"predictions": entries}))
    (file,) = exported(predictions, MAPS[0], "coco", tmp_path / "pre")
    assert [image["file_name"] for image in json.loads(file.read_text())["images"]] == ["p1.png", "p1.jpg"]
    (predictions / "predictions.json").write_text("{}")
    with pytest.raises(InputError, match=r"predictions\.json: expected the key 'predictions'"):
        export_predictions(predictions, MAPS[0], "coco", tmp_path / "more")


def test_corrected_files_are_never_written_over(tmp_path: Path) -> None:
    predictions = predicted(tmp_path, [HOLES], MAPS[0])
    (file,) = exported(predictions, MAPS[0], "labelme", tmp_path / "pre")
    file.write_text("corrected by hand")
    with pytest.raises(InputError, match="already exists"):
        export_predictions(predictions, MAPS[0], "labelme", tmp_path / "pre")
    assert file.read_text() == "corrected by hand"


def test_bad_predictions_are_named(tmp_path: Path) -> None:
    predictions = predicted(tmp_path, [HOLES], MAPS[0])

    def fails(
        *words: str, label_map: LabelMap = MAPS[0], format: str = "coco", images: Path | None = None
    ) -> None:
        with pytest.raises(InputError) as caught:
            export_predictions(predictions, label_map, format, tmp_path / "pre", images=images)
        assert all(word in str(caught.value) for word in words), str(caught.value)
        assert not (tmp_path / "pre").exists()

    fails("coco, cvat, labelme, yolo", "'voc'", format="voc")
    fails("p0.png", "3 (", label_map=labels_map("background", "road", "car"))
    fails("__ignore__", label_map=labels_map("background", "__ignore__"))
    hidden = labels_map("background", "road", "a\x1b[2J", "pole")
    fails("XML can hold", r"a\x1b[2J", label_map=hidden, format="cvat")
    (tmp_path / "none").mkdir()
    fails("none for 1: p0", images=tmp_path / "none")
    Image.new("RGB", (5, 5)).save(tmp_path / "none/p0.jpg")
    fails("p0.png", "5x5", "8x6", images=tmp_path / "none")
    mask_file(predictions / "masks/p0.png", np.zeros((6, 8, 3)))
    fails("p0.png", "one channel")
    (predictions / "masks/p0.png").unlink()
    fails("refineseg predict", "found none")
