"""Other networks for comparison, with random weights, as their packages build them. All optional."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from refineseg.errors import InputError, extra

ENCODER = "resnet101"  # backbone of the peers that have a choice


class LogitsOnly(nn.Module):
    """A torchvision network, which returns a dictionary, as one that returns logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Bx3xHxW to logits BxKxHxW."""
        result: Tensor = self.net(x)["out"]
        return result


def _torchvision(name: str) -> Callable[[int], nn.Module]:
    def build(classes: int) -> nn.Module:
        from torchvision.models import segmentation

        net = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=classes)
        return LogitsOnly(net)

    return build


def _smp(name: str, encoder: str = ENCODER) -> Callable[[int], nn.Module]:
    def build(classes: int) -> nn.Module:
        with extra("segmentation-models-pytorch", "bench", "comparing with its networks"):
            import segmentation_models_pytorch as smp
        net: nn.Module = getattr(smp, name)(encoder, encoder_weights=None, classes=classes)
        return net

    return build


PEERS: dict[str, Callable[[int], nn.Module]] = {
    "deeplabv3_resnet101": _torchvision("deeplabv3_resnet101"),
    "fcn_resnet101": _torchvision("fcn_resnet101"),
    "deeplabv3plus": _smp("DeepLabV3Plus"),
    "fpn": _smp("FPN"),
    "unet": _smp("Unet"),
    "upernet": _smp("UPerNet"),
    "pspnet": _smp("PSPNet"),
    "segformer-b2": _smp("Segformer", "mit_b2"),
}


def chosen_peers(text: str) -> list[str]:
    """``peers`` (all), ``none``, or names with commas. InputError for an unknown name."""
    if text == "peers":
        return list(PEERS)
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    names = [] if names == ["none"] else names
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise InputError(f"expected --against peers, none or names among {', '.join(PEERS)}, got {unknown[0]!r}")
    return names
