"""Models that come with the package: model folders, and their int8 forms as ONNX. No torch."""

from __future__ import annotations

from pathlib import Path

BUNDLED = Path(__file__).parents[2] / "weights"
INT8 = "int8.onnx"  # name of the int8 form in a model folder


def bundled_models() -> dict[str, Path]:
    """Folders of the bundled models by name, such as ``camvid``."""
    return {path.parent.name: path.parent for path in sorted(BUNDLED.glob("*/config.json"))}


def bundled_exports() -> dict[str, Path]:
    """Files of their int8 forms by name, such as ``camvid-int8``."""
    return {f"{path.parent.name}-int8": path for path in sorted(BUNDLED.glob(f"*/{INT8}"))}
