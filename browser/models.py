"""Write the bundled models for the page: python browser/models.py FOLDER, then node browser/build.mjs FOLDER."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from refineseg.colors import class_colors, is_background
from refineseg.deploy.export import description, on_cpu
from refineseg.deploy.formats import onnx_model, onnx_package, save_onnx
from refineseg.deploy.options import ExportOptions
from refineseg.deploy.pictures import generated_pictures
from refineseg.deploy.trace import Exportable, trace
from refineseg.deploy.verification import compare_outputs, refusal
from refineseg.errors import RefusedError
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners.exported import open_exported

MODELS = ("everyday", "people")
OPTIONS = ExportOptions(input="uint8", outputs="labels")


def write(model: str | Path | Segmenter, name: str, folder: Path) -> None:
    """Write FOLDER/models/NAME.onnx, from pictures of uint8 to labels, and NAME.json: its classes and licence.

    Raises RefusedError where the file does not give the network's labels.
    """
    segmenter = on_cpu(model)
    path = folder / "models" / f"{name}.onnx"
    write_network(segmenter, path)
    network, config = Exportable(segmenter.model, OPTIONS.outputs, input=OPTIONS.input), segmenter.model.config
    pictures = generated_pictures(config)
    found = open_exported(path, outputs=OPTIONS.outputs)
    checks = compare_outputs(found, network, pictures, lambda _done, _of: None)
    if refused := refusal(checks, OPTIONS.outputs):
        path.unlink()
        raise RefusedError(f"export refused: {refused}")
    names = segmenter.class_names
    classes = [
        {"name": name, "color": color, "background": is_background(name)}
        for name, color in zip(names, class_colors(names), strict=True)
    ]
    about = {"classes": classes, "licence": segmenter.card.licence}
    path.with_suffix(".json").write_text(json.dumps(about), encoding="utf-8")


def write_network(segmenter: Segmenter, path: Path) -> None:
    """Write the file alone, unchecked."""
    proto = onnx_model(trace(Exportable(segmenter.model, OPTIONS.outputs, input=OPTIONS.input)))
    halve_weights(proto, segmenter.model.state_dict())
    path.parent.mkdir(parents=True, exist_ok=True)
    save_onnx(proto, path, description(segmenter, "onnx", OPTIONS))


def halve_weights(proto: Any, weights: Mapping[str, Tensor]) -> None:
    """Store convolutions' weights in 16 bits where the model has them so, as bundled ones do; lossless.

    An export holds each weight times the factor that its batch norm has for the channel. Here they are apart, and
    multiplied in 32 bits when the file is opened.
    """
    onnx = onnx_package()
    graph, added = proto.graph, []
    for tensor in list(graph.initializer):
        stored = weights.get(tensor.name.removeprefix("model."))
        if stored is None or stored.ndim != 4 or not stored.equal(stored.half().float()):
            continue
        plain = stored.numpy()
        folded = onnx.numpy_helper.to_array(tensor)
        largest = np.abs(plain).reshape(len(plain), -1).argmax(1)[:, None]
        whole, part = (
            np.take_along_axis(values.reshape(len(values), -1), largest, 1) for values in (folded, plain)
        )
        factor = np.divide(whole, part, out=np.ones_like(whole), where=part != 0).reshape(-1, 1, 1, 1)
        if not np.allclose(plain * factor, folded, rtol=1e-6, atol=0):
            continue
        name = tensor.name
        graph.initializer.remove(tensor)
        for values, ending in ((plain.astype(np.float16), "half"), (factor, "factor")):
            graph.initializer.append(onnx.numpy_helper.from_array(values, f"{name}.{ending}"))
        node = onnx.helper.make_node
        added.append(node("Cast", [f"{name}.half"], [f"{name}.plain"], to=onnx.TensorProto.FLOAT))
        added.append(node("Mul", [f"{name}.plain", f"{name}.factor"], [name]))
    nodes = [*added, *graph.node]  # in the order of their use
    del graph.node[:]
    graph.node.extend(nodes)


if __name__ == "__main__":
    for name in MODELS:
        write(name, name, Path(sys.argv[1]))
