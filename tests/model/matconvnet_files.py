"""MATLAB files as MatConvNet writes them, made by the public layout: no file of the authors' was ever at hand.

Written from MatConvNet's documented structs (DagNN.saveobj: vars, params, layers, meta), the names in the authors'
public code and MATLAB's v7.3 conventions (struct arrays as groups of references, axes reversed, text as uint16).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


def authors_name(key: str, improved: bool = False) -> str:
    """The authors' name of one of the port's tensors, without its last part."""
    stem = key.rpartition(".")[0]
    if m := re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn)(\d)", stem):
        kind = "res" if m[3] == "conv" else "bn"
        return f"{kind}{int(m[1]) + 1}{_unit(int(m[1]), int(m[2]))}_branch2{'abc'[int(m[4]) - 1]}"
    if m := re.fullmatch(r"layer(\d)\.(\d+)\.downsample\.(\d)", stem):
        kind = "bn" if m[3] == "1" else "res"
        return f"{kind}{int(m[1]) + 1}{_unit(int(m[1]), int(m[2]))}_branch1"
    if stem == "bn1":
        return "bn_conv1"
    if m := re.fullmatch(r"(mflow_conv_g\d)_pool\.0\.(\d)_outvar_dimred", stem):
        before = f"pool{int(m[2]) - 1}_outvar" if m[2] != "1" else "poolprev_relu_varout"
        return f"{m[1]}_{before}_pb{m[2]}" if improved else f"{m[1]}_pool{m[2]}_outvar_dimred"
    stem = re.sub(r"_b\.0\.(\d)_conv", r"_b\1_conv", stem)
    return stem.replace("adapt_stage", "adapt_input_path") if improved else stem  # renamed in December 2016


def _unit(stage: int, unit: int) -> str:
    """a, b, c ... in ResNet-50; a, b1, b2 ... in the long stages of the deeper ones. Here both, to read both."""
    return "a" if unit == 0 else f"b{unit}" if stage == 3 else "abcdefg"[unit]


def authors_params(state: dict[str, Tensor], improved: bool = False) -> dict[str, Array]:
    """The arrays of the DagNNs: HxWxIxO filters; multiplier, bias and moments of each norm."""
    params: dict[str, Array] = {}
    for key, value in state.items():
        leaf, array = key.rpartition(".")[2], value.double().numpy()
        if key.startswith("clf_conv") or leaf in ("num_batches_tracked", "running_mean"):
            continue
        name = authors_name(key, improved)
        if array.ndim == 4:
            params[f"{name}_filter"] = array.transpose(2, 3, 1, 0).astype(np.float32)
        elif leaf == "running_var":
            mean = state[key.replace("running_var", "running_mean")].double().numpy()
            params[f"{name}_moments"] = np.stack([mean, np.sqrt(array + 1e-5)], 1).astype(np.float32)
        elif leaf == "weight":
            params[f"{name}_mult"] = array.astype(np.float32)[:, None]
        else:
            params[f"{name}_bias"] = array.astype(np.float32)[None]
    return params


def classifier(state: dict[str, Tensor]) -> dict[str, Array]:
    return {
        "filters": state["clf_conv.weight"].numpy().transpose(2, 3, 1, 0),
        "biases": state["clf_conv.bias"].numpy()[None],
    }


def write_v5(path: Path, state: dict[str, Tensor], strides: dict[str, int], improved: bool = False) -> None:
    from scipy.io import savemat

    params = authors_params(state, improved)
    groups = [[name for name in params if name.startswith(("res", "bn", "conv1"))]]
    groups.append([name for name in params if name not in groups[0]])
    cells = np.empty((len(groups) + 1, 1), object)
    for index, names in enumerate(groups):
        layers = strides if index == 0 else {"mflow_joint_g2": 1}
        cells[index, 0] = {
            "dag_net": {
                "vars": struct_array([{"name": "data"}]),
                "params": struct_array([{"name": name, "value": params[name]} for name in names]),
                "layers": struct_array([{"name": n, "block": {"stride": [[s, s]]}} for n, s in layers.items()]),
                "meta": [],
            }
        }
    cells[-1, 0] = {"net_info": {"layers": np.array([{"type": "conv", **classifier(state)}], object)}}
    savemat(path, {"net_config": {"ref": {"group_infos": cells}}})


def struct_array(records: list[dict[str, Any]]) -> Array:
    result = np.zeros((1, len(records)), [(name, object) for name in records[0]])
    for index, record in enumerate(records):
        result[0, index] = tuple(record.values())
    return result


def write_v73(path: Path, state: dict[str, Tensor], strides: dict[str, int], improved: bool = False) -> None:
    import h5py

    params = authors_params(state, improved)
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_group("#refs#")

        def put(value: Any) -> Any:
            name = f"r{len(references)}"
            if isinstance(value, dict):
                group = references.create_group(name)
                group.attrs["MATLAB_class"] = np.bytes_("struct")
                for key, item in value.items():
                    group[key] = item
                return group.ref
            if isinstance(value, str):
                dataset = references.create_dataset(name, data=np.array([[ord(c)] for c in value], np.uint16))
                dataset.attrs["MATLAB_class"] = np.bytes_("char")
                return dataset.ref
            return references.create_dataset(name, data=np.asarray(value).T).ref

        def struct(parent: Any, name: str, records: list[dict[str, Any]]) -> None:
            group = parent.create_group(name)
            for key in records[0]:
                refs = np.array([[put(record[key])] for record in records], dtype=h5py.ref_dtype)
                group.create_dataset(key, data=refs, dtype=h5py.ref_dtype)

        # The authors' net_config is a handle object: its properties lie loose among the references.
        backbone = [name for name in params if name.startswith(("res", "bn", "conv1"))]
        for index, names in enumerate((backbone, [name for name in params if name not in backbone])):
            dag = references.create_group(f"dag{index}")
            struct(dag, "vars", [{"name": "data"}])
            struct(dag, "params", [{"name": name, "value": params[name]} for name in names])
            layers = strides if index == 0 else {"mflow_joint_g2": 1}
            records = [{"name": n, "block": {"stride": np.array([[s], [s]], float)}} for n, s in layers.items()]
            struct(dag, "layers", records)
        layer = references.create_group("layer")
        layer["type"] = np.array([[ord(c)] for c in "conv"], np.uint16)
        for key, value in classifier(state).items():
            layer[key] = value.T
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
