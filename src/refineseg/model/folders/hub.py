"""Models on the Hugging Face Hub, named ``hf:ORG/NAME`` or ``hf:ORG/NAME@REVISION``.

Only JSON, safetensors and a model card's licence are ever read, from the Hub's own cache; nothing is unpickled
and no code of a repository runs. A network of transformers that is imported (``dpt.huggingface``) becomes a model
folder in the user's cache, once. A revision (branch, tag, commit) is resolved to a commit, which is what gets
recorded. The variables of huggingface_hub hold: HF_HUB_OFFLINE, HF_HOME, HF_TOKEN, HF_ENDPOINT.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from refineseg.errors import InputError, RefinesegError, WeightsError, extra
from refineseg.system.files import sha256_of

PREFIX = "hf:"
NAME = re.compile(r"hf:([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w][\w./-]*))?")
SHA256 = re.compile(r"[0-9a-f]{64}")
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
T = TypeVar("T")


@dataclass(frozen=True)
class HubName:
    """A model on the Hub.

    Attributes:
        repo: ``ORG/NAME``.
        revision: branch, tag or commit; None for the newest of the main branch.
    """

    repo: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``hf:ORG/NAME`` or ``hf:ORG/NAME@REVISION``; InputError for anything else."""
        found = NAME.fullmatch(text)
        if found is None or ".." in text:
            raise InputError(f"expected hf:ORG/NAME or hf:ORG/NAME@REVISION, got {text!r}")
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class Pushed:
    """What became of a push: the name with its commit, and SHA-256 of the weights."""

    name: str
    sha256: str


def is_hub_name(text: str) -> bool:
    """Whether a model is meant to come from the Hub."""
    return text.startswith(PREFIX)


def fetch_model(text: str) -> Path:
    """The folder of a model's config.json and model.safetensors; fetched, and imported, if need be.

    Raises:
        InputError: no name of a Hub model.
        WeightsError: not there, gated, not in the cache and out of reach, no network that is known, damaged.
    """
    name = HubName.parse(text)
    config = _download(name, CONFIG, name.revision)
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
        ours = isinstance(values, dict) and "format" in values and "refineseg" in values
    except (OSError, ValueError, RecursionError):
        ours = False
    if not ours:
        from refineseg.model.dpt.repository import imported_model  # which itself fetches

        return imported_model(name, config.parent.name)
    _verified(_download(name, WEIGHTS, config.parent.name), name)
    return config.parent


def fetch_file(repo: str, file: str, revision: str | None = None) -> Path:
    """A file of a repository ``ORG/NAME`` in the Hub's cache, in a folder named by its commit; fetched if need be.

    WeightsError if it is not there, not in the cache and out of reach, or damaged.
    """
    name = HubName(repo, revision)
    return _verified(_download(name, file, revision), name)


def _verified(weights: Path, name: HubName) -> Path:
    """The file itself, if it has the hash that the Hub states; WeightsError otherwise."""
    stored = weights.resolve().name  # the cache names a large file by that hash
    if SHA256.fullmatch(stored) and stored != sha256_of(weights):
        raise WeightsError(
            f"{weights.name} of {name} does not match its hash: delete {weights.resolve()} and try again"
        )
    return weights


def origin_of(text: str, folder: Path) -> dict[str, str]:
    """What a Hub model's provenance gains: its name with the commit, and SHA-256 of the weights. Else nothing."""
    if not is_hub_name(text):
        return {}
    name = HubName(HubName.parse(text).repo, folder.name)
    return {"hub": str(name), "sha256": sha256_of(folder / WEIGHTS)}


def pinned(text: str) -> str:
    """A Hub model's name with the commit in place of a branch; any other name as it is."""
    return origin_of(text, fetch_model(text))["hub"] if is_hub_name(text) else text


def push_model(folder: str | Path, text: str, private: bool = False, message: str = "") -> Pushed:
    """Put a model folder on the Hub: config.json, model.safetensors and the card, in one commit.

    Args:
        folder: read strictly first; what else lies in it stays here.
        text: ``hf:ORG/NAME``, made if it is not there; with ``@BRANCH`` onto that branch.
        private: whether a repository that is made is private.
        message: message of the commit.

    Raises:
        WeightsError: no whole model folder; the Hub refuses (no token, no right to write).
    """
    from refineseg.model.folders.model_folder import load_model_folder
    from refineseg.model.folders.readme import model_card

    name, folder = HubName.parse(text), Path(folder)
    model, card = load_model_folder(folder)
    text = model_card(model, card).replace(f"refineseg.load({json.dumps(card.name)})", f'refineseg.load("{name}")')
    hub = _hub()
    files = {CONFIG: str(folder / CONFIG), WEIGHTS: str(folder / WEIGHTS), CARD: text.encode()}
    operations = [hub.CommitOperationAdd(path_in_repo=key, path_or_fileobj=value) for key, value in files.items()]
    api = hub.HfApi()
    _ask(name, lambda: api.create_repo(name.repo, private=private, exist_ok=True))
    words = message or f"Add {card.name}, made with refineseg"
    done = _ask(
        name, lambda: api.create_commit(name.repo, operations, commit_message=words, revision=name.revision)
    )
    return Pushed(str(HubName(name.repo, done.oid)), sha256_of(folder / WEIGHTS))


def _download(name: HubName, file: str, revision: str | None) -> Path:
    hub = _hub()
    return Path(_ask(name, lambda: hub.hf_hub_download(name.repo, file, revision=revision)))


def _hub() -> Any:
    with extra("huggingface_hub", "hub", "a model of the Hugging Face Hub"):
        import huggingface_hub
        import huggingface_hub.errors
    return huggingface_hub


def _ask(name: HubName, call: Callable[[], T]) -> T:
    """Call the Hub; whatever goes wrong becomes one line that says what to do."""
    problems = _hub().errors
    try:
        return call()
    except RefinesegError:
        raise
    except problems.GatedRepoError as error:
        said = f"{name} is gated: ask for access on its page and set HF_TOKEN to a token of yours"
        raise WeightsError(said) from error
    except problems.RepositoryNotFoundError as error:
        said = f"found no {name} on the Hub, or it is private: check the name, or set HF_TOKEN"
        raise WeightsError(said) from error
    except problems.RevisionNotFoundError as error:
        raise WeightsError(f"{name.repo} on the Hub has no revision {name.revision!r}") from error
    except problems.LocalEntryNotFoundError as error:
        offline = _hub().constants.HF_HUB_OFFLINE
        why = "HF_HUB_OFFLINE is set" if offline else "the Hub cannot be reached"
        raise WeightsError(f"{name} is not in the cache and {why}: fetch it once with a connection") from error
    except problems.EntryNotFoundError as error:
        raise WeightsError(
            f"{name} is not a refineseg model: it lacks one of {CONFIG}, {WEIGHTS} and, of transformers, "
            "preprocessor_config.json; where the weights are a pickle, download the files, then refineseg convert "
            "FOLDER OUT"
        ) from error
    except problems.OfflineModeIsEnabled as error:
        raise WeightsError(f"cannot reach {name}: HF_HUB_OFFLINE is set") from error
    except Exception as error:  # the HTTP client's own errors differ from release to release of huggingface_hub
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise WeightsError(
                f"the Hub refuses {name} ({status}): set HF_TOKEN to a token that may do this"
            ) from error
        said = str(error).strip().partition("\n")[0]
        raise WeightsError(f"the Hub did not serve {name}: {said or type(error).__name__}; try again") from error
