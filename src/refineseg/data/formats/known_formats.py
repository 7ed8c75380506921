"""The formats by name, and detection of the format of a file or folder.

Every module in this folder with a ``FORMAT`` is a format; other packages register theirs as entry points in the
group ``refineseg.formats``.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path

from refineseg.data.formats.format import Format
from refineseg.data.formats.parsing.documents import read_json, read_xml
from refineseg.data.formats.parsing.find_pictures import walk_files
from refineseg.data.mask_arrays import SUFFIXES as ARRAYS
from refineseg.errors import InputError
from refineseg.system.plugins import load_plugin, module_names, plugin_names

GROUP, PACKAGE = "refineseg.formats", "refineseg.data.formats"
LARGEST = 20_000_000  # bytes of a JSON or XML that is read for an error message


@cache
def built_in() -> dict[str, Format]:
    """The formats of this package by name, in alphabetical order."""
    modules = [import_module(f"{PACKAGE}.{name}") for name in module_names(PACKAGE)]
    found = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return {item.name: item for item in sorted(found, key=lambda item: str(item.name))}


def formats() -> dict[str, Format]:
    """All formats by name: those of this package, then those of other packages.

    Raises InputError for an entry point that is not a Format or has the name of a built-in one.
    """
    found = dict(built_in())
    for name in plugin_names(GROUP):
        item = load_plugin(GROUP, name)
        if not isinstance(item, Format) or item.name != name:
            raise InputError(
                f"expected a Format called {name!r} of the entry point {name} ({GROUP}), got {item!r:.80}"
            )
        if name in found:
            raise InputError(f"the entry point {name} ({GROUP}) has the name of a format of refineseg: rename it")
        found[name] = item
    return found


def detect(src: str | Path) -> Format:
    """The format of a file or folder, detected by its content. InputError unless exactly one fits."""
    path = Path(src)
    if not path.exists():
        raise InputError(f"File or folder not found: {path}")
    known = formats()
    found = [item for item in known.values() if item.fits(path)]
    found = found or [item for item in known.values() if item.likely(path)]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(item.name for item in found)
        raise InputError(f"{path} can be read as {names}: say which with --format, or give the annotation file")
    files = [path] if path.is_file() else walk_files(path)
    samples = {file: _content(file) for file in _samples(files)}
    marks = _marks(path, files).union(*samples.values())
    nearest = max(known.values(), key=lambda item: _likeness(item, marks))
    hint = f"the nearest format is {nearest.name}, which needs {nearest.needs}; " * bool(_likeness(nearest, marks))
    arrays = sorted(ARRAYS.intersection(file.suffix.lower() for file in files))
    if arrays:
        hint += (
            f"{' and '.join(arrays)} files are read as masks, in a folder masks/ beside images/; save pictures in "
            "such files as PNG or TIFF; "
        )
    raise InputError(
        f"cannot tell the format of {path}: found {_shown(path, files, samples)}; {hint}say which with --format "
        f"({', '.join(known)})"
    )


def find_format(name: str | None, src: str | Path) -> Format:
    """The format of that name, or the detected one. InputError for unknown names."""
    if name is None:
        return detect(src)
    known = built_in() if name in built_in() else formats()
    if name not in known:
        raise InputError(f"expected a format of {', '.join(known)}, got {name!r}")
    if not Path(src).exists():
        raise InputError(f"File or folder not found: {src}")
    return known[name]


def _marks(path: Path, files: list[Path]) -> set[str]:
    """The names of a file, or of the files in a folder, in the terms of ``Format.marks``."""
    marks = {f"suffix {file.suffix.lower()}" for file in files if file.suffix}
    marks |= {f"file {file.name}" for file in files}
    marks |= {
        f"folder {parent.name}" for file in files for parent in file.relative_to(path).parents if parent.name
    }
    return marks | {"panoptic" for file in files if "panoptic" in file.name}


def _likeness(item: Format, marks: set[str]) -> float:
    return sum(mark in marks for mark in item.marks) / max(len(item.marks), 1)


def _samples(files: list[Path]) -> list[Path]:
    """The first JSON and the first XML file."""
    found = [next((file for file in files if file.suffix.lower() == suffix), None) for suffix in (".json", ".xml")]
    return [file for file in found if file is not None and file.stat().st_size <= LARGEST]


def _content(file: Path) -> set[str]:
    """The keys of a JSON or the tag of an XML, in the terms of ``Format.marks``."""
    try:
        if file.suffix.lower() == ".xml":
            return {f"xml {read_xml(file).tag}"}
        value = read_json(file).value
    except InputError:
        return {"damaged content"}
    if isinstance(value, list):
        keys = list(value[0]) if value and isinstance(value[0], dict) else []
        return {"json list", *(f"json key {key}" for key in keys[:20])}
    if not isinstance(value, dict):
        return set()
    inner = next((part for part in value.values() if isinstance(part, dict)), {})
    return {f"json key {key}" for key in [*list(value)[:20], *list(inner)[:20]]}


def _shown(path: Path, files: list[Path], samples: dict[Path, set[str]]) -> str:
    """Number of files by suffix, folders, and content of the first JSON and XML."""
    if path.is_dir() and not any(path.iterdir()):
        return "an empty folder"
    suffixes = Counter(file.suffix.lower() or "no suffix" for file in files)
    parts = [f"{count} {suffix}" for suffix, count in suffixes.most_common(5)]
    folders = sorted(child.name for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
    parts += [f"folders {', '.join(folders[:6])}"] if folders else []
    for file, content in samples.items():
        text = ", ".join(mark.removeprefix("json key ") for mark in sorted(content)[:8])
        parts.append(f"{file.name} with {text}" if content else file.name)
    return "; ".join(parts) or "no files"
