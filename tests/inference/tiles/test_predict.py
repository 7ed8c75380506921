"""Files of any size: what is read and written by windows equals the whole, and interrupted runs go on."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from refineseg.cli.main import main
from refineseg.data import read_mask
from refineseg.data.pictures import pillow
from refineseg.data.pictures.open_picture import open_picture
from refineseg.data.pictures.picture import OnDisk
from refineseg.data.pictures.raster import Raster
from refineseg.errors import InputError
from refineseg.inference import result
from refineseg.inference.array_ops import uncertainty
from refineseg.inference.batch import predict_files
from refineseg.inference.encoding.png import write_png_strips
from refineseg.inference.options import PredictOptions
from refineseg.inference.outputs import LargeResult, built_in_kinds
from refineseg.inference.outputs import overlay as overlays
from refineseg.inference.outputs.confidence import KIND as CONFIDENCE
from refineseg.inference.predictor import Segmenter
from refineseg.inference.tiles.predict import predict_large
from refineseg.inference.tiles.receptive_field import probe_picture
from refineseg.labels import UInt8
from refineseg.model.folders.model_folder import save_model_folder
from tests.inference.lively import lively

PICTURE = probe_picture(160, 416)
GEO = [
    (33550, 12, 3, (10.0, 10.0, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 500_000.0, 6_000_000.0, 0.0), True),
    (34735, 3, 12, (1, 1, 0, 2, 1025, 0, 1, 1, 3072, 0, 1, 32633), True),
]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    made = lively()
    made.runner.__dict__["overlap"] = 32
    return made


FORMS: dict[str, dict[str, Any]] = {
    "tiled": {"tile": (64, 64), "compression": "zlib"},
    "strips": {"rowsperstrip": 48, "compression": "zlib"},
    "planes": {"tile": (64, 64), "planarconfig": "separate"},
    "plain": {},
    "big": {"bigtiff": True, "tile": (32, 48)},
}


@pytest.mark.parametrize("form", FORMS)
def test_tiff_windows(tmp_path: Path, form: str) -> None:
    options = dict(FORMS[form])
    data = PICTURE.transpose(2, 0, 1) if form == "planes" else PICTURE
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=options.pop("bigtiff", False)) as writer:
        writer.write(data, photometric="rgb", extratags=GEO, **options)
    with open_picture(tmp_path / "a.tif", scratch=tmp_path) as picture:
        assert picture.size == (160, 416)
        for window in ((0, 160, 0, 416), (10, 75, 30, 200), (150, 160, 400, 416)):
            top, bottom, left, right = window
            assert np.array_equal(picture.read(*window), PICTURE[top:bottom, left:right])
        assert picture.geo.epsg == 32633
        assert picture.geo.transform == (10.0, 0.0, 500_000.0, 0.0, -10.0, 6_000_000.0)


def test_grey_deep_and_transparent_tiff(tmp_path: Path) -> None:
    deep = PICTURE[..., 0].astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "deep.tif", deep, tile=(64, 64))
    alpha = np.dstack([PICTURE, np.full((160, 416), 0, np.uint8)])
    tifffile.imwrite(tmp_path / "alpha.tif", alpha, tile=(64, 64), photometric="rgb", extrasamples=["unassalpha"])
    tifffile.imwrite(tmp_path / "six.tif", np.zeros((64, 64, 6), np.uint8), tile=(64, 64), planarconfig="contig")
    with open_picture(tmp_path / "deep.tif", scratch=tmp_path) as picture:
        assert np.array_equal(picture.read(0, 160, 0, 416), np.repeat(PICTURE[..., :1], 3, 2))
    with open_picture(tmp_path / "alpha.tif", scratch=tmp_path) as picture:
        assert (picture.read(0, 9, 0, 9) == 255).all()
    with pytest.raises(InputError, match="6 channels"), open_picture(tmp_path / "six.tif"):
        pass


def test_a_turned_tiff_is_seen_upright(tmp_path: Path) -> None:
    extra = [(274, 3, 1, 6, True)]  # turned clockwise for viewing
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, tile=(64, 64), photometric="rgb", extratags=extra)
    with open_picture(tmp_path / "a.tif", scratch=tmp_path) as picture:
        assert picture.size == (416, 160)
        assert np.array_equal(picture.read(0, 416, 0, 160), np.rot90(PICTURE, -1))


def test_damaged_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, tile=(64, 64), compression="zlib", photometric="rgb")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        at = file.pages[0].dataoffsets[3]
    data[at : at + 200] = bytes(200)
    (tmp_path / "a.tif").write_bytes(data)
    with open_picture(tmp_path / "a.tif", scratch=tmp_path) as picture, pytest.raises(InputError, match="part 3"):
        picture.read(0, 160, 0, 416)
    (tmp_path / "b.tif").write_bytes(b"no tiff at all")
    with pytest.raises(InputError, match="as TIFF"), open_picture(tmp_path / "b.tif", scratch=tmp_path):
        pass


@pytest.mark.parametrize("codec", ["jpeg", "jpeg2000"])
def test_compressed_slides(tmp_path: Path, codec: str) -> None:
    """Like Aperio's SVS: compressed tiles, then a thumbnail and a smaller level as further pages."""
    pytest.importorskip("imagecodecs")
    smooth = np.asarray(Image.fromarray(PICTURE).resize((416, 160)).resize((52, 20)).resize((416, 160)))
    level: dict[str, Any] = {"photometric": "rgb", "compression": codec, "compressionargs": {"level": 95}}
    with tifffile.TiffWriter(tmp_path / "a.svs") as writer:
        note = "Aperio Image Library v12.0.15\r\n416x160 (64x64) JPEG/RGB Q=95|AppMag = 20"
        writer.write(smooth, tile=(64, 64), description=note, metadata=None, **level)
        writer.write(smooth[::4, ::4], description="Aperio thumbnail", metadata=None, photometric="rgb")
        writer.write(smooth[::2, ::2], tile=(64, 64), metadata=None, **level)
    with open_picture(tmp_path / "a.svs", scratch=tmp_path) as picture:
        assert picture.size == (160, 416)
        window = picture.read(10, 150, 30, 200).astype(int)
    assert np.abs(window - smooth[10:150, 30:200]).mean() < 3  # colours, not merely brightness
    assert np.abs(window[..., ::-1] - smooth[10:150, 30:200]).mean() > 10


