"""refineseg models."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from refineseg.cli.common import Table, console, write_json
from refineseg.cli.options import JsonFile, model_fields
from refineseg.errors import InputError
from refineseg.system.text import counted

if TYPE_CHECKING:
    from refineseg.model.folders.records import PublishedScore

CLASSES = 21  # for parameter counts, as in the papers
NYU_CLASSES = 40


def models(
    json_file: JsonFile = None,
    describe: Annotated[str | None, Option(help="Preset to describe stage by stage.")] = None,
    size: Annotated[str, Option(help="With --describe: size of the picture, HEIGHTxWIDTH.")] = "512x512",
    classes: Annotated[int, Option(help="With --describe: number of classes.")] = CLASSES,
    svg: Annotated[Path | None, Option(help="With --describe: draw the network to this SVG file.")] = None,
    assignments: Annotated[
        list[str] | None,
        Option(
            "--set",
            help="With --describe: name=value, any setting of the model; settings=paper, authors or ports.",
        ),
    ] = None,
) -> None:
    """List presets and known weights with licence and score, or describe a preset.

    Example: [bold]refineseg models --describe refinenet-r101 --size 512x512 --svg r101.svg[/bold]
    """
    if describe is not None:
        return describe_preset(describe, size, classes, svg, assignments or [], json_file)
    if svg is not None or assignments:
        raise InputError("expected --svg and --set together with --describe PRESET")
    return _list(json_file)


def describe_preset(
    preset: str, size: str, classes: int, svg: Path | None, assignments: list[str], json_file: Path | None
) -> None:
    """Print shapes, parameters, multiplications and receptive field of every stage, and draw them."""
    from refineseg.model.describe import STRIP, describe
    from refineseg.model.drawing import draw
    from refineseg.model.presets import model_config
    from refineseg.system.files import atomic_write

    sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
    if sides is None or "0" in sides.groups():
        raise InputError(f"expected --size HEIGHTxWIDTH such as 512x512, got {size!r}")
    config = model_config(preset, classes, **model_fields(assignments))
    found = describe(config, (int(sides[1]), int(sides[2])))
    table = Table("stage", "takes", "gives", "parameters", "GMAC", "field, px")
    for stage in found.stages:
        takes, gives = (
            "\n".join("x".join(map(str, shape)) for shape in shapes) for shapes in (stage.inputs, stage.outputs)
        )
        field = "-" if stage.receptive_field is None else f"{stage.receptive_field}"
        table.add_row(stage.name, takes, gives, f"{stage.parameters:,}", f"{stage.gmac:.2f}", field)
    table.add_row("all", "", "", f"{found.parameters:,}", f"{found.gmac:.1f}", "")
    console.print(table)
    if not config.final_rcus and config.dpt is None:
        forty = found.gmac + (NYU_CLASSES / classes - 1) * found.stages[-1].gmac
        console.print(
            f"{found.gmac:.1f} GMAC with {counted(classes, 'class')}; {forty:.1f} with the {NYU_CLASSES} of "
            "NYUDv2, as the light-weight port counts"
        )
    if config.dpt is None:
        console.print(
            f"receptive field: width with 95 % of the gradient, with random weights, at most {STRIP[1]} px; "
            "that of the backbone is of its coarsest map"
        )
    if svg is not None:
        atomic_write(svg, draw(found))
        console.print(f"drawn in {svg}")
    content = {
        "model": config.to_dict(),
        "size": list(found.size),
        "parameters": found.parameters,
        "gmac": found.gmac,
        "stages": [asdict(stage) for stage in found.stages],
    }
    write_json(json_file, content)


def _list(json_file: Path | None) -> None:
    from refineseg.model.folders.records import all_records
    from refineseg.model.presets import PRESETS, model_config, parameter_count

    presets = []
    table = Table("preset", "backbone", "parameters", title=f"Presets ({CLASSES} classes)")
    for preset in PRESETS:
        config = model_config(preset, CLASSES)
        count = parameter_count(config)
        presets.append({"preset": preset, "backbone": config.backbone, "parameters": count})
        table.add_row(preset, config.backbone, f"{count:,}")
    console.print(table)

    records = all_records()
    table = Table(title="Weights, mean IoU with its 95 % interval (protocols, sources and hashes: --json)")
    table.add_column("weights", no_wrap=True)
    for title in ("mean IoU", "licence", "state"):
        table.add_column(title)
    for record in records:
        score = _in_words(record.score)
        # The part before the colon or semicolon suffices; the JSON has all of it.
        table.add_row(record.name, score, record.licence.split(";")[0], record.state.split(":")[0])
    console.print(table)
    write_json(json_file, {"presets": presets, "weights": [asdict(record) for record in records]})


def _in_words(score: PublishedScore | None) -> str:
    """``73.7 % val (73.1 to 74.2)``."""
    if score is None:
        return "-"
    interval = f" ({100 * score.interval[0]:.1f} to {100 * score.interval[1]:.1f})" if score.interval else ""
    return f"{100 * score.mean_iou:.1f} % {score.split}{interval}"
