"""What comes with the package: model folders, and their int8 forms as ONNX. No torch."""

from __future__ import annotations

from pathlib import Path

BUNDLED = Path(__file__).parents[2] / "weights"
INT8 = "int8.onnx"  # beside the folder's own files


def bundled_models() -> dict[str, Path]:
    """Names and folders of the models: ``camvid``."""
    return {path.parent.name: path.parent for path in sorted(BUNDLED.glob("*/config.json"))}


def bundled_exports() -> dict[str, Path]:
    """Names and files of their int8 forms: ``camvid-int8``."""
    return {f"{path.parent.name}-int8": path for path in sorted(BUNDLED.glob(f"*/{INT8}"))}
