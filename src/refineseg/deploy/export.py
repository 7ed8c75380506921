"""Export of a model: trace it, write the file, compare it with the network, keep it only if it passes."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import torch

from refineseg.data.dataset import SegmentationData
from refineseg.data.registry import open_data
from refineseg.deploy import int8, report
from refineseg.deploy.formats import files_of, write_format
from refineseg.deploy.memory import check_memory
from refineseg.deploy.options import ExportKeywords, ExportOptions
from refineseg.deploy.pictures import calibration_pictures, data_pictures, generated_pictures
from refineseg.deploy.report import ExportReport, Int8Scores
from refineseg.deploy.trace import Exportable, trace
from refineseg.deploy.verification import LogitsRunner, compare_outputs, refusal, time_engine
from refineseg.errors import RefusedError
from refineseg.evaluation.evaluate import evaluate
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners.exported import FORMAT, open_exported
from refineseg.inference.runners.torch_module import NetworkRunner, open_network
from refineseg.inference.scoring import temperatures
from refineseg.model.folders.model_folder import config_json, weights_hash
from refineseg.system.files import expanded, folder_beside, sha256_of
from refineseg.system.lock import locked
from refineseg.system.progress import TaskProgress


def export(
    model: str | Path | Segmenter,
    output: str | Path,
    *,
    progress: TaskProgress = lambda _what, _done, _of: None,
    **keywords: Unpack[ExportKeywords],
) -> ExportReport:
    """Write a model as a file for other engines, checked against the network.

    The file takes ``images`` of any batch, height and width; normalisation is inside. Its output is ``logits``
    BxKxhxw at a quarter of the network's input size, or ``labels`` BxHxW or ``probabilities`` BxKxHxW at the
    picture's size. Its metadata hold labels, protocol, calibration, licence and what tiles need.
    OUTPUT.report.json and OUTPUT.report.md describe the checks.

    Args:
        model: bundled name, model folder or Segmenter.
        output: FILE.onnx, FILE.xml (OpenVINO, with FILE.bin beside it) or FILE.pt2 (torch.export).
        progress: called with the step, the amount done and the total (0 if unknown).
        keywords: ``format``, ``int8``, ``calibrate``, ``overwrite``, ``input``, ``outputs``; see
            ``refineseg.deploy.options.ExportOptions``.

    Returns:
        The report: figures at every size, agreement, milliseconds.

    Raises:
        InputError: suffix and format differ, the file exists, the data has other classes, an option does not
            fit the model, or there is not enough memory.
        MissingExtraError: a package of the extra ``export`` is not installed.
        RefusedError: fewer than 99.99 % of the labels agree with the network's (float32), or int8 loses more than
            0.5 points of mean IoU. The report is written, the file is not.
    """
    options = ExportOptions(**keywords)
    path = expanded(output)
    format = options.format_for(path)
    check_memory()
    calibrate = options.calibrate
    data = open_data(calibrate) if isinstance(calibrate, str | Path) else calibrate
    segmenter = on_cpu(model)
    options.check(segmenter, data)
    with locked(path, beside=True), folder_beside(path) as place:
        made = place / path.name
        done = _write_and_check(segmenter, made, format, data, options, progress)
        done = replace(done, file=path.name, sha256=sha256_of(*files_of(made)))
        report.write_export_report(done, made)
        _move(report.files(made), report.files(path))
        if done.refused:
            raise RefusedError(f"export refused: {done.refused}; figures in {report.files(path)[1]}")
        _move(files_of(made), files_of(path))
    return done


def on_cpu(model: str | Path | Segmenter) -> Segmenter:
    """A model's network in float32 on the CPU."""
    if not isinstance(model, Segmenter):
        opened, card = open_network(model, "cpu")
        return Segmenter(opened, card, opened.model)
    runner = model.runner
    if isinstance(runner, NetworkRunner) and runner.device.type == "cpu" and runner.precision == "32":
        return model
    return Segmenter.from_network(copy.deepcopy(model.model), model.card, "cpu")


