"""Training batches: cached pictures, augmented by random numbers that depend only on (seed, epoch, position)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from refineseg.config import AugmentConfig
from refineseg.data.batches.transforms import Transform, augment, generator, random_integer
from refineseg.data.dataset import Sample, SegmentationData
from refineseg.errors import InputError
from refineseg.labels import IGNORE, UNLABELLED

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Draw:
    """A picture of a batch: index (among labelled or unlabelled pictures), and the key of its randomness."""

    index: int
    epoch: int
    position: int
    labelled: bool = True


class TrainingPictures(Dataset[tuple[Tensor, Tensor]]):
    """Augmented pairs by Draw: image 3xhxw uint8 RGB (Cxhxw float32 in [0, 1] with channels), labels hxw uint8.

    Labels of ``unlabelled`` pictures are UNLABELLED, and IGNORE in the padding. ``transform`` replaces the joint
    transforms of ``config``.
    """

    def __init__(
        self,
        data: SegmentationData,
        split: str,
        config: AugmentConfig,
        seed: int,
        unlabelled: Sequence[Path] = (),
        transform: Transform | None = None,
    ) -> None:
        self.data, self.config, self.seed, self.transform = data, config, seed, transform
        self.labelled = data.split(split)
        self.samples = (*self.labelled, *(Sample(path.stem, path, None) for path in unlabelled))
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.class_pixels = torch.zeros(len(self.labelled), data.label_map.num_classes, dtype=torch.int64)

    def prepare(self, cache_mb: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Read every pair once, so that bad files fail now, and cache what fits; forked workers share it."""
        room = cache_mb * MEGABYTE
        with ThreadPoolExecutor(max_workers=4) as pool:
            # In chunks, so that uncached pictures do not pile up.
            for start in range(0, len(self.samples), 32):
                chunk = range(start, min(start + 32, len(self.samples)))
                for index, (image, labels) in zip(chunk, pool.map(self._read, chunk), strict=True):
                    counts = torch.bincount(labels.flatten().long(), minlength=IGNORE + 1)
                    if index < len(self):
                        self.class_pixels[index] = counts[: self.class_pixels.shape[1]]
                    size = image.nbytes + labels.nbytes
                    if size <= room:
                        self.kept[index] = (image, labels)
                        room -= size
                if progress is not None:
                    progress(chunk.stop, len(self.samples))

    def __len__(self) -> int:
        return len(self.labelled)

    @property
    def unlabelled_count(self) -> int:
        """Number of pictures without masks."""
        return len(self.samples) - len(self.labelled)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        image, labels = self._pair(draw.index if draw.labelled else len(self) + draw.index)
        keyed = generator(self.seed, draw.epoch, draw.position)
        if self.transform is not None:
            return self._transformed(self.transform(image, labels, keyed), draw)

        def another(draw: torch.Generator) -> tuple[Tensor, Tensor]:
            return self._pair(random_integer(draw, 0, len(self) - 1))

        others = another if draw.labelled else None  # nothing is pasted onto unlabelled pictures
        return augment(image, labels, self.config, self.data.label_map, keyed, self.data.channels, others)

    def _transformed(self, pair: tuple[Tensor, Tensor], draw: Draw) -> tuple[Tensor, Tensor]:
        """The result of a custom transform; InputError unless it can be batched."""
        image, labels = pair
        size = tuple(self.config.crop)
        if image.shape[1:] != size or tuple(labels.shape) != size or labels.dtype != torch.uint8:
            raise InputError(
                f"expected image Cx{size[0]}x{size[1]} and uint8 labels {size[0]}x{size[1]} of the augment given, "
                f"got {tuple(image.shape)} and {labels.dtype} {tuple(labels.shape)} for {self.path_of(draw)}"
            )
        return image, labels

    def path_of(self, draw: Draw) -> Path:
        """The picture's file."""
        return self.samples[draw.index if draw.labelled else len(self) + draw.index].image

    def _pair(self, index: int) -> tuple[Tensor, Tensor]:
        return self.kept.get(index) or self._read(index)

    def _read(self, index: int) -> tuple[Tensor, Tensor]:
        sample: Sample = self.samples[index]
        if sample.mask is None and index >= len(self):
            image = self.data.read_picture(sample.image)
            labels = np.full(image.shape[:2], UNLABELLED, np.uint8)
        else:
            image, labels = self.data.read(sample)
        if self.data.channels is not None:
            image = self.data.channels.to_unit(image)
        return torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(labels)


