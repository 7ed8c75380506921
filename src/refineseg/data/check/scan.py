"""One pass over the files of a data set, on a few threads, with memory that does not grow with the pictures."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np

from refineseg.data.check.edges import Floats
from refineseg.data.check.facts import PairFacts, Scan
from refineseg.data.check.listing import Listing, Pair
from refineseg.data.check.measure import look_at

AHEAD = 2  # pairs in flight per thread
QUICK_PAIRS = 48

Progress = Callable[[int, int], None]


def scan(listing: Listing, *, quick: bool, crop: tuple[int, int], progress: Progress | None = None) -> Scan:
    """Open every pair once (or a bounded sample of them) and keep a small record of each.

    Args:
        listing: the files.
        quick: open QUICK_PAIRS pairs at most, spread evenly over every split.
        crop: height and width of the training crop, for the rules.
        progress: told (done, in all).
    """
    pairs = sample(listing) if quick else list(listing.pairs)
    facts: list[PairFacts] = []
    total: Floats | None = None
    fitted = 0
    for found, surface in _pooled(listing, pairs):
        facts.append(found)
        if surface is not None and found.fit is not None and found.fit.noise > 0:
            scaled = surface / np.float32(found.fit.noise)
            total = scaled if total is None else total + scaled
            fitted += 1
        if progress is not None:
            progress(len(facts), len(pairs))
    return Scan(tuple(facts), total, fitted, len(pairs) == len(listing.pairs), crop)


def sample(listing: Listing, size: int = QUICK_PAIRS) -> list[Pair]:
    """Pairs spread evenly over every split, ``size`` in all at most (but one of each split)."""
    chosen: list[Pair] = []
    groups = listing.by_split()
    for pairs in groups.values():
        wanted = min(len(pairs), max(1, size // len(groups)))
        chosen += [pairs[i * len(pairs) // wanted] for i in range(wanted)]
    return chosen


def _pooled(listing: Listing, pairs: list[Pair]) -> Iterator[tuple[PairFacts, Floats | None]]:
    """Results in order. Decoders and array operations leave the interpreter's lock, so threads are enough."""
    workers = max(1, min(8, os.cpu_count() or 1))
    waiting = iter(pairs)
    with ThreadPoolExecutor(workers) as pool:
        flight: deque[Future[tuple[PairFacts, Floats | None]]] = deque()
        flight.extend(pool.submit(look_at, pair, listing) for pair in islice(waiting, workers * AHEAD))
        while flight:
            yield flight.popleft().result()
            flight.extend(pool.submit(look_at, pair, listing) for pair in islice(waiting, 1))
