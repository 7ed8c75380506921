"""The authors' MATLAB files: read strictly, into the network that their code computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from refineseg.errors import WeightsError
from refineseg.labels import LabelMap
from refineseg.model.conversion.convert import convert_checkpoint
from refineseg.model.conversion.matconvnet import port_name, read_matconvnet
from refineseg.model.folders.model_folder import load_model_folder
from refineseg.model.tensors.mismatch import MismatchError
from tests.model import port_reference as port
from tests.model.literal import FORMS, Literal
from tests.model.matconvnet_files import authors_name, write_v5, write_v73

torch.set_num_threads(1)

MSRA = {"conv1": 2, "res3a_branch2a": 2, "res3a_branch2b": 1}
TORCH = {"conv1": 2, "res3a_branch2a": 1, "res3a_branch2b": 2}
WRITERS = {"v5": write_v5, "v7.3": write_v73}


def small(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shapes of the decoder as they are, of the backbone too: only the published widths are read."""
    return shape


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A full ResNet-50 RefineNet with 22 logits under the port's names."""
    return port.random_tensors(port.resnet_port_shapes(50, True, 22))


@pytest.fixture(scope="module")
def files(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("matlab")
    for name, write in WRITERS.items():
        write(folder / f"{name}.mat", state, MSRA)
    return {name: folder / f"{name}.mat" for name in WRITERS}


@pytest.mark.parametrize("version", list(WRITERS))
def test_a_file_becomes_the_authors_network(
    state: dict[str, Tensor], files: dict[str, Path], version: str, tmp_path: Path
) -> None:
    done = convert_checkpoint(files[version], tmp_path / "model")
    assert done.architecture.preset == "refinenet-r50"
    assert done.num_classes == 21
    model, card = load_model_folder(tmp_path / "model")
    config = model.config
    assert (config.upsampling, config.stride_in_1x1, config.void_logit) == ("bicubic", True, True)
    assert (config.input_scales, config.pooling, config.crp_stages) == ((1.2,), "original", 4)
    assert "void_logit True" in card.provenance["settings by the file"]
    literal = Literal({key: value.double() for key, value in model.state_dict().items()}, 50, FORMS["authors"])
    image = torch.rand(1, 3, 33, 47, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = literal.logits(image.double(), "four")[:, :21]
        ours = model(image, upsample=False)
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-4
    # And every tensor is the file's: names, axes, moments.
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        found = model.state_dict()[done.architecture.keys.to_ours(key) or ""]
        torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-6)


def test_what_the_file_shows_is_taken_over(tmp_path: Path) -> None:
    """Void first, pooling after the convolution, later names, the stride in the 3x3: as layers and names say."""
    state = port.random_tensors(port.resnet_port_shapes(50, True, 38))
    write_v73(tmp_path / "sun.mat", state, TORCH, improved=True)
    done = convert_checkpoint(tmp_path / "sun.mat", tmp_path / "model")
    model, _ = load_model_folder(tmp_path / "model")
    assert done.num_classes == 37
    assert (model.config.pooling, model.config.stride_in_1x1) == ("improved", False)
    bias = model.state_dict()["classifier.bias"]
    assert torch.equal(bias[-1:], state["clf_conv.bias"][:1])  # void, now the last
    assert torch.equal(bias[:-1], state["clf_conv.bias"][1:])


def test_cell_arrays_of_structs_are_read_like_struct_arrays(tmp_path: Path) -> None:
    import h5py
    from scipy.io import savemat

    value, records = np.arange(4.0).reshape(2, 2), np.empty((1, 2), object)
    for place, name in enumerate(("a_filter", "b_filter")):
        records[0, place] = {"name": name, "value": value}
    layers = np.empty((1, 1), object)
    layers[0, 0] = {"name": "a", "block": {"stride": 2.0}}
    savemat(tmp_path / "v5.mat", {"net": {"params": records, "layers": layers, "vars": np.zeros((0, 0))}})

    with h5py.File(tmp_path / "v7.mat", "w", userblock_size=512) as file:

        def text(value: str) -> Any:
            return np.array([[ord(letter)] for letter in value], np.uint16)

        for name in ("a_filter", "b_filter"):
            file[f"refs/{name}/name"], file[f"refs/{name}/value"] = text(name), value.T
        file["refs/layer/name"], file["refs/layer/block/stride"] = text("a"), [[2.0]]
        for field, cells in (("params", ("a_filter", "b_filter")), ("layers", ("layer",))):
            references = [[file[f"refs/{cell}"].ref] for cell in cells]
            file.create_dataset(f"net/{field}", data=np.array(references, h5py.ref_dtype), dtype=h5py.ref_dtype)
        file.create_group("net/vars")
    with (tmp_path / "v7.mat").open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(128))

    for version in ("v5", "v7"):
        found = read_matconvnet(tmp_path / f"{version}.mat")
        assert list(found.params) == ["a_filter", "b_filter"]
        assert np.array_equal(found.params["b_filter"], value)
        assert found.strides == {"a": 2}


