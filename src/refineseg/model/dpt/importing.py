"""Import of published DPT checkpoints, also from the Hub: their network, conversion result and model card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from refineseg._version import __version__
from refineseg.errors import InputError, WeightsError
from refineseg.model.conversion.fill import fill
from refineseg.model.conversion.result import UNSTATED, Conversion, ConversionRequest, make_card
from refineseg.model.dpt import huggingface, published
from refineseg.model.dpt.recognised import RecognisedNetwork
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.hub import HubName, fetch_file
from refineseg.model.folders.model_folder import read_json, save_model_folder
from refineseg.model.refinenet import RefineNet
from refineseg.model.tensors.checkpoints import read_checkpoint
from refineseg.system.files import cache_folder, read_file, writable_cache

Imported = tuple[RefineNet, Conversion, ModelCard]
NETWORK = "a network of transformers"
CONFIG, PREPROCESSOR, CARD = "config.json", "preprocessor_config.json", "README.md"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the second is a pickle, read without running code
FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*\n", re.DOTALL)
LICENCE = re.compile(r"^license(?:_name)?:\s*[\"']?([\w.+-]+)", re.MULTILINE)


def is_repository(path: Path) -> bool:
    """Whether a folder, or the folder of a weight file, holds a supported network of transformers."""
    folder = path if path.is_dir() else path.parent
    try:
        return huggingface.architecture_of(read_json(folder / CONFIG, NETWORK)) is not None
    except WeightsError:
        return False


def import_repository(request: ConversionRequest) -> Imported:
    """Import a network of transformers: the folder of its JSON files and weights, or the weight file in it.

    Raises WeightsError if a file is missing or damaged, or the network is not supported.
    """
    path = request.file
    folder = path if path.is_dir() else path.parent
    files = [path] if path.is_file() else [folder / file for file in WEIGHTS if (folder / file).is_file()]
    if not files:
        raise WeightsError(f"expected {' or '.join(WEIGHTS)} in {folder}, found neither")
    where = request.origin or str(folder)
    values, preprocessor = (read_json(folder / file, NETWORK) for file in (CONFIG, PREPROCESSOR))
    found = huggingface.recognise_repository(values, preprocessor, where)
    licence = licence_of(folder / CARD)
    return _imported(replace(request, file=files[0]), found, read_checkpoint(files[0]), licence)


def import_published(request: ConversionRequest, state: Mapping[str, Tensor], version: str | None) -> Imported:
    """Import a network of the authors' own code; errors are those of ``published.recognise_state``."""
    return _imported(request, published.recognise_state(state, version), state, UNSTATED)


def _imported(
    request: ConversionRequest, found: RecognisedNetwork, state: Mapping[str, Tensor], licence: str
) -> Imported:
    if found.config.outputs == "depth" and not (request.labels is None and request.reset_head is None):
        raise InputError(
            f"expected no --labels and no --reset-head for {request.name}: it gives depth, not classes"
        )
    network, conversion = fill(found, state, request.reset_head)
    names = () if request.reset_head else found.class_names
    return network, conversion, make_card(request, conversion, names, licence, found.resize, found.notes)


def licence_of(card: Path) -> str:
    """The licence in the front matter of a repository's README.md."""
    try:
        head = FRONT_MATTER.match(read_file(card).decode())
    except (OSError, ValueError):
        head = None
    found = LICENCE.search(head[1]) if head else None
    return found[1] if found else "not stated by the repository"


def fetch_repository(name: HubName) -> tuple[Path, HubName]:
    """The folder of a repository in the Hub's cache, fetched if necessary, and its name with the commit.

    Raises:
        WeightsError: it is missing, gated, damaged or not supported, or can be neither found nor fetched.
    """
    config = fetch_file(name.repo, CONFIG, name.revision)
    if not is_repository(config.parent):  # checked before gigabytes of weights are fetched
        raise WeightsError(
            f"{name} is not a refineseg model: its {CONFIG} was not written by refineseg and names none of the "
            f"networks that are imported ({', '.join(huggingface.ARCHITECTURES)})"
        )
    commit = config.parent.name
    fetch_file(name.repo, PREPROCESSOR, commit)
    with suppress(WeightsError):  # a repository without a card states no licence
        fetch_file(name.repo, CARD, commit)
    fetch_file(name.repo, WEIGHTS[0], commit)
    return config.parent, HubName(name.repo, commit)


def imported_model(name: HubName, commit: str) -> Path:
    """The model folder of a repository at a commit, created if missing.

    Errors are those of ``fetch_repository``.
    """
    place = cache_folder() / "hub" / __version__ / name.repo.replace("/", "--") / commit
    if not (place / CONFIG).is_file():
        writable_cache(place.parent)
        folder, pinned = fetch_repository(name)
        network, _, card = import_repository(
            ConversionRequest(folder, name.repo.rpartition("/")[2], origin=str(pinned))
        )
        save_model_folder(place, network, card)
    return place
