"""refineseg data import and refineseg data export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refineseg.cli.common import console, progress_bar
from refineseg.errors import InputError

if TYPE_CHECKING:
    from refineseg.labels import LabelMap


def import_(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="File or folder in a foreign format.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="ROOT: new folder for images/, masks/, labels.yaml.")
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="list, coco, labelme, cvat, labelstudio, palette, rgb, tiff, huggingface; recognised if absent.",
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Classes: labels.yaml, a CSV of name,r,g,b, labelmap.txt or classes.txt.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder with the pictures, where they are not beside the annotations.")
    ] = None,
    unlabelled: Annotated[
        str, typer.Option(help="What pixels outside all outlines are: background or ignore.")
    ] = "background",
    link: Annotated[bool, typer.Option("--link", help="Hard links to the pictures instead of copies.")] = False,
) -> None:
    """Bring annotations in another format in as a folder data set.

    Example: [bold]refineseg data import annotations/instances.json --images photos -o mydata[/bold]
    """
    from refineseg.data.formats import ReadOptions, import_data, read_labels

    options = ReadOptions(read_labels(labels) if labels else None, images, unlabelled)
    with progress_bar() as bar:
        task = bar.add_task("importing", total=None, note="")
        report = import_data(
            source,
            output,
            format,
            options=options,
            link=link,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    splits = ", ".join(f"{count} {split}" for split, count in report.splits.items()) or "no splits in the source"
    console.print(
        f"{report.pictures} pictures ({splits}), {len(report.class_names)} classes, read as {report.format}"
    )
    console.print(f"classes: {', '.join(report.class_names)}", soft_wrap=True, markup=False)
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    console.print(f"next: refineseg check folder:{output}", soft_wrap=True, markup=False)


def export(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="What refineseg predict wrote, or its folder masks/.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the annotation files.")],
    format: Annotated[str, typer.Option("--format", help="labelme, cvat or coco.")],
    images: Annotated[Path | None, typer.Option(help="Folder with the pictures that were segmented.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model that made the predictions, for its class names.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="labels.yaml with the class names, instead of --model.")
    ] = None,
) -> None:
    """Write predictions as pre-labels that people correct in their annotation tool.

    Example: [bold]refineseg data export out --format cvat --images photos --model runs/a/best -o prelabels[/bold]
    """
    from refineseg.data.formats import export_predictions

    label_map = _label_map(model, labels)
    with progress_bar() as bar:
        task = bar.add_task("exporting", total=None, note="")
        files = export_predictions(
            predictions,
            label_map,
            format,
            output,
            images=images,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    what = str(files[0]) if len(files) == 1 else f"{len(files)} files in {output}"
    console.print(f"wrote {what}", soft_wrap=True, markup=False)
    if images is None:
        note = "note: pictures that predictions.json does not name are taken to be STEM.jpg; give --images DIR"
        console.print(note, soft_wrap=True)


def _label_map(model: str | None, labels: Path | None) -> LabelMap:
    if (model is None) == (labels is None):
        raise InputError("expected the class names from one of --model MODEL or --labels labels.yaml")
    if labels is not None:
        from refineseg.data.formats import read_labels

        return read_labels(labels)
    from refineseg.model.find_model import find_model
    from refineseg.model.model_folder import read_config

    return read_config(find_model(str(model)))[1].labels
