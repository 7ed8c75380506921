"""GeoTIFFs of five 16-bit channels from end to end: import, check, train, evaluate, predict, pre-labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from numpy.typing import NDArray
from PIL import Image

import refineseg
from refineseg.cli.main import main
from refineseg.config import TrainConfig
from refineseg.data import open_data, read_mask
from refineseg.data.pictures.geotiff import TAGS
from refineseg.errors import ConfigError, InputError
from refineseg.labels import UInt8
from refineseg.training.preparation.prepare_run import prepare_run
from tests.inference.tiles.test_predict import GEO

SIZE = (64, 96)
SETTINGS = ("workers=0", "ema=0", "model.width=16", "model.coarse_width=16", "model.dropout=0")
SMALL = ["--batch-size", "4", "--crop", "64", "--device", "cpu"]
SMALL += [part for setting in SETTINGS for part in ("--set", setting)]


def scene(seed: int) -> tuple[NDArray[np.uint16], UInt8]:
    """Field and water that differ in the fifth band alone, which a reader of RGB never sees."""
    draw = np.random.default_rng(seed)
    mask = np.zeros(SIZE, np.uint8)
    top, left = draw.integers(0, 24), draw.integers(0, 40)
    mask[top : top + 32, left : left + 48] = 1
    raw = draw.normal((1200, 900, 800, 1500, 3000), 60, (*SIZE, 5))
    raw[..., 4][mask == 1] -= 2500
    return np.clip(raw, 0, 65535).astype(np.uint16), mask


def write(path: Path, raw: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, raw, photometric="minisblack", planarconfig="contig", extratags=GEO)


def geo_tags(path: Path) -> dict[int, Any]:
    with tifffile.TiffFile(path) as file:
        tags: Any = file.pages.first.tags
        return {code: tags[code].value for code in TAGS if code in tags}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, and a network trained on it for a few steps."""
    folder = tmp_path_factory.mktemp("satellite")
    for index in range(8):
        raw, mask = scene(index)
        write(folder / f"src/images/s{index}.tif", raw)
        (folder / "src/masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(folder / f"src/masks/s{index}.png")
    (folder / "src/train.txt").write_text("".join(f"s{index}\n" for index in range(6)))
    (folder / "src/val.txt").write_text("s6\ns7\n")
    (folder / "src/labels.yaml").write_text("classes: [field, water]\nignore: [255]\n")
    assert main(["data", "import", str(folder / "src"), "-o", str(folder / "tiles")]) == 0
    train = ["train", "--data", f"folder:{folder / 'tiles'}", "--model", "refinenet-lw-mbv2", "--steps", "40"]
    assert main([*train, *SMALL, "--lr", "0.01", "-o", str(folder / "run")]) == 0
    return folder


def test_the_check_finds_nothing_wrong(root: Path, tmp_path: Path) -> None:
    page = tmp_path / "check.html"
    assert main(["check", f"folder:{root / 'tiles'}", "--json", f"{tmp_path}/c.json", "--html", str(page)]) == 0
    report = json.loads((tmp_path / "c.json").read_text())
    # That not all 16 bits are used is said, and no fault.
    assert [(item["kind"], item["severity"]) for item in report["findings"]] == [("used-depth", "note")]
    assert page.read_text().count("<figure>") == 12


def test_the_model_keeps_what_the_channels_mean(root: Path) -> None:
    statistics = yaml.safe_load((root / "tiles/labels.yaml").read_text())["statistics"]
    values = json.loads((root / "run/best/config.json").read_text())
    assert values["channels"] == statistics
    assert values["model"]["in_channels"] == 5
    assert values["model"]["mean"] == statistics["mean"]
    assert "5 channels of uint16" in values["preprocessing"]["input"]
    segmenter = refineseg.load(root / "run/best")
    assert segmenter.card.channels == open_data(f"folder:{root / 'tiles'}").channels


def test_it_learns_from_the_band_that_rgb_leaves_out(root: Path, tmp_path: Path) -> None:
    best, data = str(root / "run/best"), f"folder:{root / 'tiles'}"
    arguments = ["--model", best, "--data", data, "--json", f"{tmp_path}/s.json", "--report", f"{tmp_path}/report"]
    assert main(["evaluate", *arguments, "--device", "cpu"]) == 0
    assert json.loads((tmp_path / "s.json").read_text())["mean_iou"] > 0.8
    assert (tmp_path / "report/index.html").stat().st_size > 10_000


def test_predictions_keep_their_place_and_go_back_as_prelabels(root: Path, tmp_path: Path) -> None:
    out, photos = tmp_path / "out", root / "tiles/images"
    predict = ["predict", str(photos / "s6.tif"), "--model", str(root / "run/best"), "-o", str(out)]
    assert main([*predict, "--save", "mask,overlay,geojson", "--device", "cpu"]) == 0
    (entry,) = json.loads((out / "predictions.json").read_text())["predictions"]
    assert entry["files"]["mask"] == "masks/s6.tif"
    assert geo_tags(out / "masks/s6.tif") == geo_tags(photos / "s6.tif")
    assert set(geo_tags(out / "masks/s6.tif")) == {code for code, *_ in GEO}
    labels = tifffile.imread(out / "masks/s6.tif")
    # The same labels from the path, from raw values in memory, in windows and from the file.
    segmenter = refineseg.load(root / "run/best", "cpu")
    raw, truth = scene(6)
    np.testing.assert_array_equal(segmenter.predict(photos / "s6.tif").labels, labels)
    result = segmenter.predict(raw)
    np.testing.assert_array_equal(result.labels, labels)
    assert (labels == truth).mean() > 0.9
    assert result.image.shape == (*SIZE, 3)
    assert result.image.dtype == np.uint8
    coordinates = json.loads((out / "geojson/s6.geojson").read_text())
    assert coordinates["crs"]["properties"]["name"].endswith("32633")
    for format in ("labelme", "cvat", "coco"):
        arguments = ["--format", format, "--model", str(root / "run/best"), "--images", str(photos)]
        arguments += ["--shapes", "mask"] if format == "labelme" else []  # polygons are simplified
        pre, back = tmp_path / f"pre-{format}", tmp_path / f"back-{format}"
        assert main(["data", "export", str(out), *arguments, "-o", str(pre)]) == 0
        assert main(["data", "import", str(pre), "--images", str(photos), "-o", str(back)]) == 0
        np.testing.assert_array_equal(read_mask(back / "masks/s6.png"), labels)


def test_windows_of_raw_values(root: Path, tmp_path: Path) -> None:
    """A wide raster in windows is nearly the whole; channels as pages of their own give the same."""
    segmenter = refineseg.load(root / "run/best", "cpu")
    segmenter.runner.__dict__["overlap"] = 64
    raw = np.concatenate([scene(seed)[0] for seed in (6, 7, 8)], axis=1)
    whole = segmenter.predict(raw).labels
    assert (segmenter.predict(raw, tile=128).labels == whole).mean() > 0.98
    write(tmp_path / "contiguous.tif", raw)
    options: dict[str, Any] = {"photometric": "minisblack", "extratags": GEO}
    planes = raw.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "planes.tif", planes, planarconfig="separate", tile=(32, 64), **options)
    tifffile.imwrite(tmp_path / "pages.tif", planes, **options)
    tifffile.imwrite(tmp_path / "motorola.tif", raw, planarconfig="contig", byteorder=">", **options)
    for path in sorted(tmp_path.glob("*.tif")):
        arguments = [str(path), "--model", str(root / "run/best"), "-o", str(tmp_path / path.stem)]
        assert main(["predict", *arguments, "--save", "mask", "--device", "cpu"]) == 0, path
        np.testing.assert_array_equal(tifffile.imread(tmp_path / path.stem / "masks" / path.name), whole)


