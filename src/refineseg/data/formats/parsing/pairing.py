"""Pairing of pictures and masks in any of the layouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import lexists
from pathlib import Path, PurePosixPath

from refineseg.data.formats.format import Faults, Unannotated
from refineseg.data.formats.parsing import layouts
from refineseg.data.formats.parsing.find_pictures import (
    IMAGE_FOLDERS,
    SPLIT_WORDS,
    named,
    unread_note,
    walk_pictures,
)
from refineseg.data.formats.parsing.tables import read_rows
from refineseg.data.images import MASK_SUFFIXES, SUFFIXES
from refineseg.data.pictures.open_picture import is_picture
from refineseg.errors import InputError
from refineseg.system.text import composed, counted

LOOKED_AT = 20  # pairs tried to find a readable mask
LISTS = ("", "ImageSets/Segmentation", "splits", "lists")
LIST_SPLITS: tuple[dict[str, str | None], ...] = (
    {"train": "train", "val": "val", "test": "test"},
    {"trainval": None, "default": None, "all": None},  # if there are none of the others
)
Key = tuple[str, str]  # folder below the root, name without suffix


@dataclass(frozen=True)
class Pair:
    """A picture, its mask, its name in the source, and its split, if any."""

    image: Path
    mask: Path
    name: str
    split: str | None


@dataclass
class Pairs:
    """Pairs of a folder, pictures without a mask, and notes on what was left out."""

    pairs: list[Pair] = field(default_factory=list)
    unannotated: list[Unannotated] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def pairs_of(src: Path, faults: Faults) -> Pairs:
    """All pairs of ``src``, sorted by name.

    Raises InputError if there are no such folders, or no picture has a mask.
    """
    sources = layouts.find_layouts(src) or layouts.guess_layouts(src)
    if not sources:
        raise InputError(
            f"expected a folder with pictures ({', '.join(IMAGE_FOLDERS[:5])} ...) and one with masks "
            f"({', '.join(layouts.MASK_FOLDERS[:4])} ...) in {src}, found none"
        )
    found = Pairs()
    for layout in sources:
        match(layout, src, found, faults)
    _apply_lists(src, found, faults)
    if not found.pairs and not len(faults):
        image = found.unannotated[0].image if found.unannotated else sources[0].images
        raise InputError(
            f"expected a mask for {image} in {sources[0].masks} ({image.stem}.png, or with one of "
            f"{', '.join(layouts.MASK_ENDINGS[:4])} ... at the end), found none"
        )
    found.notes += unread_note({pair.image.parent for pair in found.pairs})
    found.notes += _other_folders(src, {folder for layout in sources for folder in (layout.images, layout.masks)})
    found.notes += dict.fromkeys(layout.guess for layout in sources if layout.guess)
    return found


def _other_folders(src: Path, read: set[Path]) -> list[str]:
    """A note on pictures in none of the folders that were read, which may be other masks of the same pictures."""
    others = Counter(path.parent for path in walk_pictures(src) if read.isdisjoint(path.parents))
    if not others:
        return []
    folders = [f"{folder.relative_to(src)} {count:,}" for folder, count in others.items() if folder != src]
    folders += [f"{src.name} {others[src]:,}"] if src in others else []
    return [f"left out {counted(others.total(), 'picture')} in folders that were not read: {named(folders)}"]


def match(layout: layouts.Layout, src: Path, found: Pairs, faults: Faults, strict: bool = True) -> None:
    """Add the pairs of one layout. Of several files of one name the first is taken; none if ``strict``."""
    images, masks = _files(layout)
    by_key = _one_each(masks, layout.masks, "masks", faults, strict)
    pictures = _one_each(images, layout.images, "pictures", faults, strict)
    chosen_of = _chosen_masks(pictures, by_key)
    used: Counter[Key] = Counter()
    for key, image in pictures.items():
        name = composed(str(_base(layout, src) / image.relative_to(layout.images).with_suffix("")))
        split = layout.split or _split_of(key)
        chosen = chosen_of.get(key)
        if chosen is None:
            found.unannotated.append(Unannotated(name, image, split))
            continue
        used[chosen] += 1
        if used[chosen] == 2:
            faults.add(f"{by_key[chosen]}: expected one picture for a mask, several are called {image.stem}")
        if used[chosen] == 1:
            found.pairs.append(Pair(image, by_key[chosen], name, split))
    alone = [path for key, path in by_key.items() if not used[key] and not _is_variant(key, used)]
    if alone:
        found.notes.append(f"left out {counted(alone, 'mask')} without a picture: {named(alone)}")
    variants = len(by_key) - len(used) - len(alone)
    if variants:
        found.notes.append(
            f"left out {counted(variants, 'further mask')} of the same pictures (colours, instances ...)"
        )


def _split_of(key: Key) -> str | None:
    """The split that a folder's name tells."""
    return next((SPLIT_WORDS[part] for part in key[0].split("/") if part in SPLIT_WORDS), None)


def _other_split(first: Key, second: Key) -> bool:
    return len({_split_of(first), _split_of(second)} - {None}) == 2


def _base(layout: layouts.Layout, src: Path) -> PurePosixPath:
    """The folder that names of a layout's pictures begin with, without a final images/."""
    base = PurePosixPath(layout.images.relative_to(src).as_posix())
    return base.parent if base.name.lower() in {name.lower() for name in IMAGE_FOLDERS} else base


def _files(layout: layouts.Layout) -> tuple[list[Path], list[Path]]:
    images, files = walk_pictures(layout.images), walk_pictures(layout.masks, MASK_SUFFIXES)
    if layout.images == layout.masks:  # side by side: by the masks' endings, or if guessed by suffix
        if layout.mask_suffixes:
            files = [path for path in files if path.suffix.lower() in layout.mask_suffixes]
        else:
            files = [path for path in files if layouts.base_of(path.stem) is not None]
        masks = set(files)
        images = [path for path in images if path not in masks]
    return images, files


