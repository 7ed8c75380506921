"""Rules on names: files without a partner, conflicting names, wrong lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from refineseg.data.check.dataset_files import DatasetFiles
from refineseg.data.check.findings import Finding, file_finding
from refineseg.data.splits.groups import original_name
from refineseg.system.text import counted


def find(files: DatasetFiles) -> Iterator[Finding]:
    """Findings on file names and lists."""
    yield from _partners(files)
    yield from _clashes(files)
    yield from _lists(files)
    yield from _pieces(files)
    unused = files.unused
    yield from file_finding(
        "picture-elsewhere",
        "warning",
        f"{counted(unused.elsewhere, 'picture')} in folders that are not read, which are skipped",
        "move them beside the others, or run refineseg data import, which reads subfolders of any depth",
        unused.elsewhere,
    )
    kinds = ", ".join(sorted({path.suffix or path.name for path in unused.strays}))
    yield from file_finding(
        "unread-file",
        "note",
        f"{counted(unused.strays, 'file')} of unknown types among the pictures and masks ({kinds})",
        "convert them to PNG or JPEG if they belong to the data, otherwise ignore or remove them",
        unused.strays,
    )


def _partners(files: DatasetFiles) -> Iterator[Finding]:
    unused = files.unused
    cased = {path for group in unused.case for path in group}
    no_mask = [path for path in files.no_mask if path not in cased]
    no_image = [path for path in unused.no_image if path not in cased]
    fix = "add masks of the same names, or remove these pictures from the folder and the lists"
    if unused.renamed:
        fix = (
            f"masks seem to be called {unused.renamed}: run refineseg data import, which pairs such names, or "
            "give them the pictures' names"
        )
    yield from file_finding(
        "image-without-mask", "error", f"{counted(no_mask, 'picture')} without a mask", fix, no_mask
    )
    yield from file_finding(
        "mask-without-image",
        "warning",
        f"{counted(no_image, 'mask')} without a picture of the same name, which are not used",
        "add the pictures, or remove the masks",
        no_image,
    )


def _clashes(files: DatasetFiles) -> Iterator[Finding]:
    unused = files.unused
    yield from file_finding(
        "same-name",
        "error",
        f"{counted(unused.same_stem, 'name')} with several files that differ only in their suffix: which one "
        "pairs up is undefined",
        "keep one file of each name",
        [path for group in unused.same_stem for path in group],
    )
    lonely = set(files.no_mask) | set(unused.no_image)
    broken = [group for group in unused.case if any(path in lonely for path in group)]
    harmless = [group for group in unused.case if group not in broken]
    for groups, severity, consequence in (
        (broken, "error", "they match on some systems (macOS, Windows) and not on others (Linux)"),
        (harmless, "warning", "they overwrite one another when copied to macOS or Windows"),
    ):
        yield from file_finding(
            "letter-case",
            "error" if severity == "error" else "warning",
            f"{counted(groups, 'name')} that differ only in upper and lower case: {consequence}",
            "rename them so that picture and mask have the same spelling and every name is unique",
            [path for group in groups for path in group],
        )


def _lists(files: DatasetFiles) -> Iterator[Finding]:
    names = [Path(name) for _, name in files.missing]
    lists = ", ".join(sorted({path.name for path, _ in files.missing}))
    yield from file_finding(
        "listed-but-missing",
        "error",
        f"{counted(names, 'picture')} in {lists} that cannot be found",
        "add the pictures, or remove the lines from the list",
        names,
    )
    yield from file_finding(
        "listed-twice",
        "warning",
        f"{counted(files.repeated, 'picture')} more than once in the split's list, which weights them more",
        "remove the repeated lines",
        files.repeated,
    )
    unused = files.unused
    yield from file_finding(
        "unlisted",
        "note",
        f"{counted(unused.unlisted, 'picture')} in no split's list, which are not used",
        "add their names to a list to use them",
        unused.unlisted,
    )
    empty = [split for split in ("train", "val") if not files.by_split().get(split)]
    if empty:
        yield Finding(
            "empty-split",
            "warning",
            f"there are no pictures for {' and '.join(empty)}"
            + (": nothing can be trained" if "train" in empty else ": no validation"),
            "name pictures in train.txt and val.txt, or remove the lists to hold out a tenth",
            count=len(empty),
        )


def _pieces(files: DatasetFiles) -> Iterator[Finding]:
    """Copies or tiles of one photograph, judged by their names, in train and in another split."""
    train = {original_name(pair.stem): pair for pair in files.pairs if pair.split == "train"}
    shared = [
        (pair, other)
        for pair in files.pairs
        if pair.split != "train"
        and (other := train.get(original := original_name(pair.stem)))
        and not pair.stem == other.stem == original
    ]
    if shared:
        photographs = {original_name(pair.stem) for pair, _ in shared}
        yield from file_finding(
            "leak-pieces",
            "warning",
            f"{counted(photographs, 'photograph')} with copies or parts both in train and in another split, by "
            f"their names ({shared[0][0].image.name} and {shared[0][1].image.name}): scores would be too high",
            "split by whole photographs: refineseg data split folder:ROOT --overwrite",
            [path for pair, other in shared for path in (pair.image, other.image)],
        )