def test_a_slide_is_seen_in_windows_and_says_what_it_lacks(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("imagecodecs")
    tifffile.imwrite(tmp_path / "a.svs", PICTURE, tile=(64, 64), photometric="rgb", compression="jpeg")
    (entry,) = predict_files(segmenter, [tmp_path / "a.svs"], tmp_path / "out", PredictOptions())
    assert entry.files == {"mask": "masks/a.tif", "overlay": "overlays/a.jpg"}

    def lacking(*given: Any, **more: Any) -> Any:
        raise ValueError("<COMPRESSION.JPEG: 7> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "decode", lacking)
    (entry,) = predict_files(segmenter, [tmp_path / "a.svs"], tmp_path / "out2", PredictOptions())
    assert "pip install 'refineseg[slide]'" in (entry.error or "")


def test_large_png_goes_through_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    monkeypatch.setattr(pillow, "IN_MEMORY", 1000)
    before = Image.MAX_IMAGE_PIXELS
    with open_picture(tmp_path / "a.png", scratch=tmp_path) as picture:
        assert isinstance(picture, OnDisk)
        assert np.array_equal(picture.read(3, 50, 7, 99), PICTURE[3:50, 7:99])
    assert not list(tmp_path.glob("*.raw"))
    assert before == Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow would refuse: 66,560 pixels
    with open_picture(tmp_path / "a.png", scratch=tmp_path) as picture:
        assert picture.size == (160, 416)
    monkeypatch.setattr(pillow, "LIMIT", 1000)
    with pytest.raises(InputError, match="tiled TIFF"), open_picture(tmp_path / "a.png", scratch=tmp_path):
        pass


def test_png_by_strips(tmp_path: Path) -> None:
    labels = PICTURE[..., 0] // 25
    strips: list[UInt8] = [labels[:50], labels[50:51], labels[51:]]
    palette = np.arange(768, dtype=np.int64).reshape(256, 3).astype(np.uint8)
    write_png_strips(tmp_path / "a.png", labels.shape, strips, palette)
    assert np.array_equal(read_mask(tmp_path / "a.png"), labels)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        first = image.convert("RGB").getpixel((0, 0))
        assert first == tuple(palette[labels[0, 0]].tolist())


def test_all_outputs_of_a_geotiff(segmenter: Segmenter, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "map.tif", PICTURE, tile=(64, 64), photometric="rgb", extratags=GEO)
    out = tmp_path / "out"
    kinds = tuple(built_in_kinds())
    (entry,) = predict_files(segmenter, [tmp_path / "map.tif"], out, PredictOptions(), kinds, tile=128)
    assert entry.error is None
    assert set(entry.files) == set(kinds)
    expected = segmenter.predict(PICTURE, tile=128, probabilities=True)
    assert expected.probabilities is not None
    with tifffile.TiffFile(out / entry.files["mask"]) as file:
        page: Any = file.pages[0]
        assert np.array_equal(page.asarray(), expected.labels)
        assert page.tags[33922].value == GEO[1][3]
        assert page.tags[34735].value == GEO[2][3]
        assert (page.colormap[:, 3] // 257).tolist() == segmenter.card.labels.palette[3].tolist()
    with np.load(out / entry.files["probs"]) as saved:  # as of whole pictures
        assert saved["probabilities"].dtype == np.float16
        np.testing.assert_allclose(saved["probabilities"], expected.probabilities, atol=2e-3)
        assert list(saved["class_names"]) == expected.class_names
    sure = read_mask(out / entry.files["confidence"]).astype(int)
    assert np.abs(sure - CONFIDENCE.shown(expected.probabilities)).max() <= 1
    entropy = read_mask(out / entry.files["uncertainty"]).astype(int)
    assert np.abs(entropy - uncertainty(expected.probabilities)).max() <= 1
    features = json.loads((out / entry.files["geojson"]).read_text())["features"]
    xs = [point[0] for item in features for ring in item["geometry"]["coordinates"] for point in ring]
    assert (min(xs), max(xs)) == (500_000, 504_160)
    assert sum(item["properties"]["area_pixels"] for item in features) == PICTURE.shape[0] * PICTURE.shape[1]
    assert entry.class_shares == pytest.approx(expected.class_shares)
    assert not list(out.glob(".*"))
    recorded = json.loads((out / "predictions.json").read_text())["predictions"][0]
    assert recorded["files"] == entry.files
    assert recorded["size"] == [416, 160]


def test_interrupted_runs_go_on(segmenter: Segmenter, tmp_path: Path) -> None:
    Image.fromarray(np.ascontiguousarray(PICTURE.swapaxes(0, 1))).save(tmp_path / "a.png")
    options, save = PredictOptions(), ("mask", "probs")
    whole = predict_large(segmenter, tmp_path / "a.png", tmp_path / "whole", options, save, 96)
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done == total // 2:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_large(segmenter, tmp_path / "a.png", out, options, save, 96, progress=stop)
    state = json.loads((out / ".a.part" / "state.json").read_text())
    assert 0 < state["rows"] < 416
    assert not (out / "masks").exists()
    went: list[int] = []
    done = predict_large(
        segmenter, tmp_path / "a.png", out, options, save, 96, progress=lambda i, n: went.append(i)
    )
    assert done.resumed_at == state["rows"]
    assert len(went) < seen[-1] * 2  # windows above it were not seen again
    for kind in save:
        assert done.files[kind].read_bytes() == whole.files[kind].read_bytes()
    assert not (out / ".a.part").exists()


def test_other_options_begin_anew(segmenter: Segmenter, tmp_path: Path) -> None:
    Image.fromarray(np.ascontiguousarray(PICTURE.swapaxes(0, 1))).save(tmp_path / "a.png")

    def stop(done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_large(segmenter, tmp_path / "a.png", tmp_path, PredictOptions(), ("mask",), 96, progress=stop)
    again = predict_large(segmenter, tmp_path / "a.png", tmp_path, PredictOptions(), ("mask",), 128)
    assert again.resumed_at == 0


def test_a_thinned_overlay_keeps_no_whole_strips(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every n-th pixel as a view would keep the whole picture in memory, 1.2 GB for 20,000 x 20,000."""
    monkeypatch.setattr(overlays, "PIXELS", 500_000)
    size = (3000, 3000)
    labels = Raster(tmp_path / "labels.raw", size).create()
    picture = OnDisk(Raster(tmp_path / "picture.raw", size, channels=3).create())
    monkeypatch.setattr(result, "OVERLAY_ROWS", 64)
    tracemalloc.start()
    large = LargeResult(labels, segmenter.card.labels, picture, None, [], False)
    path = overlays.KIND.write_large(large, tmp_path, "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    with Image.open(path) as overlay:
        assert overlay.height == 600
    strip = 256 * 5 * 3000 * (1 + 3)
    assert peak < 2.2 * strip < 3000 * 3000 * 4


def test_command(segmenter: Segmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model_folder(tmp_path / "m", segmenter.model, segmenter.card)
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    command = ["predict", str(tmp_path / "a.png"), "--model", str(tmp_path / "m"), "--device", "cpu"]
    assert main([*command, "-o", str(tmp_path / "whole")]) == 0
    for tile in ("auto", "4096"):
        assert main([*command, "-o", str(tmp_path / tile), "--tile", tile, "--save", "mask,rle"]) == 0
        assert np.array_equal(
            read_mask(tmp_path / tile / "masks/a.png"), read_mask(tmp_path / "whole/masks/a.png")
        )
        assert (tmp_path / tile / "rle/a.json").is_file()
    capsys.readouterr()
    assert main([*command, "-o", str(tmp_path / "x"), "--tile", "many"]) == 2
    assert "expected --tile auto or a number" in capsys.readouterr().err
