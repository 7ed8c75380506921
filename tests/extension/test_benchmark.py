"""A named data set from outside the package: one file with a record, found by an entry point."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from refineseg.data import open_data
from refineseg.data.preparation.prepare import prepare
from refineseg.data.registry import GROUP, benchmark_names, find_benchmark
from refineseg.errors import InputError
from refineseg.evaluation.protocol import find_protocol
from tests.data.benchmarks import roots
from tests.data.test_prepare import pack

# What another distribution would ship as its_package/ponds.py.
PONDS = """
from pathlib import Path

from refineseg.data.benchmark import Benchmark
from refineseg.data.benchmark_files import by_stem, need_folder, pair, places
from refineseg.data.dataset import SegmentationData
from refineseg.labels import LabelMap


def label_map():
    return LabelMap.from_names(["land", "water"], ignore=(9,))


def open_ponds(root: Path):
    images = by_stem(need_folder(root, "the photos", "photos"))
    masks = by_stem(need_folder(root, "the masks", "truth"))
    return SegmentationData("ponds", root, label_map(), {"val": pair(images, images, masks, root)}, "CC0")


BENCHMARK = Benchmark(
    name="ponds",
    open=open_ponds,
    label_map=label_map,
    pairs={"val": (2,)},
    licence="CC0",
    archives="ponds.zip",
    place=places((r"((?:photos|truth)/[^/]+)", r"\\1")),
    aliases=("lakes",),
    scoring={"mean_over": "zero"},
)
"""


def install(folder: Path, entry: str) -> None:
    """The metadata of an installed distribution that registers one benchmark."""
    info = folder / "others-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entry}\n")


@pytest.fixture
def ponds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module on the path, registered as an installed distribution would; an archive of two pairs."""
    install(tmp_path / "package", "ponds = ponds_of_others:BENCHMARK")
    (tmp_path / "package" / "ponds_of_others.py").write_text(PONDS)
    monkeypatch.syspath_prepend(tmp_path / "package")
    monkeypatch.delitem(sys.modules, "ponds_of_others", raising=False)
    made = tmp_path / "made"
    for stem in ("a", "b"):
        roots.picture(made / "photos" / f"{stem}.jpg")
        roots.mask(made / "truth" / f"{stem}.png", roots.values(stem, [0, 1, 9]))
    return pack(tmp_path / "ponds.zip", made, "photos", "truth")


def test_it_is_listed_without_being_imported(ponds: Path) -> None:
    assert benchmark_names()[-1] == "ponds"
    assert "ponds_of_others" not in sys.modules


def test_it_is_prepared_opened_and_scored_by_its_name(ponds: Path, tmp_path: Path) -> None:
    prepared = prepare("ponds", [ponds], tmp_path / "root")
    assert [(count.split, count.found, count.right) for count in prepared.counts] == [("val", 2, True)]
    data = open_data(f"ponds:{tmp_path / 'root'}")
    _, labels = data.read(data.split("val")[0])
    assert set(np.unique(labels)) == {0, 1, 255}
    assert find_benchmark("lakes") is find_benchmark("ponds")
    assert find_protocol("ponds").mean_over == "zero"


def test_what_is_no_benchmark_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "odd = math:pi")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="expected a Benchmark registered as 'odd'"):
        find_benchmark("odd")
