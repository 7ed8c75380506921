"""Reading MATLAB files of MatConvNet: the authors' own RefineNets, on a ResNet of 50, 101 or 152 layers.

A file holds one or more DagNN structs (``params`` with name and value, ``layers`` with name and block, ``vars``)
at any depth, and the classifier as a layer of a simple network (``filters``, ``biases``). Convolutions are
HxWxIxO. Batch norm has a multiplier, a bias and moments Cx2: mean, and standard deviation with the small constant
included. Pixels are RGB minus 128.

Sources: MatConvNet's manual and public code; layer names in the authors' public code. Files of version 7.3 (HDF5)
are read with h5py, older ones with scipy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refineseg.errors import InputError, WeightsError
from refineseg.system.matlab import array_of, is_struct, open_mat73, read_mat, struct_elements, text_of
from refineseg.system.text import counted

HDF5 = b"MATLAB 7.3"
EPSILON = 1e-5  # small constant of our batch norm
# Position of the void logit in the published networks, by the number of logits.
VOID = {
    **{22: "last", 20: "last", 41: "last"},  # VOC, Cityscapes, NYUDv2
    **{151: "first", 38: "first"},  # ADE20K, SUN-RGBD
    **{7: "none", 60: "none"},  # Person-Part, PASCAL-Context
}
BACKBONE = re.compile(r"(res|bn)([2-5])([a-z])(\d*)_branch(?:(1)|2([abc]))")
SCALE = re.compile(r"p_ims(\d+)d(\d+)_outl")
IMPROVED = re.compile(r"mflow_conv_g(\d+)_pool(?:prev_relu_varout|\d+_outvar)_pb(\d+)")
LATER_PATH = re.compile(r"adapt_input_path(\d+)_")  # adapt_stage1_ ... in networks of before 23 December 2016

Array = NDArray[Any]


@dataclass
class MatConvNet:
    """The contents of a file."""

    params: dict[str, Array] = field(default_factory=dict)  # arrays of all DagNNs by name
    strides: dict[str, int] = field(default_factory=dict)  # strides of the convolutions by layer
    # weights and biases of convolutions outside the DagNNs
    classifiers: list[tuple[Array, Array]] = field(default_factory=list)

    def add_classifier(self, weights: Array, biases: Array) -> None:
        """Add a classifier unless it is known."""
        if not any(np.array_equal(weights, known) for known, _ in self.classifiers):
            self.classifiers.append((weights, biases))

    def add_param(self, name: str, value: Array) -> None:
        """Add an array; WeightsError if there is a different one of that name."""
        if name in self.params and not np.array_equal(self.params[name], value):
            raise WeightsError(f"expected every array under one name, got two different {name}: two networks?")
        self.params[name] = value


def is_matlab(path: Path) -> bool:
    """Whether a file's suffix is that of MATLAB."""
    return path.suffix.lower() == ".mat"


def read_matconvnet(path: Path) -> MatConvNet:
    """The networks of a MATLAB file.

    Raises:
        WeightsError: the file cannot be read, or holds no network of MatConvNet.
        MissingExtraError: scipy or h5py is not installed.
    """
    if not path.is_file():
        raise WeightsError(f"File not found: {path}")
    with path.open("rb") as stream:
        modern = stream.read(len(HDF5)) == HDF5
    found = MatConvNet()
    try:
        if modern:
            with open_mat73(path) as file:
                _collect_hdf5(file, found)
        else:
            _collect_structs(read_mat(path, squeeze=False), found)
    except InputError as error:
        raise WeightsError(str(error)) from error
    except (AttributeError, IndexError, KeyError, OSError, TypeError, ValueError) as error:
        raise WeightsError(f"cannot read {path} as a network of MatConvNet, is it damaged? ({error})") from error
    if not found.params:
        raise WeightsError(
            f"expected networks of MatConvNet in {path.name} (DagNN structs with params, layers and vars), found "
            "none; if they are objects in an older file, save them from MATLAB with -v7.3"
        )
    return found


