"""refineseg predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refineseg.cli.common import console, errors, parse_scales, progress_bar
from refineseg.errors import InputError

if TYPE_CHECKING:
    from refineseg.inference.batch import Entry
    from refineseg.inference.options import Tile


def predict(
    inputs: Annotated[list[str], typer.Argument(metavar="IMAGE|FOLDER|GLOB ...", help="Pictures to segment.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Output folder: masks/, overlays/, predictions.json.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Bundled name, model folder or hf:ORG/NAME.")
    ] = "camvid",
    scales: Annotated[str, typer.Option(help="Scales to average over, such as 0.75,1.0,1.25.")] = "1.0",
    flip: Annotated[bool, typer.Option("--flip", help="Average over the mirrored picture too.")] = False,
    tile: Annotated[
        str | None,
        typer.Option(help="Large pictures: see them in windows, auto or a side in pixels such as 1024."),
    ] = None,
    save: Annotated[
        str,
        typer.Option(help="What to write: mask, overlay, probs, uncertainty, polygons, geojson, rle."),
    ] = "mask,overlay",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="32 or bf16.")] = "32",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that holds files.")] = False,
) -> int:
    """Segment pictures.

    Example: [bold]refineseg predict street.jpg photos/ 'more/*.png' -o out --save mask,overlay[/bold]
    """
    from refineseg.inference.batch import find_inputs, predict_files
    from refineseg.inference.predictor import PredictOptions, load

    paths = find_inputs(inputs)
    side = parse_tile(tile)
    resumed = side is not None and any(output.glob(".*.part/state.json"))
    if output.is_dir() and any(output.iterdir()) and not overwrite and not resumed:
        raise InputError(
            f"expected a new or empty output folder, {output} holds files: add --overwrite or change -o"
        )
    kinds = tuple(kind.strip() for kind in save.split(",") if kind.strip())
    options = PredictOptions(parse_scales(scales), flip, probabilities="probs" in kinds)
    segmenter = load(model, device, precision)
    with progress_bar() as bar:
        task = bar.add_task("predicting", total=len(paths), note="")

        def show(entry: Entry) -> None:
            if entry.error is not None:
                errors.print(f"error: {entry.error}", markup=False)
            bar.advance(task)
            bar.update(task, note="")

        def show_windows(done: int, total: int) -> None:
            bar.update(task, note=f"window {done} of {total}")

        entries = predict_files(segmenter, paths, output, options, kinds, show, side, show_windows)
    done = [entry for entry in entries if entry.error is None]
    for entry in done[:20]:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in list(entry.class_shares.items())[:5])
        console.print(f"{entry.input.name}: {shares}", markup=False)
    if len(done) > 20:
        console.print(f"... and {len(done) - 20} more, in {output / 'predictions.json'}", markup=False)
    written = ", ".join(sorted({str(Path(file).parent) + "/" for entry in done for file in entry.files.values()}))
    console.print(
        f"{len(done)} of {len(entries)} pictures done; results in {output}/ ({written or 'nothing'})", markup=False
    )
    return 2 if len(done) < len(entries) else 0


def parse_tile(text: str | None) -> Tile:
    """``auto``, a number of pixels or nothing; InputError otherwise."""
    if text is None:
        return None
    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise InputError(f"expected --tile auto or a number of pixels such as 1024, got {text!r}")
