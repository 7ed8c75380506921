"""The fast copy gives the network's logits, follows its weights, and steps aside where it cannot stand in."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.inference.fast.convolution import convolution_of
from refineseg.inference.fast.fast_copy import FastCopy, specialise
from refineseg.inference.fast.folding import NORMS, _observed_pairs, convs_and_norms, fold_batch_norm
from refineseg.inference.fast.mobilenet import FastDilated, FastInverted
from refineseg.inference.fast.pooling import FastPooling
from refineseg.inference.fast.winograd import Scratch, convolve, is_faster
from refineseg.model.backbones.backbone import Backbone, create_backbone
from refineseg.model.backbones.mobilenet import InvertedResidual
from refineseg.model.blocks import ChainedResidualPooling
from refineseg.model.presets import create_model
from refineseg.model.refinenet import RefineNet

SMALL = {"width": 128, "coarse_width": 128, "crp_stages": 2, "output_rcus": 1, "rcus": 1}


def lively(preset: str, **fields: Any) -> RefineNet:
    """Random weights and batch statistics that are not the identity."""
    torch.manual_seed(0)
    model = create_model(preset, 5, **fields).eval()
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.2)
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 2)
    return model


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def difference(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).norm() / other.double().norm())


@pytest.mark.parametrize(("height", "width"), [(4, 4), (33, 41), (64, 32), (1, 1), (3, 70)])
@torch.no_grad()
def test_winograd_is_the_convolution(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refineseg.inference.fast.winograd.STRIP_BYTES", 1 << 16)  # several strips
    torch.manual_seed(height)
    convolution = nn.Conv2d(24, 16, 3, padding=1)
    x, residual = last(torch.randn(2, 24, height, width)), last(torch.randn(2, 16, height, width))
    before = x.clone()
    exact = F.conv2d(x.double(), convolution.weight.double(), None, padding=1)
    bias = convolution.bias.double().view(1, -1, 1, 1)  # type: ignore[union-attr]
    scratch = Scratch()
    for _ in range(2):  # the second time scratch memory is full of the first
        assert difference(convolve(x, convolution, scratch), exact + bias) < 1e-5
    found = convolve(x, convolution, scratch, rectify=True, residual=residual)
    assert difference(found, (exact + bias).relu() + residual) < 1e-5
    assert torch.equal(x, before)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bf16")
@pytest.mark.parametrize(("preset", "fields"), [("refinenet-r18", SMALL), ("refinenet-lw-mbv2", {})])
@torch.inference_mode()
def test_bf16_has_weights_of_its_own_and_errs_no_more_than_autocast(preset: str, fields: dict[str, Any]) -> None:
    model = lively(preset, **fields)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = last(torch.rand(1, 3, 65, 90))
    exact = copy.deepcopy(model).double()(x.double(), upsample=False)
    with torch.autocast("cpu", torch.bfloat16):
        usual = difference(model(x, upsample=False).float(), exact)
    copied = FastCopy(model, torch.bfloat16).network(x)
    assert copied is not model
    assert {value.dtype for value in copied.parameters()} == {torch.bfloat16}
    assert difference(copied(x, upsample=False).float(), exact) < 1.2 * usual < 0.3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_winograd_is_left_alone_where_it_is_slower() -> None:
    assert is_faster(nn.Conv2d(256, 256, 3, padding=1), 64, 64)
    assert not is_faster(nn.Conv2d(256, 256, 3, padding=1), 16, 16)
    assert not is_faster(nn.Conv2d(256, 21, 3, padding=1), 64, 64)
    for other in ({"stride": 2}, {"dilation": 2}, {"groups": 2}, {"padding": 0}, {"padding_mode": "reflect"}):
        assert not is_faster(nn.Conv2d(256, 256, 3, **({"padding": 1} | other)), 64, 64)


@pytest.mark.parametrize("stages", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 9), (30, 21)])
@torch.inference_mode()
def test_the_pooling_chain_in_strips_is_the_chain(
    height: int, width: int, stages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refineseg.model.memory_saving.STRIP_BYTES", {"cpu": 2 * 4 * 21 * 8 * 4})  # four rows
    torch.manual_seed(0)
    for pooling in ("original", "improved"):
        for kernel in (1, 3):
            chain = ChainedResidualPooling(8, stages, pooling, kernel, nn.ReLU6).eval()
            x = last(torch.randn(2, 8, height, width) * 3)
            exact = x.double().clamp(0, 6)
            stage = exact
            for part in chain.convs:
                stage = F.max_pool2d(stage, 5, 1, 2) if pooling == "original" else stage
                stage = F.conv2d(stage, part.get_parameter("weight").double(), padding=kernel // 2)
                stage = stage if pooling == "original" else F.max_pool2d(stage, 5, 1, 2)
                exact = exact + stage
            assert difference(FastPooling(chain, Scratch())(x), exact) < 1e-5


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("expansion", [1, 6])
@pytest.mark.parametrize("size", [(17, 12), (6, 5), (8, 8)])
@torch.inference_mode()
def test_a_mobilenets_block_in_strips_is_the_block(
    size: tuple[int, int], expansion: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    block = InvertedResidual(8, 8, stride, expansion).eval()
    for index in range(1, 1 + len(block.names)):
        block.set_submodule(f"bn{index}", nn.Identity())
    x = last(torch.randn(2, 8, *size) * 3)
    wanted = block(x.clone())
    fast = FastInverted(block, Scratch())
    for rows in (2, 3, 100):
        monkeypatch.setattr(
            "refineseg.inference.fast.mobilenet.STRIP_BYTES", rows * stride * size[1] * 8 * expansion * 4
        )
        found = fast(x.clone(memory_format=torch.channels_last))
        assert difference(found, wanted) < 1e-6
        assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("channels", [(8, 8), (8, 16)])
@pytest.mark.parametrize("dilation", [2, 4])
@pytest.mark.parametrize("group", [16, 20, 100])
@torch.inference_mode()
def test_a_dilated_mobilenet_block_in_groups_is_the_block(
    channels: tuple[int, int], dilation: int, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    block = InvertedResidual(*channels, 1, 6, dilation).eval()
    for index, name in enumerate(block.names, 1):
        block.set_submodule(f"bn{index}", nn.Identity())
        convolution = convolution_of(block, name)
        convolution.bias = nn.Parameter(torch.randn(convolution.out_channels))  # as of a folded norm
    x = last(torch.randn(2, 8, 9, 7) * 3)
    monkeypatch.setattr("refineseg.inference.fast.mobilenet.GROUP", group)
    found = FastDilated(block, Scratch())(x.clone(memory_format=torch.channels_last))
    assert difference(found, block(x.clone())) < 1e-6
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("preset", "fields"),
    [
        ("refinenet-r18", SMALL),
        ("refinenet-lw-mbv2", {}),
        ("refinenet-lw-mbv2", {"output_stride": 8, "image_pooling": True, "exact_strides": True}),
        ("refinenet-lw-mbv2", {"input_scales": (1.0, 0.5), "exact_strides": True}),
        pytest.param("refinenet-r18", SMALL | {"output_stride": 8}, marks=pytest.mark.slow),
        pytest.param("refinenet-r18", SMALL | {"pooling": "improved", "crp_stages": 1}, marks=pytest.mark.slow),
        pytest.param("refinenet-lw-mbv2", {"crp_stages": 1}, marks=pytest.mark.slow),
        pytest.param("refinenet-lw-mbv2-released", {}, marks=pytest.mark.slow),
        pytest.param("refinenet-lw-r50", {"pooling": "improved"}, marks=pytest.mark.slow),
        pytest.param("refinenet-lw-r18", {"backbone": "convnext_atto"}, marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_logits_are_the_networks(preset: str, fields: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refineseg.inference.fast.winograd.FEWEST", 4)
    monkeypatch.setattr("refineseg.inference.fast.winograd.NARROWEST", 96)
    model = lively(preset, **fields)
    exact = copy.deepcopy(model).double()
    copied = specialise(model)
    for size in ((2, 3, 65, 90), (1, 3, 32, 32)):
        own, ours = [], []
        for _ in range(4):  # one picture's rounding is luck: it moves by a factor of two from draw to draw
            x = last(torch.rand(size))
            wanted = exact(x.double(), upsample=False)
            own.append(difference(model(x, upsample=False), wanted))
            ours.append(difference(copied(x, upsample=False), wanted))
        # The network itself is as far from float64.
        assert sum(ours) / len(ours) < max(1e-5, 2 * sum(own) / len(own))


@torch.no_grad()
def test_batch_norm_is_folded_and_weights_are_shared() -> None:
    model = lively("refinenet-lw-mbv2")
    copied = specialise(model)
    assert any(isinstance(part, NORMS) for part in model.modules())
    assert not any(isinstance(part, NORMS) for part in copied.modules())
    for name in ("decoder.blocks.3.fusion.convs.1.weight", "decoder.blocks.0.pooling.convs.2.weight"):
        assert any(value is model.get_parameter(name) for value in copied.parameters()), name


def test_a_norm_that_follows_something_else_stays() -> None:
    class Odd(Backbone):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            self.second, self.other = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def maps(self, image: Tensor) -> list[Tensor]:
            x = self.first(image)
            y = self.norm(x) + x  # the convolution's output is used twice
            return [self.other(self.second(y))]

    odd = Odd().eval()
    odd.norm.get_buffer("running_mean").fill_(2.0)
    x = torch.rand(1, 3, 4, 4)
    before = odd.maps(x)[0]
    fold_batch_norm(odd)
    assert isinstance(odd.norm, nn.BatchNorm2d)
    assert isinstance(odd.other, nn.Identity)  # folded into the second
    assert torch.allclose(odd.maps(x)[0], before, atol=1e-6)


def test_a_norm_after_a_convolution_of_another_class_stays() -> None:
    """Its input is freed while the network is watched; a later convolution's output may get the same id."""

    class Own(nn.Conv2d):
        """As timm's with "same" padding, or those that training computes in float32."""

    class Chain(Backbone):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential()
            for _ in range(24):
                self.layers.extend([Own(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU(True), nn.Conv2d(3, 3, 1), nn.ReLU()])

        def maps(self, image: Tensor) -> list[Tensor]:
            return [self.layers(image)]

    assert list(_observed_pairs(Chain().eval())) == []


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenetv2_released"])
def test_backbones_that_call_themselves_orderly_are(name: str) -> None:
    backbone = create_backbone(name).eval()
    assert backbone.norms_follow_convs
    pairs = list(convs_and_norms(backbone))
    assert len(pairs) == sum(isinstance(part, NORMS) for part in backbone.modules())
    assert sorted(pairs) == sorted(_observed_pairs(backbone))


@torch.no_grad()
def test_copies_are_made_while_other_threads_predict() -> None:
    model, x = lively("refinenet-lw-mbv2", width=8, coarse_width=8), last(torch.rand(1, 3, 32, 32))
    wanted = model(x, upsample=False)
    wrong: list[object] = []
    stop = threading.Event()

    def work() -> None:
        try:
            with torch.no_grad():
                while not stop.is_set():
                    if not torch.equal(model(x, upsample=False), wanted):
                        wrong.append("other logits")
        except Exception as error:
            wrong.append(error)

    other = threading.Thread(target=work)
    other.start()
    for _ in range(3):
        specialise(model)
    stop.set()
    other.join()
    assert not wrong


@torch.no_grad()
def test_the_copy_follows_the_network() -> None:
    model = lively("refinenet-lw-mbv2")
    fast, x = FastCopy(model), last(torch.rand(1, 3, 32, 32))
    first = fast.network(x)
    if first is model:
        pytest.skip("no AVX2 here: the network itself is used")
    assert fast.network(x) is first
    before = first(x, upsample=False)
    norm = next(part for part in model.modules() if isinstance(part, nn.BatchNorm2d))
    norm.weight.mul_(2.0)
    after = fast.network(x)(x, upsample=False)
    assert not torch.allclose(before, after)
    assert difference(after, model(x, upsample=False)) < 1e-3
    model.load_state_dict(lively("refinenet-lw-mbv2").state_dict())
    assert torch.equal(fast.network(x)(x, upsample=False), before)


def test_the_network_itself_is_used_where_the_copy_cannot_stand_in() -> None:
    model = lively("refinenet-lw-mbv2")
    fast, x = FastCopy(model), torch.rand(1, 3, 32, 32)
    assert fast.network(x) is model  # gradients are needed
    with torch.no_grad():
        model.train()
        assert fast.network(x) is model
        model.eval()
        with torch.autocast("cpu", torch.bfloat16):
            assert fast.network(x) is model
        handle = model.classifier.register_forward_hook(lambda *_: None)
        assert fast.network(x) is model
        handle.remove()
        assert fast.network(x.double()) is model


def test_scratch_is_a_threads_own_and_may_be_used_in_any_mode() -> None:
    scratch = Scratch()
    with torch.inference_mode():
        scratch.take("x", 2, 3).zero_()
    scratch.take("x", 3, 2).fill_(1.0)
    assert scratch.take("x", 6).sum() == 6
    assert scratch.take("x", 9).shape == (9,)