def port_state(found: MatConvNet) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors under the names of the PyTorch port, and the settings found in the file.

    Raises WeightsError for several input scales, several classifiers, or batch norm without moments, none of which
    the published networks have.
    """
    stems = {name.rpartition("_")[0] for name in found.params}
    scales = sorted({(int(m[1]), m[2]) for stem in stems if (m := SCALE.match(stem))})
    if len(scales) > 1:
        raise WeightsError("expected a network of one input scale, got several: two-scale networks are not read")
    if len(found.classifiers) != 1:
        raise WeightsError(f"expected one classifier (filters and biases), found {len(found.classifiers)}")
    state: dict[str, Tensor] = {}
    for name, value in found.params.items():
        stem, _, leaf = name.rpartition("_")
        norm = f"{stem}_mult" in found.params
        for key, tensor in _tensors(leaf, value, norm, name).items():
            state[f"{port_name(stem)}.{key}"] = tensor
    if "bn1.running_mean" in state:  # ResNet-50's first convolution has a bias; the norm after it takes it over
        state["bn1.running_mean"] -= state.pop("conv1.bias", torch.zeros(()))
    weights, biases = found.classifiers[0]
    state["clf_conv.weight"], state["clf_conv.bias"] = _filters(weights), _vector(biases)
    return state, _settings(found, stems, scales)


def _settings(found: MatConvNet, stems: set[str], scales: list[tuple[int, str]]) -> dict[str, Any]:
    pools = {int(m[1]) for stem in stems if (m := re.search(r"mflow_conv_g1_pool(\d+)_outvar_dimred", stem))}
    improved = {int(m[2]) for stem in stems if (m := IMPROVED.fullmatch(stem)) and m[1] == "1"}
    fields: dict[str, Any] = {
        "crp_stages": len(improved or pools),
        "pooling": "improved" if improved else "original",
        "final_rcus": len({stem for stem in stems if re.fullmatch(r"lossblock_b\d+_conv", stem)}),
    }
    if scales:
        whole, tenths = scales[0]
        fields["input_scales"] = (float(f"{whole}.{tenths}"),)
    first, second = (found.strides.get(f"res3a_branch2{part}") for part in "ab")
    if (first, second) not in ((2, 1), (1, 2)):
        raise WeightsError(
            "expected a stride of 2 in the first or second convolution of res3a, which decides how the weights "
            f"are used, got {first} and {second}"
        )
    fields["stride_in_1x1"] = first == 2
    return fields


def move_void(state: dict[str, Tensor], classes: int | None, place: str | None) -> str:
    """Move the void logit to the end of the classifier; returns its former place: ``first``, ``last`` or ``none``.

    Without a ``place`` it is that of the published network with as many logits, and ``none`` if the labels have as
    many classes. Raises WeightsError if it is unknown.
    """
    rows = len(state["clf_conv.bias"])
    place = place or ("none" if classes == rows else VOID.get(rows))
    if place is None:
        raise WeightsError(
            f"expected one of the seven published classifiers ({', '.join(map(str, sorted(VOID)))} logits), got "
            f"{counted(rows, 'logit')}: give the position of the void logit with --void first, last or none"
        )
    if place == "first":
        for name in ("clf_conv.weight", "clf_conv.bias"):
            state[name] = state[name].roll(-1, 0)
    return place


def port_name(stem: str) -> str:
    """The PyTorch port's name of an authors' layer; other names are returned unchanged."""
    if m := BACKBONE.fullmatch(stem):
        kind, stage, letter, number, branch, part = m.groups()
        unit = int(number) if number else ord(letter) - ord("a")
        inner = (
            f"downsample.{int(kind == 'bn')}"
            if branch
            else f"{'bn' if kind == 'bn' else 'conv'}{'abc'.index(part) + 1}"
        )
        return f"layer{int(stage) - 1}.{unit}.{inner}"
    if stem == "bn_conv1":
        return "bn1"
    stem = LATER_PATH.sub(r"adapt_stage\1_", SCALE.sub("p_ims1d2_outl", stem))
    if m := IMPROVED.fullmatch(stem):
        return f"mflow_conv_g{m[1]}_pool.0.{m[2]}_outvar_dimred"
    stem = re.sub(r"(mflow_conv_g\d+)_pool(\d+)_outvar_dimred", r"\1_pool.0.\2_outvar_dimred", stem)
    return re.sub(r"(adapt_stage\d+|mflow_conv_g\d+|lossblock)_b(\d+)_conv", r"\1_b.0.\2_conv", stem)


def _tensors(leaf: str, value: Array, norm: bool, name: str) -> dict[str, Tensor]:
    """The tensors of an array, by the last part of their names."""
    if leaf == "filter":
        return {"weight": _filters(value)}
    if leaf == "mult":
        return {"weight": _vector(value)}
    if leaf == "bias":
        return {"bias": _vector(value)}
    if leaf == "moments" and norm:
        if value.ndim != 2 or value.shape[1] != 2 or not (value[:, 1] > 0).all():
            raise WeightsError(
                f"expected a mean and a positive deviation per channel in {name}, got {value.shape}"
            )
        mean, deviation = torch.from_numpy(np.ascontiguousarray(value.T)).double()
        return {"running_mean": mean.float(), "running_var": (deviation.square() - EPSILON).float()}
    raise WeightsError(f"expected arrays named ..._filter, _bias, _mult or _moments, got {name}")


def _filters(value: Array) -> Tensor:
    """HxWxIxO to OxIxHxW; MATLAB drops trailing dimensions of size 1."""
    full = value.reshape(value.shape + (1,) * (4 - value.ndim)) if value.ndim < 4 else value
    return torch.from_numpy(np.ascontiguousarray(full.transpose(3, 2, 0, 1))).float()


def _vector(value: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(value.reshape(-1))).float()


def _collect_hdf5(file: Any, found: MatConvNet) -> None:
    def visit(_name: str, item: Any) -> None:
        names = set(item) if is_struct(item) else set()
        if {"params", "layers", "vars"} <= names:
            for record in struct_elements(file, item["params"], ("name", "value")):
                found.add_param(text_of(record["name"]), array_of(record["value"]))
            for record in struct_elements(file, item["layers"], ("name", "block")):
                if is_struct(record["block"]) and "stride" in record["block"]:
                    found.strides[text_of(record["name"])] = int(array_of(record["block"]["stride"]).flat[0])
        elif {"filters", "biases"} <= names:
            for record in struct_elements(file, item, ("filters", "biases")):
                found.add_classifier(array_of(record["filters"]), array_of(record["biases"]))

    file.visititems(visit)


def _records(array: Any) -> Iterator[Any]:
    """The elements of a struct array, or of a cell array of structs."""
    for item in np.ravel(array):
        yield from _records(item) if isinstance(item, np.ndarray) else [item]


def _collect_structs(value: Any, found: MatConvNet) -> None:
    """Find networks in nested structs and cells."""
    names = set(getattr(value, "_fieldnames", ()))
    if {"params", "layers", "vars"} <= names:
        for record in _records(value.params):
            found.add_param(str(np.ravel(record.name)[0]), np.asarray(record.value))
        for record in _records(value.layers):
            block = np.ravel(record.block)
            stride = getattr(block[0], "stride", None) if block.size else None
            if stride is not None and np.size(stride):
                found.strides[str(np.ravel(record.name)[0])] = int(np.ravel(stride)[0])
    elif {"filters", "biases"} <= names:
        found.add_classifier(np.asarray(value.filters), np.asarray(value.biases))
    elif names:
        for name in sorted(names):
            _collect_structs(getattr(value, name), found)
    elif isinstance(value, dict):
        for item in value.values():
            _collect_structs(item, found)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        for item in value.flat:
            _collect_structs(item, found)
