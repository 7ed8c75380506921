"""Finding a model by name: bundled, a model folder, or on the Hub."""

from __future__ import annotations

from pathlib import Path

from refineseg.errors import WeightsError
from refineseg.model.folders.bundled import bundled_exports, bundled_models
from refineseg.model.folders.hub import CONFIG, fetch_model, is_hub_name


def find_model(name: str) -> Path:
    """The folder of a bundled model, a model folder itself, or the folder of ``hf:ORG/NAME`` in the Hub's cache.

    The folder of a training run means its ``best/``. WeightsError for anything else.
    """
    if is_hub_name(name):
        return fetch_model(name)
    bundled = bundled_models()
    if name in bundled:
        return bundled[name]
    path = Path(name).expanduser()
    if path.is_dir():
        best = path / "best"
        return best if not (path / CONFIG).exists() and (best / CONFIG).is_file() else path
    if name in bundled_exports():
        network = name.removesuffix("-int8")
        raise WeightsError(f"expected a network, got the exported file {name}: {network} is the network")
    names = ", ".join([*bundled, *bundled_exports()]) or "none here"
    raise WeightsError(f"unknown model {name!r}: expected a bundled name ({names}), a model folder or hf:ORG/NAME")
