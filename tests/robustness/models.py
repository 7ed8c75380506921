"""Bad model folders, checkpoints and archives."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.robustness.case import (
    UNREADABLE,
    Case,
    copied_model,
    damages,
    encoded,
    good_model,
    pair,
    png,
    unreadable,
    written,
)

JUNK: tuple[Any, ...] = (None, -1, "x", [], {}, [[1]], 1e308, True)
HOSTILE: dict[str, Any] = {
    "width": 10**9, "coarse_width": 10**7, "rcus": 10**6, "crp_stages": 10**6, "num_classes": 10**6,
    "in_channels": 10**6, "kernel_size": 99, "backbone": "hf-hub:nobody/nothing", "input_scales": [1e9],
    "final_rcus": 10**7, "std": [0, 0, 0], "mean": [float("nan")] * 3, "dropout": float("nan"),
}  # fmt: skip


class Runs:
    """A pickle that runs a command where it is trusted."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch owned-by-a-pickle",)


def models(place: Path) -> Iterator[Case]:
    """Model folders of which one thing is wrong."""
    good = json.loads((copied_model_text(place)).read_text())

    def with_config(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], Path]:
        def make(folder: Path) -> Path:
            model = copied_model(place, folder)
            values = json.loads((model / "config.json").read_text())
            change(values)
            (model / "config.json").write_text(json.dumps(values))
            return model

        return make

    unread = {"refineseg", "preprocessing", "name", "scores", "provenance", "licence", "calibration"}
    for key in good:
        yield Case("model", f"without {key}", with_config(without(key)), harmless=key in unread)
        for junk in JUNK[:6]:
            yield Case("model", f"{key} {junk}", with_config(replaced(key, junk)), harmless=key in unread)
    for key, value in HOSTILE.items():
        yield Case("model", f"{key} {value}", with_config(replaced(key, value, "model")))
    yield from model_files(place)
    yield Case("model", "weights with NaN", changed_weights(place, lambda t: t.fill_(float("nan"))))
    yield Case("model", "weights of another shape", changed_weights(place, lambda t: torch.zeros(3)))
    yield Case("model", "an empty folder", lambda folder: folder)


def model_files(place: Path) -> Iterator[Case]:
    """Model folders of which one file is damaged, missing or no file."""
    for name, data in damages((copied_model_text(place)).read_bytes()).items():
        yield Case(
            "model",
            f"config.json {name}",
            with_file(place, "config.json", data),
            harmless=name == "last byte lost",
        )
    weights = copied_model_text(place).with_name("model.safetensors").read_bytes()
    for name, data in {**damages(weights), **headers(weights)}.items():
        harmless = name in ("a byte flipped", "zeros from the middle")
        yield Case("model", f"weights {name}", with_file(place, "model.safetensors", data), harmless)
    yield Case("model", "config.json deep", with_file(place, "config.json", b"[" * 100_000 + b"]" * 100_000))
    for file in ("config.json", "model.safetensors"):
        yield Case("model", f"no {file}", with_file(place, file))
        for name, put in UNREADABLE.items():
            yield Case("model", f"{'weights' if 'model' in file else file} {name}", with_file(place, file, put))


def with_file(
    place: Path, name: str, content: bytes | Callable[[Path], object] | None = None
) -> Callable[[Path], Path]:
    """The good model with another file, or none, under a name."""

    def make(folder: Path) -> Path:
        model = copied_model(place, folder)
        (model / name).unlink()
        if isinstance(content, bytes):
            (model / name).write_bytes(content)
        elif content is not None:
            content(model / name)
        return model

    return make


def copied_model_text(place: Path) -> Path:
    """config.json of the good model."""
    return good_model(place) / "config.json"


def changed_weights(place: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], Path]:
    """The first tensor changed."""

    def make(folder: Path) -> Path:
        model = copied_model(place, folder)
        state = load_file(model / "model.safetensors")
        first = next(iter(state))
        state[first] = change(state[first].clone())
        save_file(state, model / "model.safetensors")
        return model

    return make


