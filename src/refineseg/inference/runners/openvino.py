"""OpenVINO's own files and ONNX files with openvino."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.errors import WeightsError, extra
from refineseg.inference.runners.exported import KEY, Exported, ExportedRunner, threads
from refineseg.system.text import reason_of


class OpenVinoRunner(ExportedRunner):
    """Runs a file with openvino; see ``ExportedRunner``."""

    name = "openvino"

    def __init__(self, path: Path, precision: str = "32") -> None:
        openvino = openvino_package()
        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads(),
            # Its default is bf16 on processors that support it.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        }
        try:
            model = core.read_model(path)
            text = self._description(model)
            self.request = core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise WeightsError(f"cannot read {path} with openvino: {reason_of(error, 200)}") from error
        super().__init__(Exported.read(text, path))

    @staticmethod
    def _description(model: object) -> str | None:
        # Metadata of ONNX files are under "framework", those of its own files at the top.
        info = model.get_rt_info()  # type: ignore[attr-defined]
        if KEY in info:
            return str(info[KEY].astype(str))
        framework = info["framework"] if "framework" in info else {}  # noqa: SIM401 - it has no get
        return str(framework[KEY].astype(str)) if KEY in framework else None

    def run(self, images: NDArray[Any]) -> NDArray[Any]:
        """See ``ExportedRunner``."""
        # With one thread, a synchronous call of OpenVINO 2026.4 drops errors and returns the previous output.
        self.request.start_async(images)
        self.request.wait()
        return np.array(self.request.get_output_tensor().data)  # a copy: the next call writes into its memory


def openvino_package() -> ModuleType:
    """The package. MissingExtraError without it."""
    with extra("openvino", "openvino", "the engine openvino"):
        import openvino
    return openvino  # type: ignore[no-any-return]
