"""The settings of a network. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Literal

from refineseg.config.base import Config, require
from refineseg.config.dpt import DPTConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LARGEST_WIDTH = 8192  # beyond it a damaged file asks for terabytes
OF_DPT = (  # the fields that a DPT has
    *("preset", "backbone", "num_classes", "in_channels", "width", "align_corners", "init", "mean", "std"),
    *("outputs", "dpt"),
)


@dataclass(frozen=True)
class ModelConfig(Config):
    """A member of the RefineNet family, as data. Presets fill it; every field may be changed.

    The defaults are the released networks of Lin et al. (CVPR 2017).

    Attributes:
        preset: the name it came from, for the record.
        backbone: ``mobilenetv2_100``, ``mobilenetv2_released`` or any timm model with feature maps.
        num_classes: width of the classifier.
        in_channels: channels of the image.
        cascade: ``four`` (one block per stride), ``two`` or ``single`` (one block takes all maps).
        input_scales: one backbone per scale sees the image at it; (1.2, 0.6) is the paper's 2-scale network.
        kernel_size: 3, or 1 for light-weight.
        rcus: residual conv units per backbone map.
        output_rcus: at the end of every block.
        final_rcus: additional ones before the classifier.
        crp_stages: stages of chained residual pooling.
        pooling: order of pooling and convolution in them.
        width: channels of the paths at strides 4, 8 and 16.
        coarse_width: channels of the stride-32 path.
        lateral_fusion: whether backbone maps pass a fusion convolution.
        activation: ``relu`` or ``relu6``, of the pooling chain.
        dropout: on backbone maps of more than 512 channels and before the classifier.
        align_corners: of the upsampling inside the decoder; the published ports use true.
        exact_strides: upsample maps inside the decoder by the exact ratio of their strides, not to the size of the
            finer map, so that windows of a picture agree with the whole also where 32 does not divide its sides.
            Wants ``align_corners`` false and a single input scale. It must be as it was in training, unless 32
            divided the training crops: then both are the same network.
        init: ``paper`` draws new convolutions from N(0, 0.01); ``default`` keeps torch's initialisation;
            ``identity`` too, but starts the fusion convolution on a coarser block's output as the identity.
        mean, std: normalisation of RGB in [0, 1], kept inside the network.
        outputs: ``classes``, or ``depth``: one channel without classes.
        dpt: settings of a DPT, a vision transformer under RefineNet's blocks cut down; None for all others. It has
            none of the settings of the cascade (``OF_DPT``).
    """

    preset: str = "custom"
    backbone: str = "resnet101"
    num_classes: int = 21
    in_channels: int = 3
    cascade: Literal["single", "two", "four"] = "four"
    input_scales: tuple[float, ...] = (1.0,)
    kernel_size: int = 3
    rcus: int = 2
    output_rcus: int = 3
    final_rcus: int = 0
    crp_stages: int = 4
    pooling: Literal["original", "improved"] = "original"
    width: int = 256
    coarse_width: int = 512
    lateral_fusion: bool = True
    activation: Literal["relu", "relu6"] = "relu"
    dropout: float = 0.5
    align_corners: bool = True
    exact_strides: bool = False
    init: Literal["paper", "default", "identity"] = "paper"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    outputs: Literal["classes", "depth"] = "classes"
    dpt: DPTConfig | None = None

    def __post_init__(self) -> None:
        require(1 <= self.num_classes <= 255, "num_classes between 1 and 255", self.num_classes)
        require(self.kernel_size in (1, 3), "kernel_size 1 or 3", self.kernel_size)
        require(len(self.input_scales) > 0, "at least one input scale", self.input_scales)
        require(all(0 < s <= 8 for s in self.input_scales), "input_scales above 0, up to 8", self.input_scales)
        require(len(self.input_scales) <= 8, "at most 8 input scales", len(self.input_scales))
        local = not set(":/\\") & set(self.backbone)  # timm fetches what is written hf-hub:ORG/NAME
        require(local, "the plain name of a timm model as backbone", repr(self.backbone))
        free = not self.align_corners and len(self.input_scales) == 1
        require(
            free or not self.exact_strides,
            "align_corners false and one input scale with exact_strides",
            (self.align_corners, self.input_scales),
        )
        require(0 <= self.dropout < 1, "dropout in [0, 1)", self.dropout)
        widths = (self.width, self.coarse_width)
        require(0 < min(widths) <= max(widths) <= LARGEST_WIDTH, f"widths of 1 to {LARGEST_WIDTH}", widths)
        counts = (self.rcus, self.output_rcus, self.final_rcus, self.crp_stages)
        require(0 <= min(counts) <= max(counts) <= 64, "numbers of units and stages of 0 to 64", counts)
        require(1 <= self.in_channels <= 4096, "in_channels of 1 to 4096", self.in_channels)
        require(
            len(self.mean) == len(self.std) == self.in_channels,
            f"one mean and std for each of the {self.in_channels} channels",
            (self.mean, self.std),
        )
        require(all(0 < s < math.inf for s in self.std), "std above 0", self.std)
        require(all(map(math.isfinite, self.mean)), "finite means", self.mean)
        require(self.outputs == "classes" or self.dpt is not None, "dpt settings with outputs of depth", None)
        require(self.outputs == "classes" or self.num_classes == 1, "one output of depth", self.num_classes)
        if self.dpt is not None:
            others = [item.name for item in fields(self) if item.name not in OF_DPT]
            changed = [name for name in others if getattr(self, name) != getattr(ModelConfig, name)]
            require(not changed, f"only {', '.join(OF_DPT)} with a DPT", ", ".join(changed))

    @property
    def stride(self) -> int:
        """Pixels of the (scaled) input for each cell of the scores that the network gives without upsampling."""
        return 4 if self.dpt is None else 1


def scaled(length: int, scale: float) -> int:
    """What a network of an input scale makes of a height or width: ``max(1, round(length * scale))``.

    In whole numbers alone, which exports with open sizes can carry; halves go to the even number.
    """
    ratio = Fraction(scale).limit_denominator(1000)
    twice, over = 2 * ratio.numerator * length + ratio.denominator, 2 * ratio.denominator
    rounded = twice // over
    tie = rounded - (twice - 1) // over  # 1 where the half is exact
    return max(1, rounded - tie * (rounded % 2))
