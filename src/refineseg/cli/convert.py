"""refineseg convert."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from refineseg.cli.common import Table, console
from refineseg.errors import InputError
from refineseg.system.files import expanded
from refineseg.system.text import counted

if TYPE_CHECKING:
    from refineseg.labels import LabelMap


def convert(
    checkpoint: Annotated[
        str | None,
        Argument(
            metavar="CHECKPOINT",
            help="Published checkpoint (.pth, .pth.tar, .pt, .safetensors, .mat), folder of a transformers "
            "model, or hf:ORG/NAME.",
        ),
    ] = None,
    out: Annotated[Path | None, Argument(metavar="OUT", help="Model folder to write.")] = None,
    labels: Annotated[
        str | None, Option(help="Class names: a benchmark's (voc2012, nyudv2 ...), or a YAML file with labels.")
    ] = None,
    reset_head: Annotated[int | None, Option(help="Number of classes of a new, untrained classifier.")] = None,
    void: Annotated[
        str | None,
        Option(help="The void logit of an authors' .mat file: first, last or none. Known for the published ones."),
    ] = None,
    version: Annotated[
        str | None,
        Option(
            "--as",
            help="Variant of a Depth Anything or MiDaS Swin checkpoint: depth-anything-v2, midas-swin2-384 ... "
            "(omit it for a list).",
        ),
    ] = None,
    find: Annotated[bool, Option("--find", help="List the checkpoints in this machine's torch caches.")] = False,
) -> None:
    """Convert a published checkpoint to a model folder. Every tensor must match.

    Example: [bold]refineseg convert rf_lw50_voc.pth.tar models/voc --labels voc2012[/bold]
    """
    from refineseg.model.conversion.convert import convert_checkpoint
    from refineseg.model.tensors.mismatch import MismatchError

    if find:
        if checkpoint or out or labels or void or version or reset_head is not None:
            raise InputError("expected --find alone, without other arguments")
        _find()
        return
    if checkpoint is None or out is None:
        raise InputError("expected CHECKPOINT and OUT, or --find: refineseg convert FILE OUT --labels voc2012")
    if void not in (None, "first", "last", "none"):
        raise InputError(f"expected --void as first, last or none, got {void!r}")
    names = read_label_map(labels) if labels else None
    try:
        done = convert_checkpoint(checkpoint, out, names, reset_head, void, version)
    except MismatchError as error:
        for line in error.table.splitlines():
            console.print(line)
        raise
    known = done.architecture
    console.print(f"recognised as {known.preset} ({known.keys.name}), {counted(done.tensors, 'tensor')} loaded")
    if known.fields:
        shown = ", ".join(f"{name} {value}" for name, value in known.fields.items())
        form = f"settings {known.settings}, and " if known.settings else ""
        console.print(f"{form}by the file itself: {shown}")
    if done.reset:
        console.print(f"initialised at random: {', '.join(done.reset)}")
    if done.left_out:
        what = "not part of the decoder" if done.outputs == "decoder" else "not read by the network"
        starts = ", ".join(dict.fromkeys(".".join(name.split(".")[:2]) for name in done.left_out[:200]))
        console.print(f"{what}, left out: {counted(done.left_out, 'tensor')} ({starts:.100})")
    if done.outputs == "decoder":
        console.print(f"decoder in {out}: refineseg.model.dpt.load_dpt_decoder({str(out)!r})")
        return
    if names is None and done.num_classes is not None and not done.named:
        console.print(f"{counted(done.num_classes, 'class')} without names: give --labels to name them")
    console.print(f"model in {out}: refineseg predict IMAGE -o RESULTS --model {shlex.quote(str(out))}")


def read_label_map(name: str) -> LabelMap:
    """Labels of a benchmark (``voc2012``, ``person-part`` ...) or YAML file; InputError for other names."""
    from refineseg.config.yaml import read_yaml
    from refineseg.data.registry import find_benchmark
    from refineseg.labels import LabelMap

    if not name.lower().endswith((".yaml", ".yml")):
        return find_benchmark(name.lower().replace("_", "-")).label_map()
    values = read_yaml(expanded(name))
    inner = values.get("labels", values)
    return LabelMap.from_dict(inner if isinstance(inner, dict) else {})


def _find() -> None:
    from refineseg.model.conversion.recognise import Architecture, find_checkpoints
    from refineseg.model.tensors.checkpoints import torch_caches

    found = find_checkpoints()
    looked = ", ".join(str(folder) for folder in torch_caches()) or "no torch cache on this machine"
    console.print(f"looked in: {looked}")
    known = {path: network for path, network in found.items() if isinstance(network, Architecture)}
    if known:
        table = Table("file", "recognised as", "classes")
        for path, network in known.items():
            table.add_row(str(path), network.preset, str(network.num_classes or "-"))
        console.print(table)
        console.print("convert one: refineseg convert FILE OUT --labels NAME")
    console.print(f"{len(known)} of {counted(found, 'checkpoint file')} recognised")
