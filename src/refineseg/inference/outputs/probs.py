"""Probabilities: an .npz with ``probabilities`` KxHxW float16 and ``class_names``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from refineseg.inference.outputs import LargeResult, OutputKind
from refineseg.system.files import atomic_path

if TYPE_CHECKING:
    from refineseg.inference.result import Result


class Probs(OutputKind):
    """See the module."""

    name, folder, suffix, media_type = "probs", "probs", ".npz", "application/zip"
    needs_probabilities = True
    kept_type = np.float16

    def write(self, result: Result, stream: BinaryIO, effort: int = 6) -> None:
        """Deflated."""
        del effort
        assert result.probabilities is not None  # Result.write refuses before
        np.savez_compressed(stream, probabilities=result.probabilities, class_names=result.class_names)

    def keep(self, probabilities: NDArray[np.float16]) -> NDArray[Any]:
        """The scores unchanged."""
        return probabilities

    def write_large(self, large: LargeResult, folder: Path, name: str) -> Path:
        """The same arrays, row by row."""
        path = self.path(folder, name)
        shape = (len(large.kept), *large.labels.size)
        with (
            atomic_path(path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, True, 1) as file,
        ):
            with file.open("probabilities.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(
                    member, {"descr": "<f2", "fortran_order": False, "shape": shape}
                )
                for plane in large.kept:
                    for _, rows in plane.strips():
                        member.write(rows.tobytes())
            with file.open("class_names.npy", "w") as member:
                np.lib.format.write_array(member, np.array(large.label_map.names))
        return path


KIND = Probs()
