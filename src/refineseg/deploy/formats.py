"""Writing a traced network as an ONNX, OpenVINO or torch.export file that includes its description."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from refineseg._version import __version__
from refineseg.deploy.trace import Traced, out_of_place
from refineseg.errors import InputError, extra
from refineseg.inference.runners.exported import KEY
from refineseg.inference.runners.openvino import openvino_package
from refineseg.system.files import writing

INPUT = "images"  # name of the input
SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}


def export_format(path: Path, given: str | None) -> str:
    """The format of a file by its suffix; InputError if that is unknown or differs from ``given``."""
    by_suffix = {suffix: name for name, suffix in SUFFIX.items()}
    if given is not None and given not in SUFFIX:
        raise InputError(f"expected --format {', '.join(SUFFIX)}, got {given!r}")
    found = by_suffix.get(path.suffix.lower())
    if found is None or given not in (None, found):
        ends = SUFFIX[given] if given else " or ".join(f"{end} ({name})" for end, name in by_suffix.items())
        raise InputError(f"expected an output file that ends in {ends}, got {path.name}")
    return found


def files_of(path: Path) -> list[Path]:
    """All files of an export; OpenVINO's weights are beside the .xml."""
    return [path.with_suffix(".bin"), path] if path.suffix.lower() == ".xml" else [path]


def check_packages(format: str) -> None:
    """MissingExtraError if a package for writing or running the format is missing."""
    if format != "torch":
        onnx_package()
        with extra("onnxscript", "export", "writing ONNX files"):
            import onnxscript  # noqa: F401 - torch.onnx uses it
    if format == "openvino":
        openvino_package()


def write_format(traced: Traced, format: str, path: Path, text: str) -> None:
    """Write the traced network, with ``text`` (a JSON description) in the file's metadata."""
    if format == "torch":
        content = io.BytesIO()  # into a file that cannot grow torch's writer ends the whole process
        torch.export.save(traced.program, content, extra_files={KEY: text})
        path.write_bytes(content.getbuffer())
        return
    model = onnx_model(traced)
    if format == "onnx":
        save_onnx(model, path, text)
    else:
        save_openvino(openvino_package().Core().read_model(model.SerializeToString()), path, text)


def onnx_model(traced: Traced) -> Any:
    """A ModelProto of the traced network, with readable axis names."""
    out_of_place(traced.program)
    made = torch.onnx.export(
        traced.program, dynamo=True, input_names=[INPUT], output_names=[traced.output], verbose=False
    )
    assert made is not None
    proto = made.model_proto
    graph = proto.graph
    del graph.value_info[:]  # in the tracer's symbols; readers infer shapes themselves
    for value, axes in ((graph.input[0], traced.input_axes), (graph.output[0], traced.axes)):
        for place, name in axes.items():
            value.type.tensor_type.shape.dim[place].dim_param = name
    for node in graph.node:
        del node.metadata_props[:]  # source locations, with paths of this machine
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
    """Write an openvino.Model with the description. WriteError if it cannot be written."""
    model.set_rt_info(text, KEY)
    with writing(path, RuntimeError):
        openvino_package().save_model(model, path, compress_to_fp16=False)


def onnx_package() -> ModuleType:
    """The package. MissingExtraError without it."""
    with extra("onnx", "export", "writing ONNX files"):
        import onnx
    return onnx
