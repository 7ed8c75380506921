"""Masks as .npy, .npz and .mat files: what is read, what is refused, and whole data sets of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import open_data, read_mask
from refineseg.data.check import check_data
from refineseg.data.formats.known_formats import detect
from refineseg.data.formats.parsing.mask_labels import paint
from refineseg.data.images import read_binary_mask
from refineseg.data.splits.assign import split_data
from refineseg.errors import InputError, LabelError
from refineseg.evaluation.evaluate import evaluate
from refineseg.labels import LabelMap
from refineseg.loading import load
from refineseg.training.loop import train
from tests.data.formats.helpers import brought_in, fails, picture, rows
from tests.data.made import make_folder

MASK = rows("0012", "2210", "xx01")


def npy(path: Path, array: NDArray[Any]) -> Path:
    np.save(path, array)
    return path


def npz(path: Path, array: NDArray[Any]) -> Path:
    np.savez_compressed(path, array)
    return path


def mat(path: Path, array: NDArray[Any]) -> Path:
    savemat(path, {"labels": array}, do_compression=True)
    return path


WRITERS: dict[str, Callable[[Path, NDArray[Any]], Path]] = {"npy": npy, "npz": npz, "mat": mat}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("order", "CF")
def test_the_numbers_are_those_of_the_array(tmp_path: Path, kind: str, dtype: str, order: Any) -> None:
    path = WRITERS[kind](tmp_path / f"a.{kind}", MASK.astype(dtype, order=order))
    found = read_mask(path)
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 0, 1, 2], [2, 2, 1, 0], [255, 255, 0, 1]]


def test_booleans_large_and_negative_numbers_and_a_third_axis_of_one(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    assert read_mask(npy(path, np.array([[True, False]]))).tolist() == [[1, 0]]
    wide = read_mask(npy(path, np.array([[7, 300]], np.int64)))
    assert (wide.dtype.name, wide.tolist()) == ("uint16", [[7, 300]])
    signed = read_mask(npy(path, np.array([[-1, 70000]], np.int64)))
    assert (signed.dtype.name, signed.tolist()) == ("int32", [[-1, 70000]])
    assert read_mask(npy(path, MASK[..., None])).tolist() == MASK.tolist()


def test_a_threshold_and_booleans(tmp_path: Path) -> None:
    assert read_binary_mask(npy(tmp_path / "a.npy", np.array([[0, 127, 128, 255]])), 128).tolist() == [
        [0, 0, 1, 1]
    ]
    assert read_binary_mask(npy(tmp_path / "b.npy", np.array([[True, False]])), 128).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 5, 3), np.uint8), r"HxW of class numbers .*, got shape \(4, 5, 3\); for scores .* argmax"),
        (np.zeros((1, 4, 5), np.uint8), r"got shape \(1, 4, 5\)"),
        (np.zeros(4, np.uint8), r"got shape \(4,\)"),
        (np.zeros((0, 5), np.uint8), r"at least 1x1 pixel .*, got shape \(0, 5\)"),
        (np.array([[0.5]]), "whole class numbers, got fractions"),
        (np.array([[np.nan]]), "got fractions or no numbers"),
        (np.array([[1j]]), "class numbers .*, got complex128"),
        (np.array([["road"]]), "class numbers .*, got <U4"),
        (np.array([[1 << 40]]), r"at most 32 bits .*, got 1099511627776\.\."),
        (np.array([[0]], [("a", "u1")]), "class numbers .*, got "),
        (np.array([[{}]], object), "class numbers .*, got object"),
        (np.array([["2026-01-01"]], "datetime64[D]"), "class numbers .*, got datetime64"),
    ],
)
def test_other_arrays_are_refused_in_one_line(tmp_path: Path, array: NDArray[Any], words: str) -> None:
    for path in (npy(tmp_path / "a.npy", array), npz(tmp_path / "a.npz", array)):
        with pytest.raises(InputError, match=words) as caught:
            read_mask(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_only_files_of_one_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", probabilities=np.zeros((2, 3, 4)), class_names=["a", "b"])
    np.savez(tmp_path / "none.npz")
    for name, words in (("two", r"one array .*, got 2 \(probabilities, class_names\)"), ("none", "got 0 ")):
        with pytest.raises(InputError, match=words):
            read_mask(tmp_path / f"{name}.npz")
    savemat(tmp_path / "two.mat", {"S": MASK, "captions": np.zeros((1, 1))})
    savemat(tmp_path / "struct.mat", {"GTcls": {"Segmentation": MASK}})
    savemat(tmp_path / "volume.mat", {"labels": np.zeros((3, 4, 5))})
    for name, words in (
        ("two", r"one matrix .*, got S \(uint8 3x4\), captions \(double 1x1\)"),
        ("struct", r"got GTcls \(struct 1x1\)"),
        ("volume", r"got labels \(double 3x4x5\)"),
    ):
        with pytest.raises(InputError, match=words):
            read_mask(tmp_path / f"{name}.mat")


def test_files_of_matlab_7_3_are_named(tmp_path: Path) -> None:
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
    (tmp_path / "a.mat").write_bytes(head.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n".ljust(512, b"\0"))
    with pytest.raises(InputError, match=r"of version 7\.3: save it with -v7"):
        read_mask(tmp_path / "a.mat")


def folder_of_arrays(parent: Path, pictures: int = 4) -> Path:
    """``make_folder`` with its masks as arrays of int64, void as -1."""
    root = make_folder(parent, pictures)
    for path in sorted((root / "masks").glob("*.png")):
        mask = np.asarray(Image.open(path)).astype(np.int64)
        np.save(path.with_suffix(".npy"), np.where(mask == 255, -1, mask))
        path.unlink()
    (root / "labels.yaml").write_text("classes: [background, box, other]\nignore: [-1]\n")
    return root


def test_a_folder_of_arrays_is_trained_on_and_scored_as_one_of_pictures(tmp_path: Path) -> None:
    spec = f"folder:{folder_of_arrays(tmp_path)}"
    data = open_data(spec)
    same = open_data(f"folder:{make_folder(tmp_path / 'png', 4)}")
    assert [note for note in data.notes if "held out" not in note] == []
    for ours, theirs in zip(data.split("train"), same.split("train"), strict=True):
        assert np.array_equal(data.read(ours)[1], same.read(theirs)[1])
    assert (data.read(data.split("train")[0])[1][0, :3] == 255).all()
    found = {item.kind for item in check_data(spec).findings}
    assert found == {item.kind for item in check_data(f"folder:{tmp_path / 'png/set'}").findings}
    augment = AugmentConfig(crop=(32, 32))
    config = TrainConfig(steps=1, batch_size=2, augment=augment, workers=0, seed=1)
    train(config, data, tmp_path / "run")
    segmenter = load(tmp_path / "run/best")
    for split in ("train", "val"):
        scores = [evaluate(segmenter, item, split).scores for item in (data, same)]
        assert str(scores[0]) == str(scores[1])
    assert split_data(spec, shares={"val": 0.5})


def test_an_undeclared_minus_one_is_named_as_void(tmp_path: Path) -> None:
    root = folder_of_arrays(tmp_path)
    (root / "labels.yaml").write_text("classes: [background, box, other]\n")
    (found,) = [item for item in check_data(f"folder:{root}").findings if item.severity == "error"]
    assert found.kind == "void-not-declared"
    assert "ignore: [-1]" in found.fix
    data = open_data(f"folder:{root}")
    with pytest.raises(LabelError, match=r"found -1 \(3 pixels\)"):
        data.read(data.split("train")[0])


def test_what_lies_around_is_named(tmp_path: Path) -> None:
    root = folder_of_arrays(tmp_path)
    np.save(root / "masks/q.npy", MASK)
    np.save(root / "images/q.npy", MASK)
    notes = open_data(f"folder:{root}").notes
    assert [note.split(", such as ")[0] for note in notes[1:]] == [
        "skipped 1 mask without a picture",
        "skipped 1 file of a kind that is not read",
    ]
    Image.fromarray(MASK).save(root / "masks/p0.png")
    with pytest.raises(InputError, match=r"p0\.npy and p0\.png differ only in their suffix"):
        open_data(f"folder:{root}")
    for path in (root / "images").glob("*.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"no pictures in .*: save q\.npy and the like as PNG or TIFF"):
        open_data(f"folder:{root}")


LAYOUTS = {
    "images/a.png": "masks/a.npy",
    "train/images/a.png": "train/masks/a.npz",
    "Training_Pictures/a.png": "Truth/a.npy",
    "a.jpg": "a_mask.npy",
    "a.png": "a.mat",
}


@pytest.mark.parametrize("image", LAYOUTS)
def test_layouts_of_an_import(tmp_path: Path, image: str) -> None:
    src = tmp_path / "src"
    path = src / LAYOUTS[image]
    picture(src / image, 3, 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[path.suffix[1:]](path, MASK)
    assert detect(src).name == "palette"
    fails(src, tmp_path / "out", "palette", "the first masks contain 0, 1, 2, 255")
    (src / "labels.yaml").write_text("classes: [ground, {name: car, raw: [1, 2]}]\nignore: [255]\n")
    _, masks = brought_in(src, tmp_path / "out")
    (found,) = masks.values()
    assert found.tolist() == [[0, 0, 1, 1], [1, 1, 1, 0], [255, 255, 0, 1]]


def test_lists_and_masks_of_each_class(tmp_path: Path) -> None:
    for folder in ("list", "classes"):
        picture(tmp_path / folder / "images/a.png", 3, 4)
    npy(tmp_path / "list/a.npy", MASK)
    (tmp_path / "list/all.csv").write_text("images/a.png,a.npy\n")
    (tmp_path / "list/labels.yaml").write_text("classes: [a, b, c]\n")
    assert brought_in(tmp_path / "list", tmp_path / "out", "list")[1]["a"].tolist() == MASK.tolist()
    for name, value in (("car", 1), ("road", 2)):
        (tmp_path / "classes/masks" / name).mkdir(parents=True)
        npy(tmp_path / "classes/masks" / name / "a.npy", np.equal(MASK, value))
    report, masks = brought_in(tmp_path / "classes", tmp_path / "out2")
    assert list(report.class_names) == ["background", "car", "road"]
    assert masks["a"].tolist() == np.where(MASK == 255, 0, MASK).tolist()


def test_colours_for_an_array_are_refused(tmp_path: Path) -> None:
    labels = LabelMap.from_dict({"classes": [{"name": "road", "raw": [[128, 64, 128]]}]})
    with pytest.raises(InputError, match="expected colours, as in the labels file, got numbers"):
        paint(npy(tmp_path / "a.npy", MASK), labels, (3, 4))
