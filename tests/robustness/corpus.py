"""All bad inputs, made by code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from refineseg.cli.main import main
from tests.robustness.case import Case
from tests.robustness.containers import containers
from tests.robustness.folders import folders
from tests.robustness.models import archives, checkpoints, models
from tests.robustness.pictures import masks, pictures
from tests.robustness.runner import SHORT, TRAIN, prepare, silent
from tests.robustness.texts import arguments, foreign, scores, settings, yamls
from tests.robustness.trainings import diverging, runs
from tests.robustness.videos import videos


def corpus(place: Path) -> Iterator[Case]:
    """Every case; ``place`` holds what is good and shared."""
    prepare(place)
    trained = place / "run"
    if not trained.exists():
        short = ["--steps", "2", *SHORT[2:]]
        with silent() as said:
            code = main(["train", "--data", f"folder:{place / 'data'}", *TRAIN, *short, "-o", str(trained)])
        if code:
            raise RuntimeError(f"expected the good run to end well: {said.getvalue()}")
    yield from pictures()
    yield from containers()
    yield from masks()
    yield from yamls()
    yield from settings()
    yield from scores(json.loads((place / "s.json").read_text()))
    yield from arguments()
    yield from foreign()
    yield from models(place)
    yield from checkpoints(place)
    yield from runs(trained)
    yield from archives()
    yield from diverging()
    yield from videos()
    yield from folders()
