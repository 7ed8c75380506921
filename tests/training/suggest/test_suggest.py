"""What is written: pictures, pre-labels that import again, scores with reasons, a page."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.cli.main import main
from refineseg.data import open_data
from refineseg.data.formats import import_data
from refineseg.errors import InputError
from refineseg.inference.predictor import Segmenter
from refineseg.inference.result import Result
from refineseg.labels import LabelMap
from refineseg.model import create_model
from refineseg.model.folders.model_folder import ModelCard, save_model_folder
from refineseg.training.suggest.picture_features import picture_features, pixel_uncertainty, pooled
from refineseg.training.suggest.suggest import labelled_pictures, suggest
from tests.data.made import make_folder

NAMES = ["background", "box", "other"]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    network = create_model("refinenet-lw-mbv2", 3, width=16, coarse_width=16).eval()
    return Segmenter.from_network(network, ModelCard("tiny", LabelMap.from_names(NAMES)), "cpu")


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    return sorted((make_folder(tmp_path, 6) / "images").iterdir())


def test_unsure_pixels_by_hand() -> None:
    """Half of the picture is certain, a quarter near 50:50 between two classes, a quarter without data."""
    shares = np.zeros((3, 16, 16), np.float16)
    shares[0, :, :8] = 1
    shares[1, :8, 8:], shares[2, :8, 8:] = 0.55, 0.45
    labels = np.zeros((16, 16), np.uint8)
    labels[8:, 8:] = 255
    result = Result(labels, LabelMap.from_names(NAMES), np.zeros((16, 16, 3), np.uint8), shares)
    entropy, unsure, pair = pixel_uncertainty(result)
    assert unsure == pytest.approx(1 / 3)
    assert pair == ("box", "other")
    of_unsure = -(0.55 * np.log(0.55) + 0.45 * np.log(0.45)) / np.log(3)
    assert entropy == pytest.approx(of_unsure / 3, abs=0.005)


def test_features_tell_pictures_apart(segmenter: Segmenter) -> None:
    """The same for the same picture, whatever its size; another for another."""
    rng = np.random.default_rng(0)
    image, other = rng.random((2, 64, 96, 3), np.float32)
    one = pooled(segmenter.model, image)
    np.testing.assert_array_equal(one, pooled(segmenter.model, image))
    assert not np.allclose(one, pooled(segmenter.model, other * 0.3), rtol=0.05)


def test_a_folder_of_work(segmenter: Segmenter, photos: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    out = tmp_path / "todo"
    report = suggest(segmenter, [*photos, broken], out, number=2, labelled=photos[:1])
    assert (report.pictures, len(report.suggestions)) == (5, 2)
    assert report.notes[0] == "left out 1 picture labelled already"
    assert "broken.png is left out" in report.notes[1]
    assert sorted(path.name for path in out.iterdir()) == ["images", "index.html", "prelabels", "suggestions.csv"]
    names = [item.name for item in report.suggestions]
    assert sorted(path.stem for path in (out / "images").iterdir()) == sorted(names)
    rows = list(csv.DictReader((out / "suggestions.csv").open()))
    assert len(rows) == 5
    assert [row["rank"] for row in rows] == ["1", "2", "", "", ""]
    assert [Path(row["picture"]).stem for row in rows[:2]] == names
    assert "of its area" in rows[0]["reason"]
    text = (out / "index.html").read_text()
    assert text.count("data:image/jpeg") == 2 * 3
    assert all(f"{rank}. {name}" in text for rank, name in enumerate(names, 1))

    imported = import_data(out / "prelabels", tmp_path / "new")
    assert imported.pictures == 2, "the pictures are found beside the pre-labels"
    data = open_data(f"folder:{tmp_path / 'new'}")
    assert data.label_map.names == NAMES


def test_worth_is_what_the_look_says(segmenter: Segmenter, photos: list[Path], tmp_path: Path) -> None:
    """Without labelled pictures the most unsure one comes first."""
    looks = [picture_features(segmenter, path) for path in photos]
    report = suggest(segmenter, photos, tmp_path / "todo", number=1, format="coco")
    assert report.suggestions[0].picture.path == max(looks, key=lambda look: look.uncertainty).path
    assert list((tmp_path / "todo" / "prelabels").glob("*.json"))


def test_nothing_is_left_of_what_fails(segmenter: Segmenter, photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="format of"):
        suggest(segmenter, photos[:1], tmp_path / "todo", format="paper")
    with pytest.raises(InputError, match="without labels, found none"):
        suggest(segmenter, photos[:1], tmp_path / "todo", labelled=photos)
    assert not [path for path in tmp_path.iterdir() if "todo" in path.name]


def test_the_run_knows_what_it_was_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, run = make_folder(tmp_path, 4), tmp_path / "run"
    network = create_model("refinenet-lw-mbv2", 3, width=16, coarse_width=16)
    save_model_folder(run / "best", network, ModelCard("tiny", LabelMap.from_names(NAMES)))
    assert labelled_pictures(str(run))[0] == []
    (run / "config.yaml").write_text(f"data: folder:{root}\n")
    assert len(labelled_pictures(str(run / "best"))[0]) == 4
    photo = tmp_path / "photos" / "new.png"
    photo.parent.mkdir()
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(photo)
    words = ["data", "suggest", str(photo.parent), str(root / "images"), "--model", str(run), "-o"]
    assert main([*words, str(tmp_path / "todo"), "--number", "3"]) == 0
    said = capsys.readouterr()
    assert f"note: labelled already: 4 pictures of folder:{root}" in said.err
    assert "1 of 1 picture in" in said.out
    next((root / "masks").iterdir()).unlink()
    (run / "config.yaml").write_text(f"data: folder:{root}\ndrop_bad: true\n")
    assert labelled_pictures(str(run))[1] == f"labelled already: 3 pictures of folder:{root}"
    (run / "config.yaml").write_text("data: folder:gone\n")
    assert "unknown which pictures are labelled already" in labelled_pictures(str(run))[1]