def _one_each(files: Sequence[Path], root: Path, what: str, faults: Faults, strict: bool) -> dict[Key, Path]:
    """Files by folder and name; a name with several suffixes is ambiguous and a fault."""
    found: dict[Key, list[Path]] = {}
    for path in files:
        parts = path.relative_to(root).parts[:-1]
        folder = "/".join(SPLIT_WORDS.get(part.lower(), part) for part in parts)
        found.setdefault((folder, composed(path.stem)), []).append(path)
    for paths in found.values():
        if len(paths) > 1:
            faults.add(
                f"{paths[0].parent}: expected {what} of different names, got {' and '.join(p.name for p in paths)}"
                "; remove or rename all but one"
            )
    return {key: paths[0] for key, paths in found.items() if len(paths) == 1 or not strict}


def _mask_names(stem: str) -> Iterator[str]:
    """Possible names of a picture's mask, most likely first."""
    bases = [stem, *(stem.removesuffix(ending) for ending in layouts.IMAGE_ENDINGS if stem.endswith(ending))]
    for ending in ("", *layouts.MASK_ENDINGS):
        for base in bases:
            yield base + ending


def _chosen_masks(pictures: Mapping[Key, Path], masks: Mapping[Key, Path]) -> dict[Key, Key]:
    """The mask of each picture that has one: of the same subfolder, else the only one of its name in the others.

    Not one of another picture's subfolder or of another split: unlabelled test sets may repeat names of train.
    """
    chosen: dict[Key, Key] = {}
    for folder, stem in pictures:
        key = next(((folder, name) for name in _mask_names(stem) if (folder, name) in masks), None)
        if key:
            chosen[folder, stem] = key
    taken, by_stem = set(chosen.values()), dict[str, list[Key]]()
    for key in masks:
        by_stem.setdefault(key[1], []).append(key)
    for picture in pictures.keys() - chosen.keys():
        alone = (by_stem[name][0] for name in _mask_names(picture[1]) if len(by_stem.get(name, ())) == 1)
        key = next((key for key in alone if key not in taken and not _other_split(picture, key)), None)
        if key:
            chosen[picture] = key
    return chosen


def _is_variant(key: Key, used: Counter[Key]) -> bool:
    """Whether an unused mask is another form of a used one."""
    folder, stem = key
    endings = [ending for ending in (*layouts.MASK_ENDINGS, *layouts.UNUSED_ENDINGS) if stem.endswith(ending)]
    bases = [stem.removesuffix(ending) for ending in endings]
    return any((folder, base + ending) in used for base in bases for ending in ("", *layouts.MASK_ENDINGS))


def _apply_lists(src: Path, found: Pairs, faults: Faults) -> None:
    """Keep the pictures in list files, with the split of the list."""
    listed = _listed(src)
    if not listed:
        return
    pictures: list[Pair | Unannotated] = [*found.pairs, *found.unannotated]
    by_stem: dict[str, list[Pair | Unannotated]] = {}
    for picture in pictures:
        by_stem.setdefault(PurePosixPath(picture.name).name, []).append(picture)
    splits: dict[str, str | None] = {}
    for text, (file, split) in listed.items():
        same_stem = by_stem.get(PurePosixPath(text).name, [])
        # With several pictures of one name, their folders decide: as in our names, or as in the source.
        chosen = [
            picture
            for picture in same_stem
            if len(same_stem) == 1
            or any(f"/{path}".endswith(f"/{text}") for path in (picture.name, _path_in(src, picture.image)))
        ]
        if not chosen:
            faults.add(f"{file} lists {text}, but {src} has no such picture")
        splits |= dict.fromkeys((picture.name for picture in chosen), split)
    out = [picture.image for picture in pictures if picture.name not in splits]
    if out:
        found.notes.append(f"left out {counted(out, 'picture')} in no list: {named(out)}")
    found.pairs = [replace(pair, split=splits[pair.name]) for pair in found.pairs if pair.name in splits]
    found.unannotated = [
        replace(picture, split=splits[picture.name]) for picture in found.unannotated if picture.name in splits
    ]


def _path_in(src: Path, picture: Path) -> str:
    return composed(picture.relative_to(src).with_suffix("").as_posix())


def _listed(src: Path) -> dict[str, tuple[Path, str | None]]:
    """List file and split by picture (name without suffix, with or without folders); empty without lists."""
    found: dict[str, tuple[Path, str | None]] = {}
    for splits in LIST_SPLITS:
        for word, split in splits.items():
            files = (src / layout / f"{word}.txt" for layout in LISTS)
            file = next((path for path in files if lexists(path)), None)
            for row in read_rows(file) if file else []:
                name = composed(row.cells[0]).replace("\\", "/").lstrip("/")
                plain = str(PurePosixPath(name).with_suffix("")) if Path(name).suffix.lower() in SUFFIXES else name
                found[plain] = (file or src, split)
        if found:
            break
    return found


def first_pair(src: Path, find: Callable[[Path], list[layouts.Layout]] = layouts.find_layouts) -> Pair | None:
    """A pair of ``src``, with a readable mask if possible; None if there is none. Raises nothing."""
    try:
        found = Pairs()
        for layout in find(src):
            match(layout, src, found, Faults(), strict=False)
        readable = (pair for pair in found.pairs[:LOOKED_AT] if is_picture(pair.mask))
        return next(readable, next(iter(found.pairs), None))
    except InputError:
        return None