def _write_and_check(
    segmenter: Segmenter,
    path: Path,
    format: str,
    data: SegmentationData | None,
    options: ExportOptions,
    progress: TaskProgress,
) -> ExportReport:
    """Write the file and check it; the caller acts on the result."""
    network = Exportable(segmenter.model, options.outputs, temperatures(segmenter.card), options.input)
    progress("tracing the network", 0, 0)
    traced = trace(network)
    progress(f"writing {format}", 0, 0)
    write_format(traced, format, path, description(segmenter, format, replace(options, int8=False)))
    del traced
    seen = generated_pictures(segmenter.model.config) if data is None else data_pictures(data)
    engine = open_exported(path, outputs=options.outputs)
    checks = compare_outputs(
        engine, network, seen, lambda done, of: progress("comparing with the network", done, of)
    )
    outputs = "depth" if segmenter.outputs == "depth" else options.outputs
    refused = refusal(checks, outputs)
    quantised = None
    if options.int8 and refused is None and data is not None:
        quantised = _quantised(segmenter, path, format, data, options, progress)
        engine = open_exported(path, outputs=options.outputs)
        checks = compare_outputs(engine, network, seen, lambda done, of: progress("comparing int8", done, of))
        refused = quantised.refused
    progress("timing", 0, 0)
    engine_ms, torch_ms = time_engine(engine, segmenter, seen)
    return ExportReport(
        file=path.name,
        model=segmenter.card.name,
        format=format,
        precision="int8" if options.int8 else "float32",
        engine=engine.name,
        pictures=seen.source,
        checks=tuple(checks),
        engine_ms=engine_ms,
        torch_ms=torch_ms,
        megabytes=sum(file.stat().st_size for file in files_of(path)) / 1e6,
        source=weights_hash(segmenter.model),
        int8=quantised,
        refused=refused,
        input=options.input,
        outputs=outputs,
    )


def _quantised(
    segmenter: Segmenter,
    path: Path,
    format: str,
    data: SegmentationData,
    options: ExportOptions,
    progress: TaskProgress,
) -> Int8Scores:
    """Replace the file by its int8 form; score it and the network on ``val``."""
    progress("calibrating int8", 0, 0)
    split, readers = calibration_pictures(data)
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        source = Path(place) / path.name
        for file in files_of(path):
            file.rename(source.with_suffix(file.suffix))
        as_input = open_exported(source, outputs=options.outputs).as_input
        pictures = [lambda read=read: as_input(read()[None]) for read in readers]
        int8.to_int8(format, source, path, pictures, description(segmenter, format, options))

    def scored(segmenter: Segmenter, what: str) -> float:
        found = evaluate(segmenter, data, "val", progress=lambda done, of: progress(what, done, of))
        return found.scores.mean_iou

    before = scored(segmenter, "scoring the network")
    scored_file = LogitsRunner(open_exported(path, outputs=options.outputs))
    after = scored(Segmenter(scored_file, segmenter.card), "scoring int8")
    trained_on_it = segmenter.card.was_trained_on(data.name, "val")
    return Int8Scores(data.name, split, len(readers), "val", len(data.split("val")), before, after, trained_on_it)


def description(segmenter: Segmenter, format: str, options: ExportOptions) -> str:
    """The JSON text for a file's metadata; see ``inference.runners.exported.Exported``."""
    made = {
        "format": FORMAT,
        "kind": format,
        "precision": "int8" if options.int8 else "float32",
        "input": options.input,
        "outputs": options.outputs,
        "torch": torch.__version__,
        "overlap": segmenter.runner.overlap,
        "bytes_per_pixel": segmenter.runner.bytes_per_pixel,
        "source": weights_hash(segmenter.model),
    }
    values: dict[str, Any] = config_json(segmenter.model.config, segmenter.card)
    return json.dumps(values | {"export": made})


def _move(made: Sequence[Path], final: Sequence[Path]) -> None:
    """Move the files to their final names in order, weights before the file that needs them."""
    for old, new in zip(made, final, strict=True):
        old.replace(new)
