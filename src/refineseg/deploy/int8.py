"""Quantisation of ONNX and OpenVINO files to int8 with NNCF, calibrated on pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from refineseg.deploy.formats import INPUT, onnx_package, save_onnx, save_openvino
from refineseg.errors import extra
from refineseg.inference.runners.openvino import openvino_package

CONVOLUTIONS = ("Convolution", "GroupConvolution")  # OpenVINO's types
FLOAT = 2  # first convolutions that stay in float32: MobileNet-v2's stem and first depthwise convolution


def to_int8(
    format: str, source: Path, target: Path, pictures: Sequence[Callable[[], NDArray[Any]]], text: str
) -> None:
    """Write an int8 form of an exported file, with quantise and dequantise nodes and corrected biases.

    Weights have a scale per output channel and use half of their range, because processors without VNNI add pairs
    of products in 16 bits, which would overflow; so labels are the same on all processors. The first ``FLOAT``
    convolutions stay in float32, since their channels differ most in range (docs/notebook/experiments.md, int8).

    The format is ``onnx`` or ``openvino``. ``pictures`` each return one input of the file, for the ranges of all
    maps; ``text`` is the description that goes into the file.
    """
    nncf = nncf_package()
    parameters: Any = nncf.quantization.advanced_parameters
    onnx = format == "onnx"
    if onnx:
        model = onnx_package().load(source)
        names = [node.name for node in model.graph.node if node.op_type == "Conv"]
    else:
        model = openvino_package().Core().read_model(source)
        convolutions = [item for item in model.get_ordered_ops() if item.get_type_name() in CONVOLUTIONS]
        names = [convolution.get_friendly_name() for convolution in convolutions]
    quantised = nncf.quantize(
        model,
        nncf.Dataset(list(pictures), lambda read: {INPUT: read()}),
        subset_size=len(pictures),
        preset=nncf.QuantizationPreset.MIXED,  # ranges of maps need not be symmetric
        target_device=nncf.TargetDevice.CPU,
        ignored_scope=nncf.IgnoredScope(names=names[:FLOAT]),
        advanced_parameters=parameters.AdvancedQuantizationParameters(
            overflow_fix=parameters.OverflowFix.ENABLE,
            # By default depthwise convolutions get a scale per channel, which onnxruntime refuses to run.
            activations_quantization_params=parameters.QuantizationParameters(per_channel=False),
        ),
    )
    (save_onnx if onnx else save_openvino)(quantised, target, text)


def nncf_package() -> ModuleType:
    """The package. MissingExtraError without it."""
    with extra("nncf", "export", "int8"):
        import nncf
    return nncf  # type: ignore[no-any-return]
