"""Models on the Hugging Face Hub, named ``hf:ORG/NAME`` or ``hf:ORG/NAME@REVISION``.

Only JSON, safetensors and the licence in a model card are read, from the Hub's own cache; nothing is unpickled,
and no code of a repository runs. A supported network of transformers (``dpt.huggingface``) is converted to a model
folder in the user's cache once. Revisions (branch, tag, commit) are resolved to a commit, which is recorded. The
environment variables of huggingface_hub apply: HF_HUB_OFFLINE, HF_HOME, HF_TOKEN, HF_ENDPOINT.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from refineseg.errors import InputError, WeightsError, extra
from refineseg.system.files import sha256_of

PREFIX = "hf:"
NAME = re.compile(r"hf:([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w][\w./-]*))?")
SHA256 = re.compile(r"[0-9a-f]{64}")
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
T = TypeVar("T")


@dataclass(frozen=True)
class HubName:
    """A model on the Hub."""

    repo: str  # ``ORG/NAME``
    revision: str | None = None  # branch, tag or commit; None for the newest of the main branch

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``hf:ORG/NAME`` or ``hf:ORG/NAME@REVISION``; InputError for anything else."""
        found = NAME.fullmatch(text)
        if found is None or ".." in text:
            raise InputError(f"expected hf:ORG/NAME or hf:ORG/NAME@REVISION, got {text!r}")
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def is_hub_name(text: str) -> bool:
    """Whether a model's name is one of the Hub."""
    return text.startswith(PREFIX)


def fetch_model(text: str) -> Path:
    """The folder of a model's config.json and model.safetensors; fetched, and imported, if necessary.

    Raises:
        InputError: not the name of a Hub model.
        WeightsError: the model is missing, gated, unknown or damaged, or can be neither found nor fetched.
    """
    name = HubName.parse(text)
    config = fetch_file(name.repo, CONFIG, name.revision)
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
        ours = isinstance(values, dict) and "format" in values and "refineseg" in values
    except (OSError, ValueError, RecursionError):
        ours = False
    if not ours:
        from refineseg.model.dpt.importing import imported_model  # it imports this module

        return imported_model(name, config.parent.name)
    fetch_file(name.repo, WEIGHTS, config.parent.name)
    return config.parent


def fetch_file(repo: str, file: str, revision: str | None = None) -> Path:
    """A file of ``ORG/NAME`` in the Hub's cache, in a folder named by its commit; fetched if necessary.

    WeightsError if it is missing or damaged, or can be neither found nor fetched.
    """
    name, hub = HubName(repo, revision), _hub()
    path = Path(_ask(name, lambda: hub.hf_hub_download(repo, file, revision=revision)))
    stored = path.resolve().name  # the cache names large files by their hash
    if SHA256.fullmatch(stored) and stored != sha256_of(path):
        raise WeightsError(f"{file} of {name} does not match its hash: delete {path.resolve()} and try again")
    return path


def origin_of(text: str, folder: Path) -> dict[str, str]:
    """Provenance of a Hub model: its name with the commit, and SHA-256 of the weights; empty for other models."""
    if not is_hub_name(text):
        return {}
    name = HubName(HubName.parse(text).repo, folder.name)
    return {"hub": str(name), "sha256": sha256_of(folder / WEIGHTS)}


def pinned(text: str) -> str:
    """A Hub model's name with its commit; any other name unchanged."""
    return origin_of(text, fetch_model(text))["hub"] if is_hub_name(text) else text


def push_model(folder: str | Path, text: str, private: bool = False, message: str = "") -> tuple[str, str]:
    """Push a model folder to the Hub: config.json, model.safetensors and the card, in one commit.

    Returns the name with its commit, and SHA-256 of the weights.

    Args:
        folder: the model folder, which is read strictly first; other files in it are not pushed.
        text: ``hf:ORG/NAME``, created if it does not exist; ``@BRANCH`` pushes to that branch.
        private: whether a new repository is private.
        message: message of the commit.

    Raises:
        WeightsError: not a whole model folder, or the Hub refuses (no token, no right to write).
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
    title = message or f"Add {card.name}, made with refineseg"
    done = _ask(
        name, lambda: api.create_commit(name.repo, operations, commit_message=title, revision=name.revision)
    )
    return str(HubName(name.repo, done.oid)), sha256_of(folder / WEIGHTS)


def _hub() -> Any:
    with extra("huggingface_hub", "hub", "a model of the Hugging Face Hub"):
        import huggingface_hub
        import huggingface_hub.errors
    return huggingface_hub


def _ask(name: HubName, call: Callable[[], T]) -> T:
    """Call the Hub; any error becomes one line that says what to do."""
    try:
        return call()
    except Exception as error:  # HTTP errors differ between releases of huggingface_hub
        raise WeightsError(_reason(name, error)) from error


def _reason(name: HubName, error: Exception) -> str:
    """The reason why the Hub did not do something, and the way out."""
    hub = _hub()
    if isinstance(error, hub.errors.GatedRepoError):
        return f"{name} is gated: ask for access on its page and set HF_TOKEN to a token of yours"
    if isinstance(error, hub.errors.RepositoryNotFoundError):
        return f"found no {name} on the Hub, or it is private: check the name, or set HF_TOKEN"
    if isinstance(error, hub.errors.RevisionNotFoundError):
        return f"{name.repo} on the Hub has no revision {name.revision!r}"
    if isinstance(error, hub.errors.LocalEntryNotFoundError):
        why = "HF_HUB_OFFLINE is set" if hub.constants.HF_HUB_OFFLINE else "the Hub cannot be reached"
        return f"{name} is not in the cache and {why}: fetch it once with a connection"
    if isinstance(error, hub.errors.EntryNotFoundError):
        return (
            f"{name} is not a refineseg model: it lacks {CONFIG}, {WEIGHTS} or, for transformers, "
            "preprocessor_config.json; if its weights are a pickle, download the files and run refineseg convert "
            "FOLDER OUT"
        )
    if isinstance(error, hub.errors.OfflineModeIsEnabled):
        return f"cannot reach {name}: HF_HUB_OFFLINE is set"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"the Hub refuses {name} ({status}): set HF_TOKEN to a token that may do this"
    said = str(error).strip().partition("\n")[0]
    return f"the Hub did not serve {name}: {said or type(error).__name__}; try again"
