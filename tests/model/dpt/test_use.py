"""A DPT as a member of the family: predicted, evaluated, exported, served, trained; depth as what it is."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

import refineseg
from refineseg.cli.main import main
from refineseg.config.resize import Resize
from refineseg.errors import ConfigError, InputError
from refineseg.inference.depth import Depth
from refineseg.labels import LabelMap
from refineseg.model import create_model
from refineseg.model.conversion.convert import convert_checkpoint
from refineseg.model.folders.model_folder import ModelCard, save_model_folder
from refineseg.serving.app import create_app
from tests.data.made import make_folder
from tests.model.dpt.originals import PREPROCESSOR, depth_anything, output, segmentation, write_repository

SIZE = (60, 90)  # of pictures, height first: seen at 64x96 by the rule of ``PREPROCESSOR``


def photograph(height: int, width: int, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dpt")
    write_repository(segmentation(), folder / "repository")
    convert_checkpoint(folder / "repository", folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def depth_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("depth")
    write_repository(depth_anything(), folder / "repository", PREPROCESSOR | {"ensure_multiple_of": 14})
    convert_checkpoint(folder / "repository", folder / "model")
    return folder / "model"


@torch.inference_mode()
def test_labels_are_those_of_transformers_processor_and_class(model: Path) -> None:
    from transformers import DPTImageProcessor

    picture = photograph(300, 200)
    processor = DPTImageProcessor.from_dict(PREPROCESSOR)
    pixels = processor(images=picture, return_tensors="pt")["pixel_values"]
    assert pixels.shape[-2:] == (128, 96)
    logits = torch.nn.functional.interpolate(output(segmentation(), pixels), (300, 200), mode="bilinear")
    result = refineseg.load(model, device="cpu").predict(picture)
    assert len(np.unique(result.labels)) > 1
    assert (
        result.labels == logits[0].argmax(0).numpy()
    ).mean() > 0.995  # theirs rounds the resized picture to bytes


@pytest.mark.parametrize("fit", ["exact", "least"])
@pytest.mark.parametrize(("height", "width"), [(480, 640), (200, 300), (1000, 800), (33, 700)])
def test_the_resize_rule_is_that_of_transformers(fit: str, height: int, width: int) -> None:
    from transformers.models.dpt.image_processing_dpt import get_resize_output_image_size

    theirs = get_resize_output_image_size(torch.zeros(3, height, width), (480, 480), fit == "least", 32)
    ours = Resize.from_dict({"height": 480, "width": 480, "fit": fit, "multiple": 32}).size(height, width)
    assert ours == (theirs.height, theirs.width)


def test_fits_by_hand() -> None:
    assert Resize(518, 518, "cover", 14).size(600, 900) == (518, 784)  # 777 is 55.5 patches: to the even count
    assert Resize(384, 384, "inside", 32).size(300, 900) == (128, 384)
    assert Resize(100, 100, "least", 32).size(1, 4000) == (32, 96)


def test_predict_evaluate_export_and_serve(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph(*SIZE).save(tmp_path / "a.png")
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "a.png"), "--model", str(model), "-o", str(out)]) == 0
    assert np.asarray(Image.open(out / "masks/a.png")).shape == SIZE
    windows = tmp_path / "windows"
    photograph(300, 420).save(tmp_path / "b.png")
    arguments = ["predict", str(tmp_path / "b.png"), "--model", str(model), "-o", str(windows), "--tile", "224"]
    assert main(arguments) == 0
    assert np.asarray(Image.open(windows / "masks/b.png")).shape == (300, 420)

    data = make_data(tmp_path)
    scores = tmp_path / "scores.json"
    assert main(["evaluate", "--model", str(model), "--data", str(data), "--json", str(scores)]) == 0
    assert 0 <= json.loads(scores.read_text())["mean_iou"] <= 1

    file = tmp_path / "model.onnx"
    capsys.readouterr()
    assert main(["export", "--model", str(model), "-o", str(file)]) == 0, capsys.readouterr().err
    report = json.loads((tmp_path / "model.onnx.report.json").read_text())
    assert report["passed"]
    picture = photograph(*SIZE, seed=1)
    exported, network = (refineseg.load(item, device="cpu").predict(picture).labels for item in (file, model))
    assert (exported == network).mean() > 0.999

    client = TestClient(create_app(refineseg.load(model, device="cpu")), "http://localhost")
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    headers = {"Content-Type": "image/png", "Accept": "image/png"}
    with client:
        answer = client.post("/v1/segment?output=mask", content=stream.getvalue(), headers=headers)
    assert answer.status_code == 200, answer.text
    assert (np.asarray(Image.open(io.BytesIO(answer.content))) == network).all()


def make_data(folder: Path) -> str:
    """Two pictures with the model's five classes, in one folder with val.txt."""
    root = folder / "data"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in "ab":
        photograph(*SIZE, seed=ord(name)).save(root / f"images/{name}.png")
        labels = rng.integers(0, 5, (4, 6), np.uint8).repeat(15, 0).repeat(15, 1)
        Image.fromarray(labels).save(root / f"masks/{name}.png")
    names = ", ".join(f"kind {index}" for index in range(5))
    (root / "labels.yaml").write_text(f"classes: [{names}]\n")
    (root / "val.txt").write_text("a\nb\n")
    return f"folder:{root}"


