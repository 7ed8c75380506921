"""From a float32 export to int8, calibrated on pictures: onnxruntime for ONNX, NNCF for OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.deploy.formats import INPUT, load_onnx, save_onnx, save_openvino
from refineseg.errors import MissingExtraError
from refineseg.inference.engines.onnx import quantization_package
from refineseg.inference.engines.openvino import openvino_package

Planes = NDArray[np.float32]  # 1xCxHxW, as the network takes it
LAYERS = ("Conv", "Add", "MaxPool", "Resize")  # what runs on 8 bits; their inputs and results carry scales


def check_int8_packages(format: str) -> None:
    """MissingExtraError where a package is missing that making int8 files needs."""
    if format == "onnx":
        quantization_package()
    else:
        nncf_package()


def to_int8(format: str, source: Path, target: Path, pictures: Sequence[Callable[[], Planes]], text: str) -> None:
    """Write an int8 form of an exported file.

    Weights have a scale per output channel and use seven of the eight bits, since processors without VNNI add
    products of pairs in 16 bits and would overflow: so the file gives the same labels on all of them.

    Args:
        format: ``onnx`` or ``openvino``.
        source: the float32 export.
        target: the file to write.
        pictures: read one at a time, to find the range of every map.
        text: the description that goes into the file.
    """
    (_onnx if format == "onnx" else _openvino)(source, target, pictures, text)


def _onnx(source: Path, target: Path, pictures: Sequence[Callable[[], Planes]], text: str) -> None:
    tools = quantization_package()

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.left: Iterator[Callable[[], Planes]] = iter(pictures)

        def get_next(self) -> dict[str, Planes] | None:
            read = next(self.left, None)
            return None if read is None else {INPUT: read()}

    tools.quantize_static(
        source,
        target,
        Reader(),
        quant_format=tools.QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=tools.QuantType.QUInt8,
        weight_type=tools.QuantType.QInt8,
        op_types_to_quantize=list(LAYERS),
        calibrate_method=tools.CalibrationMethod.MinMax,
    )
    save_onnx(load_onnx(target), target, text)


def _openvino(source: Path, target: Path, pictures: Sequence[Callable[[], Planes]], text: str) -> None:
    nncf = nncf_package()
    parameters: Any = nncf.quantization.advanced_parameters
    model = openvino_package().Core().read_model(source)
    model = nncf.quantize(
        model,
        nncf.Dataset(list(pictures), lambda read: read()),
        subset_size=len(pictures),
        target_device=nncf.TargetDevice.CPU,
        advanced_parameters=parameters.AdvancedQuantizationParameters(overflow_fix=parameters.OverflowFix.ENABLE),
    )
    save_openvino(model, target, text)


def nncf_package() -> ModuleType:
    """The package. MissingExtraError without it."""
    try:
        import nncf
    except ImportError as error:
        raise MissingExtraError("nncf", "export", "int8 with OpenVINO") from error
    return nncf  # type: ignore[no-any-return]
