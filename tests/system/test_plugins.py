"""Entry points of other distributions: names without import, one object by name, errors that name the owner."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from refineseg.errors import InputError
from refineseg.system.plugins import load_plugin, plugin_names

GROUP = "refineseg.fruits"


def distribution(folder: Path, name: str, entries: str, code: str) -> Path:
    """A folder to put on sys.path: one module and the metadata of a distribution that registers parts of it."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}\n")
    (folder / f"{name}.py").write_text(code)
    return folder


def test_names_are_known_without_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "APPLE = 'an apple'\n"
    monkeypatch.syspath_prepend(
        distribution(tmp_path, "orchard_a", "pear = orchard_a:PEAR\napple = orchard_a:APPLE", code)
    )
    assert plugin_names(GROUP) == ["apple", "pear"]
    assert "orchard_a" not in sys.modules
    assert load_plugin(GROUP, "apple") == "an apple"
    assert load_plugin(GROUP, "fig") is None
    assert load_plugin("refineseg.nothing", "apple") is None
    with pytest.raises(InputError, match=r"cannot load 'pear' .* from orchard_a 1.0: AttributeError"):
        load_plugin(GROUP, "pear")


def test_a_broken_distribution_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(distribution(tmp_path, "orchard_b", "plum = orchard_b:PLUM", "1 / 0\n"))
    with pytest.raises(InputError, match=r"'plum' \(refineseg.fruits\) from orchard_b 1.0: ZeroDivisionError"):
        load_plugin(GROUP, "plum")


def test_one_name_has_one_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("orchard_c", "orchard_d"):
        monkeypatch.syspath_prepend(distribution(tmp_path / name, name, f"fig = {name}:FIG", "FIG = 1\n"))
    with pytest.raises(InputError, match=r"orchard_c 1.0 and orchard_d 1.0 both register it: uninstall one"):
        load_plugin(GROUP, "fig")
