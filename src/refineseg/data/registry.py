"""From what the user writes (``NAME:ROOT`` or a YAML file) to a data set."""

from __future__ import annotations

from pathlib import Path

from refineseg.data.benchmarks.camvid import open_camvid
from refineseg.data.folder import open_folder, open_yaml
from refineseg.data.source import SegmentationData
from refineseg.errors import InputError

OPENERS = {
    "camvid": open_camvid,
    "folder": open_folder,
}


def open_data(spec: str | Path) -> SegmentationData:
    """Open a data set.

    Args:
        spec: ``NAME:ROOT`` with a name of ``OPENERS`` (``camvid:/data/camvid``), or the path of a YAML file.

    Raises:
        InputError: unknown name, missing folder, or pictures without masks.
    """
    text = str(spec)
    if text.lower().endswith((".yaml", ".yml")):
        return open_yaml(Path(text).expanduser())
    name, colon, root = text.partition(":")
    if not colon or name not in OPENERS:
        raise InputError(
            f"expected NAME:ROOT with a NAME of {', '.join(OPENERS)}, or a YAML file, got {text!r}; "
            "for pictures and masks of your own write folder:ROOT"
        )
    path = Path(root).expanduser()
    if not path.is_dir():
        raise InputError(f"expected the folder of the {name} data, found none at {path}")
    return OPENERS[name](path)
