"""refineseg predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refineseg.cli.common import console, errors, parse_scales, progress_bar
from refineseg.errors import InputError

if TYPE_CHECKING:
    from refineseg.inference.batch import Entry


def predict(
    inputs: Annotated[list[str], typer.Argument(metavar="IMAGE|FOLDER|GLOB ...", help="Pictures to segment.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Output folder: masks/, overlays/, predictions.json.")
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="Bundled name or model folder.")] = "camvid",
    scales: Annotated[str, typer.Option(help="Scales to average over, such as 0.75,1.0,1.25.")] = "1.0",
    flip: Annotated[bool, typer.Option("--flip", help="Average over the mirrored picture too.")] = False,
    save: Annotated[str, typer.Option(help="What to write: mask, overlay, probs.")] = "mask,overlay",
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
    if output.is_dir() and any(output.iterdir()) and not overwrite:
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

        entries = predict_files(segmenter, paths, output, options, kinds, show)
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
