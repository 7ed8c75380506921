"""The pages about data: their commands, run in order on a small data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from refineseg.data import open_data, read_mask
from refineseg.data.dataset import folder_of_pictures
from refineseg.data.images import write_mask
from refineseg.labels import LabelMap, UInt8
from refineseg.model.folders.model_folder import read_config
from tests.docs_blocks import PAGES, blocks_of, run_block, small

DATA_PAGES = ("data", "formats", "labels", "channels")
PICTURES = 4


def truth(index: int) -> UInt8:
    """Labels of a picture: a car (2) on the road (1) before the background (0)."""
    mask = np.zeros((96, 128), np.uint8)
    mask[48:] = 1
    mask[40:64, 16 + 8 * index : 48 + 8 * index] = 2
    return mask


def make_data(folder: Path) -> None:
    """The files that the page speaks of: the same pictures in every form of annotation."""
    colors = np.array([(0, 0, 0), (128, 64, 128), (0, 0, 142)], np.uint8)
    draw = np.random.default_rng(0)
    coco: dict[str, list[dict[str, object]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "road"}, {"id": 2, "name": "car"}],
    }
    for place in ("photos", "coco", "labelme", "rgb/images", "rgb/masks", "numbers/images", "numbers/masks"):
        (folder / place).mkdir(parents=True)
    for index in range(PICTURES):
        name, mask = f"p{index}", truth(index)
        noise = draw.integers(0, 40, (96, 128, 3))
        pixels = np.clip(colors[mask].astype(int) + noise, 0, 255).astype(np.uint8)
        for place in ("photos", "labelme", "rgb/images", "numbers/images"):
            Image.fromarray(pixels).save(folder / place / f"{name}.png")
        Image.fromarray(colors[mask]).save(folder / f"rgb/masks/{name}.png")
        write_mask(folder / f"numbers/masks/{name}.png", mask, LabelMap.from_names(["a", "b", "c"]))
        left = 16 + 8 * index
        boxes = {"road": (0, 48, 128, 96), "car": (left, 40, left + 32, 64)}
        coco["images"].append({"id": index, "file_name": f"{name}.png", "width": 128, "height": 96})
        for number, (x1, y1, x2, y2) in enumerate(boxes.values(), 1):
            outline = [x1, y1, x2, y1, x2, y2, x1, y2]
            annotation = {"id": 2 * index + number, "image_id": index, "category_id": number, "iscrowd": 0}
            coco["annotations"].append({**annotation, "segmentation": [outline]})
        shapes = [
            {"label": label, "shape_type": "rectangle", "points": [[x1, y1], [x2, y2]]}
            for label, (x1, y1, x2, y2) in boxes.items()
        ]
        values: dict[str, object] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"{name}.png",
            "imageData": None,
        }
        (folder / f"labelme/{name}.json").write_text(json.dumps(values))
    (folder / "coco/annotations.json").write_text(json.dumps(coco))
    text = PAGES["formats"].read_text(encoding="utf-8")
    numbers, sides = (
        PAGES[page].read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
        for page in ("formats", "labels")
    )
    (folder / "numbers/labels.yaml").write_text(numbers)
    (folder / "rgb/class_dict.csv").write_text("name,r,g,b\n" + text.split("name,r,g,b\n")[1].split("```")[0])
    make_satellite(folder / "satellite")
    make_bodies(folder / "bodies", sides)


def make_satellite(folder: Path) -> None:
    """Scenes of five channels of 16 bits; the fifth alone tells water from field."""
    draw = np.random.default_rng(1)
    for index in range(PICTURES):
        mask = (truth(index) == 2).astype(np.uint8)
        raw = draw.normal((1200, 900, 800, 1500, 3000), 60, (*mask.shape, 5))
        raw[..., 4][mask == 1] -= 2500
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        planes: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
        tifffile.imwrite(folder / f"images/s{index}.tif", raw.astype(np.uint16), **planes)
        Image.fromarray(mask).save(folder / f"masks/s{index}.png")
    (folder / "labels.yaml").write_text("classes: [field, water]\nignore: [255]\n")


def make_bodies(folder: Path, labels: str) -> None:
    """A red left and a blue right arm."""
    colors = np.array([(90, 90, 90), (200, 40, 40), (40, 40, 200)], np.uint8)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index in range(PICTURES):
        mask = np.zeros((96, 128), np.uint8)
        mask[20:80, 20 + index : 40 + index] = 1
        mask[20:80, 80 + index : 100 + index] = 2
        Image.fromarray(colors[mask]).save(folder / f"images/p{index}.png")
        Image.fromarray(mask).save(folder / f"masks/p{index}.png")
    (folder / "labels.yaml").write_text(labels)


def labels_of(place: str) -> LabelMap:
    """The label map of a model folder, or of data."""
    return open_data(place).label_map if place.startswith("folder:") else read_config(Path(place))[1].labels


def test_the_pages_have_every_step() -> None:
    commands = [words for page in DATA_PAGES for block in blocks_of(page) for words in block.commands]
    found = [words[1:3] if words[1] == "data" else words[1:2] for words in commands]
    steps = ("data import", "data split", "data export", "check", "train", "predict")
    assert {" ".join(words) for words in found} == set(steps)
    assert len(found) == 21


def test_every_format_is_on_the_page() -> None:
    from refineseg.data.formats.known_formats import built_in

    rows = [
        line.split("|")
        for line in PAGES["formats"].read_text(encoding="utf-8").splitlines()
        if line.count("|") == 5
    ]
    table = {row[3].strip().strip("`"): row[4].strip() for row in rows if row[3].strip().startswith("`")}
    table.pop("--format", None)
    assert table == {name: "yes" if item.write else "" for name, item in built_in().items()}


@pytest.mark.slow
def test_the_commands_of_the_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in (block for page in DATA_PAGES for block in blocks_of(page)):
        run_block(block, names, small)
    for index in range(PICTURES):
        mask = truth(index)
        np.testing.assert_array_equal(read_mask(tmp_path / f"mydata/masks/p{index}.png"), mask)
        by_letter = np.array([0, 2, 1])[mask]  # background, car, road
        np.testing.assert_array_equal(read_mask(tmp_path / f"mydata-labelme/masks/p{index}.png"), by_letter)
        np.testing.assert_array_equal(
            read_mask(tmp_path / f"mydata-rgb/masks/p{index}.png"), np.array([255, 0, 1])[mask]
        )
        np.testing.assert_array_equal(
            read_mask(tmp_path / f"mydata-numbers/masks/p{index}.png"), np.array([0, 0, 1])[mask]
        )
        np.testing.assert_array_equal(
            read_mask(tmp_path / f"mydata-corrected/masks/p{index}.png"),
            read_mask(tmp_path / f"out/masks/p{index}.png"),
        )
    assert open_data("folder:mydata").label_map.names == ["background", "road", "car"]
    assert yaml.safe_load((tmp_path / "prelabels/labels.yaml").read_text())["classes"][2]["name"] == "car"
    assert len(folder_of_pictures(tmp_path / "out/masks")) == PICTURES
    assert (tmp_path / "prelabels-cvat/annotations.xml").is_file()
    assert (tmp_path / "prelabels-coco/annotations.json").is_file()
    statistics = yaml.safe_load((tmp_path / "tiles/labels.yaml").read_text())["statistics"]
    assert (statistics["dtype"], len(statistics["mean"]), statistics["high"][0]) == ("uint16", 5, 65535)
    assert json.loads((tmp_path / "runs/tiles/best/config.json").read_text())["channels"] == statistics
    assert len(folder_of_pictures(tmp_path / "out-tiles/masks")) == PICTURES
    for command in ("runs/bodies/best", "folder:bodies"):
        labels = labels_of(command)
        assert labels.mirrored[:3].tolist() == [0, 2, 1]
