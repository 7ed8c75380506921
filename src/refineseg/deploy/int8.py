"""From a float32 export to int8 with NNCF, calibrated on pictures; for ONNX and for OpenVINO alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from refineseg.deploy.formats import INPUT, load_onnx, save_onnx, save_openvino
from refineseg.errors import MissingExtraError
from refineseg.inference.runners.openvino import openvino_package


def to_int8(
    format: str, source: Path, target: Path, pictures: Sequence[Callable[[], NDArray[Any]]], text: str
) -> None:
    """Write an int8 form of an exported file: quantise and dequantise nodes, biases corrected.

    Weights have a scale per output channel and use half of their range, since processors without VNNI add products
    of pairs in 16 bits and would overflow: so the file gives the same labels on all of them.

    Args:
        format: ``onnx`` or ``openvino``.
        source: the float32 export.
        target: the file to write.
        pictures: read one at a time, each as the file takes it, to find the range of every map.
        text: the description that goes into the file.
    """
    nncf = nncf_package()
    parameters: Any = nncf.quantization.advanced_parameters
    onnx = format == "onnx"
    quantised = nncf.quantize(
        load_onnx(source) if onnx else openvino_package().Core().read_model(source),
        nncf.Dataset(list(pictures), lambda read: {INPUT: read()}),
        subset_size=len(pictures),
        target_device=nncf.TargetDevice.CPU,
        advanced_parameters=parameters.AdvancedQuantizationParameters(
            overflow_fix=parameters.OverflowFix.ENABLE,
            # Left to itself it gives depthwise convolutions a scale per channel, which onnxruntime refuses to run.
            activations_quantization_params=parameters.QuantizationParameters(per_channel=False),
        ),
    )
    (save_onnx if onnx else save_openvino)(quantised, target, text)


def nncf_package() -> ModuleType:
    """The package. MissingExtraError without it."""
    try:
        import nncf
    except ImportError as error:
        raise MissingExtraError("nncf", "export", "int8") from error
    return nncf  # type: ignore[no-any-return]
