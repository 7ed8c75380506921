"""Files for other programs: run by onnxruntime alone and by the other engines, compared with the predictor."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import refineseg
from refineseg.cli.main import main
from refineseg.config import ModelConfig
from refineseg.data.registry import open_data
from refineseg.deploy.export import export
from refineseg.deploy.formats import save_openvino, write_format
from refineseg.deploy.trace import Exportable, axis_name, trace
from refineseg.deploy.verification import MIOU_LOSS, LogitsRunner, SizeComparison, refusal
from refineseg.errors import InputError
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners.exported import FORMAT, Exported, ExportedRunner, Input, Outputs, open_exported
from refineseg.inference.scoring import temperatures
from refineseg.inference.tiles.receptive_field import probe_picture
from refineseg.model.folders.model_folder import config_json
from refineseg.runtime import load
from tests.deploy import made
from tests.shared import shared

SIZES = ((1, 1), (35, 129), (97, 131))


@pytest.mark.parametrize(
    ("stride", "scale", "name"),
    [
        (4, 1, "ceil(height/4)"),
        (4, 2, "ceil(height/2)"),
        (4, 1.2, "ceil(round(1.2*height)/4)"),
        (4, 8, "ceil(round(8*height)/4)"),
        (1, 1, "height"),
    ],
)
def test_axes_are_named_by_their_size(stride: int, scale: float, name: str) -> None:
    assert axis_name("height", stride, scale) == name


# Another program: it has onnxruntime, and nothing of ours.
ALONE = """
import sys
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
(given,), (output,) = session.get_inputs(), session.get_outputs()
print(given.name, given.type, given.shape, output.name, output.type, output.shape)
arrays = np.load(sys.argv[2])
np.savez(sys.argv[3], **{name: session.run(None, {"images": arrays[name]})[0] for name in arrays})
assert not [name for name in sys.modules if name.split(".")[0] in ("refineseg", "torch")]
"""
TAKES = {
    "float32": "images tensor(float) ['batch', 3, 'height', 'width']",
    "uint8": "images tensor(uint8) ['batch', 'height', 'width', 3]",
}
GIVES = {
    "logits": "logits tensor(float) ['batch', 5, 'ceil(height/4)', 'ceil(width/4)']",
    "labels": "labels tensor(uint8) ['batch', 'height', 'width']",
    "probabilities": "probabilities tensor(float) ['batch', 5, 'height', 'width']",
}


def batch(height: int, width: int) -> NDArray[np.uint8]:
    """A picture and its mirror image, 2xHxWx3."""
    picture = probe_picture(height, width, 3)
    return np.stack([picture, picture[:, ::-1]])


def compare(found: NDArray[Any], pictures: NDArray[np.uint8], outputs: Outputs, segmenter: Segmenter) -> None:
    """What a file gave for pictures is what the predictor gives."""
    for one, picture in zip(found, pictures, strict=True):
        expected = segmenter.predict(picture, probabilities=True)
        if outputs == "labels":
            assert one.shape == picture.shape[:2]
            assert (one == expected.labels).mean() > 0.999
        elif outputs == "probabilities":
            assert expected.probabilities is not None
            np.testing.assert_allclose(one, expected.probabilities, atol=0.002)
        else:
            images = picture.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
            np.testing.assert_allclose(one, segmenter.runner(images)[0], atol=0.01 * float(one.std()))


@pytest.mark.parametrize(
    ("input", "outputs"),
    [
        ("uint8", "labels"),
        ("float32", "probabilities"),
        pytest.param("float32", "labels", marks=pytest.mark.slow),
        pytest.param("uint8", "probabilities", marks=pytest.mark.slow),
        pytest.param("uint8", "logits", marks=pytest.mark.slow),
    ],
)
def test_another_program_runs_the_file(
    input: Input, outputs: Outputs, segmenter: Segmenter, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path / "small.onnx"
    report = export(segmenter, path, input=input, outputs=outputs)
    assert report.agreement >= 0.9999
    assert all((check.error is None) == (outputs == "labels") for check in report.checks)
    assert f"{input} pictures to {outputs}" in (tmp_path / "small.onnx.report.md").read_text()
    figures = json.loads((tmp_path / "small.onnx.report.json").read_text())
    assert (figures["input"], figures["outputs"]) == (input, outputs)

    pictures = {f"{height}x{width}": batch(height, width) for height, width in SIZES}
    planes = {name: p.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255) for name, p in pictures.items()}
    np.savez(tmp_path / "in.npz", **(pictures if input == "uint8" else planes))
    words = [sys.executable, "-c", ALONE, *(str(tmp_path / name) for name in ("small.onnx", "in.npz", "out.npz"))]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{TAKES[input]} {GIVES[outputs]}"
    with np.load(tmp_path / "out.npz") as found:
        for name in pictures:
            compare(found[name], pictures[name], outputs, segmenter)

    if outputs == "logits":
        again = load(path).predict(pictures["97x131"][0])
        assert np.array_equal(again.labels, segmenter.predict(pictures["97x131"][0]).labels)
    else:
        with pytest.raises(InputError, match=f"small.onnx gives {outputs}"):
            load(path)


@pytest.mark.parametrize(
    ("suffix", "outputs"),
    [
        (".xml", "labels"),
        pytest.param(".xml", "probabilities", marks=pytest.mark.slow),
        pytest.param(".pt2", "labels", marks=pytest.mark.slow),
        pytest.param(".pt2", "probabilities", marks=pytest.mark.slow),
    ],
)
def test_files_of_openvino_and_torch(
    suffix: str, outputs: Outputs, segmenter: Segmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if suffix == ".xml":
        pytest.importorskip("openvino")
        pytest.importorskip("onnxscript")
    path = tmp_path / f"small{suffix}"
    report = export(segmenter, path, input="uint8", outputs=outputs)
    assert report.refused is None
    runner = open_exported(path, outputs=outputs)
    for height, width in (*SIZES, (16, 40), (1, 1)):  # large first: nothing of it may remain
        pictures = batch(height, width)
        compare(runner.run(pictures), pictures, outputs, segmenter)
    Image.fromarray(probe_picture(40, 50)).save(tmp_path / "street.png")
    words = ["predict", str(tmp_path / "street.png"), "-o", str(tmp_path / "out"), "--model", str(path)]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{path.name} gives {outputs}: use one made with refineseg export --outputs logits" in line


def test_openvino_with_one_thread_does_not_answer_with_the_output_before(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A synchronous call of 2026.4 drops the error of a picture; here the window exceeds the map."""
    openvino = pytest.importorskip("openvino")
    ops = openvino.opset13
    images = ops.parameter([-1, 3, -1, -1], np.float32, name="images")
    pool = ops.avg_pool(images, [1, 1], [0, 0], [0, 0], [2, 2], True)
    text = json.dumps(config_json(segmenter.model.config, segmenter.card) | {"export": {"format": FORMAT}})
    save_openvino(openvino.Model([pool], [images]), tmp_path / "pool.xml", text)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runner = open_exported(tmp_path / "pool.xml")
    assert runner.run(np.ones((1, 3, 5, 5), np.float32)).shape == (1, 3, 4, 4)
    with pytest.raises(RuntimeError, match="larger than the data"):
        runner.run(np.ones((1, 3, 1, 1), np.float32))


