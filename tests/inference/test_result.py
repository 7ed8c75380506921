"""What a result says of itself, and the files it writes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.data import read_mask
from refineseg.errors import InputError
from refineseg.inference.batch import find_inputs, output_names
from refineseg.inference.outputs import built_in_kinds
from refineseg.inference.outputs.overlay import KIND as OVERLAY
from refineseg.inference.result import Result, borders
from refineseg.labels import IGNORE, LabelMap

LABELS = LabelMap.from_names(["sky", "road"], [(10, 20, 200), (120, 60, 120)])


def result() -> Result:
    labels = np.zeros((40, 60), np.uint8)
    labels[10:] = 1
    probabilities = np.stack([labels == 0, labels == 1]).astype(np.float16)
    return Result(labels, LABELS, np.full((40, 60, 3), 100, np.uint8), probabilities, "street")


def test_an_overlay_wider_than_a_jpeg_has_every_second_column() -> None:
    labels = np.zeros((8, 70_000), np.uint8)
    wide, stream = Result(labels, LABELS, np.zeros((8, 70_000, 3), np.uint8)), io.BytesIO()
    OVERLAY.write(wide, stream)
    with Image.open(stream) as image:
        assert image.height == 4
        assert 35_000 < image.width < 65_500


def test_shares_are_largest_first() -> None:
    assert result().class_shares == {"road": 0.75, "sky": 0.25}
    assert result().class_names == ["sky", "road"]


def test_a_notebook_shows_the_overlay_and_a_terminal_the_shares() -> None:
    assert repr(result()) == "Result('street', 60x40: road 75%, sky 25%)"
    with Image.open(io.BytesIO(result()._repr_png_())) as shown:
        assert np.array_equal(np.asarray(shown), np.asarray(result().overlay()))


def test_overlay_mixes_colours_and_draws_borders() -> None:
    picture = np.asarray(result().overlay(opacity=0.5, legend=False))
    assert picture.shape == (40, 60, 3)
    assert picture[0, 0].tolist() == [55, 60, 150]
    assert picture[30, 30].tolist() == [110, 80, 110]
    assert picture[9, 5].tolist() == [255, 255, 255]
    with_legend = result().overlay()
    assert with_legend.height == 40
    assert with_legend.width > 60


def test_borders_by_hand() -> None:
    edge = borders(np.array([[0, 0, 1], [0, 0, 1]], np.uint8))
    assert edge.tolist() == [[False, True, False], [False, True, False]]


def test_files(tmp_path: Path) -> None:
    files = result().save(tmp_path, ("mask", "overlay", "probs"))
    assert {kind: path.relative_to(tmp_path).as_posix() for kind, path in files.items()} == {
        "mask": "masks/street.png",
        "overlay": "overlays/street.jpg",
        "probs": "probs/street.npz",
    }
    assert np.array_equal(read_mask(files["mask"]), result().labels)
    with Image.open(files["mask"]) as mask:
        assert mask.mode == "P"
        assert mask.convert("RGB").getpixel((0, 0)) == (10, 20, 200)
    with np.load(files["probs"]) as saved:
        assert saved["probabilities"].shape == (2, 40, 60)
        assert list(saved["class_names"]) == ["sky", "road"]
    assert not list(tmp_path.rglob(".*"))


def test_tiny_and_ignored_pictures_have_overlays() -> None:
    for shape in ((1, 1), (3, 200), (300, 2)):
        labels = np.full(shape, IGNORE, np.uint8)
        overlay = Result(labels, LABELS, np.zeros((*shape, 3), np.uint8)).overlay()
        assert overlay.height == shape[0]


def test_names_are_unique_whatever_the_inputs() -> None:
    inputs = [Path(text) for text in ("a/x.png", "b/x.jpg", "b/X.png", "c/y.png", "b/x.webp", "z/c_y.png")]
    names = output_names(inputs)
    assert names == ["a_x", "b_x", "b_X_2", "y", "b_x_3", "c_y"]
    assert len({name.lower() for name in names}) == len(names)


def test_inputs_from_files_folders_and_globs(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "a.JPG", "notes.txt", "sub/c.tif", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in find_inputs([str(tmp_path)])] == ["a.JPG", "b.png", "c.tif"]
    assert [path.name for path in find_inputs([str(tmp_path / "*.png"), str(tmp_path / "b.png")])] == ["b.png"]
    with pytest.raises(InputError, match="got an empty text"):
        find_inputs([""])


def test_what_is_written_is_what_is_saved(tmp_path: Path) -> None:
    """Every kind in memory is the file byte for byte; a kind that there is not is refused."""
    files = result().save(tmp_path, tuple(built_in_kinds()))
    assert set(files) == set(built_in_kinds())
    for kind, path in files.items():
        stream = io.BytesIO()
        result().write(kind, stream)
        if kind == "probs":  # a zip holds the time
            stream.seek(0)
            with np.load(stream) as written, np.load(path) as saved:
                assert np.array_equal(written["probabilities"], saved["probabilities"])
        else:
            assert stream.getvalue() == path.read_bytes(), kind
    with pytest.raises(InputError, match=r"among confidence, .*got 'masks'"):
        result().save(tmp_path, ("masks",))
    with pytest.raises(InputError, match="probabilities=True"):
        replace(result(), probabilities=None).write("uncertainty", io.BytesIO())