def write_small(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A file with names and shapes of a few layers only, for refusals."""
    from tests.model import matconvnet_files

    state = {
        "conv1.weight": torch.zeros(64, 3, 7, 7),
        "p_ims1d2_outl1_dimred.weight": torch.zeros(512, 2048, 3, 3),
        "clf_conv.weight": torch.zeros(22, 256, 3, 3),
        "clf_conv.bias": torch.zeros(22),
    }
    change(state)
    matconvnet_files.write_v73(path, state, MSRA)


def test_missing_arrays_are_refused_with_a_table(tmp_path: Path) -> None:
    write_small(tmp_path / "a.mat", lambda state: None)
    with pytest.raises(MismatchError, match="tensors missing") as caught:
        convert_checkpoint(tmp_path / "a.mat", tmp_path / "model")
    assert "bn1.running_mean" in caught.value.table
    assert not (tmp_path / "model").exists()


def test_refusals_say_why(tmp_path: Path, files: dict[str, Path]) -> None:
    from scipy.io import savemat

    savemat(tmp_path / "other.mat", {"x": np.zeros(3)})
    with pytest.raises(WeightsError, match="expected networks of MatConvNet"):
        convert_checkpoint(tmp_path / "other.mat", tmp_path / "model")
    (tmp_path / "broken.mat").write_bytes(files["v7.3"].read_bytes()[:5000])
    with pytest.raises(WeightsError, match="damaged"):
        convert_checkpoint(tmp_path / "broken.mat", tmp_path / "model")
    write_small(
        tmp_path / "two.mat", lambda state: state.update({"p_ims0d6_outl1_dimred.weight": torch.zeros(1, 1, 3, 3)})
    )
    with pytest.raises(WeightsError, match="one input scale"):
        convert_checkpoint(tmp_path / "two.mat", tmp_path / "model")
    write_small(
        tmp_path / "count.mat",
        lambda state: state.update(
            {"clf_conv.weight": torch.zeros(9, 256, 3, 3), "clf_conv.bias": torch.zeros(9)}
        ),
    )
    with pytest.raises(WeightsError, match="9 logits: give the position of the void logit with --void"):
        convert_checkpoint(tmp_path / "count.mat", tmp_path / "model")
    with pytest.raises(MismatchError):  # past that question
        convert_checkpoint(tmp_path / "count.mat", tmp_path / "model", void="last")
    labels = LabelMap.from_names([f"n{index}" for index in range(40)])
    with pytest.raises(WeightsError, match="expected labels of 21 classes"):
        convert_checkpoint(files["v5"], tmp_path / "model", labels)


@pytest.mark.parametrize(
    ("theirs", "port_names"),
    [
        ("res2a_branch1", "layer1.0.downsample.0"),
        ("bn4b22_branch2c", "layer3.22.bn3"),
        ("res3b_branch2a", "layer2.1.conv1"),
        ("bn_conv1", "bn1"),
        ("p_ims1d2_outl3_dimred", "p_ims1d2_outl3_dimred"),
        ("adapt_stage2_b1_conv_relu_varout_dimred", "adapt_stage2_b.0.1_conv_relu_varout_dimred"),
        ("mflow_conv_g3_pool2_outvar_dimred", "mflow_conv_g3_pool.0.2_outvar_dimred"),
        ("mflow_conv_g3_poolprev_relu_varout_pb1", "mflow_conv_g3_pool.0.1_outvar_dimred"),
        ("mflow_conv_g3_pool1_outvar_pb2", "mflow_conv_g3_pool.0.2_outvar_dimred"),
        ("mflow_conv_g3_b3_joint_varout_dimred", "mflow_conv_g3_b3_joint_varout_dimred"),
        ("adapt_input_path2_b1_conv", "adapt_stage2_b.0.1_conv"),
        ("adapt_input_path2_b2_joint_varout_dimred", "adapt_stage2_b2_joint_varout_dimred"),
    ],
)
def test_names(theirs: str, port_names: str) -> None:
    assert port_name(theirs) == port_names


def test_names_go_there_and_back() -> None:
    for key, _ in port.resnet_port_shapes(101, True, 21):
        if not key.startswith("clf_conv"):
            for improved in (False, True):
                assert port_name(authors_name(key, improved)) == key.rpartition(".")[0]


def test_a_bias_before_the_first_norm_is_absorbed(tmp_path: Path) -> None:
    from refineseg.model.conversion.matconvnet import MatConvNet, port_state

    moments = np.stack([np.full(64, 3.0), np.full(64, 2.0)], 1)
    params: dict[str, Any] = {
        "conv1_filter": np.zeros((7, 7, 3, 64), np.float32),
        "conv1_bias": np.full((1, 64), 0.5, np.float32),
        "bn_conv1_mult": np.ones((64, 1)),
        "bn_conv1_bias": np.zeros((64, 1)),
        "bn_conv1_moments": moments,
    }
    classifier = (np.zeros((3, 3, 256, 22)), np.zeros((1, 22)))
    state, _ = port_state(MatConvNet(params, {"res3a_branch2a": 2, "res3a_branch2b": 1}, [classifier]))
    assert "conv1.bias" not in state
    assert torch.equal(state["bn1.running_mean"], torch.full((64,), 2.5))
    torch.testing.assert_close(state["bn1.running_var"], torch.full((64,), 4 - 1e-5))
