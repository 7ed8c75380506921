"""Writing a traced program as ONNX, OpenVINO or torch.export file, with its description inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.export import ExportedProgram

from refineseg._version import __version__
from refineseg.deploy.trace import out_of_place
from refineseg.errors import InputError, MissingExtraError
from refineseg.inference.runners.exported import KEY
from refineseg.inference.runners.openvino import openvino_package

INPUT, OUTPUT = "images", "logits"  # as engines name them
SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}


def format_of(path: Path, given: str | None) -> str:
    """The format for a file: ``given``, which its suffix must fit, or by its suffix. InputError otherwise."""
    by_suffix = {suffix: name for name, suffix in SUFFIX.items()}
    if given is not None and given not in SUFFIX:
        raise InputError(f"expected --format {', '.join(SUFFIX)}, got {given!r}")
    found = by_suffix.get(path.suffix.lower())
    if found is None or given not in (None, found):
        ends = SUFFIX[given] if given else " or ".join(f"{end} ({name})" for end, name in by_suffix.items())
        raise InputError(f"expected an output file that ends in {ends}, got {path.name}")
    return found


def files_of(path: Path) -> list[Path]:
    """All files of an export: OpenVINO's weights lie beside the .xml."""
    return [path.with_suffix(".bin"), path] if path.suffix.lower() == ".xml" else [path]


def check_packages(format: str) -> None:
    """MissingExtraError where a package is missing that writing the format, or running it, needs."""
    if format != "torch":
        onnx_package()
        try:
            import onnxscript  # noqa: F401 - torch.onnx uses it
        except ImportError as error:
            raise MissingExtraError("onnxscript", "export", "writing ONNX files") from error
    if format == "openvino":
        openvino_package()


def write(program: ExportedProgram, format: str, path: Path, text: str) -> None:
    """Write the program, with ``text`` (a JSON description) in the file's metadata."""
    writers: dict[str, Callable[[ExportedProgram, Path, str], None]] = {
        "onnx": _write_onnx,
        "openvino": _write_openvino,
        "torch": _write_torch,
    }
    writers[format](program, path, text)


def _write_torch(program: ExportedProgram, path: Path, text: str) -> None:
    torch.export.save(program, path, extra_files={KEY: text})


def _write_onnx(program: ExportedProgram, path: Path, text: str) -> None:
    save_onnx(onnx_model(program), path, text)


def _write_openvino(program: ExportedProgram, path: Path, text: str) -> None:
    model = openvino_package().Core().read_model(onnx_model(program).SerializeToString())
    save_openvino(model, path, text)


def onnx_model(program: ExportedProgram) -> Any:
    """A ModelProto of the program with readable names of axes."""
    out_of_place(program)
    made = torch.onnx.export(program, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False)
    assert made is not None
    proto = made.model_proto
    graph = proto.graph
    del graph.value_info[:]  # in symbols of the tracer; every reader finds the shapes anew
    names = {INPUT: ("batch", "height", "width"), OUTPUT: ("batch", "height/4", "width/4")}
    for value in (*graph.input, *graph.output):
        axes = value.type.tensor_type.shape.dim
        for axis, name in zip((axes[0], axes[2], axes[3]), names[value.name], strict=True):
            axis.dim_param = name
    for node in graph.node:
        del node.metadata_props[:]  # where in the source each node comes from, as paths of this machine
        node.doc_string = ""
    return proto


def save_onnx(proto: Any, path: Path, text: str) -> None:
    """Write a ModelProto with the description."""
    onnx = onnx_package()
    proto.producer_name, proto.producer_version = "refineseg", __version__
    kept = {item.key: item.value for item in proto.metadata_props if item.key != KEY}
    onnx.helper.set_model_props(proto, kept | {KEY: text})
    onnx.save(proto, path)


def save_openvino(model: Any, path: Path, text: str) -> None:
    """Write an openvino.Model with the description."""
    model.set_rt_info(text, KEY)
    openvino_package().save_model(model, path, compress_to_fp16=False)


def load_onnx(path: Path) -> Any:
    """A file's ModelProto."""
    return onnx_package().load(path)


def onnx_package() -> ModuleType:
    """The package. MissingExtraError without it."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "export", "writing ONNX files") from error
    return onnx
