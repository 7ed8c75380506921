"""Loading the weights of an ImageNet classifier, or of another network's backbone, into a backbone."""

from __future__ import annotations

from math import ceil
from pathlib import Path

from torch import Tensor, nn

from refineseg.errors import WeightsError
from refineseg.model.backbones.backbone import Backbone
from refineseg.model.tensors.checkpoints import read_safetensors
from refineseg.model.tensors.mismatch import COUNTER, difference

FIRST = "backbones.0."  # prefix of the tensors of a RefineNet's first backbone
# Prefixes of a classifier's tensors that a backbone does not have.
HEADS = ("fc.", "classifier.", "head.", "conv_head.", "bn2.", "norm.")


def load_backbone_weights(backbone: Backbone, path: str | Path) -> None:
    """Load a safetensors file of an ImageNet classifier, under timm's or torchvision's names, or of a RefineNet.

    Its head or decoder is left out; all other tensors must match those of the backbone. For other channels than
    RGB the first convolution is adapted (``fit_stem``).

    Raises:
        WeightsError: the file is missing or not safetensors, or does not fit; the message names the tensors.
    """
    path = Path(path)
    state = read_safetensors(path)
    if any(key.startswith(FIRST) for key in state):
        state = {key[len(FIRST) :].removeprefix("net."): state[key] for key in state if key.startswith(FIRST)}
    target: nn.Module = getattr(backbone, "net", backbone)
    own = target.state_dict()
    # timm's feature networks write stages.0 as stages_0, so names are compared with one separator.
    names = {key.replace(".", "_"): key for key in own}
    state = {names.get(key.replace(".", "_"), key): value for key, value in state.items()}
    # Absent from ImageNet files; the expansion is initialised as the identity.
    optional = {key for key in own if key.startswith("expand.") or key.endswith(COUNTER)}
    state |= {
        key: fit_stem(value, own[key].shape[1])
        for key, value in state.items()
        if key in own and value.ndim == 4 and value.shape[1] == 3 != own[key].shape[1]
    }
    needed = {key: value for key, value in own.items() if key in state or key not in optional}
    given = {key: value for key, value in state.items() if key in own or not key.startswith(HEADS)}
    if found := difference(needed, given):
        raise WeightsError(
            f"{path.name} does not fit the backbone: {found}; use a file of its own architecture with timm's names"
        )
    target.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)


def fit_stem(weight: Tensor, channels: int) -> Tensor:
    """First convolution Ox3xhxw adapted to another number of channels, Oxchannelsxhxw, as timm does.

    The filters of red, green and blue are repeated in turn and scaled by 3 / channels, to keep the size of the
    responses; for one channel they are summed.
    """
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight.repeat(1, ceil(channels / 3), 1, 1)[:, :channels] * (3 / channels)
