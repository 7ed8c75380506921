"""Import of published checkpoints: recognised by their names, renamed by rule, loaded strictly.

Nothing is guessed: the number of classes is the classifier's, class names come from the caller, and a file that
is not exactly one of the known networks is refused with a table of the differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from refineseg.errors import InputError, WeightsError
from refineseg.labels import LabelMap
from refineseg.model.checkpoints import checkpoint_files, read_checkpoint, sha256, torch_caches
from refineseg.model.classifier import HEAD, change_classes
from refineseg.model.dpt import published
from refineseg.model.dpt.decoder import CONFIG as DPT_CONFIG
from refineseg.model.dpt.decoder import DPTDecoder, infer_config, save_dpt_decoder
from refineseg.model.dpt.importing import Imported, import_published, import_repository, is_repository
from refineseg.model.dpt.repository import fetch_repository
from refineseg.model.hub import HubName, is_hub_name
from refineseg.model.keymaps import DPT_DECODER, MATCONVNET, MOBILENET_PORT, MULTI_TASK_PORT, RESNET_PORT, KeyMap
from refineseg.model.matconvnet import is_matlab, move_void, port_state, read_matconvnet
from refineseg.model.mismatch import MismatchError as MismatchError
from refineseg.model.mismatch import matched
from refineseg.model.model_folder import CONFIG, ModelCard, load_strictly, save_model_folder
from refineseg.model.presets import build, model_config
from refineseg.model.refinenet import RefineNet

DPT = "dpt-decoder"
COUNTER = ".num_batches_tracked"  # of batch norm; read by no forward pass
UNREAD = "scratch.refinenet4.resConfUnit1."  # is in DPT files, and no forward pass reads it
BOTTLENECKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # units per stage of a ResNet
BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


@dataclass(frozen=True)
class Architecture:
    """What a checkpoint was recognised as.

    Attributes:
        preset: ours, or ``dpt-decoder``.
        keys: The names' rules.
        num_classes: Number of classes; None for a decoder without a classifier, or where it is missing.
        settings: Published form of the network, see ``model_config``.
        fields: Settings that the file itself shows.
    """

    preset: str
    keys: KeyMap
    num_classes: int | None
    settings: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        architecture: what the file was recognised as.
        num_classes: of the result; None for a decoder.
        tensors: how many were taken over.
        reset: our names of tensors that were drawn anew.
        left_out: the file's names that no forward pass of the result reads.
        outputs: ``classes`` or ``depth`` of a model folder; ``decoder`` of a decoder folder.
        named: whether the classes have names.
    """

    architecture: Architecture
    num_classes: int | None
    tensors: int
    reset: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    outputs: Literal["classes", "depth", "decoder"] = "classes"
    named: bool = False


@dataclass(frozen=True)
class Found:
    """A file of a torch cache: what it is, or why it cannot be taken."""

    path: Path
    architecture: Architecture | None
    reason: str = field(default="")


def recognise(state: Mapping[str, Tensor]) -> Architecture:
    """Tell the network from the names; a name or two may be wrong, the strict check comes later.

    Raises WeightsError if it is none of the known ones.
    """
    names = set(state)
    if published.is_published(names):
        return Architecture("refinenet-dpt", published.keys_of(names), None)
    if any("scratch.refinenet" in name for name in names):
        return Architecture(DPT, DPT_DECODER, None)
    if any(name.startswith(("mflow_conv_", "p_ims1d2_")) for name in names):
        full = any("_b.0." in name and name.startswith(("mflow_conv_", "adapt_stage")) for name in names)
        preset = f"refinenet-r{_depth(names)}" if full else f"refinenet-lw-r{_depth(names)}"
        return Architecture(preset, RESNET_PORT, _rows(state, RESNET_PORT))
    if "pre_segm.weight" in names:
        count = state["segm.weight"].shape[0] if "segm.weight" in names else None
        further = tuple(
            task for task, name in (("depth", "depth"), ("normals", "normal")) if f"{name}.weight" in names
        )
        fields = {"align_corners": False, "further_outputs": further}
        return Architecture("refinenet-lw-mbv2-released", MULTI_TASK_PORT, count, fields=fields)
    if any(name.startswith("conv_adapt") for name in names) and any(".output." in name for name in names):
        return Architecture("refinenet-lw-mbv2-released", MOBILENET_PORT, _rows(state, MOBILENET_PORT))
    shown = ", ".join(sorted(names)[:4])
    raise WeightsError(
        "expected a RefineNet of the two PyTorch ports, a DPT, MiDaS, Depth Anything or UniMatch V2 (with "
        "scratch.refinenet1 ...), or a network of transformers with its config.json beside it, "
        f"got {len(names)} tensors of something else, such as {shown}"
    )


