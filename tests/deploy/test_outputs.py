"""Files of labels and probabilities for other programs: run by onnxruntime alone, compared with the predictor."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from refineseg.cli.main import main
from refineseg.deploy.export import export
from refineseg.deploy.gate import Check, drift
from refineseg.deploy.trace import axis_name
from refineseg.errors import InputError
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners.exported import Outputs
from refineseg.inference.tiles.receptive_field import probe
from refineseg.runtime import load
from tests.deploy import made

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


@pytest.mark.parametrize("outputs", ["labels", "probabilities"])
def test_files_have_the_size_of_the_picture(outputs: Outputs, segmenter: Segmenter, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path / "small.onnx"
    report = export(segmenter, path, outputs=outputs)
    assert report.agreement >= 0.9999
    assert all((check.error is None) == (outputs == "labels") for check in report.checks)
    session = onnxruntime.InferenceSession(path)
    (output,) = session.get_outputs()
    assert output.name == outputs
    if outputs == "labels":
        assert (output.type, output.shape) == ("tensor(uint8)", ["batch", "height", "width"])
    else:
        assert (output.type, output.shape) == ("tensor(float)", ["batch", 5, "height", "width"])
    for height, width in SIZES:
        picture = probe(height, width, 3)
        images = np.stack([picture, picture[:, ::-1]]).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        (found,) = session.run(None, {"images": images})
        expected = segmenter.predict(picture, probabilities=True)
        assert expected.probabilities is not None
        if outputs == "labels":
            assert found.shape == (2, height, width)
            assert (found[0] == expected.labels).mean() > 0.999
        else:
            assert found.shape == (2, 5, height, width)
            np.testing.assert_allclose(found[0], expected.probabilities, atol=0.002)
    with pytest.raises(InputError, match=f"small.onnx gives {outputs}"):
        load(path)
    assert f"with {outputs} as output" in (tmp_path / "small.onnx.report.md").read_text()
    assert json.loads((tmp_path / "small.onnx.report.json").read_text())["outputs"] == outputs


def test_logits_of_a_network_that_scales_its_input_say_their_size(tmp_path: Path) -> None:
    """The network sees pictures twice as large, so its logits have half of their sides, not a quarter."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    doubled = made.segmenter(made.small(input_scales=(2.0,)))
    doubled.__dict__["overlap"] = 96
    export(doubled, tmp_path / "doubled.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "doubled.onnx")
    assert session.get_outputs()[0].shape == ["batch", 5, "ceil(height/2)", "ceil(width/2)"]
    (logits,) = session.run(None, {"images": np.zeros((1, 3, 97, 131), np.float32)})
    assert logits.shape == (1, 5, 49, 66)


def test_drift_of_probabilities_and_labels_is_refused() -> None:
    assert drift([Check(9, 9, 1, 1.0, None)], "labels") is None
    assert "labels to agree" in str(drift([Check(9, 9, 1, 0.99, None)], "labels"))
    assert "probabilities within 1%" in str(drift([Check(9, 9, 1, 1.0, 0.02)], "probabilities"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--outputs", "masks"], "expected --outputs logits, labels, probabilities, got 'masks'"),
        (["--outputs", "labels", "--int8"], "expected --outputs logits with --int8, got labels"),
    ],
)
def test_outputs_that_cannot_be(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "-o", str(tmp_path / "a.onnx"), *options]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
