"""Conversion of published checkpoints: recognised by tensor names, renamed by rules, loaded strictly.

Nothing is guessed: the number of classes is the classifier's, class names come from the caller, and a file that is
not exactly one of the known networks is refused with a table of the differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from refineseg.errors import InputError
from refineseg.labels import LabelMap
from refineseg.model.conversion.fill import fill
from refineseg.model.conversion.matconvnet import is_matlab
from refineseg.model.conversion.recognise import DPT, Architecture, read_authors, recognise
from refineseg.model.conversion.result import Conversion, ConversionRequest, make_card
from refineseg.model.dpt import published
from refineseg.model.dpt.decoder import CONFIG as DPT_CONFIG
from refineseg.model.dpt.decoder import DPTDecoder, infer_config, save_dpt_decoder
from refineseg.model.dpt.importing import fetch_repository, import_published, import_repository, is_repository
from refineseg.model.dpt.recognised import RecognisedNetwork
from refineseg.model.folders.hub import HubName, is_hub_name
from refineseg.model.folders.model_folder import CONFIG, save_model_folder
from refineseg.model.presets import model_config
from refineseg.model.refinenet import RefineNet
from refineseg.model.tensors.checkpoints import read_checkpoint
from refineseg.model.tensors.mismatch import matched, without_counters

UNUSED = "scratch.refinenet4.resConfUnit1."  # in DPT files, but not in the forward pass


def convert_state(
    state: Mapping[str, Tensor], reset_head: int | None = None, architecture: Architecture | None = None
) -> tuple[RefineNet | DPTDecoder, Conversion]:
    """The network of a checkpoint, with its weights.

    Args:
        state: tensors under the checkpoint's names, without prefixes.
        reset_head: number of classes of a new, random classifier; None keeps the checkpoint's.
        architecture: the network; None recognises it by the names.

    Raises:
        MismatchError: a tensor is missing, left over or of another shape.
        WeightsError: the network is unknown.
        InputError: ``reset_head`` is out of range, or the network has no classifier.
    """
    _check_reset(reset_head)
    architecture = architecture or recognise(state)
    if architecture.preset == DPT:
        if reset_head is not None:
            raise InputError("expected no --reset-head for a decoder, which has no classifier")
        return _convert_decoder(architecture, without_counters(state))
    fields = dict(architecture.fields) | ({"void_logit": False} if reset_head else {})
    count = reset_head or architecture.num_classes or 1
    config = model_config(architecture.preset, count, architecture.settings, **fields)
    model, conversion = fill(RecognisedNetwork(config, architecture.keys), state, reset_head)
    return model, replace(conversion, architecture=architecture)


def _convert_decoder(architecture: Architecture, state: Mapping[str, Tensor]) -> tuple[DPTDecoder, Conversion]:
    # Other programs have the decoder inside a head: depth_head.scratch.refinenet1 ...
    inner = {key: key[key.find("scratch.") :] if "scratch." in key else key for key in state}
    parts = ("scratch.refinenet", "scratch.layer")
    taken = {inner[key]: state[key] for key in state if inner[key].startswith(parts) and UNUSED not in key}
    left_out = tuple(key for key in state if inner[key] not in taken)
    pairs = architecture.keys.pairs(taken)
    decoder = DPTDecoder(infer_config({pairs[key]: tuple(taken[key].shape) for key in pairs}))
    expected = {key: tuple(value.shape) for key, value in decoder.state_dict().items()}
    ours = matched(architecture.keys, architecture.preset, taken, expected)
    decoder.load_state_dict({key: value.float() for key, value in ours.items()})
    return decoder.eval(), Conversion(architecture, None, len(taken), (), left_out, "decoder")


def convert_checkpoint(
    path: str | Path,
    out: str | Path,
    labels: LabelMap | None = None,
    reset_head: int | None = None,
    void: str | None = None,
    version: str | None = None,
) -> Conversion:
    """Convert a published checkpoint to a model folder, or a DPT or MiDaS decoder to a decoder folder.

    Args:
        path: checkpoint (see ``read_checkpoint``); or a network of transformers: ``hf:ORG/NAME``, or a folder with
            its config.json, preprocessor_config.json and weights.
        out: folder to write; an existing model folder is replaced.
        labels: names and colours of the classes; without them names are the repository's own, or ``class 0`` ...
        reset_head: number of classes of a new, random classifier.
        void: position of the void logit in an authors' MATLAB file; see ``read_authors``.
        version: one of ``dpt.published.DEPTH_ANYTHING_VERSIONS``, whose tensors are alike.

    Raises:
        MismatchError: the tensors are not exactly those of the network.
        WeightsError: the file is unreadable, unsafe or unknown, or the labels have another number of classes.
        InputError: ``out`` holds something else, or an option is missing or does not apply.
    """
    _check_reset(reset_head)
    out = Path(out)
    used = out.is_dir() and any(out.iterdir()) and not any((out / name).is_file() for name in (CONFIG, DPT_CONFIG))
    if used or out.is_file():
        raise InputError(f"expected a new folder for the model, got {out} with other content: choose another name")
    origin = ""
    if is_hub_name(str(path)):
        path, pinned = fetch_repository(HubName.parse(str(path)))
        origin = str(pinned)
    request = ConversionRequest(Path(path), out.resolve().name, labels, reset_head, origin)
    matlab, repository = is_matlab(request.file), is_repository(request.file)
    if void is not None and not matlab:
        raise InputError(f"expected --void with one of the authors' MATLAB files (.mat), got {request.file.name}")
    if version is not None and repository:
        raise InputError(f"expected no --as {version} for {request.file.name}, whose {CONFIG} tells what it is")
    network: RefineNet | DPTDecoder
    if repository:
        network, conversion, card = import_repository(request)
    else:
        architecture = None
        if matlab:
            classes = labels.num_classes if labels and not reset_head else None
            state, architecture = read_authors(request.file, classes, void)
        else:
            state = read_checkpoint(request.file)
        if not matlab and published.is_published(set(state)):
            network, conversion, card = import_published(request, state, version)
        else:
            network, conversion = convert_state(state, reset_head, architecture)
            if version is not None:
                raise InputError(f"expected no --as {version} for {request.file.name}: it is not a Depth Anything")
            if isinstance(network, DPTDecoder):
                if labels is not None:
                    raise InputError(f"expected no --labels for {request.file.name}: a decoder has no classes")
                save_dpt_decoder(out, network)
                return conversion
            card = make_card(request, conversion, notes=_settings_of(conversion.architecture))
    save_model_folder(out, network, card)
    return conversion


def _check_reset(reset_head: int | None) -> None:
    if reset_head is not None and reset_head < 1:
        raise InputError(f"expected --reset-head with a number of classes of 1 or more, got {reset_head}")


def _settings_of(architecture: Architecture) -> dict[str, str]:
    """The line of the provenance about settings found in the file."""
    if not architecture.fields:
        return {}
    shown = {"settings": architecture.settings} if architecture.settings else {}
    pairs = (f"{name} {value}" for name, value in (shown | dict(architecture.fields)).items())
    return {"settings by the file": ", ".join(pairs)}
