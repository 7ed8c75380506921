"""refineseg serve."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from refineseg.cli.common import console, errors
from refineseg.errors import InputError


def serve(
    model: Annotated[
        str, typer.Option("--model", "-m", help="Bundled name, model folder or hf:ORG/NAME.")
    ] = "everyday",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8000,
    max_mb: Annotated[float, typer.Option(help="Largest request, in MiB.")] = 20,
    max_megapixels: Annotated[
        float, typer.Option(help="Largest picture, over all scales, in million pixels.")
    ] = 16,
    requests: Annotated[int, typer.Option(help="Requests at a time; more are told to come back.")] = 64,
    memory: Annotated[int, typer.Option(help="MiB that requests may take together.")] = 2048,
    batch: Annotated[int, typer.Option(help="Pictures seen together.")] = 8,
    wait_ms: Annotated[float, typer.Option(help="Milliseconds that a picture waits for others.")] = 5,
    timeout: Annotated[float, typer.Option(help="Seconds until a request is given up.")] = 60,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="32 or bf16.")] = "32",
) -> int:
    """Serve a model over HTTP, with a page at / to try it; ends when told to, after what is in flight.

    REFINESEG_API_KEY in the environment asks every request for that key.

    Example: [bold]refineseg serve --model camvid --port 8000[/bold]
    """
    from refineseg.system.memory import keep_freed_memory

    # Before torch has threads: one that has allocated keeps its own arena, which later threads may be given.
    keep_freed_memory()
    import torch

    from refineseg.loading import load
    from refineseg.serving.limits import Limits
    from refineseg.serving.server import serve as run

    given = (max_mb, max_megapixels, wait_ms, timeout)
    if not all(map(math.isfinite, given)):
        raise InputError(f"expected limits that are finite numbers, got {', '.join(map(str, given))}")
    limits = Limits(
        bytes=round(max_mb * 2**20),
        pixels=round(max_megapixels * 1e6),
        requests=requests,
        memory=memory << 20,
        batch=batch,
        wait=wait_ms / 1000,
        seconds=timeout,
    )
    # Opened on one thread: a team of this thread's beside that of the network's would be more threads than cores,
    # and OpenMP lets such wait in a way that makes every picture a quarter slower.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    segmenter = load(model, device, precision)
    torch.set_num_threads(threads)
    run(
        segmenter,
        host,
        port,
        limits,
        say=lambda line: console.print(line, markup=False),
        warn=lambda line: errors.print(line, markup=False),
    )
    return 0
