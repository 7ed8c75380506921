"""Weights for backbones: ImageNet's from the package or from timm, a trained model's, or those of a file.

Each is a record of source, licence, SHA-256, and normalisation of pictures, which the network takes over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import safe_open

from refineseg.config import IMAGENET_MEAN, IMAGENET_STD
from refineseg.errors import WeightsError
from refineseg.model.folders.find_model import BUNDLED, bundled_models, find_model
from refineseg.model.folders.hub import fetch_file, is_hub_name
from refineseg.system.files import expanded, sha256_of
from refineseg.system.text import reason_of

HALF = (0.5, 0.5, 0.5)
RELEASED = {"mobilenetv2_released": "mobilenetv2_100"}  # timm's network with the same weights, by our name
CHOICES = ("auto", "imagenet", "none")
WAYS_OUT = "give --backbone-weights FILE, or --backbone-weights none to start from random weights"


@dataclass(frozen=True)
class BackboneWeights:
    """Weights of a backbone, with their terms."""

    backbone: str  # timm's name of the network
    file: Path  # safetensors under timm's key names
    source: str  # publisher
    licence: str  # licence of the weights
    sha256: str  # SHA-256 of the file, in hexadecimal
    # normalisation of RGB in [0, 1] in their training; None if unknown
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    # whether a ResNet's bottlenecks had their stride in the first 1x1 convolution; None if unknown or no ResNet
    stride_in_1x1: bool | None = None

    def describe(self) -> str:
        """One line for the terminal and the model card."""
        return f"{self.source} (licence {self.licence}, SHA-256 {self.sha256[:16]})"


# Convolutions in float16, batch norm in float32, without classifier: scripts/pack_imagenet.py made the files.
PACKAGED = {
    record.backbone: record
    for record in (
        BackboneWeights(
            "mobilenetv2_100",
            BUNDLED / "imagenet" / "mobilenetv2_100.safetensors",
            "ImageNet, MobileNet-v2 of the ONNX model zoo (mobilenetv2-7), batch norm measured on 105 photographs",
            "Apache-2.0",
            "6fbd517489c8aaa3b3029effae265edc2eaaf57b026d0612e6606eb19fa6718b",
            IMAGENET_MEAN,
            IMAGENET_STD,
        ),
        BackboneWeights(
            "tf_efficientnet_lite0",
            BUNDLED / "imagenet" / "tf_efficientnet_lite0.safetensors",
            "ImageNet, EfficientNet-lite0 of its authors (tensorflow/tpu), by timm's tf_efficientnet_lite0.in1k",
            "Apache-2.0",
            "9e3d1641aec3b1a983ea4511f434a747326799d36a119b872782c15a90cadad9",
            HALF,
            HALF,
        ),
    )
}


def find_backbone_weights(choice: str | Path | None, backbone: str) -> BackboneWeights | None:
    """The weights of a choice for a backbone; None for random ones.

    Args:
        choice: ``imagenet``: those of the package or, through the Hub's cache, timm's; ``auto``: the same, but
            random if there are none; ``none`` or None: random; a bundled model, model folder or ``hf:ORG/NAME``:
            its backbone; anything else is a safetensors file.
        backbone: name of the network, as for ``create_backbone``.

    Raises:
        WeightsError: the file is missing, or the weights can be neither found nor fetched.
    """
    if choice is None or choice == "none":
        return None
    backbone = RELEASED.get(backbone, backbone)
    if choice not in CHOICES:
        name = str(choice)
        if name in bundled_models() or is_hub_name(name) or expanded(name).is_dir():
            return _from_model(find_model(name), backbone)
        return _from_file(Path(choice), backbone)
    if backbone in PACKAGED:
        return PACKAGED[backbone]
    found = _from_timm(backbone)
    if found is None and choice == "imagenet":
        raise WeightsError(f"timm publishes no pretrained weights of {backbone}: {WAYS_OUT}")
    return found


def _from_file(path: Path, backbone: str) -> BackboneWeights:
    if not path.is_file():
        raise WeightsError(
            f"expected backbone weights {', '.join(CHOICES)}, a model or a safetensors file; not found: {path}"
        )
    digest = _digest(path)
    packaged = PACKAGED.get(backbone)
    if packaged is not None and packaged.sha256 == digest:
        return replace(packaged, file=path)
    return BackboneWeights(backbone, path, f"the file {path.name}", "not stated", digest)


def _digest(file: Path) -> str:
    """SHA-256 of a safetensors file, whose header is read first: a file of terabytes would take hours to hash."""
    try:
        with safe_open(file, "np"):
            return sha256_of(file)
    except Exception as error:  # safetensors raises its own untyped errors
        raise WeightsError(f"expected a safetensors file, cannot read {file}: {reason_of(error)}") from error


def _from_model(folder: Path, backbone: str) -> BackboneWeights:
    """The backbone of a trained model."""
    from refineseg.model.folders.model_folder import WEIGHTS, read_config  # here, since it needs this module

    config, card = read_config(folder)
    if RELEASED.get(config.backbone, config.backbone) != backbone:
        raise WeightsError(f"expected a model with the backbone {backbone}, got {config.backbone} in {folder}")
    file = folder / WEIGHTS
    source = f"the model {card.name}"
    return BackboneWeights(
        backbone, file, source, card.licence, _digest(file), config.mean, config.std, config.stride_in_1x1
    )


def _from_timm(backbone: str) -> BackboneWeights | None:
    """timm's default weights of a network, from the Hub or its cache; None if timm has none."""
    import timm  # imported here, since it takes seconds

    published = timm.get_pretrained_cfg(backbone, allow_unregistered=True)
    if published is None or not str(published.hf_hub_id or "").startswith("timm/"):
        return None
    repo = str(published.hf_hub_id)
    try:
        file = fetch_file(repo, "model.safetensors")
    except WeightsError as error:
        raise WeightsError(f"no ImageNet weights of {backbone}: {error}; or {WAYS_OUT}") from error
    return BackboneWeights(
        backbone,
        file,
        f"ImageNet, hf:{repo}@{file.parent.name}",  # the cache names a folder by the commit
        str(published.license or "not stated"),
        sha256_of(file),
        tuple(published.mean),
        tuple(published.std),
        stride_in_1x1=False,
    )
