"""refineseg evaluate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from refineseg.cli.common import Table, console, errors, progress_of, show_notes, write_json
from refineseg.cli.options import AnyModel, Device, Precision, TileSize, parse_channels, parse_names, parse_scales
from refineseg.errors import InputError
from refineseg.system.text import counted

if TYPE_CHECKING:
    from refineseg.data.dataset import SegmentationData
    from refineseg.evaluation.evaluate import Evaluation
    from refineseg.inference.predictor import Segmenter


def evaluate(
    model: AnyModel,
    data: Annotated[
        str, Option("--data", "-d", help="NAME:ROOT such as camvid:DIR or folder:DIR, or a YAML file.")
    ],
    split: Annotated[str, Option(help="Split: train, val or test.")] = "val",
    protocol: Annotated[
        str, Option(help="Protocol: single, paper, ms-flip, or that of a benchmark such as cityscapes.")
    ] = "single",
    scales: Annotated[str | None, Option(help="Scales to average over, such as 0.4,0.6,0.8,1.0,1.2.")] = None,
    flip: Annotated[
        bool | None, Option("--flip/--no-flip", help="Also average over the mirrored picture.")
    ] = None,
    channels: Annotated[
        str | None, Option(help="Channels of a TIFF to use as red, green and blue, such as 3,2,1.")
    ] = None,
    tile: TileSize = None,
    measure: Annotated[
        str,
        Option(
            help="Additional measures, comma-separated: boundary, calibration, sizes, distance, suspects.",
            metavar="NAMES",
        ),
    ] = "",
    calibrate: Annotated[
        str | None,
        Option(help="Fit calibration temperatures on the split and store them with the model: global or class."),
    ] = None,
    json_file: Annotated[Path | None, Option("--json", help="Write all results to this JSON file.")] = None,
    report: Annotated[Path | None, Option(help="Write an HTML report to this folder.", metavar="DIR")] = None,
    device: Device = "auto",
    precision: Precision = "32",
    engine: Annotated[
        str | None,
        Option(
            help="Engine: torch, onnxruntime, openvino or auto. Default: torch, or that of an exported file.",
            metavar="NAME",
        ),
    ] = None,
) -> None:
    """Score a model on a data set.

    Example: [bold]refineseg evaluate --model camvid --data camvid:data/camvid --split val --json score.json[/bold]
    """
    from refineseg.data import open_data
    from refineseg.evaluation.evaluate import evaluate as evaluate_model
    from refineseg.evaluation.protocol import find_protocol
    from refineseg.evaluation.report.evaluation_report import with_report
    from refineseg.evaluation.report.page import write_report
    from refineseg.inference.options import PredictOptions
    from refineseg.inference.runners.exported import is_exported
    from refineseg.loading import load
    from refineseg.system.files import writable_folder
    from refineseg.system.processes import is_first, process_group

    if calibrate is not None and is_exported(model):
        raise InputError(
            f"expected a model folder with --calibrate, got the exported file {model}: export it after"
        )
    if calibrate not in (None, "global", "class"):
        raise InputError(f"expected --calibrate global or class, got {calibrate!r}")
    if calibrate is not None and model.startswith("hf:"):
        raise InputError(f"expected a model folder to calibrate, got {model}: the Hub's cache is not written to")
    names = parse_names(measure)
    if report is not None:
        writable_folder(report)  # before the long part
        names = with_report(names)
    chosen = find_protocol(protocol)
    chosen = chosen if tile is None else replace(chosen, tile=tile)
    opened = open_data(data)
    if is_first():
        show_notes(opened.notes)
    with process_group(device), progress_of("evaluating", shown=is_first()) as progress:
        segmenter = load(model, device, precision, engine, say=errors.print)
        opened = opened.with_channels(
            segmenter.card.channels, PredictOptions(channels=parse_channels(channels)).choice
        )
        evaluation = evaluate_model(
            segmenter,
            opened,
            split,
            protocol=chosen,
            scales=None if scales is None else parse_scales(scales),
            flip=flip,
            measures=names,
            progress=progress,
        )
    if not is_first():  # only one process prints
        return
    show(evaluation)
    if segmenter.card.was_trained_on(evaluation.data, evaluation.split):
        console.print(
            f"note: {model} was trained on {evaluation.data} {evaluation.split} itself: "
            "this score says nothing about other pictures"
        )
    pinned = segmenter.card.provenance.get("hub", model)  # a Hub model's name has its commit
    write_json(json_file, evaluation.to_dict() | {"model": pinned, "engine": segmenter.runner.name})
    if json_file is not None:
        console.print(f"all results in {json_file}")
    if report is not None:
        console.print(f"report in {write_report(report, evaluation, segmenter, opened, model)}")
    if calibrate is not None:
        calibrate_model(segmenter, opened, model, evaluation, calibrate)


def calibrate_model(
    segmenter: Segmenter, data: SegmentationData, model: str, evaluation: Evaluation, kind: str
) -> None:
    """Fit temperatures and store them in the model folder."""
    from refineseg.evaluation.measures.calibration import calibrate
    from refineseg.model.folders.find_model import find_model
    from refineseg.model.folders.model_folder import store_calibration

    fitted = calibrate(segmenter, data, evaluation.split, protocol=evaluation.protocol, per_class=kind == "class")
    store_calibration(find_model(model), fitted)
    console.print(
        f"calibrated {model}: expected calibration error {fitted['ece_before']:.4f} to {fitted['ece_after']:.4f} "
        "on pictures held out; labels stay as they are"
    )


def show(evaluation: Evaluation) -> None:
    """Print the scores."""
    scores = evaluation.scores
    table = Table(
        title=f"{evaluation.data} {evaluation.split}, {counted(evaluation.pictures, 'picture')}",
        title_justify="left",
    )
    table.add_column("class")
    table.add_column("IoU", justify="right")
    table.add_column("accuracy", justify="right")
    for name, iou, accuracy in zip(evaluation.class_names, scores.iou, scores.accuracy, strict=True):
        table.add_row(name, _figure(iou), _figure(accuracy))
    table.add_section()
    table.add_row("mean", _figure(scores.mean_iou), _figure(scores.mean_class_accuracy), style="bold")
    console.print(table)
    low, high = evaluation.intervals()["mean_iou"]
    span = "" if low != low else f" (95 % interval {low:.4f} .. {high:.4f})"
    console.print(
        f"mean IoU {scores.mean_iou:.4f}{span}   pixel accuracy {scores.pixel_accuracy:.4f}", style="bold"
    )
    for name, figures in evaluation.for_card().items():
        if name in evaluation.measures:
            console.print(f"{name}: {_line(figures)}")
    console.print(f"protocol: {evaluation.protocol.describe()}")
    per_picture = 1000 * evaluation.seconds / evaluation.pictures
    console.print(f"{evaluation.seconds:.1f} s, {per_picture:.0f} ms per picture including reading and scoring")


def _line(figures: dict[str, Any]) -> str:
    """``ece 0.0312, aurc 0.0150``; nested figures one after another."""
    parts = []
    for key, value in figures.items():
        group = value if isinstance(value, dict) else {"": value}
        parts += [f"{key} {name} {_figure(x if x is not None else float('nan'))}" for name, x in group.items()]
    return ", ".join(" ".join(part.replace("_", " ").split()) for part in parts)


def _figure(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"
