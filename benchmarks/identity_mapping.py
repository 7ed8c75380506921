"""How much gradient reaches the backbone's first stage, against the depth of the cascade.

With the long-range connections each block takes the backbone's maps of its level, as published. Without them the
same number of blocks stands in a row and only the coarsest gets a backbone map (stride 32); the others get the
coarser block's output, upsampled to their level. Nothing is trained: random weights, random pictures and labels.

    python benchmarks/identity_mapping.py                writes docs/figures/identity_mapping.{png,json}
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.model import RefineNetBlock
from refineseg.model.backbone import TimmBackbone
from refineseg.model.blocks import resize
from refineseg.model.refinenet import _init_paper

DEPTHS = (1, 2, 4)
WIDTH, CLASSES, SIZE = 64, 11, 96


@dataclass(frozen=True)
class Measurement:
    """Gradient norms of one backward pass.

    Attributes:
        depth: number of blocks.
        long_range: whether each block takes the backbone's maps of its level.
        init: ``default`` (torch's) or ``paper`` (N(0, 0.01)) for the decoder's convolutions.
        seed: of weights, pictures and labels.
        first_stage: norm over the parameters of the backbone's first stage.
        last_stage: norm over those of its last stage.
        classifier: norm over the classifier's weight.
    """

    depth: int
    long_range: bool
    init: str
    seed: int
    first_stage: float
    last_stage: float
    classifier: float


class Cascade(nn.Module):
    """A ResNet-18 under 1, 2 or 4 blocks, with or without the long-range connections."""

    def __init__(self, depth: int, long_range: bool, init: str) -> None:
        super().__init__()
        self.backbone = TimmBackbone("resnet18")
        levels = [3, 2, 1, 0]  # positions of the maps, coarse to fine
        each = len(levels) // depth
        self.groups = [levels[start : start + each] for start in range(0, len(levels), each)]
        self.long_range = long_range
        self.blocks = nn.ModuleList()
        for index, group in enumerate(self.groups):
            taken = group if long_range else levels[:1] * (index == 0)
            channels = [self.backbone.channels[level] for level in taken]
            self.blocks.append(RefineNetBlock(channels, WIDTH, [WIDTH] * (index > 0)))
        self.classifier = nn.Conv2d(WIDTH, CLASSES, 3, padding=1)
        if init == "paper":
            self.blocks.apply(_init_paper)
            self.classifier.apply(_init_paper)

    def forward(self, images: Tensor) -> Tensor:
        """Images to logits at stride 4."""
        maps = self.backbone.maps(images)
        sizes = [x.shape[-2:] for x in maps]
        refined: Tensor | None = None
        for group, block in zip(self.groups, self.blocks, strict=True):
            if self.long_range:
                inputs = [maps[level] for level in group] + ([] if refined is None else [refined])
            else:
                entering = maps[3] if refined is None else refined
                inputs = [entering if refined is None else resize(entering, sizes[group[-1]], True)]
            refined = block(inputs)
        assert refined is not None
        return self.classifier(resize(refined, sizes[0], True))


def measure(depth: int, long_range: bool, init: str, seed: int) -> Measurement:
    """One forward and backward pass of cross-entropy."""
    torch.manual_seed(seed)
    network = Cascade(depth, long_range, init)
    images = torch.rand(2, 3, SIZE, SIZE)
    labels = torch.randint(CLASSES, (2, SIZE // 4, SIZE // 4))
    F.cross_entropy(network(images), labels).backward()

    def norm(part: nn.Module) -> float:
        return float(torch.cat([p.grad.flatten() for p in part.parameters() if p.grad is not None]).norm())

    net = network.backbone.net
    return Measurement(
        depth, long_range, init, seed, norm(net.layer1), norm(net.layer4), norm(network.classifier)
    )


def summarise(runs: list[Measurement]) -> list[dict[str, object]]:
    """Mean and standard deviation over the seeds."""
    rows: list[dict[str, object]] = []
    for key in dict.fromkeys((run.init, run.long_range, run.depth) for run in runs):
        values = [run.first_stage for run in runs if (run.init, run.long_range, run.depth) == key]
        ratios = [run.first_stage / run.classifier for run in runs if (run.init, run.long_range, run.depth) == key]
        row: dict[str, object] = dict(zip(("init", "long_range", "blocks"), key, strict=True))
        spread = stdev(values) if len(values) > 1 else 0.0
        rows.append(row | {"mean": mean(values), "spread": spread, "relative_to_classifier": mean(ratios)})
    return rows


def draw(rows: list[dict[str, object]], path: Path) -> None:
    """One panel per initialisation: gradient norm against the number of blocks."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for panel, init in zip(panels, ("default", "paper"), strict=True):
        for long_range, style in ((True, "o-"), (False, "s--")):
            chosen = [row for row in rows if (row["init"], row["long_range"]) == (init, long_range)]
            label = f"{'with' if long_range else 'without'} long-range connections"
            points = [(row["blocks"], row["mean"], row["spread"]) for row in chosen]
            blocks, means, spreads = zip(*points, strict=True)
            panel.errorbar(blocks, means, spreads, fmt=style, capsize=3, label=label)
        panel.set(yscale="log", xticks=DEPTHS, xlabel="blocks in the cascade", title=f"{init} initialisation")
    panels[0].set_ylabel("gradient norm, first stage")
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measure, print, write the figure and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    default = Path(__file__).parents[1] / "docs" / "figures"
    parser.add_argument("--output", type=Path, default=default, help="folder for the figure and the JSON")
    options = parser.parse_args()
    runs = [
        measure(depth, long_range, init, seed)
        for init in ("default", "paper")
        for long_range in (True, False)
        for depth in DEPTHS
        for seed in range(options.seeds)
    ]
    rows = summarise(runs)
    for row in rows:
        print("  ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()))
    options.output.mkdir(parents=True, exist_ok=True)
    draw(rows, options.output / "identity_mapping.png")
    content = {"backbone": "resnet18, random weights", "width": WIDTH, "image": SIZE, "summary": rows}
    content |= {"runs": [asdict(run) for run in runs]}
    (options.output / "identity_mapping.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
