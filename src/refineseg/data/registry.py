"""From what the user writes (``NAME:ROOT`` or a YAML file) to a data set."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from refineseg.data.benchmarks import (
    ade20k,
    camvid,
    cityscapes,
    nyudv2,
    pascal_context,
    person_part,
    sunrgbd,
    voc2012,
)
from refineseg.data.benchmarks.layout import Counts
from refineseg.data.folder import open_folder, open_yaml
from refineseg.data.source import SegmentationData
from refineseg.errors import InputError
from refineseg.labels import LabelMap


@dataclass(frozen=True)
class Benchmark:
    """A public benchmark: how to open it, its labels, and the published numbers of pairs by split."""

    open: Callable[[Path], SegmentationData]
    label_map: Callable[[], LabelMap]
    counts: Counts


BENCHMARKS = {
    "camvid": Benchmark(camvid.open_camvid, camvid.label_map, camvid.COUNTS),
    "voc2012": Benchmark(voc2012.open_voc2012, voc2012.label_map, voc2012.COUNTS),
    "cityscapes": Benchmark(cityscapes.open_cityscapes, cityscapes.label_map, cityscapes.COUNTS),
    "nyudv2": Benchmark(nyudv2.open_nyudv2, nyudv2.label_map, nyudv2.COUNTS),
    "sunrgbd": Benchmark(sunrgbd.open_sunrgbd, sunrgbd.label_map, sunrgbd.COUNTS),
    "pascal-context": Benchmark(
        pascal_context.open_pascal_context, pascal_context.label_map, pascal_context.COUNTS
    ),
    "ade20k": Benchmark(ade20k.open_ade20k, ade20k.label_map, ade20k.COUNTS),
    "person-part": Benchmark(person_part.open_person_part, person_part.label_map, person_part.COUNTS),
}
OPENERS: dict[str, Callable[[Path], SegmentationData]] = {
    **{name: benchmark.open for name, benchmark in BENCHMARKS.items()},
    "folder": open_folder,
}
YAML = re.compile(r"(.+\.ya?ml)(?::(.+))?", re.IGNORECASE)


def open_data(spec: str | Path) -> SegmentationData:
    """Open a data set.

    Args:
        spec: ``NAME:ROOT`` with a name of ``OPENERS`` (``camvid:/data/camvid``), the path of a YAML file, or
            ``FILE.yaml:ROOT`` to use the YAML file's description for another folder.

    Raises:
        InputError: unknown name, missing folder, or pictures without masks.
    """
    text = str(spec)
    yaml = YAML.fullmatch(text)
    if yaml:
        return open_yaml(Path(yaml[1]).expanduser(), Path(yaml[2]).expanduser() if yaml[2] else None)
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


def label_map_by_name(name: str) -> LabelMap:
    """The label map of a benchmark; InputError that lists the names for another one."""
    if name not in BENCHMARKS:
        raise InputError(f"expected the labels of {', '.join(BENCHMARKS)}, got {name!r}")
    return BENCHMARKS[name].label_map()
