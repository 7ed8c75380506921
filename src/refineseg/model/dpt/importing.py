"""From a published DPT checkpoint to a model folder's network and card."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refineseg.errors import InputError, WeightsError
from refineseg.labels import LabelMap
from refineseg.model.checkpoints import read_checkpoint, sha256
from refineseg.model.classifier import change_classes
from refineseg.model.dpt import huggingface, published
from refineseg.model.dpt.network import DPT
from refineseg.model.dpt.source import COUNTER, Source, fill
from refineseg.model.model_folder import ModelCard

CONFIG, PREPROCESSOR, CARD = "config.json", "preprocessor_config.json", "README.md"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the second is a pickle, read without running it
NEW_HEAD = ("classifier.classes.weight", "classifier.classes.bias")
DEPTH = "depth"  # the one name in the label map of a model of depth
UNSTATED = "that of the checkpoint and of its training data, which the file does not state"
FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*\n", re.DOTALL)
LICENCE = re.compile(r"^license(?:_name)?:\s*[\"']?([\w.+-]+)", re.MULTILINE)


@dataclass(frozen=True)
class Imported:
    """A network made from a published checkpoint.

    Attributes:
        network: filled, in eval mode.
        card: labels, provenance, licence and resize rule.
        source: what the checkpoint is.
        tensors: how many were taken over.
        left_out: its tensors that no forward pass of the network reads.
        reset: our names of tensors that were drawn anew.
        named: whether the classes have names.
    """

    network: DPT
    card: ModelCard
    source: Source
    tensors: int
    left_out: tuple[str, ...]
    reset: tuple[str, ...] = ()
    named: bool = False


def is_repository(path: Path) -> bool:
    """Whether a folder (or the folder of a file of weights) holds a network of transformers that is imported."""
    file = (path if path.is_dir() else path.parent) / CONFIG
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and huggingface.architecture_of(values) is not None


def import_repository(
    path: Path, name: str, labels: LabelMap | None = None, reset_head: int | None = None, origin: str = ""
) -> Imported:
    """A network of transformers, from what its repository on the Hub holds.

    Args:
        path: folder with config.json, preprocessor_config.json and weights, or the file of weights in it.
        name: of the model.
        labels: in place of the names in config.json.
        reset_head: number of classes of a new, random classifier.
        origin: what the weights are named after in the provenance; the file by default.

    Raises:
        WeightsError: a file is missing or damaged, or the network is not one of those that are imported.
    """
    folder = path if path.is_dir() else path.parent
    weights = (
        path if path.is_file() else next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    )
    if weights is None:
        raise WeightsError(f"expected {' or '.join(WEIGHTS)} in {folder}, found neither")
    source = huggingface.source_of(_json(folder / CONFIG), _json(folder / PREPROCESSOR), origin or str(folder))
    licence = licence_of(folder / CARD)
    return _imported(source, weights, name, labels, reset_head, licence, origin)


def import_published(
    path: Path, name: str, labels: LabelMap | None, reset_head: int | None, kind: str | None
) -> Imported:
    """A network of the authors' own code, from its checkpoint. Errors are those of ``published.source_of``."""
    return _imported(
        published.source_of(read_checkpoint(path), kind), path, name, labels, reset_head, UNSTATED, ""
    )


def _imported(
    source: Source,
    weights: Path,
    name: str,
    labels: LabelMap | None,
    reset_head: int | None,
    licence: str,
    origin: str,
) -> Imported:
    if source.config.outputs == "depth" and not (labels is None and reset_head is None):
        raise InputError(f"expected no --labels and no --reset-head for {name}: it gives depth, not classes")
    state = read_checkpoint(weights)
    network, left_out = fill(source, state)
    if reset_head is not None:
        change_classes(network, reset_head, {})
        source = replace(source, config=network.config, class_names=())
    reset = () if reset_head is None else NEW_HEAD
    chosen = labels or _labels(source)
    if chosen.num_classes != network.num_classes:
        raise WeightsError(
            f"expected labels of {network.num_classes} classes, as the classifier has, got "
            f"{chosen.num_classes}; give the label set it was trained with, or --reset-head {chosen.num_classes} "
            "for a new classifier"
        )
    named = "given with --labels" if labels else "config.json" if source.class_names else "not given"
    provenance = {
        "converted from": origin or weights.name,
        "sha256 of that file": sha256(weights),
        "recognised as": f"{source.config.preset} ({source.keys.name})",
        **({} if source.config.outputs == "depth" else {"class names": named}),
        **source.notes,
    }
    if reset:
        provenance["drawn anew, untrained"] = ", ".join(reset)
    card = ModelCard(name, chosen, provenance=provenance, licence=licence, resize=source.resize)
    taken = sum(not key.endswith(COUNTER) for key in state) - len(left_out) - len(reset)
    return Imported(network, card, source, taken, left_out, reset, bool(labels or source.class_names))


def _labels(source: Source) -> LabelMap:
    if source.config.outputs == "depth":
        return LabelMap.from_names([DEPTH])
    numbered = [f"class {index}" for index in range(source.config.num_classes)]
    return LabelMap.from_names(list(source.class_names) or numbered)


def licence_of(card: Path) -> str:
    """What the head of a repository's README.md says of its licence."""
    try:
        head = FRONT_MATTER.match(card.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        head = None
    found = LICENCE.search(head[1]) if head else None
    return found[1] if found else "not stated by the repository"


def _json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"expected {file.name} beside the weights, found none in {file.parent}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"cannot read {file}, it is damaged: {error}") from error
    if not isinstance(values, dict):
        raise WeightsError(f"expected settings by name in {file}, got {type(values).__name__}")
    return values
