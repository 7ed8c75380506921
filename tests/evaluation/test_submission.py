"""Submissions: what is written is taken, reads back to the same score, and malformed archives are refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from refineseg.data.dataset import SegmentationData
from refineseg.errors import InputError
from refineseg.evaluation.evaluate import evaluate
from refineseg.evaluation.metrics import MeanOver, scores
from refineseg.evaluation.submission import (
    check_submission,
    encode_mask,
    score_submission,
    submission_format,
    write_submission,
)
from refineseg.labels import LabelMap, UInt8
from tests.evaluation.pictures import label_map, make_data, make_segmenter

CITY_IDS = (7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33)
LABELS: dict[str, LabelMap] = {
    "voc2012": label_map(21),
    "cityscapes": label_map(19, submission=CITY_IDS),
    "ade20k": label_map(150, first=1),
}
STEMS = {
    "voc2012": ["2008_000001", "2009_000002"],
    "cityscapes": ["frankfurt_000000_000294_leftImg8bit", "munster_000001_000019_leftImg8bit"],
    "ade20k": ["ADE_val_00000001", "ADE_val_00000002"],
}
SIZES = {"voc2012": (40, 56), "cityscapes": (1024, 2048), "ade20k": (36, 44)}
FOLDER = "results/VOC2012/Segmentation/comp6_val_cls"


def data_of(name: str, root: Path) -> SegmentationData:
    return make_data(root, STEMS[name], LABELS[name], SIZES[name], noise=90)


@pytest.mark.parametrize("name", sorted(SIZES))
def test_archive_of_a_labelled_split_gives_the_same_score(name: str, tmp_path: Path) -> None:
    stems = STEMS[name][: 1 if name == "cityscapes" else 2]  # one picture of 2048x1024 is slow enough
    data = make_data(tmp_path / "data", stems, LABELS[name], SIZES[name], noise=90)
    segmenter, archive = make_segmenter(LABELS[name]), tmp_path / "out" / "file.zip"
    assert write_submission(name, segmenter, data, archive, split="val") == len(stems)
    assert check_submission(name, archive, data, split="val") == len(stems)
    rules: dict[str, MeanOver] = {"voc2012": "all", "cityscapes": "union", "ade20k": "zero"}
    whole = evaluate(segmenter, data)
    again = score_submission(name, archive, data, split="val")
    np.testing.assert_array_equal(again.iou, whole.scores.iou)
    assert again.pixel_accuracy == whole.scores.pixel_accuracy
    expected = scores(whole.confusion, rules[name]).mean_iou
    assert again.mean_iou == pytest.approx(expected, nan_ok=True)


def test_what_the_servers_see(tmp_path: Path) -> None:
    data = data_of("voc2012", tmp_path / "voc")
    write_submission("voc2012", make_segmenter(LABELS["voc2012"]), data, tmp_path / "voc.zip", split="val")
    with zipfile.ZipFile(tmp_path / "voc.zip") as archive:
        assert archive.namelist() == [f"{FOLDER}/{stem}.png" for stem in STEMS["voc2012"]]
        with Image.open(io.BytesIO(archive.read(archive.namelist()[0]))) as image:
            assert (image.mode, image.size) == ("P", (56, 40))
            palette = image.getpalette()
            assert palette is not None
            assert palette[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
    data = data_of("ade20k", tmp_path / "ade")
    write_submission("ade20k", make_segmenter(LABELS["ade20k"]), data, tmp_path / "ade.zip", split="val")
    with zipfile.ZipFile(tmp_path / "ade.zip") as archive:
        assert archive.namelist() == [f"{stem}.png" for stem in STEMS["ade20k"]]
        with Image.open(io.BytesIO(archive.read(archive.namelist()[0]))) as image:
            assert image.mode == "L"
            values = np.asarray(image)
            assert 1 <= values.min() <= values.max() <= 150


# Malformed archives --------------------------------------------------------------------------------------------

Files = dict[str, bytes]


def good(name: str) -> Files:
    """The files of a good archive, made by hand."""
    form, prefix = submission_format(name), f"{FOLDER}/" if name == "voc2012" else ""
    files = {}
    for index, stem in enumerate(STEMS[name]):
        draw = np.random.default_rng(index)
        values = np.zeros(SIZES[name], np.uint8) + np.uint8(form.values[int(draw.integers(len(form.values)))])
        files[f"{prefix}{stem.removesuffix('_leftImg8bit')}.png"] = encode_mask(form, values)
    return files


def pack(path: Path, files: Files) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def png(values: NDArray[np.generic], form: str = "PNG", palette: list[int] | None = None) -> bytes:
    image = Image.fromarray(values)
    if palette is not None:
        image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, format=form)
    return buffer.getvalue()


def first_is(content: bytes) -> Callable[[Files], Files]:
    return lambda files: files | {next(iter(files)): content}


def renamed(change: Callable[[str], str]) -> Callable[[Files], Files]:
    def apply(files: Files) -> Files:
        first, *rest = files
        return {change(first): files[first]} | {name: files[name] for name in rest}

    return apply


def grey(name: str, value: int) -> UInt8:
    return np.full(SIZES[name], value, np.uint8)


VOC, CITY, ADE = "voc2012", "cityscapes", "ade20k"
HALF = good(VOC)[f"{FOLDER}/2008_000001.png"][:90]
MALFORMED: dict[str, tuple[str, Callable[[Files], Files], str]] = {
    "no file at all": (VOC, lambda files: {}, "the archive has none"),
    "wrong folder": (
        VOC,
        renamed(lambda name: name.replace("comp6", "comp5")),
        "the masks in the folder",
    ),
    "no folder": (VOC, renamed(lambda name: Path(name).name), "the masks in the folder"),
    "a folder too many": (ADE, renamed(lambda name: f"results/{name}"), "root of the archive"),
    "a picture missing": (VOC, lambda files: dict(list(files.items())[1:]), "none for 1, such as 2008_000001"),
    "a picture of another split": (
        ADE,
        lambda files: files | {"ADE_val_00000009.png": next(iter(files.values()))},
        "1 other, such as ADE_val_00000009",
    ),
    "two masks of one picture": (
        CITY,
        lambda files: files | {"munster_000001_000019_second.png": next(iter(files.values()))},
        "expected one mask per picture",
    ),
    "a name of another form": (CITY, renamed(lambda name: "frankfurt_294.png"), "expected names such as"),
    "another file": (ADE, lambda files: files | {"readme.txt": b"hello"}, r"expected \.png files only"),
    "a Mac's shadow files": (ADE, lambda files: files | {"__MACOSX/._a.png": b"x"}, r"expected \.png files only"),
    "a way out of the archive": (ADE, renamed(lambda name: f"../{name}"), "plain paths"),
    "JPEG under the name of PNG": (VOC, first_is(png(grey(VOC, 1), "JPEG")), "is JPEG: compression changes"),
    "a damaged picture": (VOC, first_is(HALF), "as a picture"),
    "no picture": (VOC, first_is(b"nothing"), "as a picture"),
    "colours": (VOC, first_is(png(np.zeros((40, 56, 3), np.uint8))), "mode P.*has mode RGB"),
    "16 bits": (ADE, first_is(png(np.ones((36, 44), np.uint16))), "mode L.*has mode I;16"),
    "grey where a palette is needed": (VOC, first_is(png(grey(VOC, 1))), "expected a palette picture"),
    "a palette where grey is needed": (
        ADE,
        first_is(png(grey(ADE, 1), palette=[0] * 768)),
        "one channel of 8 bits",
    ),
    "another palette": (VOC, first_is(png(grey(VOC, 1), palette=list(range(256)) * 3)), "expected VOC's palette"),
    "half the size": (CITY, first_is(png(np.full((512, 1024), 7, np.uint8))), "2048x1024 pixels.*has 1024x512"),
    "not the picture's size": (ADE, first_is(png(np.ones((36, 45), np.uint8))), "44x36 pixels.*has 45x36"),
    "void in the prediction": (
        VOC,
        first_is(encode_mask(submission_format(VOC), grey(VOC, 255))),
        r"holds \[255\]: 255 is void",
    ),
    "train ids": (CITY, first_is(png(grey(CITY, 0))), r"holds \[0\]: the server takes labelIds"),
    "classes from 0": (ADE, first_is(png(grey(ADE, 0))), r"holds \[0\]: classes are 1\.\.150"),
    "a class too many": (ADE, first_is(png(grey(ADE, 151))), r"holds \[151\]"),
}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SegmentationData]:
    return {name: data_of(name, tmp_path_factory.mktemp(name)) for name in SIZES}


@pytest.mark.parametrize("kind", list(MALFORMED))
def test_malformed_archives_are_refused(kind: str, tmp_path: Path, labelled: dict[str, SegmentationData]) -> None:
    name, spoil, reason = MALFORMED[kind]
    files, path = good(name), tmp_path / "file.zip"
    pack(path, files)
    assert check_submission(name, path, labelled[name], split="val") == 2
    pack(path, spoil(files))
    with pytest.raises(InputError, match=reason):
        check_submission(name, path, labelled[name], split="val")


def test_archives_that_are_damaged_as_archives(tmp_path: Path, labelled: dict[str, SegmentationData]) -> None:
    path, data = tmp_path / "file.zip", labelled[VOC]
    with pytest.raises(InputError, match="File not found"):
        check_submission(VOC, path, data, split="val")
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match="expected a zip archive, cannot read"):
        check_submission(VOC, path, data, split="val")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in good(VOC).items():
            archive.writestr(name, content)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="expected a zip archive, cannot read"):
        check_submission(VOC, path, data, split="val")
    spot = whole.index(b"IDAT") + 8
    path.write_bytes(whole[:spot] + bytes([whole[spot] ^ 255]) + whole[spot + 1 :])
    with pytest.raises(InputError, match="cannot unpack"):
        check_submission(VOC, path, data, split="val")


def test_a_password_a_bomb_and_a_file_twice(
    tmp_path: Path, labelled: dict[str, SegmentationData], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data = tmp_path / "file.zip", labelled[ADE]
    pack(path, good(ADE))
    whole = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(mark) + offset] |= 1  # the flag of a password
    path.write_bytes(bytes(whole))
    with pytest.raises(InputError, match="without a password"):
        check_submission(ADE, path, data, split="val")

    files = good(ADE)
    pack(path, files | {next(iter(files)): bytes(65 << 20)})
    with pytest.raises(InputError, match="unpacks to 65 MiB"):
        check_submission(ADE, path, data, split="val")

    pack(path, files)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(next(iter(files)), b"again")
    with pytest.raises(InputError, match="expected one mask per picture"):
        check_submission(ADE, path, data, split="val")


def test_without_data_the_official_number_counts(tmp_path: Path) -> None:
    pack(tmp_path / "file.zip", good(VOC))
    with pytest.raises(InputError, match="expected 1,449 masks for val, got 2"):
        check_submission(VOC, tmp_path / "file.zip", split="val")
    form, content = submission_format(VOC), next(iter(good(VOC).values()))
    pack(tmp_path / "full.zip", {f"{FOLDER}/2008_{index:06d}.png": content for index in range(1449)})
    assert form.pictures["val"] == check_submission(VOC, tmp_path / "full.zip", split="val")


def test_nothing_is_left_of_a_submission_that_fails(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", ["frankfurt_000000_000001"], LABELS[CITY], (40, 60))
    with pytest.raises(InputError, match="expected 2048x1024 pixels"):
        write_submission(CITY, make_segmenter(LABELS[CITY]), data, tmp_path / "out" / "f.zip", split="val")
    assert list((tmp_path / "out").iterdir()) == []
    odd = make_data(tmp_path / "odd", ["one"], LABELS[CITY], (40, 60))
    with pytest.raises(InputError, match="expected pictures named"):
        write_submission(CITY, make_segmenter(LABELS[CITY]), odd, tmp_path / "out" / "f.zip", split="val")
    with pytest.raises(InputError, match="unknown benchmark 'coco'"):
        submission_format("coco")


def test_the_verb_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from refineseg.cli.submit import submit

    content = next(iter(good(VOC).values()))
    pack(tmp_path / "full.zip", {f"{FOLDER}/2008_{index:06d}.png": content for index in range(1449)})
    submit(VOC, validate=tmp_path / "full.zip", split="val")
    assert "1,449 masks, valid for voc2012 val" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(InputError, match="expected --model"):
        submit(VOC, split="val")
