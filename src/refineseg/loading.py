"""Loading a model by name, folder or exported file, to run with any engine. No torch for exported files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from refineseg._version import __version__
from refineseg.errors import InputError
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners.exported import ENGINES, FORMAT, is_exported, open_exported
from refineseg.model.folders.find_model import bundled_exports
from refineseg.system.files import cache_folder, sha256_of, writable_cache

CACHED = {"openvino": "model.xml", "onnxruntime": "model.onnx"}  # file of each engine in a model's cache
WORTH = 0.95  # largest share of torch's time at which an engine's different rounding is worth it


def load(
    model: str | Path,
    device: str = "auto",
    precision: str = "32",
    engine: str | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> Segmenter:
    """Load a model.

    Args:
        model: a bundled name (``camvid``), a model folder, ``hf:ORG/NAME[@REVISION]`` on the Hub, or a file of
            ``refineseg export``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; engines other than torch run on the CPU.
        precision: ``32``, or ``bf16`` with torch and openvino.
        engine: None is torch for a model folder and the file's own engine for an exported file. ``onnxruntime``
            and ``openvino`` export a model folder once, with checks, into the user's cache. ``auto`` uses the
            fastest cached export that was faster than torch when it was exported, else torch; it never exports,
            so loading takes no longer.
        say: called with a line before an export, which takes a minute, and with a note on a slow precision.

    Returns:
        A Segmenter; its ``model`` is the nn.Module, which an exported file does not have.

    Raises:
        WeightsError: the name is unknown, or a file is missing or damaged.
        InputError: the device does not exist, or the engine does not open this kind of model.
        MissingExtraError: the engine's package is not installed.
        RefusedError: the export did not pass its verification.
    """
    if engine not in (None, *ENGINES):
        raise InputError(f"expected --engine {', '.join(ENGINES)}, got {engine!r}")
    if is_exported(model):
        if device not in ("auto", "cpu"):
            raise InputError(f"expected --device cpu with an exported file, got {device}")
        runner = open_exported(model, engine or "auto", precision)
        card = runner.exported.card  # under the name of the network that it was made from
        return Segmenter(runner, replace(card, name=str(model)) if str(model) in bundled_exports() else card)
    try:
        from refineseg.inference.devices import precision_note
        from refineseg.inference.runners.torch_module import open_network
    except ModuleNotFoundError as error:
        raise InputError(
            f"expected a file of refineseg export such as model.onnx, got {str(model)!r}: model folders need "
            f"{error.name}, which is not installed"
        ) from error
    path = None if engine in (None, "torch") else _export_of(str(model), device, precision, str(engine), say)
    network, card = open_network(model, "cpu" if path else device, precision)
    note = precision_note(network.device, precision)
    if note:
        say(f"note: {note}")
    if path is None:
        return Segmenter(network, card, network.model)
    chosen = next(name for name, file in CACHED.items() if file == path.name)
    return Segmenter(open_exported(path, chosen, precision), card, network.model)


def _export_of(model: str, device: str, precision: str, engine: str, say: Callable[[str], None]) -> Path | None:
    """The cached export to run instead of a model folder's network; None for torch."""
    from refineseg.inference.devices import pick_device
    from refineseg.model.folders.find_model import find_model

    on_cpu = pick_device(device).type == "cpu"
    if engine == "auto":
        return fastest_export(find_model(model)) if on_cpu and precision == "32" else None
    if not on_cpu and device != "auto":
        raise InputError(f"expected --device cpu with the engine {engine}, got {device}")
    return cached_export(find_model(model), engine, say)


def export_cache(folder: Path) -> Path:
    """The cache of a model folder, by the hash of its files."""
    digest = hashlib.sha256(f"{FORMAT} {__version__}".encode())
    for file in ("config.json", "model.safetensors"):
        path = folder / file
        digest.update(path.read_bytes() if path.is_file() else b"")
    return cache_folder() / "exports" / digest.hexdigest()[:32]


def cached_export(folder: Path, engine: str, say: Callable[[str], None]) -> Path:
    """The cached export of a model folder for an engine; exported now, with checks, if there is none."""
    path = export_cache(folder) / CACHED[engine]
    if _report(path) is None:
        from refineseg.deploy.export import export

        writable_cache(path.parent.parent)
        say(f"exporting {folder.name} for {engine}, once; it is kept in {path.parent}")
        export(folder, path, overwrite=True)
    return path


def fastest_export(folder: Path) -> Path | None:
    """The cached export, for an installed engine, with the largest gain over torch when exported; None if none."""
    try:
        if not (cache_folder() / "exports").is_dir():
            return None
    except (InputError, OSError):  # nowhere, or in a folder of another user
        return None
    place = export_cache(folder)
    shares = {}
    for engine, file in CACHED.items():
        report = _report(place / file) if find_spec(engine) else None
        if report is not None:
            shares[place / file] = report["engine_ms"] / report["torch_ms"]
    best = min(shares, key=lambda path: shares[path], default=None)
    return best if best is not None and shares[best] <= WORTH else None


def _report(path: Path) -> dict[str, Any] | None:
    """The report of a cached export that passed and is complete; None otherwise."""
    try:
        report: dict[str, Any] = json.loads(path.with_name(path.name + ".report.json").read_text(encoding="utf-8"))
        files = (path.with_suffix(".bin"), path) if path.suffix == ".xml" else (path,)
        return report if report["passed"] and report["sha256"] == sha256_of(*files) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
