"""The exceptions of refineseg. A message says what was expected, what was found and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RefinesegError(Exception):
    """Base of every error that the user can fix: the command line prints one line and exits with 2."""


class InputError(RefinesegError):
    """A file, folder, option or value given by the user cannot be used as it is."""


class LabelError(InputError):
    """A mask holds values that its label map does not know."""


class ConfigError(InputError):
    """A setting is unknown, of the wrong type or out of its range."""


class WeightsError(InputError):
    """A checkpoint or model folder does not fit the network, or is damaged."""


class TooLargeError(InputError):
    """A picture does not fit in memory in one piece."""


class WriteError(InputError):
    """A file or folder cannot be written: no permission, no space. This ends the run."""


class MissingExtraError(RefinesegError):
    """An optional package is needed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed: pip install 'refineseg[{extra}]'"
        )


@contextmanager
def extra(package: str, name: str, purpose: str) -> Iterator[None]:
    """Around imports of an optional package, which the extra ``name`` brings.

    MissingExtraError if it is not installed, InputError if it is and cannot be loaded.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(package, name, purpose) from error
    except ImportError as error:
        raise InputError(f"{purpose} needs the package {package}, which cannot be loaded: {error}") from error


class RefusedError(RefinesegError):
    """A result failed its own check and was discarded; the command line exits with 1."""
