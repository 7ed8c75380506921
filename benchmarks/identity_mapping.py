"""How much gradient reaches the backbone's first stage, against the depth of the cascade.

With the long-range connections each block takes the backbone's maps of its level, as published. Without them the
network is the same, parameter for parameter, and every map but the stride-32 one is blanked (zeros): the first
stage is reached only through the coarsest block and the rest of the backbone. Two backbones: a ResNet-18, whose
own shortcuts already carry gradient, and a plain one of the same widths, without shortcuts and batch norm.
Nothing is trained: random weights, random pictures and labels.

    python benchmarks/identity_mapping.py                writes docs/figures/identity_mapping.{png,json}
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from itertools import product
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

from refineseg.config import ModelConfig
from refineseg.model import Decoder
from refineseg.model.backbones.timm_backbone import TimmBackbone
import torch
from torch import Tensor, nn
from torch.nn import functional as F

BACKBONES, INITS, BLOCKS = ("resnet18", "plain"), ("default", "paper"), (1, 2, 4)
CHANNELS, STRIDES = (64, 128, 256, 512), (4, 8, 16, 32)
WIDTH, CLASSES, SIZE = 64, 11, 96
CASCADES: dict[int, Literal["single", "two", "four"]] = {1: "single", 2: "two", 4: "four"}


@dataclass(frozen=True)
class Measurement:
    """Gradient norms of one backward pass.

    Attributes:
        backbone: ``resnet18`` or ``plain``.
        init: ``default`` (torch's) or ``paper`` (N(0, 0.01)) for the decoder's convolutions.
        long_range: whether each block takes the backbone's maps of its level.
        blocks: in the cascade.
        seed: of weights, pictures and labels.
        first_stage: norm over the parameters of the backbone's first stage.
        classifier: norm over the classifier's weight.
    """

    backbone: str
    init: str
    long_range: bool
    blocks: int
    seed: int
    first_stage: float
    classifier: float


class PlainBackbone(nn.Module):
    """Four convolutions per stage and nothing else, with ResNet-18's widths and strides."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS[0], 7, stride=4, padding=3)
        self.stages = nn.ModuleList()
        for before, width in zip((CHANNELS[0], *CHANNELS), CHANNELS, strict=False):
            stride = 1 if before == width else 2
            layers: list[nn.Module] = [nn.Conv2d(before, width, 3, stride, 1), nn.ReLU()]
            for _ in range(3):
                layers += [nn.Conv2d(width, width, 3, 1, 1), nn.ReLU()]
            self.stages.append(nn.Sequential(*layers))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Images to four maps, fine to coarse."""
        x, maps = F.relu(self.stem(images)), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class Cascade(nn.Module):
    """A backbone under 1, 2 or 4 blocks, with or without the long-range connections."""

    def __init__(self, backbone: str, init: str, long_range: bool, blocks: int) -> None:
        super().__init__()
        net = PlainBackbone() if backbone == "plain" else TimmBackbone("resnet18")
        self.backbone = net
        self.first_stage: nn.Module = net.stages[0] if isinstance(net, PlainBackbone) else net.net.layer1
        self.long_range = long_range
        settings = ModelConfig(
            cascade=CASCADES[blocks], width=WIDTH, coarse_width=WIDTH, backbone_dropout=0.0, classifier_dropout=0.0
        )
        self.decoder = Decoder(settings, CHANNELS, STRIDES)
        self.classifier = nn.Conv2d(WIDTH, CLASSES, 3, padding=1)
        if init == "paper":
            for module in (*self.decoder.modules(), self.classifier):
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight, std=0.01)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images to logits at stride 4."""
        maps = self.backbone.maps(images)
        if not self.long_range:
            maps = [torch.zeros_like(x) for x in maps[:-1]] + maps[-1:]
        logits: Tensor = self.classifier(self.decoder(maps))
        return logits


def measure(backbone: str, init: str, long_range: bool, blocks: int, seed: int, size: int = SIZE) -> Measurement:
    """One forward and backward pass of cross-entropy."""
    torch.manual_seed(seed)
    network = Cascade(backbone, init, long_range, blocks)
    images = torch.rand(2, 3, size, size)
    labels = torch.randint(CLASSES, (2, size // 4, size // 4))
    F.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
    norms = (gradient_norm(part) for part in (network.first_stage, network.classifier))
    return Measurement(backbone, init, long_range, blocks, seed, *norms)


def gradient_norm(part: nn.Module) -> float:
    """Euclidean norm over all parameters of a module."""
    return float(torch.cat([p.grad.flatten() for p in part.parameters() if p.grad is not None]).norm())


def summarise(runs: list[Measurement]) -> list[dict[str, Any]]:
    """Mean and standard deviation over the seeds."""
    arms: dict[tuple[Any, ...], list[Measurement]] = {}
    for run in runs:
        arms.setdefault((run.backbone, run.init, run.long_range, run.blocks), []).append(run)
    return [
        dict(zip(("backbone", "init", "long_range", "blocks"), arm, strict=True))
        | {
            "first_stage": mean(run.first_stage for run in chosen),
            "spread": stdev(run.first_stage for run in chosen) if len(chosen) > 1 else 0.0,
            "relative_to_classifier": mean(run.first_stage / run.classifier for run in chosen),
        }
        for arm, chosen in arms.items()
    ]


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """One panel per backbone and initialisation: gradient norm against the number of blocks."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
    for panel, (backbone, init) in zip(panels, product(BACKBONES, INITS), strict=True):
        for long_range, style in ((True, "o-"), (False, "s--")):
            chosen = [
                r for r in rows if (r["backbone"], r["init"], r["long_range"]) == (backbone, init, long_range)
            ]
            means, spreads = [row["first_stage"] for row in chosen], [row["spread"] for row in chosen]
            label = f"{'with' if long_range else 'without'} long-range connections"
            low = [min(spread, 0.9 * value) for value, spread in zip(means, spreads, strict=True)]
            panel.errorbar(BLOCKS, means, (low, spreads), fmt=style, capsize=3, label=label)
        panel.set(yscale="log", xticks=BLOCKS, xlabel="blocks in the cascade", title=f"{backbone}, {init} init")
    panels[0].set_ylabel("gradient norm, first stage")
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Measure, print, write the figure and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    default = Path(__file__).parents[1] / "docs" / "figures"
    parser.add_argument("--output", type=Path, default=default, help="folder for the figure and the JSON")
    options = parser.parse_args()
    arms = product(BACKBONES, INITS, (True, False), BLOCKS, range(options.seeds))
    runs = [measure(*arm) for arm in arms]
    rows = summarise(runs)
    print("backbone  init     long range  blocks  first stage  spread    relative to classifier")
    for row in rows:
        print(
            f"{row['backbone']:9} {row['init']:8} {row['long_range']!s:11} {row['blocks']:6}  "
            f"{row['first_stage']:11.2e}  {row['spread']:.2e}  {row['relative_to_classifier']:.2e}"
        )
    options.output.mkdir(parents=True, exist_ok=True)
    draw(rows, options.output / "identity_mapping.png")
    content = {"width": WIDTH, "image": SIZE, "summary": rows, "runs": [asdict(run) for run in runs]}
    (options.output / "identity_mapping.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
