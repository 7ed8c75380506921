"""What takes less memory gives what torch's own give; and the network against dilated convolution."""

from __future__ import annotations

import copy

import pytest
import torch
from benchmarks.memory import DILATED, NETWORKS, TRAINING, LiveBytes, live
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.model import create_model
from refineseg.model.backbones.timm_backbone import use_in_place_norms
from refineseg.model.memory_saving import InPlaceBatchNorm2d, max_pool5
from refineseg.training.optimizer import freeze_batch_norm

SIZES = [(1, 1), (1, 7), (4, 3), (9, 2), (13, 17)]


def lively(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    generator = torch.Generator().manual_seed(0)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert tensor is not None
        tensor.data.uniform_(0.5, 2, generator=generator)
    return norm.eval()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooling_is_torchs(size: tuple[int, int], layout: torch.memory_format) -> None:
    # Few values, so that windows have several maxima: the gradient goes to the one that torch chooses.
    x = torch.randint(-3, 3, (2, 3, *size)).float().contiguous(memory_format=layout)
    expected = F.max_pool2d(x, 5, 1, 2)
    assert torch.equal(max_pool5(x), expected)
    mine, torchs = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = torch.randn(x.shape)
    pooled = max_pool5(mine)
    assert torch.equal(pooled, expected)
    (pooled * weight).sum().backward()  # type: ignore[no-untyped-call]
    (F.max_pool2d(torchs, 5, 1, 2) * weight).sum().backward()  # type: ignore[no-untyped-call]
    assert mine.grad is not None
    assert torchs.grad is not None
    assert torch.equal(mine.grad, torchs.grad)


def test_pooling_in_several_strips_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refineseg.model.memory_saving.STRIP_BYTES", {"cpu": 1})
    x = torch.randn(1, 2, 23, 11)
    assert torch.equal(max_pool5(x), F.max_pool2d(x, 5, 1, 2))


def test_pooling_keeps_only_small_distances() -> None:
    with LiveBytes() as counted:
        x = torch.randn(1, 8, 32, 32).requires_grad_()
        pooled = max_pool5(x)
        kept = counted.now
        del pooled
    assert kept == x.nbytes * 2 + x.numel() * 2  # input, output, int16


@pytest.mark.parametrize("activated", [False, True])
def test_batch_norm_that_stands_still(activated: bool) -> None:
    norm = lively(BatchNormAct2d(4) if activated else nn.BatchNorm2d(4))
    in_place = copy.deepcopy(norm)
    use_in_place_norms(in_place)
    assert list(in_place.state_dict()) == list(norm.state_dict())
    x = torch.randn(2, 4, 5, 6)
    for frozen in (norm, in_place):
        freeze_batch_norm(frozen)
    results: list[list[Tensor]] = []
    for one in (norm, in_place):
        given = x.clone().requires_grad_()
        made = given * 2
        result = one(made)
        (result * torch.arange(6.0)).sum().backward()
        assert given.grad is not None
        results.append([result.detach(), given.grad])
        assert (made._version > 0) == (one is in_place)  # done in place
        with torch.no_grad():
            torch.testing.assert_close(one(x * 2), result.detach())
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second)


def test_batch_norm_that_is_trained_is_torchs() -> None:
    norm = nn.BatchNorm2d(4)
    in_place = copy.deepcopy(norm)
    use_in_place_norms(in_place)
    assert type(in_place) is InPlaceBatchNorm2d
    x = torch.randn(2, 4, 5, 6)
    kept = x.clone()
    for mode in (True, False):  # training; and evaluation with a gradient for the weights
        assert torch.equal(in_place.train(mode)(x), norm.train(mode)(x))
        assert torch.equal(x, kept)
    assert in_place.running_mean is not None
    assert norm.running_mean is not None
    assert torch.equal(in_place.running_mean, norm.running_mean)


def test_frozen_network_trains_as_with_torchs_own() -> None:
    """Gradients of the whole network, with frozen batch norm, against one whose norms and pools are torch's."""
    torch.manual_seed(0)
    lean = create_model("refinenet-r18", 3, width=8, coarse_width=16, dropout=0.0, init="default").train()
    for module in lean.modules():
        if isinstance(module, nn.BatchNorm2d):
            lively(module)
    plain = copy.deepcopy(lean)
    for module in plain.modules():
        if isinstance(module, InPlaceBatchNorm2d):
            module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
    x = torch.rand(1, 3, 33, 47)
    for model in (lean, plain):
        freeze_batch_norm(model)
        model(x, upsample=False).square().mean().backward()
    for (name, first), second in zip(lean.named_parameters(), plain.parameters(), strict=True):
        assert (first.grad is None) == (second.grad is None), name
        if first.grad is not None and second.grad is not None:
            torch.testing.assert_close(first.grad, second.grad, rtol=1e-3, atol=1e-5 * float(second.grad.norm()))


def test_no_map_at_stride_2_is_kept() -> None:
    backbone = create_model("refinenet-r18", 3).each_backbone()[0].eval()
    with torch.no_grad():
        sizes = [x.shape[-1] for x in backbone.maps(torch.rand(1, 3, 64, 64))]
    assert sizes == [16, 8, 4, 2]


@pytest.mark.parametrize("case", ["1024x2048", pytest.param(TRAINING, marks=pytest.mark.slow)])
def test_at_most_half_of_dilated_convolutions_memory(case: str) -> None:
    """The paper's reason to exist. Counted on the meta device; nothing is computed."""
    peaks = {name: live(name, case) for name in NETWORKS}
    assert peaks[DILATED] > 800
    for name in NETWORKS[1:]:
        assert peaks[name] <= 0.5 * peaks[DILATED]
