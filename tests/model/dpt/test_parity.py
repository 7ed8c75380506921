"""Our network with the weights of transformers' own classes gives what these give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from refineseg.model.conversion.fill import fill
from refineseg.model.dpt.huggingface import recognise_repository
from refineseg.model.dpt.recognised import RecognisedNetwork
from refineseg.model.tensors.mismatch import MismatchError
from tests.model.dpt.originals import ORIGINALS, PREPROCESSOR, output

GRIDS = ((2, 4), (6, 6), (8, 2))  # of patches: even, as their preprocessors make them
SQUARE = PREPROCESSOR | {"size": {"height": 64, "width": 64}, "keep_aspect_ratio": False}  # the one size of a Swin


@pytest.mark.parametrize("name", list(ORIGINALS))
def test_same_output_as_the_original_class(tmp_path: Path, name: str) -> None:
    original: Any = ORIGINALS[name]()
    original.save_pretrained(tmp_path)  # not state_dict(), whose names are those of this release of transformers
    config = json.loads((tmp_path / "config.json").read_text())
    source = recognise_repository(config, SQUARE if "Swin" in name else PREPROCESSOR, "this test")
    state = load_file(tmp_path / "model.safetensors")
    network, _ = fill(source, state)
    refuses_a_tensor_too_few_or_too_many(source, state)
    patch = source.config.dpt.vit.patch if source.config.dpt and source.config.dpt.vit else 16
    draw = torch.Generator().manual_seed(1)
    for rows, columns in ((4, 4),) if "Swin" in name else GRIDS:
        images = torch.rand(2, 3, rows * patch, columns * patch, generator=draw)
        theirs = output(original, (images - network.mean) / network.std)
        if theirs.shape[-2:] != images.shape[-2:]:  # transformers' DPT gives 16 pixels for each patch of 14
            theirs = torch.nn.functional.interpolate(theirs, images.shape[-2:], mode="bilinear")
        with torch.inference_mode():
            ours = network(images)
        assert ours.shape == theirs.shape
        assert theirs.std() > 0.01
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-4


def refuses_a_tensor_too_few_or_too_many(source: RecognisedNetwork, state: dict[str, torch.Tensor]) -> None:
    victim = "neck.fusion_stage.layers.2.residual_layer2.convolution1.weight"
    with pytest.raises(MismatchError, match=rf"1 tensor missing, 0 left over.*{victim}"):
        fill(source, {key: value for key, value in state.items() if key != victim})
    last = next(name for name in reversed(state) if ".encoder." in name)
    with pytest.raises(MismatchError, match="1 tensor missing, 0 left over"):
        fill(source, {key: value for key, value in state.items() if key != last})
    with pytest.raises(MismatchError, match=r"0 tensors missing, 1 left over.*unheard_of"):
        fill(source, state | {"backbone.unheard_of.weight": torch.zeros(1)})
