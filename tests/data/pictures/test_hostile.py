"""Pictures of strangers that would run programs or never end."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path

import pytest
from PIL import Image

from refineseg.data import open_data
from refineseg.data.formats import supervisely
from refineseg.data.formats.format import ReadOptions
from refineseg.data.images import read_image, read_mask
from refineseg.errors import InputError
from tests.serving.test_hostile_pictures import jpeg, tiff, with_scans


def test_postscript_runs_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # it was looked for already
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "EPS")
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match="PostScript, a program"):
            read(tmp_path / "a.png")
    assert not (tmp_path / "ran").exists()


def test_jpegs_of_many_scans_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(with_scans(jpeg(4000, 4000, progressive=True), 100_000))
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match="more than 100 scans"):
            read(tmp_path / "a.jpg")


def test_tiffs_of_very_many_pages_are_refused(tmp_path: Path) -> None:
    for pages, circle in ((100_000, False), (3, True)):
        (tmp_path / "a.tif").write_bytes(tiff(pages, circle=circle))
        with pytest.raises(InputError, match="at most 10,000 pages"):
            read_image(tmp_path / "a.tif")


def test_a_bitmap_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    for name in ("img", "ann"):
        (tmp_path / "ds" / name).mkdir(parents=True)
    Image.new("RGB", (8, 6)).save(tmp_path / "ds/img/a.png")
    packer = zlib.compressobj()
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    bitmap = {"data": base64.b64encode(packed).decode(), "origin": [0, 0]}
    shape = {"geometryType": "bitmap", "classTitle": "road", "bitmap": bitmap}
    (tmp_path / "meta.json").write_text(json.dumps({"classes": [{"title": "road", "shape": "bitmap"}]}))
    annotation = {"size": {"width": 8, "height": 6}, "objects": [shape]}
    (tmp_path / "ds/ann/a.png.json").write_text(json.dumps(annotation))
    options = ReadOptions()
    supervisely.FORMAT.read(tmp_path, options).items[0].labels((6, 8))
    (fault,) = options.faults.found
    assert "expected a PNG of at most the picture's size" in fault


def test_a_list_that_is_a_pipe_is_no_missing_list(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 6)).save(tmp_path / name / "a.png")
    (tmp_path / "labels.yaml").write_text("classes: [a, b]\n")
    (tmp_path / "train.txt").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"train\.txt: .*not a regular file"):
        open_data(f"folder:{tmp_path}")