def test_other_pictures_are_refused_in_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "four.tif", scene(0)[0][..., :4])
    write(tmp_path / "bytes.tif", scene(0)[0].astype(np.uint8))
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.jpg")
    arguments = ["--model", str(root / "run/best"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["predict", *(str(tmp_path / n) for n in ("four.tif", "bytes.tif", "photo.jpg")), *arguments]) == 2
    told = " ".join(capsys.readouterr().err.split())
    for words in ("5 channels of uint16", "got 4 of uint16", "got 5 of uint8", "photo.jpg"):
        assert words in told
    with pytest.raises(InputError, match="5 channels of uint16"):
        refineseg.load(root / "run/best", "cpu").predict(np.zeros((8, 8, 3), np.uint8))


def test_training_starts_only_from_a_model_that_sees_the_same(root: Path, tmp_path: Path) -> None:
    data = open_data(f"folder:{root / 'tiles'}")
    assert data.channels is not None
    other = replace(data, channels=replace(data.channels, low=(1.0,) * 5))
    config = TrainConfig(model=str(root / "run/best"), workers=0)
    run = prepare_run(config, other, tmp_path / "a", device="cpu")
    assert run.data.channels == data.channels  # raw values mean what they meant to the model
    with pytest.raises(ConfigError, match="trained on RGB, the data has 5 channels of uint16"):
        prepare_run(replace(config, model="camvid"), data, tmp_path / "b", device="cpu")
    with pytest.raises(ConfigError, match="in_channels of 5"):
        prepare_run(TrainConfig(fields={"in_channels": 4}), data, tmp_path / "c", device="cpu")


def test_statistics_that_do_not_fit_are_found_before_training(root: Path, tmp_path: Path) -> None:
    """Files of other channels, and statistics written by hand."""
    link = tmp_path / "data"
    link.mkdir()
    for name in ("masks", "images"):
        (link / name).symlink_to(root / "tiles" / name)
    values = yaml.safe_load((root / "tiles/labels.yaml").read_text())
    for key in ("low", "high", "mean", "std"):
        values["statistics"][key] = values["statistics"][key][:4]
    (link / "labels.yaml").write_text(yaml.safe_dump(values))
    assert main(["check", f"folder:{link}", "--json", str(tmp_path / "c.json")]) == 2
    found = json.loads((tmp_path / "c.json").read_text())["findings"]
    assert found[0]["kind"] == "unreadable-image"
    assert "expected 4 channels of uint16" in found[0]["message"]
    (link / "labels.yaml").write_text(yaml.safe_dump(values | {"statistics": {"channels": 5}}))
    with pytest.raises(ConfigError, match="'statistics' as refineseg data import writes them"):
        open_data(f"folder:{link}")
