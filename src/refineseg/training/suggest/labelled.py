"""The labelled pictures of a data set, or of a model's training run."""

from __future__ import annotations

from pathlib import Path

from refineseg.config import TrainConfig
from refineseg.config.yaml import read_yaml
from refineseg.data import open_data
from refineseg.errors import RefinesegError
from refineseg.training.run import SETTINGS

UNKNOWN = "not known what is labelled already: --labelled NAME:ROOT says it"


def labelled_pictures(model: str, data: str | None = None) -> tuple[list[Path], str]:
    """Files of pictures with masks, and a line on their origin.

    The data is ``data``, else that in the config.yaml of the model's run. InputError if ``data`` cannot be
    opened; for the data of a run only the line says so.
    """
    folder, named = Path(model).expanduser(), data
    settings = next((path for path in (folder / SETTINGS, folder.parent / SETTINGS) if path.is_file()), None)
    if data is None and settings is not None:
        named = TrainConfig.from_dict(read_yaml(settings)).data
    if named is None:
        return [], UNKNOWN
    try:
        opened = open_data(named)
    except RefinesegError as error:
        if data is not None:
            raise
        return [], f"{UNKNOWN} ({error})"
    paths = [sample.image for samples in opened.splits.values() for sample in samples if sample.mask]
    return paths, f"{len(paths)} pictures of {named} are labelled already"
