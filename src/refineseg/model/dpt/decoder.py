"""The decoder of DPT and MiDaS (Ranftl et al., 2021 and 2020): reduced RefineNet blocks.

Each stage is a RefineNet block without pooling and fusion convolutions: a 3x3 convolution adapts the backbone's
map, a residual conv unit follows, the coarser stage's output is added, then come another unit, in DPT a 1x1
convolution, and upsampling. Both convolutions of a unit have a bias or a batch norm.

Shapes: maps BxC_ixH_ixW_i from fine to coarse; output Bx(width)x2H_0x2W_0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.config import Config
from refineseg.errors import ConfigError, WeightsError
from refineseg.model.blocks import ResidualConvUnit, conv
from refineseg.model.folders.model_folder import read_json, write_weights
from refineseg.model.resize import bilinear
from refineseg.model.tensors.checkpoints import read_safetensors
from refineseg.system.files import atomic_folder

CONFIG, WEIGHTS = "decoder.json", "decoder.safetensors"


@dataclass(frozen=True)
class DecoderConfig(Config):
    """The settings of a decoder."""

    in_channels: tuple[int, ...]  # channels of each backbone map, fine to coarse
    widths: tuple[int, ...]  # channels of each stage, fine to coarse
    out_channels: int  # channels of the finest stage's output
    project: bool = True  # whether stages end in a 1x1 convolution (DPT, MiDaS 2.1 small; not MiDaS 2)
    rectified: bool = False  # whether units add relu(x) instead of x, as MiDaS 2 does because of an in-place ReLU
    # whether each convolution of a unit is followed by a batch norm (DPT for segmentation)
    batch_norm: bool = False
    unit_bias: bool = True  # whether the convolutions of a unit have a bias
    align_corners: bool = True  # whether upsampling aligns the corners of maps


class DPTUnit(ResidualConvUnit):
    """Residual conv unit with the settings of a DPT; ``rectified`` adds relu(x) instead of x."""

    def __init__(self, channels: int, config: DecoderConfig) -> None:
        super().__init__(channels)
        self.conv1 = conv(channels, channels, 3, bias=config.unit_bias)
        self.conv2 = conv(channels, channels, 3, bias=config.unit_bias)
        self.norm1 = nn.BatchNorm2d(channels) if config.batch_norm else nn.Identity()
        self.norm2 = nn.BatchNorm2d(channels) if config.batch_norm else nn.Identity()
        self.rectified = config.rectified

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW; x is not modified."""
        rectified = F.relu(x)
        y: Tensor = self.norm2(self.conv2(F.relu_(self.norm1(self.conv1(rectified)))))
        return y.add_(rectified if self.rectified else x)


class DPTStage(nn.Module):
    """One stage: adaptation, unit, sum with the coarser stage, unit, 1x1 convolution."""

    def __init__(self, config: DecoderConfig, index: int) -> None:
        super().__init__()
        width = config.widths[index]
        self.adapt = conv(config.in_channels[index], width, 3)
        # The coarsest stage has nothing to add, so the published code skips its first unit.
        coarsest = index == len(config.widths) - 1
        self.lateral = None if coarsest else DPTUnit(width, config)
        self.output = DPTUnit(width, config)
        narrower = config.widths[index - 1] if index else config.out_channels
        self.project = conv(width, narrower, 1, bias=True) if config.project else nn.Identity()
        self.align_corners = config.align_corners

    def forward(self, x: Tensor, coarser: Tensor | None, size: Sequence[int]) -> Tensor:
        """A backbone map and the coarser stage's output of its size, to a map of ``size``."""
        x = self.adapt(x)
        if self.lateral is not None and coarser is not None:
            x = coarser + self.lateral(x)
        # A 1x1 convolution and bilinear upsampling commute; this order costs a quarter.
        return bilinear(self.project(self.output(x)), size, self.align_corners)


class DPTDecoder(nn.Module):
    """Stages from coarse to fine for any four maps of a backbone."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        count = len(config.widths)
        if len(config.in_channels) != count:
            raise ValueError(f"expected one width per map ({len(config.in_channels)}), got {count}")
        self.config = config
        self.stages = nn.ModuleList(DPTStage(config, index) for index in reversed(range(count)))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps from fine to coarse to one map of twice the finest one's size. A list of maps is emptied."""
        if len(maps) != len(self.stages):
            raise ValueError(f"expected {len(self.stages)} maps from fine to coarse, got {len(maps)}")
        height, width = maps[0].shape[-2:]
        sizes = [(2 * height, 2 * width)] + [tuple(x.shape[-2:]) for x in maps[:-1]]
        waiting = list(maps)
        if isinstance(maps, list):
            maps.clear()
        x: Tensor | None = None
        for stage, size in zip(self.stages, reversed(sizes), strict=True):
            x = stage(waiting.pop(), x, size)
        assert x is not None
        return x


def infer_config(shapes: Mapping[str, tuple[int, ...]]) -> DecoderConfig:
    """The settings, from the shapes of tensors under our names; missing tensors are noticed when loading."""
    count = 4
    square = {key: shape for key, shape in shapes.items() if len(shape) == 4}
    adapt = [square.get(f"stages.{index}.adapt.weight", (1, 1, 3, 3)) for index in reversed(range(count))]
    project = any(".project." in key for key in shapes)
    last = square.get(f"stages.{count - 1}.project.weight", adapt[0])
    return DecoderConfig(
        in_channels=tuple(shape[1] for shape in adapt),
        widths=tuple(shape[0] for shape in adapt),
        out_channels=last[0],
        project=project,
        rectified=not project,
    )


def save_dpt_decoder(path: str | Path, decoder: DPTDecoder) -> None:
    """Write a folder with decoder.json and decoder.safetensors, as a whole or not at all."""
    state = {key: value.detach().cpu().contiguous().clone() for key, value in decoder.state_dict().items()}
    with atomic_folder(path) as folder:
        write_weights(folder / WEIGHTS, state)
        (folder / CONFIG).write_text(json.dumps(decoder.config.to_dict(), indent=1) + "\n", encoding="utf-8")


def load_dpt_decoder(path: str | Path) -> DPTDecoder:
    """Read a folder that ``save_dpt_decoder`` or ``refineseg convert`` wrote; eval mode.

    Raises:
        WeightsError: a file is missing or damaged, or tensors do not fit.
    """
    folder = Path(path)
    values = read_json(folder / CONFIG, "a decoder folder")
    try:
        decoder = DPTDecoder(DecoderConfig.from_dict(values))
        decoder.load_state_dict(read_safetensors(folder / WEIGHTS))
    except (ConfigError, ValueError, RuntimeError) as error:
        raise WeightsError(f"cannot read the decoder in {folder}, it is damaged: {error}") from error
    return decoder.eval()
