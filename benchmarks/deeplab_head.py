"""A RefineNet that starts as the DeepLab-v3 of deeplab.py: its encoder, and its head in the decoder.

    python benchmarks/deeplab_head.py WEIGHTS ENCODER voc2012:ROOT -o FOLDER [--width N]

The coarsest block, 512 wide, is the head's two 1x1 convolutions, of the map and of its mean over the picture; the
fusion convolution behind it is the projection, of whose 256 channels those are kept from which the logits follow
best (backward elimination on pictures of train); the classifier is fitted to the logits. All other paths start at
nothing. What the light-weight decoder has no place for, the biases, is fitted by channels that hardly change.
These weights are then trained on single cells, where a step takes no time: the DeepLab's classes are the target.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.deeplab import CLASSES, DeepLab
import numpy as np
from refineseg.data import open_data
from refineseg.data.dataset import SegmentationData
from refineseg.model import create_model
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.model_folder import save_model_folder
from refineseg.model.refinenet import RefineNet
import torch
from torch import Tensor
from torch.nn import functional as F

PICTURES = 1100
CELLS = 120  # of each picture, half of them with something in it where there is anything
STEPS, BATCH, RATE = 3000, 2048, 5e-4  # of the training on cells
SCALES = (0.7, 1.3)
RIDGE = 1e-4  # of the largest eigenvalue
POOLING = 0.05  # share of the usual spread with which chained residual pooling starts
LICENCE = "a DeepLab-v3's weights, trained on pictures of Flickr's users (VOC, COCO), for research"


def fit(network: DeepLab, model: RefineNet, data: SegmentationData) -> None:
    """Put the head of a DeepLab into the decoder of a RefineNet with its encoder."""
    with torch.no_grad():
        maps, means = collect(network, model, data)
        weights, logits = start(network, maps, means, model.config.width)
    write(model, train(weights, maps, means, logits))


def head(weights: list[Tensor], maps: Tensor, means: Tensor) -> Tensor:
    """The RefineNet's logits of cells NxC, NxC being the means over their pictures."""
    of_map, of_mean, fused, classes = weights
    hidden = F.relu6(maps @ of_map.T + means @ of_mean.T)
    return F.relu6(hidden @ fused.T) @ classes[:-1] + classes[-1]


