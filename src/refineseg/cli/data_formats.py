"""refineseg data import and refineseg data export."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from refineseg.cli.common import console, errors, progress_of
from refineseg.cli.options import parse_names, parse_pair
from refineseg.errors import InputError
from refineseg.system.text import counted

if TYPE_CHECKING:
    from refineseg.data.formats import ClassEdits, ImportReport
    from refineseg.labels import LabelMap

SHOWN = 100  # faults printed


def import_(
    source: Annotated[Path, Argument(metavar="SRC", help="File or folder of annotations.")],
    output: Annotated[Path, Option("--output", "-o", help="New folder for images/, masks/ and labels.yaml.")],
    format: Annotated[
        str | None,
        Option(
            help="class-masks, coco, coco-panoptic, cvat, huggingface, labelme, labelstudio, list, palette, rgb, "
            "roboflow, supervisely, tiff, via, yolo; detected by default."
        ),
    ] = None,
    labels: Annotated[
        Path | None, Option(help="Classes: labels.yaml, a CSV of name,r,g,b, labelmap.txt or classes.txt.")
    ] = None,
    images: Annotated[
        Path | None, Option(help="Folder of the pictures, if they are not next to the annotations.")
    ] = None,
    unlabelled: Annotated[
        str, Option(help="Label of pixels outside all areas: background or ignore.")
    ] = "background",
    unannotated: Annotated[str, Option(help="Pictures without annotation: skip or background.")] = "skip",
    crowds: Annotated[
        str, Option(help="COCO's crowd regions (iscrowd): ignore, or class (brush masks of CVAT, Datumaro).")
    ] = "ignore",
    threshold: Annotated[
        int | None,
        Option(help="Grey value (1 to 255) from which a pixel is the second of two classes; for JPEG masks."),
    ] = None,
    merge: Annotated[list[str] | None, Option(help="Classes to merge: car=bus,truck; repeatable.")] = None,
    drop: Annotated[list[str] | None, Option(help="Classes whose areas become unlabelled: pole,sign.")] = None,
    rename: Annotated[list[str] | None, Option(help="Classes to rename: OLD=NEW; repeatable.")] = None,
    split: Annotated[
        str | None, Option(help="Shares of train, val and test, stratified by class, such as 0.8/0.1/0.1.")
    ] = None,
    group: Annotated[
        str | None, Option(help="Groups that --split keeps together: folder, or a regular expression on names.")
    ] = None,
    seed: Annotated[int, Option(help="Random seed of --split.")] = 0,
    max_side: Annotated[
        int | None, Option(help="Longest side in pixels; larger pictures are scaled down.")
    ] = None,
    skip_bad: Annotated[
        bool, Option("--skip-bad", help="Skip faulty annotations, and list them in left_out.txt.")
    ] = False,
    link: Annotated[bool, Option("--link", help="Make hard links to the pictures instead of copies.")] = False,
) -> None:
    """Convert a data set in another format to a folder data set.

    Example: [bold]refineseg data import annotations/instances.json --images photos -o mydata[/bold]
    """
    from refineseg.data.formats import FaultsError, ImportOptions, ReadOptions, import_data, read_labels
    from refineseg.data.formats.parsing.label_files import read_threshold
    from refineseg.data.formats.transfer.import_options import SplitOptions, parse_shares

    if split is None and group is not None:
        raise InputError("expected --split with --group, such as --split 0.8/0.1/0.1")
    edits = parse_edits(merge or [], drop or [], rename or [])
    classes, said = (read_labels(labels), read_threshold(labels)) if labels else (None, None)
    threshold = said if threshold is None else threshold
    options = ReadOptions(classes, images, unlabelled, crowds, threshold, edits)
    shares = SplitOptions(parse_shares(split), seed, group) if split is not None else None
    how = ImportOptions(link, skip_bad, unannotated, shares, max_side)
    try:
        with progress_of("importing") as progress:
            report = import_data(source, output, format, options=options, how=how, progress=progress)
    except FaultsError as error:
        if len(error.faults) > 1:  # a single one is the error itself
            for fault in error.faults[:SHOWN]:
                errors.print(f"fault: {fault}")
        if len(error.faults) > SHOWN:
            rest = len(error.faults) - SHOWN
            errors.print(f"and {rest} more; --skip-bad writes all of them to left_out.txt")
        raise
    _print_report(report, output)


def parse_edits(merge: list[str], drop: list[str], rename: list[str]) -> ClassEdits:
    """``car=bus,truck``, ``pole,sign`` and ``old=new`` to ClassEdits; InputError for anything else."""
    from refineseg.data.formats import ClassEdits

    merged = dict(parse_pair(text, "--merge such as car=bus,truck") for text in merge)
    renamed = dict(parse_pair(text, "--rename such as old=new") for text in rename)
    dropped = [name for text in drop for name in parse_names(text)]
    return ClassEdits({new: parse_names(old) for new, old in merged.items()}, dropped, renamed)


def _print_report(report: ImportReport, output: Path) -> None:
    splits = ", ".join(f"{count} {split}" for split, count in report.splits.items()) or "no splits in the source"
    classes = counted(report.class_names, "class")
    console.print(f"{counted(report.pictures, 'picture')} ({splits}), {classes}, read as {report.format}")
    console.print(f"classes: {', '.join(report.class_names)}")
    for note in report.notes:
        console.print(f"note: {note}")
    for warning in report.warnings:
        console.print(f"warning: {warning}")
    if report.faults:
        console.print(f"warning: left out {counted(report.faults, 'fault')}, listed in {output / 'left_out.txt'}")
    console.print(f"next: refineseg check {shlex.quote(f'folder:{output}')}")


def export(
    predictions: Annotated[
        Path, Argument(metavar="PREDICTIONS", help="Output folder of refineseg predict, or its folder masks/.")
    ],
    output: Annotated[Path, Option("--output", "-o", help="Folder for the annotation files.")],
    format: Annotated[str, Option("--format", help="Format: labelme, cvat, coco or yolo.")],
    images: Annotated[Path | None, Option(help="Folder of the segmented pictures.")] = None,
    model: Annotated[str | None, Option(help="Model that made the predictions, for the class names.")] = None,
    labels: Annotated[Path | None, Option(help="labels.yaml with the class names, instead of --model.")] = None,
    shapes: Annotated[str | None, Option(help="LabelMe: polygon (default, editable) or mask (lossless).")] = None,
    tolerance: Annotated[float, Option(help="Largest distance of a polygon from the outline, in pixels.")] = 1.0,
    smallest: Annotated[int, Option(help="Smallest area that gets a polygon, in pixels.")] = 8,
) -> None:
    """Write predictions as pre-labels for an annotation tool.

    Example: [bold]refineseg data export out --format cvat --images photos --model runs/a/best -o prelabels[/bold]
    """
    from refineseg.data.formats import WriteOptions, export_predictions

    label_map, options = _label_map(model, labels), WriteOptions(shapes, tolerance, smallest)
    with progress_of("exporting") as progress:
        written = export_predictions(
            predictions, label_map, format, output, images=images, options=options, progress=progress
        )
    what = str(written.files[0]) if len(written.files) == 1 else f"{len(written.files)} files in {output}"
    console.print(f"wrote {what}")
    for note in written.notes:
        console.print(f"note: {note}")
    if images is None:
        note = "note: pictures that predictions.json does not name are assumed to be STEM.jpg; give --images DIR"
        console.print(note)


def _label_map(model: str | None, labels: Path | None) -> LabelMap:
    if (model is None) == (labels is None):
        raise InputError("expected the class names from one of --model MODEL or --labels labels.yaml")
    if labels is not None:
        from refineseg.data.formats import read_labels

        return read_labels(labels)
    from refineseg.model.folders.find_model import find_model
    from refineseg.model.folders.model_folder import read_config

    return read_config(find_model(str(model)))[1].labels
