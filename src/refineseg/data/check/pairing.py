"""Rules on names: files without a partner, names that clash, lists that do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from refineseg.data.check.findings import Finding, about, counted
from refineseg.data.check.listing import Listing


def find(listing: Listing) -> Iterator[Finding]:
    """Findings on pairing, from the listing alone."""
    yield from _partners(listing)
    yield from _clashes(listing)
    yield from _lists(listing)
    if listing.strays:
        kinds = ", ".join(sorted({path.suffix or path.name for path in listing.strays}))
        yield about(
            "unread-file",
            "note",
            f"{counted(listing.strays, 'file')} among the pictures and masks of a kind that is not read ({kinds})",
            "convert them to PNG or JPEG if they belong to the data, else leave or remove them",
            listing.strays,
        )


def _partners(listing: Listing) -> Iterator[Finding]:
    cased = {path for group in listing.case for path in group}
    no_mask = [path for path in listing.no_mask if path not in cased]
    no_image = [path for path in listing.no_image if path not in cased]
    if no_mask:
        fix = (
            "put a mask of the same name beside the others, or take these pictures out of the folder and the lists"
        )
        if listing.renamed:
            fix = f"masks seem to be called {listing.renamed}: rename them to STEM, as the pictures are called"
        yield about("image-without-mask", "error", f"{counted(no_mask, 'picture')} without a mask", fix, no_mask)
    if no_image:
        yield about(
            "mask-without-image",
            "warning",
            f"{counted(no_image, 'mask')} without a picture of that name: these labels are not used",
            "add the pictures, or remove the masks if they are left over",
            no_image,
        )


def _clashes(listing: Listing) -> Iterator[Finding]:
    if listing.same_stem:
        yield about(
            "same-name",
            "error",
            f"{counted(listing.same_stem, 'name')} with several files that differ only in their suffix: it "
            f"is left "
            "to chance which of them pairs up",
            "keep one file of each name",
            [path for group in listing.same_stem for path in group],
        )
    lonely = set(listing.no_mask) | set(listing.no_image)
    broken = [group for group in listing.case if any(path in lonely for path in group)]
    harmless = [group for group in listing.case if group not in broken]
    for groups, severity, consequence in (
        (broken, "error", "they pair up on some systems (macOS, Windows) and not on others (Linux)"),
        (harmless, "warning", "they overwrite one another when copied to macOS or Windows"),
    ):
        if groups:
            yield about(
                "letter-case",
                "error" if severity == "error" else "warning",
                f"{counted(groups, 'name')} spelled in more than one way, in upper and lower case: {consequence}",
                "rename them so that picture and mask are spelled alike and every name is unique",
                [path for group in groups for path in group],
            )


def _lists(listing: Listing) -> Iterator[Finding]:
    if listing.missing:
        names = [Path(name) for _, name in listing.missing]
        files = ", ".join(sorted({path.name for path, _ in listing.missing}))
        yield about(
            "listed-but-missing",
            "error",
            f"{counted(names, 'picture')} in {files} that cannot be found",
            "add the pictures or take the lines out of the list",
            names,
        )
    if listing.repeated:
        yield about(
            "listed-twice",
            "warning",
            f"{counted(listing.repeated, 'picture')} more than once in the split's list, which makes them "
            f"count more",
            "remove the repeated lines",
            listing.repeated,
        )
    if listing.unlisted:
        yield about(
            "unlisted",
            "note",
            f"{counted(listing.unlisted, 'picture')} in no split's list, which leaves them unused",
            "add their names to a list if they should be",
            listing.unlisted,
        )
    empty = [split for split in ("train", "val") if not listing.by_split().get(split)]
    if empty:
        yield Finding(
            "empty-split",
            "warning",
            f"there are no pictures for {' and '.join(empty)}"
            + (": nothing can be trained" if "train" in empty else ": no score while training"),
            "name pictures in train.txt and val.txt, or leave the lists out to have every tenth held out",
            count=len(empty),
        )
