"""Settings of a DPT network: a vision transformer under RefineNet's blocks. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from refineseg.config.settings import Config, require

MAPS = 4  # number of the transformer's blocks after which a DPT takes tokens
LARGEST_WIDTH = 8192  # bound against damaged files that would need terabytes


@dataclass(frozen=True)
class ViTSizes(Config):
    """Sizes of a vision transformer, in place of those of the timm model."""

    image: int  # side in pixels of the pictures of the position embeddings' grid
    patch: int  # side of a patch in pixels
    width: int  # channels of a token
    depth: int  # number of blocks
    heads: int  # attention heads of a block
    mlp: float = 4.0  # channels inside a block's MLP, as a multiple of ``width``
    norm_eps: float = 1e-6  # small constant of the layer norms

    def __post_init__(self) -> None:
        require(1 <= self.patch <= 64, "a patch of 1 to 64 pixels", self.patch)
        require(self.patch <= self.image <= 4096, "an image side from the patch to 4096", self.image)
        require(1 <= self.heads <= self.width <= LARGEST_WIDTH, "heads up to the width, up to 8192", self.width)
        require(self.width % self.heads == 0, "a width that the heads divide", (self.width, self.heads))
        require(1 <= self.depth <= 256, "1 to 256 blocks", self.depth)
        require(0 < self.mlp <= 64, "an mlp factor above 0, up to 64", self.mlp)
        require(0 < self.norm_eps < 1, "a norm_eps between 0 and 1", self.norm_eps)


@dataclass(frozen=True)
class SwinSizes(Config):
    """Sizes of a Swin, v1 or v2."""

    image: int  # side in pixels of its input; no window is larger than a map of it
    width: int  # channels of the finest map; each further one has twice as many
    depths: tuple[int, ...]  # number of blocks of each stage
    heads: tuple[int, ...]  # attention heads of each stage
    window: int  # side of a window in cells
    # v2: side of each stage's windows in pretraining; 0 for the same
    trained_windows: tuple[int, ...] = (0, 0, 0, 0)
    mlp: float = 4.0  # channels inside a block's MLP, as a multiple of its width

    def __post_init__(self) -> None:
        require(32 <= self.image <= 4096, "an image side from 32 to 4096", self.image)
        require(1 <= self.width <= LARGEST_WIDTH // 8, "a width of 1 to 1024", self.width)
        stages = (self.depths, self.heads, self.trained_windows)
        require(all(len(numbers) == MAPS for numbers in stages), "numbers for four stages", stages)
        require(1 <= min(self.depths) <= max(self.depths) <= 256, "1 to 256 blocks in each stage", self.depths)
        divided = all(heads >= 1 and (self.width << stage) % heads == 0 for stage, heads in enumerate(self.heads))
        require(divided, "heads that divide the width of their stage", self.heads)
        require(1 <= self.window <= 128, "a window of 1 to 128 cells", self.window)
        require(0 <= min(self.trained_windows) <= max(self.trained_windows) <= 128, "windows up to 128", stages[2])
        require(0 < self.mlp <= 64, "an mlp factor above 0, up to 64", self.mlp)


@dataclass(frozen=True)
class DPTConfig(Config):
    """A dense prediction transformer (Ranftl et al., ICCV 2021), as data."""

    vit: ViTSizes | None = None  # sizes of the transformer; None takes those of the timm model ``backbone``
    swin: SwinSizes | None = None  # sizes of a Swin, if that is the backbone
    # the four blocks, counted from 0, after which tokens are taken (two in a hybrid, whose other maps are its
    # ResNet's); if empty, the ends of the quarters
    layers: tuple[int, ...] = ()
    final_norm: bool = True  # whether the transformer's last layer norm is applied to the tokens
    # interpolation of the position embeddings to the grid of the picture
    positions: Literal["bilinear", "bicubic"] = "bicubic"
    # use of the class token: ignored, added to every token, or concatenated and projected
    readout: Literal["ignore", "add", "project"] = "ignore"
    # channels of the four maps; if empty, an eighth, a quarter, a half and all of the tokens' channels
    map_widths: tuple[int, ...] = ()
    batch_norm: bool = False  # whether each convolution of a residual conv unit is followed by a batch norm
    unit_bias: bool = True  # whether the convolutions of a unit have a bias
    head_norm: bool = False  # head for classes: a batch norm instead of the first convolution's bias
    head_width: int = 32  # head for depth: channels of its second convolution
    head_projection: bool = False  # head for depth: one more convolution and ReLU at the beginning
    # head for depth: the last convolutions run at twice the size of its input (transformers' DPT for any patch),
    # not at the picture's size
    head_doubles: bool = False
    # head for depth: ``relative`` (inverse depth of unknown scale, larger is nearer) or ``metres``
    depth: Literal["relative", "metres"] = "relative"
    max_depth: float | None = None  # head for depth: largest value in metres; the head then ends in a sigmoid

    def __post_init__(self) -> None:
        require(len(self.layers) in (0, 2, MAPS), f"{MAPS} layers, 2 of a hybrid, or none", self.layers)
        require(list(self.layers) == sorted(set(self.layers)), "layers in increasing order", self.layers)
        require(all(0 <= layer < 256 for layer in self.layers), "layers from 0 to 255", self.layers)
        require(len(self.map_widths) in (0, MAPS), f"{MAPS} map_widths, or none", self.map_widths)
        widths = (*self.map_widths, self.head_width)
        require(0 < min(widths) <= max(widths) <= LARGEST_WIDTH, f"widths of 1 to {LARGEST_WIDTH}", widths)
        require(self.max_depth is None or 0 < self.max_depth <= 1e6, "max_depth above 0", self.max_depth)
        require(self.max_depth is None or self.depth == "metres", "depth in metres with max_depth", self.depth)
