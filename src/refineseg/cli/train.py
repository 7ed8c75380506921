"""refineseg train."""

from __future__ import annotations

import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from refineseg.cli.common import console, errors, progress_bar, show_notes
from refineseg.cli.options import Device, parse_pair
from refineseg.cli.train_progress import TrainingProgress
from refineseg.cli.train_settings import build_config
from refineseg.errors import InputError
from refineseg.system.text import counted

if TYPE_CHECKING:
    from refineseg.config import TrainConfig
    from refineseg.data import SegmentationData

LONG_WAIT = 0.1  # share of the time waiting for pictures from which there is a note


def train(
    output: Annotated[
        Path, Option("--output", "-o", help="RUN: folder for settings, metrics, index.html, best/ and last/.")
    ],
    data: Annotated[
        str | None,
        Option(
            "--data",
            "-d",
            help="NAME:ROOT such as camvid:DIR or folder:DIR, or a YAML file; not needed with --resume.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        Option(
            help="Preset (see refineseg models), or model to fine-tune: bundled name, model folder or hf:ORG/NAME."
        ),
    ] = None,
    config: Annotated[Path | None, Option(help="YAML file with settings.")] = None,
    recipe: Annotated[
        str, Option(help="Default settings: modern, paper, paper-class-crop or lightweight.")
    ] = "modern",
    backbone_weights: Annotated[
        str | None,
        Option(help="Initial backbone weights: auto, imagenet, none (random), a model, or a safetensors file."),
    ] = None,
    class_map: Annotated[
        list[str] | None,
        Option(
            "--map", help="MODEL_CLASS=DATA_CLASS: a class with different names in model and data; repeatable."
        ),
    ] = None,
    epochs: Annotated[int | None, Option(help="Number of passes over the training pictures.")] = None,
    steps: Annotated[int | None, Option(help="Number of optimiser steps, instead of --epochs.")] = None,
    minutes: Annotated[float | None, Option(help="Time limit of the run in minutes, instead of --epochs.")] = None,
    patience: Annotated[
        int | None, Option(help="Stop after this many validations without a better score.", metavar="K")
    ] = None,
    batch_size: Annotated[int | None, Option(help="Pictures per step, over all processes.")] = None,
    crop: Annotated[str | None, Option(help="Training crop in pixels: N or HEIGHTxWIDTH.")] = None,
    lr: Annotated[float | None, Option(help="Learning rate of the decoder.")] = None,
    seed: Annotated[int | None, Option(help="Random seed.")] = None,
    workers: Annotated[int | None, Option(help="Number of data loading processes.")] = None,
    precision: Annotated[str | None, Option(help="Precision: 32 (float32) or bf16.")] = None,
    device: Device = "auto",
    repeats: Annotated[
        int | None, Option(help="Train with K seeds, and report mean and spread of the scores.", metavar="K")
    ] = None,
    skip_check: Annotated[bool, Option("--skip-check", help="Skip the quick check of the data.")] = False,
    drop_bad: Annotated[
        bool, Option("--drop-bad", help="Leave out pairs that cannot be used, and list them.")
    ] = False,
    resume: Annotated[bool, Option("--resume", help="Continue the run in RUN.")] = False,
    settings: Annotated[
        list[str] | None, Option("--set", help="name=value: any setting of config.yaml; repeatable.")
    ] = None,
) -> None:
    """Train a model on a data set.

    Example: [bold]refineseg train --data folder:mydata -o runs/mine[/bold]
    """
    from refineseg.cli.plan import show_length, show_plan
    from refineseg.data import open_data
    from refineseg.data.splits.held_out import with_validation
    from refineseg.system.lock import check_unused
    from refineseg.system.processes import is_first, launched_world
    from refineseg.training.planning.plan import make_plan
    from refineseg.training.preparation.initial_network import check_model

    chosen = {
        "model": model,
        "backbone_weights": backbone_weights,
        "class_map": dict(parse_pair(text, "--map MODEL_CLASS=DATA_CLASS") for text in class_map or []) or None,
        "epochs": epochs,
        "steps": steps,
        "minutes": minutes,
        "patience": patience,
        "data": data,
        "drop_bad": drop_bad or None,  # saved for --resume
        "batch_size": batch_size,
        "lr": lr,
        "seed": seed,
        "workers": workers,
        "precision": precision,
    }
    resumed = output / "config.yaml"
    if resume and not resumed.is_file():
        raise InputError(f"nothing to resume in {output}: it has no config.yaml")
    check_unused(output, resume)  # before the data is read and a plan is made, which takes longer
    settings_file = resumed if resume and config is None else config
    settings_of_run, explicit = build_config(settings_file, recipe, chosen, crop, settings or [])
    if settings_of_run.data is None:
        raise InputError("expected --data NAME:ROOT, such as folder:DIR, or a YAML file")
    check_model(settings_of_run.model)  # a misspelt name is found before the data is read
    opened = with_validation(open_data(settings_of_run.data, drop_bad=settings_of_run.drop_bad))
    if is_first():
        show_notes(opened.notes)
        if not (skip_check or resume):
            quick_check(settings_of_run.data, settings_of_run.augment.crop, settings_of_run.drop_bad)
    if recipe == "modern" and not resume and launched_world()[1] == 1 and not {"epochs", "steps"} & explicit:
        planned = make_plan(opened, settings_of_run, explicit, device)
        settings_of_run = planned.config
        show_plan(planned, settings_of_run.data or "")
    elif is_first():
        show_length(opened, settings_of_run, device)

    origin = {"command": shlex.join(["refineseg", *sys.argv[1:]]), "commit": commit_of_this_code()}
    with progress_bar(unit=None, shown=is_first(), remaining=False) as bar:
        shown = TrainingProgress(bar, resume)
        options: dict[str, Any] = {"resume": resume, "callbacks": [shown], "device": device, **origin}
        try:
            if repeats is None:
                best = train_once(settings_of_run, opened, output, options)
            else:
                best = train_several(settings_of_run, opened, output, repeats, options)
        except KeyboardInterrupt:
            if is_first() and resumed.is_file():
                again = ["--repeats", str(repeats)] if repeats else []
                again += ["--device", device] if device != "auto" else []
                words = shlex.join(["refineseg", "train", "--resume", "-o", str(output), *again])
                errors.print(f"continue from the last checkpoint with: {words}")
            raise
    if is_first():
        if shown.share_waiting() > LONG_WAIT:
            errors.print(
                f"note: the steps waited {shown.share_waiting():.0%} of their time for pictures; more --workers, "
                "or --set cache_mb=N if memory has room for more of them, would help"
            )
        console.print(f"try it: refineseg predict PICTURE --model {shlex.quote(str(best))} -o out")


