"""Where models are found: bundled names, model folders, the Hub."""

from __future__ import annotations

from pathlib import Path

from refineseg.errors import WeightsError
from refineseg.model.hub import fetch_model, is_hub_name
from refineseg.model.weights import CONFIG

BUNDLED = Path(__file__).parents[1] / "weights"


def bundled_models() -> dict[str, Path]:
    """Names and folders of the models that come with the package."""
    return {path.parent.name: path.parent for path in sorted(BUNDLED.glob(f"*/{CONFIG}"))}


def find_model(name: str) -> Path:
    """The folder of a bundled name, the model folder itself, or that of ``hf:ORG/NAME`` in the Hub's cache.

    WeightsError if it is none of them.
    """
    if is_hub_name(name):
        return fetch_model(name)
    bundled = bundled_models()
    if name in bundled:
        return bundled[name]
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    raise WeightsError(
        f"unknown model {name!r}: expected a bundled name ({', '.join(bundled) or 'none here'}), a model folder "
        "or hf:ORG/NAME"
    )
