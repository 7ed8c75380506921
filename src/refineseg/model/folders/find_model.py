"""Finding a model by name: bundled with the package, a model folder, or on the Hub. No torch."""

from __future__ import annotations

from pathlib import Path

from refineseg.errors import WeightsError
from refineseg.model.folders.hub import CONFIG, fetch_model, is_hub_name
from refineseg.system.files import expanded

BUNDLED = Path(__file__).parents[2] / "weights"
INT8 = "int8.onnx"  # name of the int8 form in a model folder


def bundled_models() -> dict[str, Path]:
    """Folders of the bundled models by name, such as ``camvid``."""
    return {path.parent.name: path.parent for path in sorted(BUNDLED.glob("*/config.json"))}


def bundled_exports() -> dict[str, Path]:
    """Files of their int8 forms by name, such as ``camvid-int8``."""
    return {f"{path.parent.name}-int8": path for path in sorted(BUNDLED.glob(f"*/{INT8}"))}


def find_model(name: str) -> Path:
    """The folder of a bundled model, a model folder itself, or the folder of ``hf:ORG/NAME`` in the Hub's cache.

    The folder of a training run means its ``best/``. WeightsError for anything else.
    """
    if is_hub_name(name):
        return fetch_model(name)
    bundled = bundled_models()
    if name in bundled:
        return bundled[name]
    path = expanded(name)
    if path.is_dir():
        best = path / "best"
        return best if not (path / CONFIG).exists() and (best / CONFIG).is_file() else path
    if name in bundled_exports():
        network = name.removesuffix("-int8")
        raise WeightsError(f"expected a network, got the exported file {name}: {network} is the network")
    names = ", ".join([*bundled, *bundled_exports()]) or "none here"
    raise WeightsError(f"unknown model {name!r}: expected a bundled name ({names}), a model folder or hf:ORG/NAME")
