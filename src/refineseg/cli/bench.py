"""refineseg bench."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from refineseg.cli.common import Table, console, progress_bar, write_json
from refineseg.cli.options import Device, JsonFile, parse_names, parse_size
from refineseg.errors import InputError


def bench(
    net: Annotated[str, Option("--net", help="Preset, with random weights.")] = "refinenet-lw-mbv2",
    model: Annotated[
        str | None, Option("--model", "-m", help="Bundled name or model folder, in place of --net.")
    ] = None,
    against: Annotated[
        str, Option(help="Networks to compare: peers (all), none, or names such as deeplabv3_resnet101,unet.")
    ] = "none",
    size: Annotated[str, Option(help="Size of the pictures in pixels: N or HEIGHTxWIDTH.")] = "512",
    batch: Annotated[int, Option(help="Batch size.")] = 1,
    precision: Annotated[str, Option(help="Precision: 32 (float32) or bf16. The baseline is always 32.")] = "32",
    engines: Annotated[
        str, Option(help="Engines: torch, compiled, onnxruntime, openvino, and the last two with -int8.")
    ] = "torch",
    files: Annotated[list[Path] | None, Option("--file", help="Exported file to measure too; repeatable.")] = None,
    classes: Annotated[int, Option(help="Number of classes of --net and the peers.")] = 21,
    plan: Annotated[bool, Option("--plan", help="Estimate the memory without running anything.")] = False,
    training: Annotated[bool, Option("--training", help="Measure a training step instead of prediction.")] = False,
    channels_last: Annotated[
        bool, Option("--channels-last", help="Measure the peers with channels last too.")
    ] = False,
    repeats: Annotated[int, Option(help="Number of measured rounds.")] = 5,
    threads: Annotated[int | None, Option(help="Number of torch's threads. Default: all cores.")] = None,
    device: Device = "auto",
    json_file: JsonFile = None,
) -> None:
    """Measure speed and memory of networks and engines, in alternation.

    Example: [bold]refineseg bench --net refinenet-lw-r101 --against peers --size 512 --json bench.json[/bold]
    """
    import torch

    from refineseg.bench.comparison import COLUMNS, flop_of, headline, rows, time_candidates
    from refineseg.bench.networks import Setting, file_candidates, own_candidates, peer_candidate, random_segmenter
    from refineseg.bench.peers import chosen_peers
    from refineseg.inference.devices import pick_device
    from refineseg.loading import load

    if threads is not None:
        torch.set_num_threads(threads)
    if batch < 1 or precision not in ("32", "bf16"):
        raise InputError(f"expected --batch of 1 or more and --precision 32 or bf16, got {batch} and {precision}")
    height, width = parse_size(size, "--size")
    segmenter = None if model is None else load(model, device, precision)
    classes = classes if segmenter is None else segmenter.card.labels.num_classes
    setting = Setting((height, width), batch, precision, classes, training, pick_device(device))
    if segmenter is None:
        segmenter = random_segmenter(net, setting)
    if plan:
        from refineseg.bench.memory import plan_memory, sentence

        planned = {"net": model or net} | plan_memory(segmenter, setting)
        console.print(sentence(planned))
        write_json(json_file, planned)
        return
    chosen = parse_names(engines)
    candidates = [
        *own_candidates(segmenter, setting, chosen),
        *file_candidates(files or [], setting),
        *(peer_candidate(name, setting, False) for name in chosen_peers(against)),
        *(peer_candidate(name, setting, True) for name in chosen_peers(against) if channels_last),
    ]
    with progress_bar("runs") as bar:
        task = bar.add_task("measuring", total=None, note="")
        report = time_candidates(
            candidates,
            setting,
            repeats,
            flop_of(segmenter.model, setting),
            lambda name: bar.update(task, advance=1, note=name[:38]),
        )
    report = {"net": model or net, "command": shlex.join(["refineseg", *sys.argv[1:]])} | report
    table = Table(*COLUMNS)
    for row in rows(report):
        table.add_row(*row)
    console.print(headline(report))
    console.print(table)
    write_json(json_file, report)
