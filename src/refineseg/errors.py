"""The exceptions of refineseg. A message says what was expected, what was found and what to do."""


class RefinesegError(Exception):
    """Base of every error that the user can mend: the command line prints it as one line and exits with 2."""


class InputError(RefinesegError):
    """A file, folder, option or value given by the user cannot be used as it is."""


class LabelError(InputError):
    """A mask holds values that its label map does not know."""


class ConfigError(InputError):
    """A setting is unknown, of the wrong type or out of its range."""


class WeightsError(InputError):
    """A checkpoint or model folder does not fit the network, or is damaged."""


class TooLargeError(InputError):
    """A picture does not fit in memory in one piece; in windows it would."""


class WriteError(InputError):
    """A file or folder cannot be written: no permission, no space. Going on with others would not help."""


class MissingExtraError(RefinesegError):
    """An optional package is needed for what was asked."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed: pip install 'refineseg[{extra}]'"
        )


class RefusedError(RefinesegError):
    """What was made does not keep what it promises, so it is not kept; the command line exits with 1."""
