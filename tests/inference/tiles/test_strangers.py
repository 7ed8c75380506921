"""Predict on files of tests/strangers: whole, in windows and served alike; voids, notes and what is left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from refineseg.channels import Channels
from refineseg.cli.main import main
from refineseg.data import read_mask
from refineseg.inference.array_ops import uncertainty
from refineseg.inference.batch import Entry, left_out, predict_files
from refineseg.inference.options import PredictOptions
from refineseg.inference.predictor import Segmenter
from refineseg.labels import LabelMap, UInt8
from refineseg.model import create_model
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.model_folder import save_model_folder
from tests.data.pictures.test_kinds import RGB, write
from tests.model.filled import fill
from tests.serving.made import SEGMENT, serving, tiny

STRANGERS = Path(__file__).parents[2] / "strangers"
PICTURES = sorted((STRANGERS / "geo").iterdir()) + sorted((STRANGERS / "pics").iterdir())
PICTURES.append(STRANGERS / "png16_12bit/images/d0.png")
KINDS = ("mask", "overlay", "probs", "geojson", "rle", "polygons", "uncertainty")


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return tiny()


def predicted(segmenter: Segmenter, path: Path, out: Path, tile: Any = None, **options: Any) -> Entry:
    (entry,) = predict_files(segmenter, [path], out, PredictOptions(**options), KINDS, tile=tile)
    assert entry.error is None, entry.error
    return entry


def mask_of(entry: Entry, out: Path) -> UInt8:
    path = out / entry.files["mask"]
    return np.asarray(tifffile.imread(path) if path.suffix == ".tif" else read_mask(path))


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_windows_and_the_server_see_the_same_picture(segmenter: Segmenter, path: Path, tmp_path: Path) -> None:
    whole = predicted(segmenter, path, tmp_path / "whole")
    one = predicted(segmenter, path, tmp_path / "tiled", 4096)  # one window: the same labels, bit by bit
    labels = mask_of(whole, tmp_path / "whole")
    assert np.array_equal(mask_of(one, tmp_path / "tiled"), labels)
    assert one.notes == whole.notes
    assert one.class_shares == pytest.approx(whole.class_shares)
    with serving(segmenter) as client:
        answer = client.post(SEGMENT, params={"output": "mask"}, content=path.read_bytes())
    if path.name in ("multipage.tif", "gif_anim.gif"):
        assert answer.status_code == 422  # the server takes single pictures
        assert "several" in answer.json()["detail"]
    elif path.suffix != ".avif":
        (tmp_path / "served.png").write_bytes(answer.content)
        assert np.array_equal(read_mask(tmp_path / "served.png"), labels)


def test_a_turned_map_keeps_its_exact_transform(segmenter: Segmenter, tmp_path: Path) -> None:
    entry = predicted(segmenter, STRANGERS / "geo/rotated.tif", tmp_path, "auto")
    with (
        tifffile.TiffFile(STRANGERS / "geo/rotated.tif") as given,
        tifffile.TiffFile(tmp_path / entry.files["mask"]) as made,
    ):
        for code in (34264, 34735, 34737):
            assert made.pages.first.tags[code].value == given.pages.first.tags[code].value


@pytest.mark.parametrize("tile", [None, 64])
def test_no_data_is_void_in_every_output(segmenter: Segmenter, tmp_path: Path, tile: int | None) -> None:
    pixels = RGB.copy()
    pixels[:30, 20:60] = 7
    pixels[50, 50, 0] = 7  # one channel alone
    path = write(tmp_path / "a.tif", pixels, "7", tile=(32, 32))
    entry = predicted(segmenter, path, tmp_path / "out", tile)
    labels = mask_of(entry, tmp_path / "out")
    void = np.zeros(labels.shape, bool)
    void[:30, 20:60] = True
    assert np.array_equal(labels == 255, void)
    assert sum(entry.class_shares.values()) == pytest.approx(1)
    counted = np.bincount(labels[~void], minlength=4) / (~void).sum()
    for name, share in entry.class_shares.items():
        assert share == pytest.approx(counted[segmenter.class_names.index(name)])
    scores = np.load(tmp_path / "out" / entry.files["probs"])["probabilities"]
    assert not scores[:, void].any()
    assert scores[:, ~void].any(0).all()
    with Image.open(tmp_path / "out" / entry.files["uncertainty"]) as image:
        assert (np.asarray(image)[void] == 255).all()
    result = segmenter.predict(path)
    assert np.array_equal(np.asarray(result.overlay(legend=False))[void], pixels[void])
    runs = json.loads((tmp_path / "out" / entry.files["rle"]).read_text())
    assert "255" not in str(sorted(runs))
    if tile:
        with tifffile.TiffFile(tmp_path / "out" / entry.files["mask"]) as made:
            assert made.pages.first.tags[42113].value == "255"


def test_probabilities_of_void_are_uncertain() -> None:
    scores = np.array([[[0.0, 1.0, 0.5]], [[0.0, 0.0, 0.5]]], np.float16)
    assert uncertainty(scores).tolist() == [[255, 0, 255]]


def test_channels_of_a_raster_for_a_model_of_rgb(segmenter: Segmenter, tmp_path: Path) -> None:
    four = np.dstack([RGB[..., ::-1], RGB[..., :1]]).astype(np.uint16) * 257
    path = write(tmp_path / "a.tif", four, photometric="minisblack", tile=(32, 32))
    expected = segmenter.predict(RGB).labels
    assert np.array_equal(segmenter.predict(path, channels=(3, 2, 1)).labels, expected)
    entry = predicted(segmenter, path, tmp_path / "out", 4096, channels=(3, 2, 1))
    assert np.array_equal(mask_of(entry, tmp_path / "out"), expected)
    with serving(segmenter) as client:
        given = {"output": "mask", "channels": "3,2,1"}
        answer = client.post(SEGMENT, params=given, content=path.read_bytes())
        (tmp_path / "served.png").write_bytes(answer.content)
        assert np.array_equal(read_mask(tmp_path / "served.png"), expected)
        unmarked = client.post(SEGMENT, params={"output": "mask"}, content=path.read_bytes())
        assert (unmarked.status_code, "4 channels" in unmarked.json()["detail"]) == (422, True)
        assert client.post(SEGMENT, params={"channels": "0"}, content=path.read_bytes()).status_code == 422


def test_a_raster_of_the_models_channels_is_served(tmp_path: Path) -> None:
    channels = Channels("uint16", (0.0,) * 4, (65535.0,) * 4, (0.4,) * 4, (0.2,) * 4, (0, 1, 2))
    model = create_model(
        "refinenet-lw-mbv2", 3, width=16, coarse_width=16, in_channels=4, mean=channels.mean, std=channels.std
    )
    fill(model)
    card = ModelCard("four", LabelMap.from_names(["a", "b", "c"]), channels=channels)
    segmenter = Segmenter.from_network(model, card, device="cpu")
    four = np.dstack([RGB, RGB[..., :1]]).astype(np.uint16) * 257
    four[:10] = 0
    path = write(tmp_path / "a.tif", four, "0", photometric="minisblack", tile=(32, 32))
    labels = segmenter.predict(path).labels
    assert (labels[:10] == 255).all()
    assert (labels[10:] != 255).all()
    with serving(segmenter) as client:
        answer = client.post(SEGMENT, params={"output": "mask"}, content=path.read_bytes())
        (tmp_path / "served.png").write_bytes(answer.content)
        assert np.array_equal(read_mask(tmp_path / "served.png"), labels)
        wrong = client.post(SEGMENT, content=(STRANGERS / "pics/photo.jfif").read_bytes())
        assert (wrong.status_code, "4 channels of uint16" in wrong.json()["detail"]) == (422, True)


def test_folders_name_what_they_leave_out(
    segmenter: Segmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(STRANGERS / "pics", tmp_path / "pics")
    for name in ("a.jxl", "b.JXL", "notes.txt", "words", ".hidden"):
        (tmp_path / "pics" / name).write_text("BM no picture")
    save_model_folder(tmp_path / "model", segmenter.model, segmenter.card)
    command = ["predict", str(tmp_path / "pics"), "--model", str(tmp_path / "model"), "--device", "cpu"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "skipped, not a picture or video: 2 .jxl, 1 .txt, 1 no suffix" in told
    assert "multipage.tif: page 1 of 2 is read" in told
    written = json.loads((tmp_path / "out/predictions.json").read_text())
    done = {Path(entry["input"]).name: entry.get("notes") for entry in written["predictions"]}
    assert set(done) == {path.name for path in (STRANGERS / "pics").iterdir()}
    assert done["gif_anim.gif"] == ["frame 1 of 2 is read"]
    assert [Path(path).name for path in written["left_out"]] == ["a.jxl", "b.JXL", "notes.txt", "words"]
    assert left_out([str(tmp_path / "pics/noext")]) == []