def test_depth_is_a_16_bit_png_and_a_picture(
    depth_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph(*SIZE).save(tmp_path / "a.png")
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "a.png"), "--model", str(depth_model), "-o", str(out)]) == 0
    levels = np.asarray(Image.open(out / "depth/a.png"))
    assert levels.dtype == np.uint16
    assert levels.shape == SIZE
    assert (levels.min(), levels.max()) == (0, 65535)
    assert Image.open(out / "depth-pictures/a.png").mode == "RGB"
    (entry,) = json.loads((out / "predictions.json").read_text())["predictions"]
    assert entry["depth"]["unit"] == "relative"
    values = refineseg.load(depth_model, device="cpu").predict_depth(tmp_path / "a.png").values
    read = levels * entry["depth"]["png_step"] + entry["depth"]["png_zero"]
    assert np.abs(read - values).max() <= entry["depth"]["png_step"]
    arguments = ["predict", str(tmp_path / "a.png"), "--model", str(depth_model), "-o", str(tmp_path / "other")]
    assert main([*arguments, "--save", "mask"]) == 2
    assert "with a model of depth among depth, depth-picture, got 'mask'" in capsys.readouterr().err
    assert main([*arguments, "--tile", "64"]) == 2
    assert "can be written by windows, got depth" in capsys.readouterr().err
    assert main([*arguments, "--sequence"]) == 2
    assert "videos need a model of classes" in capsys.readouterr().err
    assert main(["serve", "--model", str(depth_model)]) == 2
    capsys.readouterr()
    assert main(["evaluate", "--model", str(depth_model), "--data", make_data(tmp_path)]) == 2
    assert "expected a model of classes to score" in capsys.readouterr().err


def test_depth_is_exported(depth_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "depth.onnx"
    assert main(["export", "--model", str(depth_model), "-o", str(file)]) == 0, capsys.readouterr().err
    assert "depth differs from the network's by at most" in capsys.readouterr().out
    picture = photograph(*SIZE)
    ours, theirs = (
        refineseg.load(item, device="cpu").predict_depth(picture).values for item in (depth_model, file)
    )
    np.testing.assert_allclose(theirs, ours, atol=1e-4 * float(ours.max()))


def test_classes_and_depth_are_not_mistaken_for_each_other(model: Path, depth_model: Path) -> None:
    with pytest.raises(InputError, match="gives depth"):
        refineseg.load(depth_model, device="cpu").predict(photograph(*SIZE))
    with pytest.raises(InputError, match="gives classes"):
        refineseg.load(model, device="cpu").predict_depth(photograph(*SIZE))


def test_metres_by_hand() -> None:
    values = np.array([[0.0, 1.2344], [2.0, 99.0]], np.float32)
    depth = Depth(values, "metres", np.zeros((2, 2, 3), np.uint8))
    assert depth.levels().tolist() == [[0, 1234], [2000, 65535]]
    picture = np.asarray(depth.picture())
    assert picture[0, 0].tolist() == [252, 255, 164], "near is light"
    assert picture[1, 1].tolist() == [13, 8, 60]


@pytest.mark.parametrize(
    "backbone",
    [
        "beit_base_patch16_224",
        pytest.param("vit_small_patch16_dinov3", marks=pytest.mark.slow),
        pytest.param("vit_base_r50_s16_224", marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_transformer_is_exported(
    tmp_path: Path, backbone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``export`` keeps a file only if its output at several sizes is the network's."""
    torch.manual_seed(0)
    sizes = {"image": 64, "patch": 16, "width": 64, "depth": 4, "heads": 2}
    network = create_model("refinenet-dpt", 3, backbone=backbone, width=16, dpt={"vit": sizes})
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.1)
    save_model_folder(tmp_path / "model", network, ModelCard("tiny", LabelMap.from_names(["a", "b", "c"])))
    arguments = ["export", "--model", str(tmp_path / "model"), "-o", str(tmp_path / "model.onnx")]
    assert main(arguments) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "model.onnx.report.json").read_text())["passed"]


@pytest.mark.parametrize("backbone", ["test_vit", "test_vit4"])
def test_a_dpt_trains_on_own_data(tmp_path: Path, backbone: str) -> None:
    data = make_folder(tmp_path, 8, (48, 48))
    run = tmp_path / "run"
    arguments = ["train", "--data", f"folder:{data}", "--model", "refinenet-dpt", "-o", str(run), "--steps", "2"]
    arguments += ["--batch-size", "2", "--crop", "40", "--workers", "0", "--backbone-weights", "none"]
    assert main([*arguments, "--set", f"model.backbone={backbone}", "--set", "model.width=16"]) == 0
    segmenter = refineseg.load(run / "best", device="cpu")
    assert segmenter.model.config.backbone == backbone
    assert segmenter.predict(photograph(50, 41)).labels.shape == (50, 41)


def test_settings_of_the_cascade_are_refused() -> None:
    changes: dict[str, Any] = {"rcus": 1, "cascade": "two", "crp_stages": 2, "input_scales": (0.5,)}
    for name, value in changes.items():
        with pytest.raises(ConfigError, match=name):
            create_model("refinenet-dpt", 3, backbone="test_vit", **{name: value})
    with pytest.raises(ConfigError, match="one form only"):
        create_model("refinenet-dpt", 3, settings="paper")
    for other in ("resnet18", "vit_large_r50_s32_224", "nothing_at_all", "swin_tiny_patch4_window7_224"):
        with pytest.raises(ConfigError, match="plain vision transformer"):
            create_model("refinenet-dpt", 3, backbone=other)
