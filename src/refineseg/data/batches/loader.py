"""Training batches: cached pictures, augmented by random numbers that depend only on (seed, epoch, position)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from refineseg.config import AugmentConfig
from refineseg.data.batches.class_sampling import class_rounds
from refineseg.data.batches.transforms import Transform, augment, generator, random_integer
from refineseg.data.dataset import Sample, SegmentationData
from refineseg.errors import InputError
from refineseg.labels import IGNORE, UNLABELLED
from refineseg.system.text import reason_of

MEGABYTE = 1 << 20
SHARED = re.compile(r"shared memory|Bus error")  # in torch's messages


@dataclass(frozen=True)
class SampleKey:
    """A sample of a batch: index of its picture (labelled ones first); all three seed its augmentation."""

    index: int
    epoch: int
    position: int


class TrainingPictures(Dataset[tuple[Tensor, Tensor]]):
    """Augmented samples by SampleKey.

    Images are 3xhxw uint8 RGB (Cxhxw float32 in [0, 1] with channels), labels hxw uint8: UNLABELLED for
    ``unlabelled`` pictures, IGNORE in the padding. ``transform`` replaces the joint transforms of ``config``.
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
        """Read every sample once, so that bad files fail now, and cache what fits; forked workers share it."""
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

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, Tensor]:
        image, labels = self._sample(key.index)
        random = generator(self.seed, key.epoch, key.position)
        if self.transform is not None:
            return self._checked(*self.transform(image, labels, random), key.index)

        def another(random: torch.Generator) -> tuple[Tensor, Tensor]:
            return self._sample(random_integer(random, 0, len(self) - 1))

        others = another if key.index < len(self) else None  # nothing is pasted onto unlabelled pictures
        return augment(image, labels, self.config, self.data.label_map, random, self.data.channels, others)

    def _checked(self, image: Tensor, labels: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """The result of a custom transform; InputError unless it can be batched."""
        size, file = tuple(self.config.crop), self.samples[index].image
        if image.shape[1:] != size or tuple(labels.shape) != size or labels.dtype != torch.uint8:
            raise InputError(
                f"expected image Cx{size[0]}x{size[1]} and uint8 labels {size[0]}x{size[1]} from augment, "
                f"got {tuple(image.shape)} and {labels.dtype} {tuple(labels.shape)} for {file}"
            )
        return image, labels

    def _sample(self, index: int) -> tuple[Tensor, Tensor]:
        return self.kept.get(index) or self._read(index)

    def _read(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.samples[index]
        if index >= len(self):
            image = self.data.read_picture(sample.image)
            labels = np.full(image.shape[:2], UNLABELLED, np.uint8)
        else:
            image, labels = self.data.read(sample)
        if self.data.channels is not None:
            image = self.data.channels.to_unit(image)
        return torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(labels)


@dataclass
class Batches:
    """The batches of all optimiser steps, for process ``rank`` of ``world``, which take equal shares.

    Every epoch is a permutation keyed by (seed, epoch), or drawn by ``weights`` or ``class_rounds``. The remainder
    of an epoch is dropped; a data set smaller than a batch is repeated.
    """

    pictures: int  # number of pictures with masks
    batch_size: int  # of these, over all processes
    seed: int = 0
    weights: Tensor | None = None  # sampling weights of the pictures; None to take each once in an epoch
    class_pixels: Tensor | None = None  # NxK pixels of each class, for the authors' rounds in place of epochs
    unlabelled: int = 0  # number of pictures without masks
    unlabelled_in_batch: int = 0  # over all processes
    rank: int = 0
    world: int = 1
    _kept: tuple[int, list[int]] = field(default=(-1, []), init=False)  # an epoch, and its order

    def at(self, step: int) -> list[SampleKey]:
        """The batch of a step: labelled pictures, then unlabelled ones."""
        epoch, place = divmod(step, steps_per_epoch(self.pictures, self.batch_size))
        if self._kept[0] != epoch:
            self._kept = epoch, self._order(epoch)
        first = place * self.batch_size
        positions = range(first + self.rank, first + self.batch_size, self.world)
        drawn = [SampleKey(self._kept[1][position], epoch, position) for position in positions]
        for place in range(self.rank, self.unlabelled_in_batch, self.world):
            done, number = divmod(step * self.unlabelled_in_batch + place, self.unlabelled)
            index = _permutation(self.unlabelled, self.seed, done)[number]  # every pass is a new permutation
            drawn.append(SampleKey(self.pictures + index, step, -2 - place))
        return drawn

    def _order(self, epoch: int) -> list[int]:
        random = generator(self.seed, epoch, -1)
        needed = steps_per_epoch(self.pictures, self.batch_size) * self.batch_size
        if self.weights is not None:
            drawn = torch.multinomial(self.weights, needed, replacement=True, generator=random)
            return cast(list[int], drawn.tolist())
        if self.class_pixels is not None:
            return class_rounds(self.class_pixels, needed, random)
        order: list[int] = []
        while len(order) < needed:
            order += torch.randperm(self.pictures, generator=random).tolist()
        return order[:needed]


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, done: int) -> list[int]:
    return cast(list[int], torch.randperm(count, generator=generator(seed, done, -1, -1)).tolist())


def steps_per_epoch(pictures: int, batch_size: int) -> int:
    """Number of whole batches in one pass over the pictures, at least one."""
    return max(1, pictures // batch_size)


def training_loader(
    pictures: TrainingPictures, batches: Iterable[list[SampleKey]], workers: int, pin: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of images Bx3xhxw uint8 (floats unless RGB) and labels Bxhxw uint8, in the order of ``batches``.

    ``pin`` puts them where a GPU fetches them by itself, and takes some of the GPU's own memory. InputError if
    processes cannot be started, or batches do not fit in the memory that they share, 64 MB in most containers.
    """
    loader = DataLoader(
        pictures,
        batch_sampler=batches,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        worker_init_fn=_one_thread,
        pin_memory=pin,
    )
    try:
        yield from loader
    except RuntimeError as error:
        if SHARED.search(str(error)) is None:
            raise
        raise InputError(
            "not enough shared memory (/dev/shm) for batches of data loading processes: use --workers 0, or give "
            "the container more (docker run --shm-size=1g)"
        ) from error
    except OSError as error:
        if error.errno is None:  # from a process, whose errors come as texts
            raise
        raise InputError(f"cannot start data loading processes ({reason_of(error)}): use --workers 0") from error


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