def test_a_file_of_labels_or_probabilities_is_scored_by_what_it_gives() -> None:
    """The predictor with such a file gives its very labels: int8 files of them are judged so."""
    labels = np.asarray([[[0, 4, 2], [1, 1, 3]]], np.uint8)
    shares = np.full((1, 5, 2, 3), 0.1, np.float32)
    np.put_along_axis(shares, labels[:, None].astype(np.int64), 0.6, 1)
    card = made.segmenter().card
    for outputs, found in (("labels", labels), ("probabilities", shares)):
        engine = Fixed(Exported(card, ModelConfig(), {"input": "uint8", "outputs": outputs}), found)
        result = Segmenter(LogitsRunner(engine), card).predict(np.full((2, 3, 3), 7, np.uint8))
        assert np.array_equal(result.labels, labels[0])
        assert engine.seen is not None
        assert np.array_equal(engine.seen, np.full((1, 2, 3, 3), 7, np.uint8))  # as another program gives it


class Fixed(ExportedRunner):
    """Gives one output, whatever it sees."""

    name = "fixed"
    seen: NDArray[Any] | None = None

    def __init__(self, exported: Exported, output: NDArray[Any]) -> None:
        super().__init__(exported)
        self.output = output

    def run(self, images: NDArray[Any]) -> NDArray[Any]:
        self.seen = images
        return self.output


