"""Export of predictions as pre-labels for annotation tools.

The background gets no annotation; ignored pixels become regions named ``__ignore__``. labels.yaml is written too,
so that ``refineseg data import`` gives the same train ids.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from refineseg.config.yaml import to_yaml
from refineseg.data.dataset import folder_of_pictures
from refineseg.data.formats.format import Prediction, WriteOptions, Written
from refineseg.data.formats.known_formats import formats
from refineseg.data.formats.parsing.class_names import IGNORE_NAME, by_train_id
from refineseg.data.formats.parsing.documents import read_json
from refineseg.data.formats.parsing.find_pictures import check_size, picture_shape
from refineseg.data.images import read_mask
from refineseg.data.pictures.tiff_samples import read_tiff
from refineseg.errors import InputError
from refineseg.labels import IGNORE, LabelMap
from refineseg.system.files import atomic_folder, check_new, expanded
from refineseg.system.lock import locked
from refineseg.system.progress import Progress, tracked

MASKS = (".png", ".tif", ".tiff")  # what predict writes


Predicted = tuple[Path, Path | None]  # a mask of train ids, and its picture, if known


def export_predictions(
    predictions: str | Path,
    label_map: LabelMap,
    format: str,
    out: str | Path,
    *,
    images: str | Path | None = None,
    options: WriteOptions | None = None,
    progress: Progress | None = None,
) -> Written:
    """Write predictions as annotations for correction in an annotation tool, with notes on what was left out.

    ``predictions`` is the output folder of ``refineseg predict``, or its folder masks/; ``out`` is a new folder
    for the annotations and labels.yaml. Pictures are in ``images``; by default those named by predictions.json.
    InputError for no masks, values outside the label map, or a picture missing or of another size.
    """
    writers = {name: item.write for name, item in formats().items() if item.write is not None}
    if format not in writers:
        raise InputError(f"expected a format of {', '.join(writers)} to export to, got {format!r}")
    final = expanded(out)
    found = list_predictions(expanded(predictions), expanded(images) if images else None)
    by_id = by_train_id(label_map)
    if IGNORE_NAME in by_id.names:
        raise InputError(
            f"expected class names other than {IGNORE_NAME}, which stands for ignored pixels; rename it"
        )
    with locked(final, beside=True):
        check_new(final)
        with atomic_folder(final) as folder:
            read = _predictions(tracked(found, len(found), progress), by_id, final)
            written = writers[format](read, by_id, folder, options or WriteOptions())
            (folder / "labels.yaml").write_text(to_yaml(by_id.to_dict()), encoding="utf-8")
        files = [final / file.relative_to(folder) for file in written.files]
    return Written(files, written.notes)


def list_predictions(folder: Path, images: Path | None) -> list[Predicted]:
    """The masks of a prediction folder with their pictures.

    Raises InputError if there are no masks, or a picture is not in ``images``.
    """
    masks = folder / "masks" if (folder / "masks").is_dir() else folder
    found = [path for path in folder_of_pictures(masks) if path.suffix.lower() in MASKS]
    twice = [name for name, count in Counter(path.stem for path in found).items() if count > 1]
    if twice:
        raise InputError(f"expected one mask of each name in {masks}, found several called {twice[0]}")
    if not found:
        raise InputError(f"expected masks that refineseg predict wrote in {masks}, found none")
    pictures = _recorded(folder)
    if images is not None:
        pictures |= {path.stem: path for path in folder_of_pictures(images)}
        missing = [path.stem for path in found if path.stem not in pictures]
        if missing:
            raise InputError(
                f"expected the picture of every mask in {images}, found none for {len(missing)}: {missing[0]}"
            )
    return [(path, pictures.get(path.stem)) for path in found]


def _recorded(folder: Path) -> dict[str, Path]:
    """Existing pictures by the stem of their mask, from predictions.json."""
    record = folder / "predictions.json"
    if not record.is_file():
        return {}
    done = [entry for entry in read_json(record)["predictions"] if entry.get("files") is not None]
    masks = [(entry, mask) for entry in done if (mask := entry["files"].get("mask")) is not None]
    found = {Path(mask.text()).stem: Path(entry["input"].text()) for entry, mask in masks}
    return {stem: path for stem, path in found.items() if path.is_file()}


def _predictions(found: Iterable[Predicted], by_id: LabelMap, out: Path) -> Iterator[Prediction]:
    """The masks, read one by one; the name of an unknown picture is a guess."""
    known = LabelMap(by_id.classes, (IGNORE,))
    for file, image in found:
        tiff = file.suffix.lower() != ".png"  # of --tile or channels; Pillow refuses large ones
        raw = read_tiff(file)[..., 0] if tiff else read_mask(file)
        labels = known.encode(raw, str(file))
        name = path = f"{file.stem}.jpg"
        if image is not None:
            check_size((labels.shape[0], labels.shape[1]), picture_shape(image), str(file))
            name, path = image.name, Path(os.path.relpath(image.resolve(), out.resolve())).as_posix()
        yield Prediction(file.stem, labels, name, path)
