"""Entry point: the list of commands, and handling of errors.

Exit codes: 0 success, 2 bad input (one line on standard error), 1 failure of the program itself, 130 stopped by
Ctrl-C, 143 stopped by SIGTERM, 129 by the end of its terminal.
"""

from __future__ import annotations

import io
import os
import platform
import signal
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import FrameType

import typer
from typer import Option

from refineseg._version import __version__
from refineseg.cli.common import quiet_libraries
from refineseg.cli.data import data
from refineseg.errors import RefinesegError, RefusedError
from refineseg.system.hardware import instruction_sets, package_versions, processor_name
from refineseg.system.memory import is_out_of_memory
from refineseg.system.text import escaped

STOPPED = 130  # exit code after Ctrl-C, as of shells
# Signals that end a command: kill's, and those of a terminal that is closed or a connection that is lost.
ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]

app = typer.Typer(
    name="refineseg",
    help="RefineNet for semantic segmentation: train, evaluate, predict, deploy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

VERBS = (
    "predict", "evaluate", "train", "plan", "check", "compare", "submit", "convert", "export", "serve", "bench",
    "models", "push",
)  # fmt: skip

for _verb in VERBS:
    app.command()(getattr(import_module(f"refineseg.cli.{_verb}"), _verb))
app.add_typer(data, name="data")


def _print_version(given: bool) -> None:
    if given:
        typer.echo(f"refineseg {__version__}")
        typer.echo(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}")
        typer.echo(", ".join(f"{name} {number}" for name, number in package_versions().items()))
        typer.echo(f"{processor_name()}: {' '.join(instruction_sets()) or 'instruction sets unknown'}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: bool = Option(False, "--verbose", "-v", help="Show tracebacks, and warnings of libraries."),
    _version: bool = Option(
        False, "--version", help="Print versions for bug reports and exit.", callback=_print_version, is_eager=True
    ),
) -> None:
    if not verbose:
        quiet_libraries()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    # -v is accepted anywhere, also after the command.
    verbose = any(word in ("-v", "--verbose") for word in given)
    given = ["-v"] * verbose + [word for word in given if word not in ("-v", "--verbose")]
    try:
        result = command_line()(given, standalone_mode=False)
        if result == STOPPED:  # newer typers catch KeyboardInterrupt
            return _say("stopped", STOPPED)
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return _say("stopped", STOPPED)
    except BrokenPipeError:
        return 1
    except Exception as error:
        if verbose:
            raise
        message, code = _described(error)
    # Outside of the handler, since its traceback keeps the command's memory, which may be all that there is.
    return _say(message, code) if message else code


@cache
def command_line() -> Callable[..., object]:
    """The command line, put together once."""
    return typer.main.get_command(app)


def _described(error: Exception) -> tuple[str, int]:
    """The line about an error, and the exit code."""
    # Usage errors are click's, which newer typers bundle: recognised by their method.
    usage = getattr(error, "format_message", None)
    if usage is not None:
        return f"error: {usage()}" if usage() else "", 2
    if isinstance(error, RefinesegError):
        return f"error: {error}", 1 if isinstance(error, RefusedError) else 2
    if isinstance(error, OSError) and error.filename is not None and error.strerror:  # an unusable path
        return f"error: cannot use {error.filename!s:.200}: {error.strerror}", 2
    if is_out_of_memory(error):
        return "error: memory ran out: free some, use smaller pictures, batches or crops, or --tile", 2
    return f"failed: {type(error).__name__}: {error}; -v shows where", 1


def _say(message: str, code: int) -> int:
    line = " ".join(message.split())
    print(escaped(line if len(line) < 1200 else f"{line[:800]} ... {line[-300:]}"), file=sys.stderr)
    return code


def run() -> None:
    """Console script. ENDING signals end a command like Ctrl-C, so that nothing half-written is left."""
    ended_by = 0
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="backslashreplace")  # letters that the terminal's encoding lacks
    shown = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream is not None and stream.isatty()]

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal ended_by
        ended_by = number
        for one in handled:
            signal.signal(one, signal.SIG_IGN)  # do not interrupt cleaning up
        if number != signal.SIGTERM:  # the terminal is gone: writing to it would be an error
            nothing = os.open(os.devnull, os.O_WRONLY)
            for stream in shown:
                os.dup2(nothing, stream)
        raise KeyboardInterrupt

    handled = [one for one in ENDING if signal.getsignal(one) is not signal.SIG_IGN]  # nohup ignores SIGHUP
    for one in handled:
        signal.signal(one, end)
    code = main()
    sys.exit(128 + ended_by if ended_by and code == STOPPED else code)


if __name__ == "__main__":
    run()
