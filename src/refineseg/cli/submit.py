"""refineseg submit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from refineseg.cli.common import console, progress_of
from refineseg.cli.options import Device, TileSize
from refineseg.errors import InputError
from refineseg.system.text import counted


def submit(
    name: Annotated[str, Argument(metavar="NAME", help="Benchmark: voc2012, cityscapes or ade20k.")],
    model: Annotated[
        str | None, Option("--model", "-m", help="Bundled name, model folder or hf:ORG/NAME.")
    ] = None,
    data: Annotated[str | None, Option("--data", "-d", help="NAME:ROOT or a YAML file.")] = None,
    output: Annotated[Path | None, Option("--output", "-o", help="FILE.zip to write.")] = None,
    validate: Annotated[Path | None, Option(help="FILE.zip to check instead of writing one.")] = None,
    split: Annotated[str, Option(help="Split: train, val or test.")] = "test",
    protocol: Annotated[str, Option(help="Protocol: single, paper, ms-flip ...")] = "single",
    tile: TileSize = None,
    device: Device = "auto",
) -> None:
    """Write an archive for a benchmark server, or check one.

    Example: [bold]refineseg submit voc2012 --model runs/voc/best --data voc2012:data/voc -o voc.zip[/bold]
    and [bold]refineseg submit --validate voc.zip voc2012[/bold]
    """
    from refineseg.data import open_data
    from refineseg.evaluation.submission import check_submission, score_submission, write_submission

    pictures = open_data(data) if data else None
    if validate is not None:
        count = check_submission(name, validate, pictures, split=split)
        console.print(f"{validate}: {counted(count, 'mask')}, valid for {name} {split}")
        if pictures is not None and all(sample.mask is not None for sample in pictures.split(split)):
            mean = score_submission(name, validate, pictures, split=split).mean_iou
            console.print(f"mean IoU on {split}: {mean:.4f}")
        return
    if model is None or pictures is None or output is None:
        raise InputError("expected --model, --data and -o FILE.zip to write, or --validate FILE.zip to check")

    from refineseg.evaluation.protocol import find_protocol
    from refineseg.loading import load

    chosen = find_protocol(protocol)
    segmenter = load(model, device)
    with progress_of(f"predicting {split}") as progress:
        count = write_submission(
            name,
            segmenter,
            pictures,
            output,
            split=split,
            protocol=chosen if tile is None else replace(chosen, tile=tile),
            progress=progress,
        )
    console.print(f"{output}: {counted(count, 'mask')}, checked for {name} {split}")
