"""Whether pictures fit in memory in one piece, without running the network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from refineseg.errors import TooLargeError
from refineseg.inference.array_ops import ROWS
from refineseg.inference.options import PredictOptions, views_of
from refineseg.inference.runners import Runner
from refineseg.inference.scoring import Scoring
from refineseg.inference.tiles.tiling import BUDGET
from refineseg.model.folders.card import ModelCard

if TYPE_CHECKING:
    from refineseg.model.memory import MemoryNeed

GIB = 1 << 30
PLANNED = 1 << 20  # smaller pictures, in pixels as seen, are not checked


class MemoryCheck:
    """Memory that predictions need: for the network, for scores and for results."""

    def __init__(self, runner: Runner, scoring: Scoring, card: ModelCard) -> None:
        self._runner, self._scoring, self._card = runner, scoring, card
        self._needs: dict[tuple[tuple[int, int], PredictOptions, int], int | None] = {}  # planning takes seconds

    def need(
        self, size: tuple[int, int], options: PredictOptions | None = None, batch: int = 1
    ) -> MemoryNeed | None:
        """Memory for pictures of ``size`` (height, width) in one piece, found without running the network.

        None if unknown: engines other than torch manage their own memory.
        """
        options = PredictOptions() if options is None else options
        channels = 3 if self._card.channels is None else self._card.channels.count
        seen = self._scoring.seen(size)
        height, width = (max(1, round(side * max(options.scales))) for side in seen)
        found = self._runner.need((batch, channels, height, width))
        if found is None:
            return None
        pixels, views, by_cell = batch * size[0] * size[1], views_of(options), 4 * self._card.labels.num_classes
        alone = views == [(1.0, False)] and seen == size
        images = 0 if alone else 4 * channels * pixels  # kept while a view is predicted
        cells = batch * seen[0] * seen[1] / self._runner.config.stride**2
        maps = [round(by_cell * cells * scale**2) for scale, _ in views]
        strip = by_cell * batch * ROWS * size[1]
        results = pixels * (1 + by_cell // 2 if options.probabilities else 1) + 4 * strip
        in_work = max(found.working, 2 * max(maps) if len(views) > 1 else 0)
        return replace(found, working=sum(maps) + max(images + in_work, results))

    def check(self, size: tuple[int, int], batch: int, options: PredictOptions) -> None:
        """TooLargeError for pictures that do not fit in memory; small ones are not checked."""
        seen = self._scoring.seen(size)
        pixels = batch * seen[0] * seen[1]
        if pixels * max(options.scales) ** 2 < PLANNED:
            return
        free = self._runner.free_memory()
        scores = 8 * self._card.labels.num_classes * len(views_of(options)) if options.probabilities else 0
        rough = pixels * (self._runner.bytes_per_pixel * max(1.0, *options.scales) ** 2 + scores)
        if free is None or 3 * rough < free:
            return  # far from the limit: planning would take longer than the prediction
        key = (size, options, batch)
        if key not in self._needs:
            need = self.need(size, options, batch)
            self._needs[key] = None if need is None else need.working
        working = self._needs[key]
        if working is not None and working > free:
            raise TooLargeError(
                f"not enough memory: {size[1]}x{size[0]} in one piece needs {working / GIB:.1f} GiB, "
                f"{free / GIB:.1f} are free: use --tile auto"
            )

    def at_once(self, size: tuple[int, int], options: PredictOptions) -> int:
        """Number of pictures of ``size`` whose activations fit in 768 MiB together; at least 1."""
        costs = self._runner.bytes_per_pixel * max(1.0, *options.scales) ** 2
        height, width = self._scoring.seen(size)
        return max(1, int(BUDGET / (costs * height * width)))
