"""DeepLab-v3 on MobileNet-v2 (Google's, trained on PASCAL VOC trainaug): the peer of `everyday`, and its teacher.

    python benchmarks/deeplab.py WEIGHTS voc2012:ROOT [--first N]     its scores on the first N pictures of val
    python benchmarks/deeplab.py WEIGHTS voc2012:ROOT --against MODEL [-o FILE.json]
                                                                      beside a model of this package: mean and
                                                                      boundary IoU, time, peak memory
    python benchmarks/deeplab.py WEIGHTS voc2012:ROOT --train RUN --config F.yaml [--set NAME=VALUE ...] [--resume]
                                                                      a RefineNet that it teaches

WEIGHTS is deeplabv3_mnv2_voc_trainaug.safetensors: batch norm folded into the convolutions, TensorFlow's names,
kernels OxHxWxI (depthwise 1xHxWxC). A copy of it is not part of this project.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
import json
from multiprocessing import get_context
import os
from pathlib import Path
from statistics import median, quantiles
import time
from typing import Any

import numpy as np
import refineseg
from refineseg.bench.machine import describe_machine
from refineseg.bench.timing import peak_memory
from refineseg.cli.common import progress_bar
from refineseg.cli.train_progress import TrainingProgress
from refineseg.config import TrainConfig
from refineseg.config.yaml import read_yaml
from refineseg.data import open_data
from refineseg.data.dataset import SegmentationData
from refineseg.evaluation.measures.boundary import BoundaryCounts
from refineseg.evaluation.metrics import confusion_matrix, scores
from refineseg.labels import UInt8
from refineseg.system.files import atomic_write
from safetensors.torch import load_file
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 21
LARGEST = 513  # longer side of the pictures that it was trained on
# Of the 17 inverted residual blocks: width, stride, dilation.
BLOCKS = (
    *((16, 1, 1), (24, 2, 1), (24, 1, 1), (32, 2, 1), (32, 1, 1), (32, 1, 1)),
    *((64, 1, 1), (64, 1, 2), (64, 1, 2), (64, 1, 2), (96, 1, 2), (96, 1, 2), (96, 1, 2)),
    *((160, 1, 2), (160, 1, 4), (160, 1, 4), (320, 1, 4)),
)


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection, and a sum where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = nn.Conv2d(inputs, width, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(width, width, 3, stride, dilation, dilation, groups=width)
        self.project = nn.Conv2d(width, outputs, 1)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.adds else y


class DeepLab(nn.Module):
    """Images BxCxHxW, RGB in [0, 1], to logits Bx21xHxW; output stride 8.

    Sides are padded with mid-grey at the right and bottom to one more than a multiple of 8, where TensorFlow's
    padding is the same on all sides, and the logits cut again.
    """

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        self.blocks = nn.Sequential()
        width = 32
        for index, (outputs, stride, dilation) in enumerate(BLOCKS):
            self.blocks.append(InvertedResidual(width, outputs, stride, dilation, 6 if index else 1))
            width = outputs
        self.image_pooling = nn.Conv2d(width, 256, 1)
        self.aspp = nn.Conv2d(width, 256, 1)
        self.projection = nn.Conv2d(512, 256, 1)
        self.logits = nn.Conv2d(256, CLASSES, 1)
        self._fill(load_file(weights))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        x = F.pad(images * 2 - 1, (0, -(width - 1) % 8, 0, -(height - 1) % 8))
        padded = x.shape[-2:]
        x = self.blocks(F.relu6(self.stem(x)))
        pooled = F.relu6(self.image_pooling(x.mean((2, 3), keepdim=True))).expand(-1, -1, *x.shape[-2:])
        x = F.relu6(self.projection(torch.cat([pooled, F.relu6(self.aspp(x))], 1)))
        x = F.interpolate(self.logits(x), padded, mode="bilinear", align_corners=True)
        return x[..., :height, :width]

    @torch.inference_mode()
    def predict(self, image: UInt8) -> UInt8:
        """Labels HxW of a picture HxWx3, seen within 513x513 and padded with mid-grey."""
        height, width = image.shape[:2]
        unit = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        share = min(1.0, LARGEST / max(height, width))
        size = round(height * share), round(width * share)
        if size != (height, width):
            unit = F.interpolate(unit, size, mode="bilinear", align_corners=False, antialias=True)
        unit = F.pad(unit, (0, LARGEST - size[1], 0, LARGEST - size[0]), value=0.5)
        logits = self(unit.contiguous(memory_format=torch.channels_last))[..., : size[0], : size[1]]
        if size != (height, width):
            logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
        return np.asarray(logits[0].argmax(0).to(torch.uint8).numpy())

    def _fill(self, state: dict[str, Tensor]) -> None:
        modules = {
            "MobilenetV2_Conv": self.stem,
            "image_pooling": self.image_pooling,
            "aspp0": self.aspp,
            "concat_projection": self.projection,
        }
        for index, block in enumerate(self.blocks):
            name = f"MobilenetV2_expanded_conv{f'_{index}' if index else ''}"
            parts = {"expand": block.expand, "depthwise": block.depthwise, "project": block.project}
            modules |= {f"{name}_{part}": module for part, module in parts.items() if module is not None}
        left = dict(state)
        with torch.no_grad():
            for name, module in modules.items():
                depthwise = name.endswith("_depthwise")
                key = f"{name}_depthwise" if depthwise else f"{name}_Conv2D"
                kernel = left.pop(key)
                module.weight.copy_(kernel.permute(3, 0, 1, 2) if depthwise else kernel.permute(0, 3, 1, 2))
                module.bias.copy_(left.pop(f"{key}_bn_offset"))
            self.logits.weight.copy_(left.pop("logits_semantic_Conv2D").permute(0, 3, 1, 2))
            self.logits.bias.copy_(left.pop("logits_semantic_biases"))
        if left:
            raise ValueError(f"weights that the network has no place for: {sorted(left)}")


GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}  # freed memory, at once
Predict = Callable[[UInt8], UInt8]  # a picture HxWx3 to train ids HxW


def evaluate(candidates: dict[str, Predict], data: SegmentationData, first: int | None) -> dict[str, Any]:
    """Scores of each on the first pictures of val, and the seconds that each took, picture by picture in turns."""
    names, classes = list(candidates), data.label_map.num_classes
    matrices = {name: np.zeros((classes, classes), np.int64) for name in names}
    outlines = {name: BoundaryCounts.zeros(classes) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number, sample in enumerate(data.split("val")[:first]):
        image, labels = data.read(sample)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.perf_counter()
            predicted = candidates[name](image)
            seconds[name].append(time.perf_counter() - start)
            matrices[name] += confusion_matrix(labels, predicted, classes)
            outlines[name].add(labels, predicted)
    found = {}
    for name in names:
        figures = scores(matrices[name])
        found[name] = {
            "mean_iou": figures.mean_iou,
            "boundary_iou": float(np.nanmean(outlines[name].boundary_iou)),
            "milliseconds": 1000 * median(seconds[name]),
            "iou": dict(zip(data.label_map.names, map(float, figures.iou), strict=True)),
        }
    if len(names) == 2:
        shares = [ours / theirs for theirs, ours in zip(*seconds.values(), strict=True)]
        found["time_ratio"] = {"median": median(shares), "quartiles": quantiles(shares, n=4)[::2]}
    return found


def compare(network: DeepLab, data: SegmentationData, given: argparse.Namespace) -> dict[str, Any]:
    """The DeepLab and a model of this package on the same pictures in the same process."""
    network = network.to(memory_format=torch.channels_last)
    segmenter = refineseg.load(given.against, device="cpu")
    candidates: dict[str, Predict] = {
        "deeplab-v3": network.predict,
        given.against: lambda image: segmenter.predict(image).labels,
    }
    found = evaluate(candidates, data, given.first)
    for key, setting in (("peak_mebibytes", {}), ("needed_mebibytes", GIVE_BACK)):
        for name, model in (("deeplab-v3", None), (given.against, given.against)):
            # A process of its own: memory that one network has freed would serve the other.
            os.environ |= setting
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                found[name][key] = process.submit(peak_mebibytes, given.weights, given.data, model).result()
    return found | {
        "machine": describe_machine(torch.device("cpu")),
        "pictures": len(data.split("val")[: given.first]),
    }


def peak_mebibytes(weights: Path, data: str, model: str | None) -> float:
    """Median over nine pictures of val of the process's peak above rest, of a model or else the DeepLab.

    With ``GIVE_BACK`` that is what the network needs, without holes that glibc's allocator leaves between maps.
    """
    opened = open_data(data)
    pictures = [opened.read(sample)[0] for sample in opened.split("val")[:9]]
    predict: Callable[[UInt8], object]
    if model is None:
        predict = DeepLab(weights).to(memory_format=torch.channels_last).predict
    else:
        predict = refineseg.load(model, device="cpu").predict
    peaks = [peak_memory(partial(predict, image), torch.device("cpu")) for image in pictures]
    return median(peak or 0 for peak in peaks) / 2**20


def teach(network: DeepLab, data: SegmentationData, given: argparse.Namespace) -> None:
    """Train a RefineNet from masks and the DeepLab's soft labels, computed in the precision of the run."""
    network = network.to(memory_format=torch.channels_last)

    def teacher(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            return network(images).float()

    with progress_bar(unit=None) as bar:
        values = read_yaml(given.config) if given.config else {}
        config = TrainConfig.from_dict(values).override(given.set)
        refineseg.train(
            config, data, given.train, resume=given.resume, callbacks=[TrainingProgress(bar)], teacher=teacher
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", help="voc2012:ROOT")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N pictures of val")
    parser.add_argument("--against", metavar="MODEL", help="a bundled model or model folder to compare with")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--train", metavar="RUN", help="train a RefineNet with this teacher, into RUN")
    parser.add_argument("--config", type=Path, help="YAML file with settings for --train")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for --train")
    parser.add_argument("--resume", action="store_true", help="continue the run in RUN")
    given = parser.parse_args()
    if given.train:
        teach(DeepLab(given.weights), open_data(given.data), given)
        return
    data = open_data(given.data)
    if given.against:
        found = compare(DeepLab(given.weights), data, given)
    else:
        network = DeepLab(given.weights).to(memory_format=torch.channels_last)
        found = evaluate({"deeplab-v3": network.predict}, data, given.first)
    text = json.dumps(found, indent=1)
    print(text)
    if given.output:
        atomic_write(given.output, text + "\n")


if __name__ == "__main__":
    main()
