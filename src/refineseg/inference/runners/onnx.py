"""ONNX files with onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.errors import WeightsError, extra
from refineseg.inference.runners.exported import KEY, Exported, ExportedRunner, threads
from refineseg.system.text import reason_of


class OnnxRunner(ExportedRunner):
    """Runs a file with onnxruntime; see ``ExportedRunner``."""

    name = "onnxruntime"

    def __init__(self, path: Path) -> None:
        with extra("onnxruntime", "runtime", "running ONNX files"):
            import onnxruntime as runtime
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as in refineseg.system.threads
        try:
            self.session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a type of its own for every kind of damage
            raise WeightsError(f"cannot read {path} as ONNX: {reason_of(error, 200)}") from error
        super().__init__(Exported.read(self.session.get_modelmeta().custom_metadata_map.get(KEY), path))

    def run(self, images: NDArray[Any]) -> NDArray[Any]:
        """See ``ExportedRunner``."""
        (output,) = self.session.run(None, {"images": images})
        return np.asarray(output)