def train_once(config: TrainConfig, data: SegmentationData, output: Path, options: dict[str, Any]) -> Path:
    """Train once; returns the best model."""
    from refineseg.model.folders.model_folder import read_config
    from refineseg.system.processes import is_first
    from refineseg.training.loop import train as train_network
    from refineseg.training.run import BEST

    evaluation = train_network(config, data, output, **options)
    best = output / BEST
    if is_first():  # only one process prints
        console.print(f"last val mean IoU {evaluation.scores.mean_iou:.4f} ({evaluation.protocol.describe()})")
        kept = [f" (val mean IoU {score['mean_iou']:.4f})" for score in read_config(best)[1].scores]
        console.print(f"best model in {best}{''.join(kept)}, curves in {output / 'curves.png'}")
    return best


def train_several(
    config: TrainConfig, data: SegmentationData, output: Path, count: int, options: dict[str, Any]
) -> Path:
    """Train with several seeds; returns the best model."""
    from refineseg.training.repeats import SUMMARY, train_repeats
    from refineseg.training.run import BEST

    repeats = train_repeats(config, data, output, count, each=lambda seed: errors.print(f"seed {seed}"), **options)
    for run in repeats.runs:
        console.print(f"{run.folder}: val mean IoU {run.mean_iou:.4f}")
    console.print(
        f"val mean IoU of {counted(count, 'run')}: {repeats.spread()}, all results in {output / SUMMARY}"
    )
    best = output / repeats.best.folder / BEST
    console.print(f"best model in {best}")
    return best


def quick_check(data: str, crop: tuple[int, int], drop_bad: bool) -> None:
    """The quick ``refineseg check``: prints warnings, and stops at errors unless ``drop_bad``."""
    from refineseg.cli.check import show
    from refineseg.data.check import check_data

    report = check_data(data, quick=True, crop=crop)
    for finding in report.errors + report.warnings:
        show(finding)
    if not drop_bad:
        report.raise_errors()


def commit_of_this_code() -> str:
    """Commit of this checkout, or the package's version."""
    from refineseg._version import __version__

    root = Path(__file__).parents[3]
    with suppress(OSError, subprocess.SubprocessError):
        if (root / ".git").exists():  # not a repository around an installed package
            words = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
            done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=10, check=True)
            return done.stdout.strip()
    return f"refineseg {__version__}"
