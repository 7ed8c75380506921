"""The settings of a network. No torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from refineseg.config.dpt import DPTConfig, Width
from refineseg.config.settings import Config, require
from refineseg.system.text import counted

ModelOutputs = Literal["classes", "depth"]  # what a network predicts for each pixel
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Units = Annotated[int, "[0, 64]"]
Dropout = Annotated[float, "[0, 1)"]
OF_DPT = (  # the fields that a DPT has
    *("preset", "backbone", "num_classes", "in_channels", "width", "align_corners", "init", "mean", "std"),
    *("outputs", "dpt"),
)


@dataclass(frozen=True)
class ModelConfig(Config):
    """A member of the RefineNet family, as data. Presets fill it; every field may be changed.

    The defaults are the full network of the PyTorch ports.

    Attributes:
        preset: name of the preset it came from, for the record.
        backbone: ``resnet18`` to ``resnet152``, ``mobilenetv2_100``, ``mobilenetv2_released``, any timm model with
            feature maps, or a name that a package registers under ``refineseg.backbones``.
        num_classes: number of classes, 1 to 255.
        in_channels: channels of the image.
        cascade: ``four`` (one block per stride), ``two`` or ``single`` (one block takes all maps).
        input_scales: one backbone per scale sees the image at it; (1.2, 0.6) is the paper's 2-scale network.
        kernel_size: 3, or 1 for light-weight.
        rcus: residual conv units per backbone map.
        refined_rcus: residual conv units per output of a coarser block; the paper's text has 2, the code none.
        output_rcus: residual conv units at the end of every block.
        final_rcus: additional ones before the classifier.
        crp_stages: stages of chained residual pooling.
        pooling: ``original`` pools, then convolves; ``improved`` convolves, then pools (the authors' models of
            2018).
        width: channels of the paths at strides 4, 8 and 16.
        coarse_width: channels of the paths at the largest stride.
        lateral_fusion: whether backbone maps pass a fusion convolution.
        activation: activation of the pooling chain, ``relu`` or ``relu6``.
        backbone_dropout: dropout rate on backbone maps of more than 512 channels.
        classifier_dropout: dropout rate before the classifier.
        upsampling: Resizing of maps inside the decoder and of the picture to its input scale: ``bilinear`` (the
            PyTorch ports), or ``bicubic`` as MATLAB's imresize (the authors).
        align_corners: whether bilinear upsampling inside the decoder aligns corners, as in the PyTorch ports.
        exact_strides: Upsample maps inside the decoder by the exact ratio of their strides, not to the size of the
            finer map, so that windows of a picture agree with the whole also where 32 does not divide its sides.
            With ``align_corners`` the cells of a map are at the multiples of its stride, where padded convolutions
            (ResNet, MobileNet-v2) have them; without, at the centres of squares of the stride, where patchifying
            networks (ConvNeXt, Swin) have them. Needs bilinear upsampling, and a largest input scale that is a
            multiple of the others. It must be as it was in training, unless it was false there, ``align_corners``
            too, and 32 divided the crops: then both are the same network.
        image_pooling: Whether the coarsest map's mean over the picture is one more path of the coarsest block, as
            in ParseNet and DeepLab-v3. Scores then depend on the whole picture, and windows of it do not agree
            exactly with the whole.
        stride_in_1x1: Whether a ResNet's bottlenecks have their stride in the first 1x1 convolution (the authors'
            backbones) or in the 3x3 (torchvision, timm). The weights have the same shapes in both.
        output_stride: Largest stride of the backbone's maps, 8, 16 or 32 pixels. Beyond it convolutions are
            dilated in place of strides, as in DeepLab; weights fit all three.
        void_logit: whether the classifier has an extra last logit for void, which is left out of the output.
        init: ``paper`` draws new convolutions from N(0, 0.01); ``default`` keeps torch's initialisation;
            ``identity`` too, but starts the fusion convolution on a coarser block's output as the identity.
        mean, std: normalisation of RGB in [0, 1], kept inside the network.
        further_outputs: Outputs of the multi-task port besides the classes, ``depth`` and ``normals``; it differs
            from other light-weight networks in its finest block and its heads. Empty for all others.
        outputs: ``classes``, or ``depth``: one channel without classes.
        dpt: Settings of a DPT, a vision transformer under simplified RefineNet blocks; None for all others. It has
            none of the settings of the cascade (``OF_DPT``).
    """

    FORMER: ClassVar = {"dropout": ("backbone_dropout", "classifier_dropout")}

    preset: str = "custom"
    backbone: str = "resnet101"
    num_classes: Annotated[int, "[1, 255]"] = 21
    in_channels: Annotated[int, "[1, 4096]"] = 3
    cascade: Literal["single", "two", "four"] = "four"
    input_scales: Annotated[tuple[float, ...], "(0, 8]"] = (1.0,)
    kernel_size: int = 3
    rcus: Units = 2
    refined_rcus: Units = 0
    output_rcus: Units = 3
    final_rcus: Units = 0
    crp_stages: Units = 4
    pooling: Literal["original", "improved"] = "original"
    width: Width = 256
    coarse_width: Width = 512
    lateral_fusion: bool = True
    activation: Literal["relu", "relu6"] = "relu"
    backbone_dropout: Dropout = 0.5
    classifier_dropout: Dropout = 0.5
    upsampling: Literal["bilinear", "bicubic"] = "bilinear"
    align_corners: bool = True
    exact_strides: bool = False
    image_pooling: bool = False
    stride_in_1x1: bool = False
    output_stride: Literal[8, 16, 32] = 32
    void_logit: bool = False
    init: Literal["paper", "default", "identity"] = "paper"
    mean: Annotated[tuple[float, ...], "(-inf, inf)"] = IMAGENET_MEAN
    std: Annotated[tuple[float, ...], "(0, inf)"] = IMAGENET_STD
    further_outputs: tuple[Literal["depth", "normals"], ...] = ()
    outputs: ModelOutputs = "classes"
    dpt: DPTConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.kernel_size in (1, 3), "kernel_size 1 or 3", self.kernel_size)
        require(1 <= len(self.input_scales) <= 8, "1 to 8 input_scales", self.input_scales)
        local = not set(":/\\") & set(self.backbone)  # timm downloads hf-hub:ORG/NAME
        require(local, "the plain name of a timm model as backbone", repr(self.backbone))
        bicubic = self.upsampling == "bicubic"
        require(
            not (bicubic and self.align_corners), "align_corners false with bicubic upsampling", self.align_corners
        )
        if self.exact_strides:
            require(not bicubic, "bilinear upsampling with exact_strides", self.upsampling)
            require(
                all(abs(ratio - round(ratio)) < 1e-6 for ratio in self._scale_ratios()),
                "a largest of the input_scales that is a multiple of the others, with exact_strides",
                self.input_scales,
            )
        require(
            len(self.mean) == len(self.std) == self.in_channels,
            f"one mean and std for each of {counted(self.in_channels, 'channel')}",
            (self.mean, self.std),
        )
        require(
            len(set(self.further_outputs)) == len(self.further_outputs), "each output once", self.further_outputs
        )
        require(not (self.further_outputs and self.void_logit), "no void_logit with further_outputs", True)
        require(self.outputs == "classes" or self.dpt is not None, "dpt settings with outputs of depth", None)
        require(self.outputs == "classes" or self.num_classes == 1, "one output of depth", self.num_classes)
        if self.dpt is not None:
            others = [item.name for item in fields(self) if item.name not in OF_DPT]
            changed = [name for name in others if getattr(self, name) != getattr(ModelConfig, name)]
            require(not changed, f"only {', '.join(OF_DPT)} with a DPT", ", ".join(changed))

    @property
    def scale_ratios(self) -> tuple[int, ...]:
        """How many times smaller the picture is at each input scale than at the largest; rounded."""
        return tuple(round(ratio) for ratio in self._scale_ratios())

    def _scale_ratios(self) -> list[float]:
        return [max(self.input_scales) / scale for scale in self.input_scales]

    @property
    def stride(self) -> int:
        """Pixels of the (scaled) input for each cell of the scores that the network gives without upsampling."""
        return 4 if self.dpt is None else 1


def scaled(length: int, scale: float) -> int:
    """A height or width at an input scale of a network: ``max(1, round(length * scale))``.

    Integer arithmetic, which exports with dynamic sizes support; halves round to even.
    """
    ratio = Fraction(scale).limit_denominator(1000)
    over = ratio.denominator
    rounded = (2 * ratio.numerator * length + over) // (2 * over)
    if over % 2:  # no halves here, whose formula takes torch.export minutes
        return max(1, rounded)
    tie = rounded - (2 * ratio.numerator * length + over - 1) // (2 * over)  # 1 where the half is exact
    return max(1, rounded - tie * (rounded % 2))