def _depth(names: set[str], bottlenecks: bool | None = None) -> int:
    """The ResNet whose numbers of units per stage are nearest to the names'."""
    units: list[set[str]] = [set(), set(), set(), set()]
    for name in names:
        parts = name.split(".")
        if len(parts) > 2 and parts[0] in ("layer1", "layer2", "layer3", "layer4"):
            units[int(parts[0][-1]) - 1].add(parts[1])
    counts = [len(stage) for stage in units]
    if bottlenecks is None:
        bottlenecks = any(".conv3." in name for name in names)
    depths = BOTTLENECKS if bottlenecks else BASIC
    return min(depths, key=lambda depth: sum(abs(a - b) for a, b in zip(depths[depth], counts, strict=True)))


def _rows(state: Mapping[str, Tensor], keys: KeyMap) -> int | None:
    for name in HEAD:
        tensor = state.get(keys.to_theirs(name) or "")
        if tensor is not None and tensor.ndim:
            return int(tensor.shape[0])
    return None


def read_authors(
    path: Path, classes: int | None = None, void: str | None = None
) -> tuple[dict[str, Tensor], Architecture]:
    """The tensors of one of the authors' MATLAB files under the port's names, and what they make.

    Args:
        path: The file.
        classes: Number of classes in the labels, if they are known.
        void: Which logit stands for void: ``first``, ``last`` or ``none``; None: as in the published networks.

    Raises WeightsError if it cannot be read or is something else.
    """
    state, fields = port_state(read_matconvnet(path))
    place = move_void(state, classes, void)
    count = len(state["clf_conv.bias"]) - (place != "none")
    fields = fields | {"void_logit": place != "none"}
    preset = f"refinenet-r{_depth(set(state), bottlenecks=True)}"
    return state, Architecture(preset, MATCONVNET, count, "authors", fields)


def convert_state(
    state: Mapping[str, Tensor], reset_head: int | None = None, architecture: Architecture | None = None
) -> tuple[RefineNet | DPTDecoder, Conversion]:
    """The network of a checkpoint, filled with its tensors.

    Args:
        state: Tensors under the checkpoint's names, without prefixes.
        reset_head: Number of classes of a new, random classifier; None keeps the file's.
        architecture: What the tensors make; None recognises it by their names.

    Raises:
        MismatchError: a tensor is missing, left over or of another shape.
        WeightsError: the network is unknown.
        InputError: ``reset_head`` is out of range, or the network has no classifier.
    """
    if reset_head is not None and reset_head < 1:
        raise InputError(f"expected --reset-head with a number of classes of 1 or more, got {reset_head}")
    architecture = architecture or recognise(state)
    state = {key: value for key, value in state.items() if not key.endswith(COUNTER)}
    if architecture.preset == DPT:
        if reset_head is not None:
            raise InputError("expected no --reset-head for a decoder, which has no classifier")
        return _convert_decoder(architecture, state)
    num_classes = reset_head or architecture.num_classes or 1
    fields = dict(architecture.fields) | ({"void_logit": False} if reset_head else {})
    config = model_config(architecture.preset, num_classes, architecture.settings, **fields)
    with torch.device("meta"):
        model = build(config)
    expected = {key: tuple(v.shape) for key, v in model.state_dict().items() if not key.endswith(COUNTER)}
    reset = tuple(f"{model.CLASS_LAYER}.{leaf}" for leaf in ("weight", "bias") if reset_head is not None)
    dropped = {architecture.keys.to_theirs(name) for name in reset}
    taken = {key: value for key, value in state.items() if key not in dropped}
    for name in reset:
        expected.pop(name)
    ours = matched(architecture.keys, architecture.preset, taken, expected)
    model = build(config)
    ours |= {name: tensor for name, tensor in model.state_dict().items() if name in reset}
    load_strictly(model, ours, "the checkpoint")
    if reset_head is not None:
        change_classes(model, reset_head, {})
    return model.eval(), Conversion(architecture, num_classes, len(taken), reset)