@pytest.mark.slow
@pytest.mark.parametrize("outputs", ["labels", "probabilities", "logits"])
def test_opencv_runs_the_file(outputs: Outputs, segmenter: Segmenter, tmp_path: Path) -> None:
    """Its picture is BGR; blobFromImage makes of it what the file takes."""
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless, 150 MB, is not among the dependencies")
    if int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("sizes stay open from OpenCV 5 on")
    path = tmp_path / "small.onnx"
    exported = Exportable(segmenter.model, outputs, temperatures(segmenter.card))
    write_format(trace(exported), "onnx", path, "{}")
    network = cv2.dnn.readNetFromONNX(str(path))
    for picture in (probe_picture(97, 131), probe_picture(64, 96)):
        network.setInput(cv2.dnn.blobFromImage(picture[..., ::-1].copy(), 1 / 255, swapRB=True))
        compare(network.forward(), picture[None], outputs, segmenter)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "outputs"), [(".onnx", "labels"), (".xml", "labels"), (".xml", "probabilities")]
)
def test_int8_from_uint8_of_the_bundled_model(suffix: str, outputs: Outputs, tmp_path: Path) -> None:
    """Calibrated and judged on pictures as other programs give them."""
    data = open_data(f"camvid:{shared('data', 'camvid')}")
    data = replace(data, splits={"train": data.split("train")[::40], "val": data.split("val")[::20]})
    path = tmp_path / f"camvid{suffix}"
    report = export("camvid", path, int8=True, calibrate=data, input="uint8", outputs=outputs)
    assert report.int8 is not None
    assert report.int8.loss <= MIOU_LOSS
    picture, _ = data.read(data.split("val")[1])
    (found,) = open_exported(path, outputs=outputs).run(picture[None])
    labels = found if outputs == "labels" else found.argmax(0)
    assert (labels == refineseg.load("camvid").predict(picture).labels).mean() > 0.95


def test_logits_of_a_network_that_scales_its_input_say_their_size(tmp_path: Path) -> None:
    """The network sees pictures twice as large, so its logits have half of their sides, not a quarter."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    doubled = Exportable(made.small(input_scales=(2.0,)))
    write_format(trace(doubled), "onnx", tmp_path / "doubled.onnx", "{}")
    session = onnxruntime.InferenceSession(tmp_path / "doubled.onnx")
    assert session.get_outputs()[0].shape == ["batch", 5, "ceil(height/2)", "ceil(width/2)"]
    (logits,) = session.run(None, {"images": np.zeros((1, 3, 97, 131), np.float32)})
    assert logits.shape == (1, 5, 49, 66)


def test_other_probabilities_and_labels_are_refused() -> None:
    assert refusal([SizeComparison(9, 9, 1, 1.0, None)], "labels") is None
    assert "labels to agree" in str(refusal([SizeComparison(9, 9, 1, 0.99, None)], "labels"))
    assert "probabilities to differ from the network's by at most 1%" in str(
        refusal([SizeComparison(9, 9, 1, 1.0, 0.02)], "probabilities")
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.onnx", ["--outputs", "masks"], "expected --outputs logits or labels or probabilities, got 'masks'"),
        ("a.onnx", ["--input", "uint16"], "expected --input float32 or uint8, got 'uint16'"),
    ],
)
def test_outputs_that_cannot_be(
    name: str, options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "-o", str(tmp_path / name), *options]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
