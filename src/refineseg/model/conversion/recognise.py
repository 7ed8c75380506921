"""Recognition of published checkpoints by the names of their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from refineseg.errors import WeightsError
from refineseg.model.backbones.resnet import BOTTLENECKS_FROM, DEPTHS
from refineseg.model.classifier import HEAD
from refineseg.model.conversion.matconvnet import move_void, port_state, read_matconvnet
from refineseg.model.dpt import keymaps, published
from refineseg.model.tensors.checkpoints import SUFFIXES, read_checkpoint, torch_caches
from refineseg.model.tensors.keymaps import (
    MATCONVNET,
    MOBILENET_PORT,
    MULTI_TASK_PORT,
    RESNET_PORT,
    KeyMap,
)
from refineseg.system.text import counted

DPT = "dpt-decoder"


@dataclass(frozen=True)
class Architecture:
    """The recognised network of a checkpoint."""

    preset: str  # name of the preset, or ``dpt-decoder``
    keys: KeyMap  # map of the names
    num_classes: int | None  # number of classes; None without a classifier
    settings: str | None = None  # published form of the network; see ``model_config``
    fields: Mapping[str, Any] = field(default_factory=dict)  # settings found in the file


def recognise(state: Mapping[str, Tensor]) -> Architecture:
    """Recognise the network by its names. A few may be wrong: the strict check comes later.

    Raises WeightsError for an unknown network.
    """
    names = set(state)
    if published.is_published(names):
        return Architecture("refinenet-dpt", published.keys_of(names), None)
    if any("scratch.refinenet" in name for name in names):
        return Architecture(DPT, keymaps.DECODER, None)
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
        f"got {counted(names, 'tensor')} of something else, such as {shown}"
    )


def _depth(names: set[str], bottlenecks: bool | None = None) -> int:
    """Depth of the ResNet whose numbers of blocks per stage are nearest to those in the names."""
    units: list[set[str]] = [set(), set(), set(), set()]
    for name in names:
        parts = name.split(".")
        if len(parts) > 2 and parts[0] in ("layer1", "layer2", "layer3", "layer4"):
            units[int(parts[0][-1]) - 1].add(parts[1])
    counts = [len(stage) for stage in units]
    if bottlenecks is None:
        bottlenecks = any(".conv3." in name for name in names)
    depths = [depth for depth in DEPTHS if (depth >= BOTTLENECKS_FROM) == bottlenecks]
    return min(depths, key=lambda depth: sum(abs(a - b) for a, b in zip(DEPTHS[depth], counts, strict=True)))


def _rows(state: Mapping[str, Tensor], keys: KeyMap) -> int | None:
    for name in HEAD:
        tensor = state.get(keys.to_theirs(name) or "")
        if tensor is not None and tensor.ndim:
            return int(tensor.shape[0])
    return None


def read_authors(
    path: Path, classes: int | None = None, void: str | None = None
) -> tuple[dict[str, Tensor], Architecture]:
    """The tensors of an authors' MATLAB file under the port's names, and the network.

    ``classes`` is their number in the labels, if known; for ``void`` see ``move_void``.

    Raises WeightsError if it cannot be read or is something else.
    """
    state, fields = port_state(read_matconvnet(path))
    place = move_void(state, classes, void)
    count = len(state["clf_conv.bias"]) - (place != "none")
    fields = fields | {"void_logit": place != "none"}
    preset = f"refinenet-r{_depth(set(state), bottlenecks=True)}"
    return state, Architecture(preset, MATCONVNET, count, "authors", fields)


def find_checkpoints() -> dict[Path, Architecture | str]:
    """The network of each checkpoint file in the usual torch caches, or the reason why none was recognised."""
    found: dict[Path, Architecture | str] = {}
    for path in (path for folder in torch_caches() for path in sorted(folder.rglob("*"))):
        if path.name.endswith(SUFFIXES) and path.is_file():
            try:
                found[path] = recognise(read_checkpoint(path))
            except WeightsError as error:
                found[path] = str(error)
    return found
