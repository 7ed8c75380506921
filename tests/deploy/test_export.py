"""Exported files: what they say, what is refused at once, and that they are the network at every size."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import refineseg
from refineseg.cli.main import main
from refineseg.deploy import verification
from refineseg.deploy.formats import export_format, files_of
from refineseg.deploy.report import ExportReport
from refineseg.deploy.trace import Exportable
from refineseg.errors import InputError, MissingExtraError, extra
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners.exported import open_exported
from refineseg.inference.tiles.receptive_field import probe_picture
from refineseg.model import PRESETS, RefineNet, create_model
from tests.data.made import make_folder
from tests.deploy import made
from tests.shared import shared

VARIANTS: dict[str, dict[str, Any]] = {
    **{preset: {"preset": preset} for preset in PRESETS if not preset.endswith(("r101", "r152", "dpt"))},
    "paper": {"preset": "refinenet-r18", "settings": "paper"},
    "authors": {"preset": "refinenet-r18", "settings": "authors"},
    "improved": {"preset": "refinenet-r18", "pooling": "improved"},
    "two": {"preset": "refinenet-r18", "cascade": "two"},
    "single": {"preset": "refinenet-r18", "cascade": "single"},
    "2-scale": {"preset": "refinenet-lw-r18", "input_scales": (1.2, 0.6)},
    "2-scale exact": {"preset": "refinenet-lw-r18", "input_scales": (1.2, 0.6), "exact_strides": True},
    "half-pixel": {"preset": "refinenet-lw-mbv2", "align_corners": False},
    "exact": {"preset": "refinenet-lw-mbv2", "align_corners": False, "exact_strides": True},
    "corners": {"preset": "refinenet-lw-mbv2", "align_corners": True, "exact_strides": True},
    "dilated": {"preset": "refinenet-lw-mbv2", "output_stride": 16, "image_pooling": True},
    "convnext": {"preset": "refinenet-lw-r18", "backbone": "convnext_atto"},
    "pvt": {"preset": "refinenet-lw-r18", "backbone": "pvt_v2_b0"},
    "5 channels": {
        "preset": "refinenet-lw-r18", "backbone": "resnet10t",
        "in_channels": 5, "mean": (0.5,) * 5, "std": (0.2,) * 5,
    },
}  # fmt: skip


def network(name: str) -> RefineNet:
    fields = {"width": 16, "coarse_width": 16} | VARIANTS[name]
    return made.spread(create_model(num_classes=5, **fields))


def test_the_report_says_that_it_passed(exported: tuple[Path, ExportReport]) -> None:
    path, report = exported
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "small.onnx",
        "small.onnx.report.json",
        "small.onnx.report.md",
    ]
    assert report.refused is None
    assert report.agreement >= verification.AGREEMENT
    assert len(report.checks) == 20
    assert report.engine_ms > 0
    figures = json.loads(path.with_name("small.onnx.report.json").read_text())
    assert figures["passed"] is True
    assert figures["limits"] == {"agreement": 0.9999, "error": 0.01, "miou_loss": 0.5}
    page = path.with_name("small.onnx.report.md").read_text()
    assert page.startswith("# small.onnx: passed")
    assert "grace_hopper.jpg" in page
    assert "| 359x479 |" not in page  # width first
    assert "| 479x359 | 1 | 100.0000% |" in page


def test_the_file_describes_itself(exported: tuple[Path, ExportReport], segmenter: Segmenter) -> None:
    engine = open_exported(exported[0])
    export = engine.exported.export
    assert engine.exported.card == segmenter.card
    assert engine.exported.card.licence == "CC0"
    assert engine.exported.config == segmenter.model.config
    assert export["overlap"] == segmenter.runner.overlap
    assert export["bytes_per_pixel"] == segmenter.runner.bytes_per_pixel
    assert export["source"] in segmenter.fingerprint()


def test_axes_are_named_and_no_path_of_this_machine_is_in_the_file(exported: tuple[Path, ExportReport]) -> None:
    import onnx

    graph = onnx.load(exported[0]).graph
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input}
    assert shapes == {"images": ["batch", 3, "height", "width"]}
    assert [value.name for value in graph.output] == ["logits"]
    content = exported[0].read_bytes()
    assert b"site-packages" not in content
    assert str(Path(refineseg.__file__).parent).encode() not in content


def test_formats_by_suffix() -> None:
    found = [export_format(Path(name), None) for name in ("a.onnx", "a.XML", "a.pt2")]
    assert found == ["onnx", "openvino", "torch"]
    assert files_of(Path("a.xml")) == [Path("a.bin"), Path("a.xml")]
    for name, wanted, message in (
        ("a.pb", None, r"ends in .onnx \(onnx\) or .xml \(openvino\) or .pt2 \(torch\), got a.pb"),
        ("a.onnx", "torch", "ends in .pt2, got a.onnx"),
        ("a.onnx", "tflite", "expected --format onnx, openvino, torch, got 'tflite'"),
    ):
        with pytest.raises(InputError, match=message):
            export_format(Path(name), wanted)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "a.pb"], "ends in"),
        (["-o", "there.onnx"], "there.onnx exists: add --overwrite"),
        (["-o", "a.onnx", "--int8"], "expected --calibrate DATA with --int8"),
        (["-o", "a.pt2", "--int8", "--calibrate", "folder:set"], "onnx or openvino with --int8, got torch"),
        (["-o", "a.pt2", "--calibrate", "folder:set"], "expected data with the model's classes"),
        (["-o", "a.pt2", "--calibrate", "nothing:set"], "nothing"),
        (["-o", "a.pt2", "--model", "nobody"], "unknown model 'nobody'"),
        (["-o", "a.pt2", "--model", "there.onnx"], "unknown model 'there.onnx'"),
        (["-o", "there.onnx/a.pt2"], "there.onnx"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path, 2)
    Path("there.onnx").write_text("precious")
    assert main(["export", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "there.onnx"]
    assert Path("there.onnx").read_text() == "precious"


@pytest.mark.parametrize(
    ("package", "name", "int8"),
    [
        ("onnx", "a.onnx", False),
        ("onnxscript", "a.onnx", False),
        ("openvino", "a.xml", False),
        ("nncf", "a.xml", True),
    ],
)
def test_a_missing_package_names_its_extra(
    package: str, name: str, int8: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*refineseg\[(export|openvino)\]"):
        refineseg.export("camvid", tmp_path / name, int8=int8, calibrate="folder:x" if int8 else None)


def test_a_package_that_cannot_be_loaded_is_not_called_missing() -> None:
    with (
        pytest.raises(InputError, match=r"needs the package onnx, which cannot be loaded: x.so: failed to map"),
        extra("onnx", "export", "writing ONNX files"),
    ):
        raise ImportError("x.so: failed to map segment from shared object")


def test_without_memory_for_its_libraries_an_export_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refineseg.deploy.memory.free_addresses", lambda: 64 << 20)
    with pytest.raises(InputError, match=r"not enough memory for an export: .* 384 MiB are needed, 64 are free"):
        refineseg.export("camvid", tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["pt2", "onnx", "xml"])
@pytest.mark.parametrize("name", list(VARIANTS))
def test_every_member_passes_the_gate_in_every_format(name: str, suffix: str, tmp_path: Path) -> None:
    model = network(name)
    info = made.segmenter().card
    report = refineseg.export(Segmenter.from_network(model, info, "cpu"), tmp_path / f"model.{suffix}")
    assert report.agreement >= verification.AGREEMENT
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    pixels = probe_picture(131, 75, model.config.in_channels)
    images = pixels.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    found = open_exported(tmp_path / f"model.{suffix}")(images)
    wanted = verification.run_network(Exportable(model), images).numpy()
    assert np.abs(found - wanted).mean() < 0.01 * wanted.std()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_int8_of_the_bundled_model(suffix: str, tmp_path: Path) -> None:
    """Calibrated on train, judged on val, within half a point; the file then predicts nearly the same labels."""
    data = f"camvid:{shared('data', 'camvid')}"
    path = tmp_path / f"camvid.{suffix}"
    report = refineseg.export("camvid", path, int8=True, calibrate=data)
    assert report.int8 is not None
    assert report.int8.loss <= verification.MIOU_LOSS
    picture = Image.open(next((shared("data", "camvid") / "val").iterdir()))
    labels = [refineseg.load(model).predict(picture).labels for model in ("camvid", path)]
    assert (labels[0] == labels[1]).mean() > 0.95
