"""Decoder blocks that no longer pass anything on (dying ReLU), reported while the run can still be changed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from refineseg.model.blocks import ChainedResidualPooling

ALIVE = 1e-3  # least share of values above zero; a sound block has more than a tenth


@torch.no_grad()
def dead_blocks(model: nn.Module, images: Tensor) -> list[str]:
    """Names of the RefineNet blocks whose pooling chain gets next to nothing but zeros for images BxCxHxW.

    Nothing but zeros leaves such a block, so that coarser maps have no effect and their weights get no gradient.
    Without normalisation in the decoder, steps at too high a rate can bring that about, and the loss hides it,
    since the finer blocks go on learning. The model is left in eval mode.
    """
    chains = {name: part for name, part in model.named_modules() if isinstance(part, ChainedResidualPooling)}
    if not chains:  # a DPT
        return []
    shares: dict[nn.Module, Tensor] = {}

    def measure(activation: nn.Module, _input: object, output: Tensor) -> None:
        shares[activation] = (output > 0).float().mean()

    handles = [part.activation.register_forward_hook(measure) for part in chains.values()]
    try:
        model.eval()(images, upsample=False)
    finally:
        for handle in handles:
            handle.remove()
    return [name.rpartition(".")[0] for name, part in chains.items() if shares[part.activation].item() < ALIVE]


def dead_blocks_warning(names: list[str], lr: float) -> str:
    """What dead blocks mean and what to do."""
    passes = "passes" if len(names) == 1 else "pass"
    return (
        f"{' and '.join(names)} {passes} on nothing but zeros, so that coarser maps have no effect and no longer "
        f"learn, whatever the loss: train again with a lower --lr than {lr:g}, or with --set warmup=0.1"
    )
