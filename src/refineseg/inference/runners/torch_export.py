"""Files of torch.export with torch."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refineseg.errors import WeightsError
from refineseg.inference.runners.exported import KEY, Exported, ExportedRunner
from refineseg.system.text import reason_of


class TorchExportRunner(ExportedRunner):
    """Runs a .pt2 file with torch; see ``ExportedRunner``."""

    name = "torch"

    def __init__(self, path: Path) -> None:
        extra = {KEY: ""}
        try:
            program = torch.export.load(path, extra_files=extra)
        except Exception as error:  # of the zip file, the serialiser or torch
            raise WeightsError(f"cannot read {path} as a file of torch.export: {reason_of(error, 200)}") from error
        super().__init__(Exported.read(str(extra[KEY]), path))
        # Guards and input constraints demand sizes like those traced, such as two cells at the coarsest stride.
        # Smaller pictures work too, which refineseg export checks.
        unguarded = {"check_guards": False} if "check_guards" in signature(program.module).parameters else {}
        self.module = program.module(**unguarded)
        self.module._forward_pre_hooks.clear()

    @torch.inference_mode()
    def run(self, images: NDArray[Any]) -> NDArray[Any]:
        """See ``ExportedRunner``."""
        x = torch.from_numpy(images)
        if x.dtype == torch.float32:
            x = x.contiguous(memory_format=torch.channels_last)
        return np.asarray(self.module(x).numpy())
