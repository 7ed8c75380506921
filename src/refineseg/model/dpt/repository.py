"""Repositories of transformers on the Hub, fetched and converted to model folders in the user's cache."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from refineseg._version import __version__
from refineseg.errors import WeightsError
from refineseg.model.conversion.result import ConversionRequest
from refineseg.model.dpt.huggingface import ARCHITECTURES
from refineseg.model.dpt.importing import CARD, CONFIG, PREPROCESSOR, WEIGHTS, import_repository, is_repository
from refineseg.model.folders.hub import HubName, fetch_file
from refineseg.model.folders.model_folder import save_model_folder
from refineseg.system.files import cache_folder


def fetch_repository(name: HubName) -> tuple[Path, HubName]:
    """The folder of a repository in the Hub's cache, fetched if necessary, and its name with the commit.

    Raises:
        WeightsError: it is missing, gated, damaged or not supported, or can be neither found nor fetched.
    """
    config = fetch_file(name.repo, CONFIG, name.revision)
    if not is_repository(config.parent):  # checked before gigabytes of weights are fetched
        raise WeightsError(
            f"{name} is not a refineseg model: its {CONFIG} was not written by refineseg and names none of the "
            f"networks that are imported ({', '.join(ARCHITECTURES)})"
        )
    commit = config.parent.name
    fetch_file(name.repo, PREPROCESSOR, commit)
    with suppress(WeightsError):  # a repository without a card states no licence
        fetch_file(name.repo, CARD, commit)
    fetch_file(name.repo, WEIGHTS[0], commit)
    return config.parent, HubName(name.repo, commit)


def imported_model(name: HubName, commit: str) -> Path:
    """The model folder of a repository at a commit, made if there is none.

    Errors are those of ``fetch_repository``.
    """
    place = cache_folder() / "hub" / __version__ / name.repo.replace("/", "--") / commit
    if not (place / CONFIG).is_file():
        folder, pinned = fetch_repository(name)
        network, _, card = import_repository(
            ConversionRequest(folder, name.repo.rpartition("/")[2], origin=str(pinned))
        )
        save_model_folder(place, network, card)
    return place