class Sampling(NamedTuple):
    """Sampling weights of the pictures, and whether one may occur twice in an epoch."""

    weights: Tensor
    replacement: bool = True


class Batches(Sampler[list[Draw]]):
    """The batches of the optimiser steps from ``start`` to ``steps``, for process ``rank`` of ``world``.

    Every epoch is a permutation keyed by (seed, epoch), or drawn by ``sampling``. The remainder of an epoch is
    dropped; a data set smaller than a batch is repeated. ``batch_size`` is over all processes, which take equal
    shares.
    """

    def __init__(
        self,
        pictures: int,
        batch_size: int,
        steps: int,
        start: int = 0,
        seed: int = 0,
        sampling: Sampling | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.pictures, self.batch_size, self.steps, self.start = pictures, batch_size, steps, start
        self.seed, self.sampling, self.rank, self.world = seed, sampling, rank, world
        self.per_epoch = steps_per_epoch(pictures, batch_size)
        self._kept: tuple[int, list[int]] = (-1, [])  # an epoch, and its order

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[Draw]]:
        return map(self.at, range(self.start, self.steps))

    def at(self, step: int) -> list[Draw]:
        """The batch of a step."""
        epoch, place = divmod(step, self.per_epoch)
        if self._kept[0] != epoch:
            self._kept = epoch, self._order(epoch)
        first = place * self.batch_size
        positions = range(first + self.rank, first + self.batch_size, self.world)
        return [Draw(self._kept[1][position], epoch, position) for position in positions]

    def _order(self, epoch: int) -> list[int]:
        draw = generator(self.seed, epoch, -1)
        needed = self.per_epoch * self.batch_size
        order: list[int] = []
        while len(order) < needed:
            if self.sampling is None:
                order += torch.randperm(self.pictures, generator=draw).tolist()
            else:
                weights, replacement = self.sampling
                count = needed if replacement else int((weights > 0).sum())
                order += torch.multinomial(weights, count, replacement, generator=draw).tolist()
        return order[:needed]


class WithUnlabelled(Sampler[list[Draw]]):
    """Batches of labelled pictures, plus ``per_batch`` (over all processes) of the unlabelled ``pictures``."""

    def __init__(self, batches: Batches, pictures: int, per_batch: int) -> None:
        self.batches, self.pictures, self.per_batch = batches, pictures, per_batch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Draw]]:
        return map(self.at, range(self.batches.start, self.batches.steps))

    def at(self, step: int) -> list[Draw]:
        """The batch of a step."""
        drawn = []
        for place in range(self.batches.rank, self.per_batch, self.batches.world):
            done, number = divmod(step * self.per_batch + place, self.pictures)  # every pass is a new permutation
            index = _permutation(self.pictures, self.batches.seed, done)[number]
            drawn.append(Draw(index, step, -2 - place, labelled=False))
        return self.batches.at(step) + drawn


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, done: int) -> list[int]:
    return cast(list[int], torch.randperm(count, generator=generator(seed, done, -1, -1)).tolist())


def steps_per_epoch(pictures: int, batch_size: int) -> int:
    """Number of whole batches in one pass over the pictures, at least one."""
    return max(1, pictures // batch_size)


def class_balanced_weights(class_pixels: Tensor) -> Tensor:
    """Weights of pictures that draw all classes equally often: NxK pixel counts to N."""
    present = (class_pixels > 0).double()
    per_class = present / present.sum(0).clamp(min=1)
    weights = per_class.sum(1)
    return weights + (weights.sum() == 0)


def training_loader(
    pictures: TrainingPictures, batches: Sampler[list[Draw]], workers: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of images Bx3xhxw uint8 (floats unless RGB) and labels Bxhxw uint8, in the order of ``batches``."""
    return DataLoader(
        pictures,
        batch_sampler=batches,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        worker_init_fn=_one_thread,
        pin_memory=torch.cuda.is_available(),
    )


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
