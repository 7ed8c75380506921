"""Where models are found: bundled names, model folders."""

from __future__ import annotations

from pathlib import Path

from refineseg.errors import WeightsError
from refineseg.model.weights import CONFIG

BUNDLED = Path(__file__).parents[1] / "weights"


def bundled_models() -> dict[str, Path]:
    """Names and folders of the models that come with the package."""
    return {path.parent.name: path.parent for path in sorted(BUNDLED.glob(f"*/{CONFIG}"))}


def find_model(name: str) -> Path:
    """The folder of a bundled name, or the model folder itself. WeightsError if it is neither."""
    bundled = bundled_models()
    if name in bundled:
        return bundled[name]
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    raise WeightsError(
        f"unknown model {name!r}: expected a bundled name ({', '.join(bundled) or 'none here'}) or a model folder"
    )
