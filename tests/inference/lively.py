"""A network without random weights whose classes are mixed and whose context matters, for tests of tiles."""

from __future__ import annotations

import torch

from refineseg.inference.predictor import Segmenter
from refineseg.inference.tiles.receptive_field import probe_picture
from refineseg.labels import LabelMap
from refineseg.model import create_model
from refineseg.model.folders.model_folder import ModelCard
from tests.model.filled import fill


def lively() -> Segmenter:
    """The bundled architecture, 11 classes; every class is about as frequent in ``probe_picture`` pictures."""
    model = create_model("refinenet-lw-mbv2", 11, align_corners=False, exact_strides=True)
    fill(model)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.ndim == 4:  # beyond the gain that keeps variance: coarse paths reach the logits
                value.mul_(2.0 if name.startswith("decoder") else 1.5 if name.startswith("backbone") else 1.0)
        x = torch.from_numpy(probe_picture(128, 192)).permute(2, 0, 1)[None] / 255
        model.classifier.weight.div_(model(x, upsample=False).std((0, 2, 3)).view(-1, 1, 1, 1))
        assert model.classifier.bias is not None
        model.classifier.bias.sub_(model(x, upsample=False).mean((0, 2, 3)))
    return Segmenter.from_network(
        model, ModelCard("lively", LabelMap.from_names(list("abcdefghijk"))), device="cpu"
    )