def deeplab_head(network: DeepLab, maps: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    """The DeepLab's projection Nx256 and logits Nx21 of such cells."""
    cells, pooled = (value.T[None, :, :, None] for value in (maps, means))
    joined = torch.cat([F.relu6(network.image_pooling(pooled)), F.relu6(network.aspp(cells))], 1)
    projected = F.relu6(network.projection(joined))
    return projected[0, :, :, 0].T, network.logits(projected)[0, :, :, 0].T


def train(weights: list[Tensor], maps: Tensor, means: Tensor, logits: Tensor) -> list[Tensor]:
    """The weights after training on cells, by the Kullback-Leibler divergence from the DeepLab's classes."""
    learnt = [value.clone().requires_grad_() for value in weights]
    optimizer = torch.optim.AdamW(learnt, RATE, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(0)
    cells, count = maps.flatten(0, 1), maps.shape[1]
    for step in range(STEPS):
        taken = torch.randint(len(cells), (BATCH,), generator=generator)
        given = head(learnt, cells[taken], means[taken // count])
        target = F.log_softmax(logits[taken], 1)
        loss = F.kl_div(F.log_softmax(given, 1), target, reduction="batchmean", log_target=True)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 300 == 0 or step == STEPS - 1:
            agreement = float((given.argmax(1) == target.argmax(1)).float().mean())
            print(f"step {step}: divergence {loss.item():.4f}, agreement {agreement:.3f}", flush=True)
    return [value.detach() for value in learnt]


def start(network: DeepLab, maps: Tensor, means: Tensor, width: int) -> tuple[list[Tensor], Tensor]:
    """First weights, and the DeepLab's logits of every cell."""
    aspp, pooling, projection = (
        layer.weight.flatten(1) for layer in (network.aspp, network.image_pooling, network.projection)
    )
    projection = projection.roll(aspp.shape[0], 1)  # DeepLab's reads the pooled half first
    of_aspp, of_pooling, of_projection = (
        value
        for layer in (network.aspp, network.image_pooling, network.projection)
        if (value := layer.bias) is not None
    )
    constant = regress(means, torch.ones(len(means), 1))[:, 0]  # channels' sum that is about 1 for every picture
    of_map = torch.cat([aspp, torch.zeros_like(pooling)])
    of_mean = torch.cat([torch.zeros_like(aspp), pooling])
    of_mean += torch.cat([of_aspp, of_pooling])[:, None] * constant
    cells, spread = maps.flatten(0, 1), means.repeat_interleave(maps.shape[1], 0)
    projected, logits = deeplab_head(network, cells, spread)
    some = slice(None, None, max(1, len(cells) // 60_000))
    kept = eliminate(projected[some], logits[some], width)
    hidden = F.relu6(cells[some] @ of_map.T + spread[some] @ of_mean.T)
    level = regress(hidden, torch.ones(len(hidden), 1))[:, 0]
    fused = projection[kept] + of_projection[kept, None] * level
    own = F.relu6(hidden @ fused.T)
    own = torch.cat([own, torch.ones(len(own), 1)], 1)
    classes = regress(own, logits[some])
    left = ((own @ classes - logits[some]).var(0) / logits[some].var(0)).mean()
    print(f"{width} of {len(projection)} channels; share of the logits' variance that is lost: {left:.3f}")
    return [of_map, of_mean, fused, classes], logits


@torch.no_grad()
def write(model: RefineNet, weights: list[Tensor]) -> None:
    """Put the weights into the decoder, all other paths out of use."""
    of_map, of_mean, fused, classes = weights
    coarse, following, *finer = model.decoder.blocks
    for block in model.decoder.blocks:
        for convolution in block.pooling.convs:
            convolution.weight.mul_(POOLING)
    for path in list(coarse.adapt)[:-2]:
        path[0].weight.zero_()
    coarse.adapt[-2][0].weight.copy_(of_map[:, :, None, None])
    coarse.adapt[-1][0].weight.copy_(of_mean[:, :, None, None])
    following.fusion.convs[0].weight.zero_()
    following.fusion.convs[1].weight.copy_(fused[:, :, None, None])
    for block in finer:
        block.adapt[0][0].weight.zero_()
    # Cells are at multiples of 4 pixels, the last upsampling takes them for the centres of squares: 0.375 cells.
    steps = torch.tensor([0, 0.625, 0.375])
    model.classifier.weight.copy_(classes[:-1].T[:, :, None, None] * steps[:, None] * steps)
    assert model.classifier.bias is not None
    model.classifier.bias.copy_(classes[-1])


def collect(network: DeepLab, model: RefineNet, data: SegmentationData) -> tuple[Tensor, Tensor]:
    """The encoder's coarsest map at places of pictures of train, NxCELLSx320, and its means over them, Nx320."""
    maps, means = [], []
    samples = data.split("train")
    generator = torch.Generator().manual_seed(0)
    encoder = model.each_backbone()[0]
    for sample in samples[:: max(1, len(samples) // PICTURES)][:PICTURES]:
        image, _ = data.read(sample)
        x = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
        low, high = SCALES
        scale = low + (high - low) * float(torch.rand((), generator=generator))
        x = F.interpolate(x, scale_factor=scale, mode="bilinear", antialias=True)
        coarsest = encoder.maps((x - model.mean) / model.std)[-1][0].flatten(1).T
        mean = coarsest.mean(0)
        _, logits = deeplab_head(network, coarsest, mean.expand_as(coarsest))
        filled = logits.argmax(1).nonzero()[:, 0]
        places = torch.randint(len(coarsest), (CELLS,), generator=generator)
        if len(filled):
            half = CELLS // 2
            places[:half] = filled[torch.randint(len(filled), (half,), generator=generator)]
        means.append(mean)
        maps.append(coarsest[places])
    return torch.stack(maps), torch.stack(means)


def regress(inputs: Tensor, targets: Tensor) -> Tensor:
    """Least squares with a ridge, in float64: weights IxT."""
    x, y = inputs.double(), targets.double()
    gram = x.T @ x
    gram += RIDGE * torch.linalg.matrix_norm(gram, 2) / len(gram) * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram, x.T @ y).float()


def eliminate(inputs: Tensor, targets: Tensor, count: int) -> list[int]:
    """Positions of the inputs that are left when those are dropped, one by one, that the fit lacks least."""
    x = (inputs - inputs.mean(0)).double()
    y = (targets - targets.mean(0)).double()
    kept = list(range(x.shape[1]))
    gram, cross = x.T @ x, x.T @ y
    gram += 1e-6 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    while len(kept) > count:
        inverse = torch.linalg.inv(gram[kept][:, kept])
        weights = inverse @ cross[kept]
        kept.pop(int((weights.square().sum(1) / inverse.diagonal()).argmin()))
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("data", help="voc2012:ROOT")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--output-stride", type=int, default=8)
    parser.add_argument("--crp-stages", type=int, default=1)
    given = parser.parse_args()
    data = open_data(given.data)
    model = create_model(
        "refinenet-lw-mbv2",
        CLASSES,
        given.encoder,
        output_stride=given.output_stride,
        image_pooling=True,
        align_corners=True,
        exact_strides=True,
        width=given.width,
        coarse_width=512,
        crp_stages=given.crp_stages,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    ).eval()
    fit(DeepLab(given.weights), model, data)
    save_model_folder(given.output, model, ModelCard("everyday", data.label_map, licence=LICENCE))


if __name__ == "__main__":
    main()
