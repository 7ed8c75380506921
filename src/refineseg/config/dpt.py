"""Settings of a DPT network: a vision transformer under RefineNet's blocks. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from refineseg.config.settings import Config, require

MAPS = 4  # number of the transformer's blocks after which a DPT takes tokens
# Bounds are against damaged files that would need terabytes.
Width = Annotated[int, "[1, 8192]"]
Ratio = Annotated[float, "(0, 64]"]


@dataclass(frozen=True)
class ViTSizes(Config):
    """Sizes of a vision transformer, in place of those of the timm model."""

    image: Annotated[int, "[1, 4096]"]  # side in pixels of the pictures of the position embeddings' grid
    patch: Annotated[int, "[1, 64]"]  # side of a patch in pixels
    width: Width  # channels of a token
    depth: Annotated[int, "[1, 256]"]  # number of blocks
    heads: Width  # attention heads of a block
    mlp: Ratio = 4.0  # channels inside a block's MLP, as a multiple of ``width``
    norm_eps: Annotated[float, "(0, 1)"] = 1e-6  # small constant of the layer norms

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.patch <= self.image, "an image side of at least the patch", self.image)
        require(self.width % self.heads == 0, "a width that the heads divide", (self.width, self.heads))


@dataclass(frozen=True)
class SwinSizes(Config):
    """Sizes of a Swin, v1 or v2."""

    image: Annotated[int, "[32, 4096]"]  # side in pixels of its input; no window is larger than a map of it
    width: Annotated[int, "[1, 1024]"]  # channels of the finest map; each further one has twice as many
    depths: Annotated[tuple[int, ...], "[1, 256]"]  # number of blocks of each stage
    heads: Annotated[tuple[int, ...], "[1, 8192]"]  # attention heads of each stage
    window: Annotated[int, "[1, 128]"]  # side of a window in cells
    # v2: side of each stage's windows in pretraining; 0 for the same
    trained_windows: Annotated[tuple[int, ...], "[0, 128]"] = (0, 0, 0, 0)
    mlp: Ratio = 4.0  # channels inside a block's MLP, as a multiple of its width

    def __post_init__(self) -> None:
        super().__post_init__()
        stages = (self.depths, self.heads, self.trained_windows)
        require(all(len(numbers) == MAPS for numbers in stages), "numbers for four stages", stages)
        divided = all((self.width << stage) % heads == 0 for stage, heads in enumerate(self.heads))
        require(divided, "heads that divide the width of their stage", self.heads)


@dataclass(frozen=True)
class DPTConfig(Config):
    """A dense prediction transformer (Ranftl et al., ICCV 2021), as data."""

    vit: ViTSizes | None = None  # sizes of the transformer; None takes those of the timm model ``backbone``
    swin: SwinSizes | None = None  # sizes of a Swin, if that is the backbone
    # the four blocks, counted from 0, after which tokens are taken (two in a hybrid, whose other maps are its
    # ResNet's); if empty, the ends of the quarters
    layers: Annotated[tuple[int, ...], "[0, 255]"] = ()
    final_norm: bool = True  # whether the transformer's last layer norm is applied to the tokens
    # interpolation of the position embeddings to the grid of the picture
    positions: Literal["bilinear", "bicubic"] = "bicubic"
    # use of the class token: ignored, added to every token, or concatenated and projected
    readout: Literal["ignore", "add", "project"] = "ignore"
    # channels of the four maps; if empty, an eighth, a quarter, a half and all of the tokens' channels
    map_widths: Annotated[tuple[int, ...], "[1, 8192]"] = ()
    batch_norm: bool = False  # whether each convolution of a residual conv unit is followed by a batch norm
    unit_bias: bool = True  # whether the convolutions of a unit have a bias
    head_norm: bool = False  # head for classes: a batch norm instead of the first convolution's bias
    head_width: Width = 32  # head for depth: channels of its second convolution
    head_projection: bool = False  # head for depth: one more convolution and ReLU at the beginning
    # head for depth: the last convolutions run at twice the size of its input (transformers' DPT for any patch),
    # not at the picture's size
    head_doubles: bool = False
    # head for depth: ``relative`` (inverse depth of unknown scale, larger is nearer) or ``metres``
    depth: Literal["relative", "metres"] = "relative"
    # head for depth: largest value in metres; the head then ends in a sigmoid
    max_depth: Annotated[float | None, "(0, 1e6]"] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.layers) in (0, 2, MAPS), f"{MAPS} layers, 2 of a hybrid, or none", self.layers)
        require(list(self.layers) == sorted(set(self.layers)), "layers in increasing order", self.layers)
        require(len(self.map_widths) in (0, MAPS), f"{MAPS} map_widths, or none", self.map_widths)
        require(self.max_depth is None or self.depth == "metres", "depth in metres with max_depth", self.depth)