def _convert_decoder(architecture: Architecture, state: Mapping[str, Tensor]) -> tuple[DPTDecoder, Conversion]:
    # Other programs put the decoder into a head of theirs: depth_head.scratch.refinenet1 ...
    inner = {key: key[key.find("scratch.") :] if "scratch." in key else key for key in state}
    parts = ("scratch.refinenet", "scratch.layer")
    taken = {inner[key]: state[key] for key in state if inner[key].startswith(parts) and UNREAD not in key}
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
    kind: str | None = None,
) -> Conversion:
    """Turn a published checkpoint into a model folder, or a DPT or MiDaS decoder into a decoder folder.

    Args:
        path: the checkpoint (see ``read_checkpoint``); or a network of transformers: ``hf:ORG/NAME``, or a folder
            with its config.json, preprocessor_config.json and weights.
        out: folder to write; a model folder that is there is replaced.
        labels: names and colours of the classes. Never guessed: without it they are the repository's own, or
            ``class 0`` ...
        reset_head: number of classes of a new, random classifier.
        void: which logit of one of the authors' MATLAB files stands for void, see ``read_authors``.
        kind: which of the networks of ``dpt.published.KINDS``, whose tensors are alike.

    Raises:
        MismatchError: the tensors are not exactly those of the network.
        WeightsError: unreadable, unsafe or unknown file, or the labels have another number of classes.
        InputError: ``out`` is a folder of something else, or ``kind`` is missing or given needlessly.
    """
    if reset_head is not None and reset_head < 1:
        raise InputError(f"expected --reset-head with a number of classes of 1 or more, got {reset_head}")
    out = Path(out)
    used = out.is_dir() and any(out.iterdir()) and not any((out / name).is_file() for name in (CONFIG, DPT_CONFIG))
    if used or out.is_file():
        raise InputError(f"expected a new folder for the model, got {out} with other content: choose another name")
    origin = ""
    if is_hub_name(str(path)):
        path, pinned = fetch_repository(HubName.parse(str(path)))
        origin = str(pinned)
    path, name = Path(path), out.resolve().name
    if void is not None and not is_matlab(path):
        raise InputError(f"expected --void with one of the authors' MATLAB files (.mat), got {path.name}")
    if is_matlab(path):
        if kind is not None:
            raise InputError(f"expected no --as {kind} for {path.name}: it is no Depth Anything")
        state, architecture = read_authors(path, labels.num_classes if labels and not reset_head else None, void)
        return _convert_others(path, convert_state(state, reset_head, architecture), out, labels)
    if is_repository(path):
        if kind is not None:
            raise InputError(f"expected no --as {kind} for {path.name}, whose {CONFIG} tells what it is")
        return _saved(import_repository(path, name, labels, reset_head, origin), out)
    state = read_checkpoint(path)
    if published.is_published(set(state)):
        return _saved(import_published(path, name, labels, reset_head, kind), out)
    if kind is not None:
        raise InputError(f"expected no --as {kind} for {path.name}: it is no Depth Anything")
    return _convert_others(path, convert_state(state, reset_head), out, labels)


def _saved(imported: Imported, out: Path) -> Conversion:
    save_model_folder(out, imported.network, imported.card)
    config = imported.source.config
    count = config.num_classes if config.outputs == "classes" else None
    architecture = Architecture(config.preset, imported.source.keys, count)
    done = Conversion(architecture, count, imported.tensors, imported.reset, imported.left_out, config.outputs)
    return replace(done, named=imported.named)


def _convert_others(
    path: Path, converted: tuple[RefineNet | DPTDecoder, Conversion], out: Path, labels: LabelMap | None
) -> Conversion:
    """Write what the two PyTorch ports and the authors' own code made, and decoders alone."""
    network, conversion = converted
    if isinstance(network, DPTDecoder):
        if labels is not None:
            raise InputError(f"expected no --labels for {path.name}: it is a decoder, which has no classes")
        save_dpt_decoder(out, network)
        return conversion
    count = network.num_classes
    if labels is None:
        labels = LabelMap.from_names([f"class {index}" for index in range(count)])
        named = "not given"
    else:
        named = "given with --labels"
    if labels.num_classes != count:
        raise WeightsError(
            f"expected labels of {count} classes, as the classifier has, got {labels.num_classes}; give the label "
            f"set it was trained with, or --reset-head {labels.num_classes} for a new classifier"
        )
    provenance = {
        "converted from": path.name,
        "sha256 of that file": sha256(path),
        "recognised as": f"{conversion.architecture.preset} ({conversion.architecture.keys.name})",
        "class names": named,
    }
    if conversion.architecture.fields:
        form = conversion.architecture.settings
        shown = ({"settings": form} if form else {}) | dict(conversion.architecture.fields)
        provenance["settings by the file"] = ", ".join(f"{name} {value}" for name, value in shown.items())
    if conversion.reset:
        provenance["drawn anew, untrained"] = ", ".join(conversion.reset)
    licence = "that of the checkpoint and of its training data, which the file does not state"
    card = ModelCard(out.resolve().name, labels, provenance=provenance, licence=licence)
    save_model_folder(out, network, card)
    return conversion


def find_checkpoints(folders: list[Path] | None = None) -> list[Found]:
    """Every checkpoint file in the usual torch caches (or ``folders``), and what it was recognised as."""
    found = []
    for folder in torch_caches() if folders is None else folders:
        for path in checkpoint_files(folder):
            try:
                found.append(Found(path, recognise(read_checkpoint(path))))
            except WeightsError as error:
                found.append(Found(path, None, str(error)))
    return found
