"""Files of one small network, exported once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from refineseg.deploy.export import export
from refineseg.deploy.report import ExportReport
from refineseg.inference.predictor import Segmenter
from refineseg.model.folders.model_folder import save_model_folder
from tests.deploy import made


@pytest.fixture(scope="session")
def segmenter() -> Segmenter:
    found = made.segmenter()
    found.runner.__dict__["overlap"] = 96  # the measured one is wider than the tests' pictures
    return found


@pytest.fixture(scope="session")
def model_folder(segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model_folder(folder, segmenter.model, segmenter.card)
    return folder


@pytest.fixture(scope="session")
def exported(segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportReport]:
    """The network as ONNX, with its report."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("exported") / "small.onnx"
    return path, export(segmenter, path)
