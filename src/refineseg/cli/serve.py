"""refineseg serve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from typer import Option

from refineseg.cli.common import console, errors
from refineseg.cli.options import Device, Precision
from refineseg.errors import InputError

if TYPE_CHECKING:
    from refineseg.inference.predictor import Segmenter


def serve(
    model: Annotated[
        str,
        Option("--model", "-m", help="Bundled name, model folder, hf:ORG/NAME, or exported file."),
    ] = "everyday",
    host: Annotated[str, Option(help="Address to listen on; 0.0.0.0 for all network interfaces.")] = "127.0.0.1",
    port: Annotated[int, Option(help="Port; 0 chooses a free one.", min=0, max=65535)] = 8000,
    allow_host: Annotated[
        list[str] | None, Option(help="Additional host name that clients may use; repeatable, * for all.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        Option(help="Web site whose pages may use the server, such as https://example.org; repeatable."),
    ] = None,
    max_mb: Annotated[float, Option(help="Largest request, in MiB.")] = 20,
    max_megapixels: Annotated[float, Option(help="Most megapixels per request, over all scales and flips.")] = 16,
    requests: Annotated[int, Option(help="Most concurrent requests; further ones get 503.")] = 64,
    memory: Annotated[int, Option(help="Most memory for all requests together, in MiB.")] = 2048,
    batch: Annotated[int, Option(help="Most pictures per batch.")] = 8,
    wait_ms: Annotated[float, Option(help="Milliseconds that a picture waits for others to join its batch.")] = 5,
    timeout: Annotated[float, Option(help="Time limit of a request, in seconds.")] = 60,
    device: Device = "auto",
    precision: Precision = "32",
    engine: Annotated[
        str | None,
        Option(help="Engine: torch, onnxruntime, openvino or auto. Default: torch, or that of an exported file."),
    ] = None,
) -> None:
    """Serve a model over HTTP, with a web page at /.

    Ctrl+C stops the server after the requests in progress. If the environment variable REFINESEG_API_KEY is set,
    every request must have that key.

    Example: [bold]refineseg serve --model camvid --port 8000[/bold]
    """
    from refineseg.system.memory import keep_freed_memory

    keep_freed_memory()  # before there are threads: one that has allocated keeps its own arena
    from refineseg.serving.access import Access
    from refineseg.serving.limits import Limits
    from refineseg.serving.server import serve as run

    access = Access(host, tuple(allow_host or ()), tuple(allow_origin or ()))
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
    run(
        _load_on_one_thread(model, device, precision, engine),
        port,
        limits,
        access,
        say=console.print,
        warn=errors.print,
    )


def _load_on_one_thread(model: str, device: str, precision: str, engine: str | None) -> Segmenter:
    """Load a model without OpenMP threads for this thread.

    Together with those of the network's thread there would be more threads than cores, and OpenMP's way of waiting
    would then make every picture a quarter slower.
    """
    from refineseg.loading import load

    try:
        import torch
    except ImportError:  # exported files need none
        return load(model, device, precision, engine, errors.print)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return load(model, device, precision, engine, errors.print)
    finally:
        torch.set_num_threads(threads)
