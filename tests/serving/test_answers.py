"""What the server answers is what the predictor gives, in every form and by every way of sending."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from refineseg.inference.array_ops import uncertainty
from refineseg.inference.predictor import Segmenter
from refineseg.inference.tiles.tiling import Tiling
from refineseg.labels import UInt8
from refineseg.serving.decoding import picture_formats
from tests.serving.made import NAMES, SEGMENT, encoded, pixels, serving

PICTURE = pixels()


@pytest.fixture(scope="module")
def client(segmenter: Segmenter) -> Iterator[Any]:
    with serving(segmenter) as client:
        yield client


@pytest.fixture(scope="module")
def labels(segmenter: Segmenter) -> UInt8:
    found = segmenter.predict(PICTURE).labels
    assert len(np.unique(found)) > 1
    return found


def mask_of(content: bytes) -> UInt8:
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "P"
        return np.array(image)


def test_a_form_and_raw_bytes_give_the_mask(client: Any, labels: UInt8) -> None:
    data = encoded(PICTURE)
    by_form = client.post(SEGMENT, params={"output": "mask"}, files={"image": ("../a b.png", data, "image/png")})
    raw = client.post(SEGMENT, params={"output": "mask"}, content=data, headers={"content-type": "image/png"})
    nameless = client.post(SEGMENT, params={"output": "mask"}, content=data)
    for answer in (by_form, raw, nameless):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["content-disposition"] == 'inline; filename="mask.png"'
        assert np.array_equal(mask_of(answer.content), labels)
    assert [part.split(";")[0] for part in raw.headers["server-timing"].split(", ")] == [
        "decode",
        "queue",
        "predict",
        "encode",
    ]


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF"])
def test_formats(client: Any, segmenter: Segmenter, format: str) -> None:
    if format.replace("HEIF", "HEIC") not in map(str.upper, picture_formats()):
        pytest.skip(f"{format} is not decoded by this installation")
    data = encoded(PICTURE, format)
    with Image.open(io.BytesIO(data)) as image:
        expected = segmenter.predict(image).labels
    answer = client.post(SEGMENT, params={"output": "mask"}, content=data)
    assert np.array_equal(mask_of(answer.content), expected)


def test_the_summary(client: Any, segmenter: Segmenter) -> None:
    answer = client.post(SEGMENT, content=encoded(PICTURE)).json()
    assert answer["model"] == "tiny"
    assert (answer["width"], answer["height"]) == (56, 40)
    expected = segmenter.predict(PICTURE).class_shares
    assert list(answer["class_shares"]) == list(expected)
    assert answer["class_shares"] == pytest.approx(expected, abs=1e-6)


def test_what_was_assumed_is_in_the_summary(client: Any) -> None:
    assert "notes" not in client.post(SEGMENT, content=encoded(PICTURE)).json()
    clear = np.dstack([PICTURE, np.zeros(PICTURE.shape[:2], np.uint8)])
    answer = client.post(SEGMENT, content=encoded(clear)).json()
    assert answer["notes"] == ["its transparent pixels are read over white"]


def test_every_output_alone(client: Any, segmenter: Segmenter, labels: UInt8) -> None:
    result = segmenter.predict(PICTURE, probabilities=True)
    assert result.probabilities is not None

    def ask(kind: str) -> Any:
        answer = client.post(SEGMENT, params={"output": kind}, content=encoded(PICTURE))
        assert answer.status_code == 200, answer.text
        return answer

    with Image.open(io.BytesIO(ask("overlay").content)) as overlay:
        assert overlay.format == "JPEG"
        assert overlay.size == result.overlay().size
    with np.load(io.BytesIO(ask("probs").content)) as saved:
        np.testing.assert_array_equal(saved["probabilities"], result.probabilities)
        assert list(saved["class_names"]) == NAMES
    with Image.open(io.BytesIO(ask("uncertainty").content)) as grey:
        assert np.array_equal(np.array(grey), uncertainty(result.probabilities))
    areas = dict.fromkeys(NAMES, 0)
    for polygon in ask("polygons").json()["polygons"]:
        areas[polygon["class"]] += polygon["area_pixels"]
    assert areas == {name: int((labels == index).sum()) for index, name in enumerate(NAMES)}
    geojson = ask("geojson")
    assert geojson.headers["content-type"] == "application/geo+json"
    assert geojson.json()["type"] == "FeatureCollection"
    for item in ask("rle").json()["masks"]:
        assert np.array_equal(coco.decode(item["segmentation"]).astype(bool), labels == item["train_id"])


def test_several_outputs_in_one_document(client: Any, labels: UInt8) -> None:
    answer = client.post(SEGMENT, params={"output": "mask,rle"}, content=encoded(PICTURE)).json()
    assert set(answer["outputs"]) == {"mask", "rle"}
    assert np.array_equal(mask_of(base64.b64decode(answer["outputs"]["mask"])), labels)
    alone = client.post(SEGMENT, params={"output": "rle"}, content=encoded(PICTURE)).json()
    assert answer["outputs"]["rle"] == alone


def test_options_in_the_address_and_in_the_form_are_the_same(client: Any, segmenter: Segmenter) -> None:
    expected = segmenter.predict(PICTURE, scales=(0.75, 1.5), flip=True, probabilities=True).probabilities
    options = {"scales": "0.75,1.5", "flip": "true", "output": "probs"}
    for sent in ({"params": options}, {"data": options}):
        answer = client.post(SEGMENT, files={"image": encoded(PICTURE)}, **sent)
        with np.load(io.BytesIO(answer.content)) as saved:
            np.testing.assert_array_equal(saved["probabilities"], expected)


def test_tiles_are_the_predictors(client: Any, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = pixels(150, 210)
    expected = segmenter.predict(picture, tile=96).labels
    planned: list[Tiling] = []
    tiling = segmenter.tiling

    def noted(*given: Any) -> Tiling:
        planned.append(tiling(*given))
        return planned[-1]

    monkeypatch.setattr(segmenter, "tiling", noted)
    answer = client.post(SEGMENT, params={"tile": "96", "output": "mask"}, content=encoded(picture))
    assert np.array_equal(mask_of(answer.content), expected)
    client.post(SEGMENT, content=encoded(picture))
    assert [found.windows for found in planned] == [8, 1]  # rows from 0, 32; columns from 0, 32, 64, 96


def test_orientation_and_alpha_are_read_as_they_show(client: Any, segmenter: Segmenter) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned by 90 degrees
    data = encoded(PICTURE, "TIFF", exif=turned)
    with Image.open(io.BytesIO(data)) as image:
        expected = segmenter.predict(image)
    answer = client.post(SEGMENT, params={"output": "mask"}, content=data)
    assert np.array_equal(mask_of(answer.content), expected.labels)
    assert expected.labels.shape == (56, 40)


def test_the_model_is_described(client: Any) -> None:
    found = client.get("/v1/model").json()
    assert [label["name"] for label in found["labels"]] == NAMES
    assert found["labels"][1]["color"] == found["palette"][1]
    assert len(found["palette"]) == 256
    assert found["licence"] == "none"
    assert found["limits"]["formats"] == list(picture_formats())
    assert "provenance" not in json.dumps(found)


def test_the_bundled_models_description_has_its_protocol_and_no_path() -> None:
    from refineseg.loading import load
    from refineseg.serving.description import describe_model
    from refineseg.serving.limits import Limits

    found = describe_model(load("camvid", "cpu"), Limits())
    assert found.scores[0].mean_iou is not None
    assert 0.7 < found.scores[0].mean_iou < 0.9
    assert "single scale" in found.scores[0].protocol
    assert "/shared" not in repr(found)


@pytest.mark.parametrize(("model", "engine"), [("camvid-int8", "openvino"), ("camvid-int8", None)])
def test_exported_files_are_served_with_either_engine(model: str, engine: str | None) -> None:
    pytest.importorskip(engine or "onnxruntime")
    from refineseg.loading import load

    segmenter = load(model, engine=engine)
    assert segmenter.runner.name == (engine or "onnxruntime")
    picture = pixels(96, 128)
    with serving(segmenter) as client:
        answer = client.post(SEGMENT, params={"output": "mask"}, content=encoded(picture))
        assert answer.status_code == 200, answer.text
        assert np.array_equal(mask_of(answer.content), segmenter.predict(picture).labels)
        assert client.post(
            SEGMENT, params={"output": "probs", "flip": "true"}, content=encoded(picture)
        ).is_success
        assert client.get("/v1/model").json()["model"] == segmenter.card.name


def test_probes_and_counters(segmenter: Segmenter) -> None:
    with serving(segmenter) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ready"}
        for _ in range(3):
            client.post(SEGMENT, content=encoded(PICTURE))
        client.post(SEGMENT, content=b"nothing")
        client.get("/nowhere/at/all")
        text = client.get("/metrics").text
    assert 'refineseg_requests_total{route="/v1/segment",status="200"} 3.0' in text
    assert 'refineseg_requests_total{route="/v1/segment",status="415"} 1.0' in text
    assert 'refineseg_requests_total{route="other",status="404"} 1.0' in text
    assert "refineseg_batch_pictures_count 3.0" in text
    assert "refineseg_batch_pictures_sum 3.0" in text
    assert f"refineseg_pixels_total {3.0 * PICTURE[..., 0].size}" in text
    assert 'refineseg_stage_seconds_count{stage="predict"} 3.0' in text
    assert "refineseg_open_requests 0.0" in text
    assert 'refineseg_model_info{model="tiny"} 1.0' in text
    assert "process_resident_memory_bytes" in text
