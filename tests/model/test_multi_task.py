"""The multi-task port's networks against a literal forward pass on their tensors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from refineseg.model.conversion.convert import convert_checkpoint, convert_state
from refineseg.model.folders.model_folder import load_model_folder
from refineseg.model.multi_task import MultiTaskRefineNet
from refineseg.model.tensors.keymaps import MULTI_TASK_PORT
from refineseg.model.tensors.mismatch import MismatchError
from tests.model import port_reference as port

TASKS = {"segm": 7, "depth": 1, "normal": 3}


def shapes(tasks: tuple[str, ...]) -> Iterator[tuple[str, port.Shape]]:
    """The light-weight port's, with a depthwise finest chain and a depthwise convolution before each head."""
    for name, shape in port.mobilenet_port_shapes(TASKS["segm"]):
        if not name.startswith("segm"):
            yield name, (256, 1, 1, 1) if name.startswith("crp1") else shape
    for task in tasks:
        yield f"pre_{task}.weight", (256, 1, 1, 1)
        yield from port.conv_shape(task, TASKS[task], 256, 3, bias=True)


def literal(t: port.Tensors, image: Tensor, task: str) -> Tensor:
    """One task's output at stride 4, one line per operation."""
    maps = port.mobilenet(t, image)
    x = F.relu6(port.conv(t, "conv8", maps[8]) + port.conv(t, "conv7", maps[7]))
    x = port.conv(t, "conv_adapt4", port.pooling(t, "crp4", x, original=True))
    stride16 = port.conv(t, "conv6", maps[6]) + port.conv(t, "conv5", maps[5])
    x = F.relu6(stride16 + port.up(x, stride16, align_corners=False))
    x = port.conv(t, "conv_adapt3", port.pooling(t, "crp3", x, original=True))
    stride8 = port.conv(t, "conv4", maps[4])
    x = F.relu6(stride8 + port.up(x, stride8, align_corners=False))
    x = port.conv(t, "conv_adapt2", port.pooling(t, "crp2", x, original=True))
    stride4 = port.conv(t, "conv3", maps[3])
    x = F.relu6(stride4 + port.up(x, stride4, align_corners=False))
    chain = x
    for k in (1, 2, 3, 4):
        chain = port.conv(t, f"crp1.0.{k}_outvar_dimred", F.max_pool2d(chain, 5, 1, 2), groups=256)
        x = x + chain
    return port.conv(t, task, F.relu6(port.conv(t, f"pre_{task}", x, groups=256)))


@pytest.mark.parametrize("tasks", [("segm", "depth"), ("segm", "depth", "normal")], ids=["two", "three"])
def test_every_head_gives_what_the_port_gives(tmp_path: Path, tasks: tuple[str, ...]) -> None:
    tensors = port.random_tensors(shapes(tasks))
    for name in [
        key for key in tensors if key.startswith(("pre_", "crp1"))
    ]:  # one input each: He's size is not it
        tensors[name] = tensors[name] * 0.3 + 0.5
    torch.save({"state_dict": tensors}, tmp_path / "port.ckpt")
    convert_checkpoint(tmp_path / "port.ckpt", tmp_path / "model")
    network, card = load_model_folder(tmp_path / "model")
    assert isinstance(network, MultiTaskRefineNet)
    assert card.labels.num_classes == TASKS["segm"]
    for size in ((65, 97), (32, 32), (1, 45)):
        images = torch.rand(1, 3, *size)
        normalised = (images - network.mean) / network.std
        with torch.inference_mode():
            ours = {"segm": network(images, upsample=False)}
            theirs = {task: literal(tensors, normalised, task) for task in tasks}
            whole = network.tasks(images)
        assert float((ours["segm"] - theirs["segm"]).norm() / theirs["segm"].norm()) < 1e-4
        assert set(whole) == {"classes", "depth", "normals"} if len(tasks) == 3 else {"classes", "depth"}
        for task, name in (("segm", "classes"), ("depth", "depth"), ("normal", "normals")):
            if task in tasks:
                full = F.interpolate(theirs[task], size, mode="bilinear", align_corners=False)
                assert whole[name].shape == (1, TASKS[task], *size)
                assert float((whole[name] - full).norm() / full.norm()) < 1e-4


def test_names_both_ways_and_strictness() -> None:
    tensors = port.random_tensors(shapes(("segm", "depth", "normal")))
    network, _ = convert_state(tensors)
    ours = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    theirs = {name for name in tensors if not name.endswith("num_batches_tracked")}
    assert {MULTI_TASK_PORT.to_theirs(name) for name in ours} == theirs
    assert {MULTI_TASK_PORT.to_ours(name) for name in theirs} == ours
    with pytest.raises(MismatchError, match="1 tensor missing"):
        convert_state({key: value for key, value in tensors.items() if key != "pre_depth.weight"})
    with pytest.raises(MismatchError, match=r"1 left over.*pre_edges"):
        convert_state(tensors | {"pre_edges.weight": torch.ones(2)})


def test_a_new_head_and_pips_wrapper(tmp_path: Path) -> None:
    tensors = port.random_tensors(shapes(("segm", "depth")))
    further = {"global_iteration": 3, "model_metadata": {"num_layers": 1}}
    torch.save({"weights": tensors, **further}, tmp_path / "a.tar")
    done = convert_checkpoint(tmp_path / "a.tar", tmp_path / "model", reset_head=2)
    assert done.reset == ("classifier.out.weight", "classifier.out.bias")
    assert load_model_folder(tmp_path / "model")[0](torch.rand(1, 3, 33, 33)).shape == (1, 2, 33, 33)
    few = {key: value for key, value in tensors.items() if key != "crp2.0.1_outvar_dimred.weight"}
    torch.save({"weights": few, **further}, tmp_path / "few.tar")
    torch.save({"weights": tensors | {"pre_edges.weight": torch.ones(2)}, **further}, tmp_path / "many.tar")
    for name, said in (("few", "1 tensor missing, 0 left over"), ("many", "0 tensors missing, 1 left over")):
        with pytest.raises(MismatchError, match=said):
            convert_checkpoint(tmp_path / f"{name}.tar", tmp_path / "refused")
        assert not (tmp_path / "refused").exists()