def headers(data: bytes) -> dict[str, bytes]:
    """A safetensors file whose header lies."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    first = next(key for key in header if key != "__metadata__")

    def with_header(values: Any) -> bytes:
        text = values if isinstance(values, bytes) else json.dumps(values).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + size :]

    return {
        "of a header of 2^60 bytes": struct.pack("<Q", 2**60) + data[8:],
        "of a header that is no JSON": with_header(b"{" * size),
        "of a header that is a list": with_header([]),
        "of offsets behind the end": with_header({**header, first: {**header[first], "data_offsets": [0, 2**40]}}),
        "of offsets that overlap": with_header({**header, "zz": header[first]}),
        "of an unknown type": with_header({**header, first: {**header[first], "dtype": "Q77"}}),
        "of a shape of terabytes": with_header({**header, first: {**header[first], "shape": [10**6, 10**6]}}),
        "of a deep header": with_header(b"[" * 100_000 + b"]" * 100_000),
        "of a shape below zero": with_header({**header, first: {**header[first], "shape": [-1]}}),
    }


def checkpoints(place: Path) -> Iterator[Case]:
    """For ``convert``."""
    state = load_file(copied_model_text(place).with_name("model.safetensors"))

    def saved(content: Any, old: bool = False) -> bytes:
        stream = io.BytesIO()
        torch.save(content, stream, _use_new_zipfile_serialization=not old)
        return stream.getvalue()

    for name, data in damages(saved(state)).items():
        yield Case("checkpoint", name, written("c.pth", data))
    for name, data in damages(saved(state, old=True)).items():
        yield Case("checkpoint", f"old form {name}", written("c.pth.tar", data))
    weights = copied_model_text(place).with_name("model.safetensors").read_bytes()
    for name, data in {**damages(weights), **headers(weights)}.items():
        harmless = name in ("a byte flipped", "zeros from the middle")
        yield Case("checkpoint", f"safetensors {name}", written("c.safetensors", data), harmless)
    contents: dict[str, Any] = {
        "that runs a command": Runs(),
        "with code beside tensors": {**state, "hook": Runs()},
        "a number": 3,
        "a tensor": torch.zeros(3),
        "a list of tensors": [torch.zeros(3)],
        "no tensors": {},
        "names without tensors": {"a": 1, "b": "x"},
        "keys that are numbers": {1: torch.zeros(3)},
        "of another network": {"layer.weight": torch.zeros(3, 3)},
        "complex numbers": {"conv1.weight": torch.zeros(3, dtype=torch.complex64)},
        "sparse": {"conv1.weight": torch.zeros(3, 3).to_sparse()},
        "on the meta device": {"conv1.weight": torch.zeros(3, device="meta")},
        "nested without end": nested(200),
    }
    for name, content in contents.items():
        yield Case("checkpoint", name, written("c.pth", saved(content)))
    yield Case("checkpoint", "a zip of text", written("c.pth", zipped({"a.txt": b"x"})))
    yield from unreadable("checkpoint", "c.pth")


def nested(depth: int) -> dict[str, Any]:
    """``state_dict`` in ``state_dict`` in ..."""
    return {"state_dict": nested(depth - 1)} if depth else {"state_dict": {}}


def without(key: str) -> Callable[[dict[str, Any]], None]:
    """A change that takes a key out."""

    def change(values: dict[str, Any]) -> None:
        del values[key]

    return change


def replaced(key: str, value: Any, *parents: str) -> Callable[[dict[str, Any]], None]:
    """A change that gives a key, below others, another value."""

    def change(values: dict[str, Any]) -> None:
        for parent in parents:
            values = values[parent]
        values[key] = value

    return change


def zipped(members: dict[str, bytes], **attributes: int) -> bytes:
    """A zip file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, data)
    return stream.getvalue()


def tarred(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """A tar file of one member."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        info.size = 5 if kind == tarfile.REGTYPE else 0
        archive.addfile(info, io.BytesIO(b"owned"))
    return stream.getvalue()


def archives() -> Iterator[Case]:
    """For ``data prepare`` and ``submit --validate``."""
    mask = encoded(pair()[1])
    inside = "results/VOC2012/Segmentation/comp6_test_cls/2008_000001.png"
    good = zipped({inside: mask})
    for name, data in damages(good).items():
        yield Case("archive", f"zip {name}", written("a.zip", data))
    members = {
        "a path that leads out": {"../../../owned.png": mask},
        "an absolute path": {"/tmp/owned.png": mask},
        "a path with back slashes": {"..\\..\\owned.png": mask},
        "nothing": {},
        "a mask that is text": {inside: b"text"},
        "a mask of colours": {inside: encoded(pair()[0])},
        "a mask that claims 2^31 pixels": {inside: png(2**31 - 1, 9)},
        "a name of 5000 letters": {"x" * 5000 + ".png": mask},
        "40 MB of zeros": {inside: bytes(40_000_000)},
    }
    for name, content in members.items():
        yield Case("archive", f"zip with {name}", written("a.zip", zipped(content)))
    yield Case(
        "archive",
        "zip with links",
        written("a.zip", zipped({inside: b"/etc/passwd"}, external_attr=0o120777 << 16)),
    )
    encrypted = bytearray(good)
    encrypted[6] |= 1
    encrypted[good.index(b"PK\x01\x02") + 8] |= 1
    yield Case("archive", "zip that says it is encrypted", written("a.zip", bytes(encrypted)))
    for name, data in {
        "leads out": tarred("../../owned"),
        "absolute": tarred("/tmp/owned"),
        "link out": tarred("VOCdevkit/VOC2012/JPEGImages/a.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        "device": tarred("VOCdevkit/VOC2012/JPEGImages/a.jpg", tarfile.CHRTYPE),
        "hard link out": tarred("VOCdevkit/VOC2012/JPEGImages/a.jpg", tarfile.LNKTYPE, "/etc/passwd"),
        "disk": tarred("VOCdevkit/VOC2012/JPEGImages/a.jpg", tarfile.BLKTYPE),
        "pipe": tarred("VOCdevkit/VOC2012/JPEGImages/a.jpg", tarfile.FIFOTYPE),
        **damages(tarred("VOCdevkit/VOC2012/JPEGImages/a.jpg")),
    }.items():
        yield Case("archive", f"tar {name}", written("a.tar.gz", data))
    yield from unreadable("archive", "a.tar.gz")
