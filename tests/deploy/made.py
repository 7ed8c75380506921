"""A small network whose labels are mixed, exported once for the tests that need a file."""

from __future__ import annotations

import torch
from torch import nn

from refineseg.inference.predictor import Segmenter
from refineseg.inference.tiles.receptive_field import probe_picture
from refineseg.labels import LabelMap
from refineseg.model import RefineNet, create_model
from refineseg.model.folders.model_folder import ModelCard
from tests.model.filled import fill

LABELS = LabelMap.from_dict(
    {
        "classes": [
            "sky",
            {"name": "left-arm", "mirror": "right-arm"},
            {"name": "right-arm", "mirror": "left-arm"},
            "road",
            "tree",
        ]
    }
)


def small(**fields: object) -> RefineNet:
    """Five classes, each about as frequent in ``probe_picture`` pictures."""
    settings = {"backbone": "resnet10t", "width": 16, "coarse_width": 16, "crp_stages": 1, "cascade": "two"}
    model = create_model("refinenet-lw-r18", 5, **(settings | fields))  # type: ignore[arg-type]
    return spread(model)


def spread(model: RefineNet) -> RefineNet:
    """Weights by formula, and a classifier whose classes are about as frequent on ``probe_picture`` pictures."""
    fill(model)
    with torch.no_grad():
        x = torch.from_numpy(probe_picture(96, 128)).permute(2, 0, 1)[None] / 255
        assert isinstance(model.classifier, nn.Conv2d)
        assert model.classifier.bias is not None
        model.classifier.weight.div_(model(x, upsample=False).std((0, 2, 3)).view(-1, 1, 1, 1))
        model.classifier.bias.sub_(model(x, upsample=False).mean((0, 2, 3)))
    return model


def segmenter(model: RefineNet | None = None, calibrated: bool = True) -> Segmenter:
    """A predictor with labels that mirror, and with temperatures."""
    temperatures = {"temperatures": [0.5, 1.0, 1.5, 2.0, 0.8]} if calibrated else {}
    info = ModelCard("small", LABELS, licence="CC0", calibration=temperatures)
    return Segmenter.from_network(small() if model is None else model, info, device="cpu")
