"""The three published forms against a literal network in float64: logits, gradients, running statistics.

In float32 gradients differ by up to 2 % of their norm: max-pooling sends the gradient of equal values, of which a
rectified map has many, to whichever comes first, and rounding decides which are equal. So nothing here is float32.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from refineseg.errors import ConfigError
from refineseg.model import RefineNet, create_model, model_config
from refineseg.model.resize import bicubic
from tests.model import port_reference as port
from tests.model.literal import FORMS, Literal, imresize, resized

torch.set_num_threads(1)

BOUND = {"paper": 1e-12, "ports": 1e-12, "authors": 1e-10}  # of the norm
VARIANTS: dict[str, dict[str, Any]] = {
    "four": {},
    "two": {"cascade": "two"},
    "single": {"cascade": "single"},
    "two scales": {"input_scales": (1.2, 0.6)},
}


def network(form: str, depth: int = 18, **fields: Any) -> RefineNet:
    """A small member in float64 in which every tensor matters."""
    model = create_model(
        f"refinenet-r{depth}", 5, settings=form, width=8, coarse_width=12, init="default", dropout=0.0, **fields
    )
    draw = torch.Generator().manual_seed(depth)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 4:
                fan_in = value[0].numel()
                value.copy_(torch.randn(value.shape, generator=draw) * (1.5 / fan_in) ** 0.5)
            else:
                value.copy_(torch.rand(value.shape, generator=draw) * 0.6 + (0.4 if "weight" in name else -0.3))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=draw) * 0.2)
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=draw) + 0.5)
    return model.double().eval()


def picture(height: int = 75, width: int = 97) -> Tensor:
    draw = torch.Generator().manual_seed(height)
    return torch.rand(2, 3, height, width, generator=draw, dtype=torch.float64)


def tensors(model: RefineNet) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def distance(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).norm() / theirs.norm().clamp(min=1e-300))


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("form", list(FORMS))
def test_logits_are_those_of_the_literal_network(form: str, variant: str) -> None:
    fields = VARIANTS[variant]
    model = network(form, 50 if form == "authors" else 18, **fields)
    literal = Literal(tensors(model), 50 if form == "authors" else 18, FORMS[form])
    cascade, scales = fields.get("cascade", "four"), fields.get("input_scales")
    image = picture()
    with torch.no_grad():
        ours = model(image, upsample=False)
        assert distance(ours, literal.logits(image, cascade, scales)) < BOUND[form]
        # The comparison notices another order of pooling.
        assert distance(ours, literal.logits(image, cascade, scales, improved=True)) > 1e-3


@pytest.mark.parametrize("form", list(FORMS))
def test_gradients_and_running_statistics_are_those_of_the_literal_network(form: str) -> None:
    depth = 50 if form == "authors" else 18
    model = network(form, depth, input_scales=(1.0,)).train()
    held = tensors(model)
    names = dict(model.named_parameters())
    leaves = {key: value.requires_grad_(key in names) for key, value in held.items() if value.is_floating_point()}
    literal, image = Literal(leaves, depth, FORMS[form], training=True), picture()
    literal.logits(image, "four", (1.0,)).square().mean().backward()  # type: ignore[no-untyped-call]
    model(image, upsample=False).square().mean().backward()
    for name, parameter in names.items():
        theirs = leaves[name].grad
        assert parameter.grad is not None, name
        assert theirs is not None, name
        assert theirs.any(), name
        assert distance(parameter.grad, theirs) < 1e-9, name
    for name, value in model.state_dict().items():
        if "running_" in name:
            assert distance(value, leaves[name]) < 1e-12, name


def test_the_forms_differ_as_their_sources_do() -> None:
    paper, ports, authors = (model_config("refinenet-r101", 21, form) for form in ("paper", "ports", "authors"))
    assert ports == model_config("refinenet-r101", 21) == model_config("refinenet-r101", 21, "released")
    # Three units from block to block in all of them; the paper has two of them on the next block's path.
    for config in (paper, ports, authors):
        assert config.output_rcus + config.refined_rcus == 3
        assert config.output_rcus + config.final_rcus == 3
        assert config.rcus == 2
    assert (paper.crp_stages, ports.crp_stages, authors.crp_stages) == (2, 4, 4)
    assert (authors.input_scales, authors.upsampling, authors.stride_in_1x1) == ((1.2,), "bicubic", True)
    assert authors.mean == (128 / 255,) * 3
    assert authors.std == (1 / 255,) * 3


def test_paper_with_four_stages_is_the_port_with_its_units_elsewhere() -> None:
    """Two of the three output units of a port's block are the next block's, or stand before the classifier."""
    theirs = network("ports")
    ours = network("paper", crp_stages=4)
    state = theirs.state_dict()
    for block in range(4):
        target = "final.{}" if block == 3 else f"decoder.blocks.{block + 1}.adapt.1.{{}}"
        for unit in (1, 2):
            old, new = f"decoder.blocks.{block}.output.{unit}.", target.format(unit - 1) + "."
            state |= {new + key.removeprefix(old): state.pop(key) for key in list(state) if key.startswith(old)}
    ours.load_state_dict(state)
    image = picture()
    with torch.no_grad():
        assert torch.equal(ours(image), theirs(image))


def test_ports_form_is_the_port_in_float64() -> None:
    """The logits under the port's own names; ``test_convert`` compares more networks, in float32."""
    from refineseg.model.conversion.convert import convert_state

    state = port.random_tensors(port.resnet_port_shapes(18, True, 5))
    model, _ = convert_state(state)
    assert isinstance(model, RefineNet)
    model = model.double()
    image = picture()
    normalised = (image - model.mean) / model.std
    literal = {key: value.double() for key, value in state.items()}
    with torch.no_grad():
        assert distance(model(image, upsample=False), port.resnet_port(literal, normalised, 18, True)) < 1e-12


@torch.no_grad()
def test_authors_void_logit_is_left_out() -> None:
    with_void = network("authors", void_logit=True)
    assert with_void.classifier.out_channels == 6
    without = network("authors")
    state = with_void.state_dict()
    state |= {key: state[key][:5] for key in ("classifier.weight", "classifier.bias")}
    without.load_state_dict(state)
    assert with_void(picture()).shape[1] == 5
    torch.testing.assert_close(with_void(picture()), without(picture()), rtol=1e-12, atol=0)


def test_stride_in_the_first_convolution_changes_the_function_and_no_shape() -> None:
    first, second = network("ports", 50), network("ports", 50, stride_in_1x1=True)
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        assert distance(first(picture()), second(picture())) > 1e-2
    with pytest.raises(ConfigError, match="resnet50, resnet101 or resnet152 with stride_in_1x1, got 'resnet18'"):
        create_model("refinenet-r18", 5, stride_in_1x1=True)


def test_light_weight_networks_have_no_authors_form() -> None:
    with pytest.raises(ConfigError, match="full network with settings 'authors'"):
        create_model("refinenet-lw-r50", 5, settings="authors")


@pytest.mark.parametrize(
    ("given", "size"), [((3, 5), (6, 10)), ((3, 5), (7, 9)), ((1, 2), (9, 9)), ((8, 9), (5, 5)), ((1, 1), (1, 4))]
)
def test_bicubic_is_imresize(given: tuple[int, int], size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *given, dtype=torch.float64)
    ratios = [b / a for a, b in zip(given, size, strict=True)]
    theirs = resized(x, *(imresize(a, b, r) for a, b, r in zip(given, size, ratios, strict=True)))
    torch.testing.assert_close(bicubic(x, size), theirs, rtol=0, atol=1e-13)
    ratio = max(ratios)
    theirs = resized(x, *(imresize(a, b, ratio) for a, b in zip(given, size, strict=True)))
    torch.testing.assert_close(bicubic(x, size, one_ratio=True), theirs, rtol=0, atol=1e-13)


def test_bicubic_by_hand() -> None:
    """MATLAB: imresize([0 0 1 0 0], [1 10]), rows of the kernel at 1/4 and 3/4."""
    x = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64).view(1, 1, 1, 5)
    expected = [0, -0.0234375, -0.0703125, 0.2265625, 0.8671875, 0.8671875, 0.2265625, -0.0703125, -0.0234375, 0]
    assert bicubic(x, (1, 10)).flatten().tolist() == pytest.approx(expected, abs=1e-12)


def test_bicubic_is_as_exact_far_from_the_corner() -> None:
    x = torch.rand(1, 1, 359, 479)
    torch.testing.assert_close(bicubic(x, (431, 575)).double(), bicubic(x.double(), (431, 575)), rtol=0, atol=3e-6)


def test_dropout_of_the_presets() -> None:
    rates = {
        name: (model_config(name, 21).backbone_dropout, model_config(name, 21).classifier_dropout)
        for name in ("refinenet-r101", "refinenet-lw-r50", "refinenet-lw-mbv2", "refinenet-lw-mbv2-released")
    }
    assert rates == {
        "refinenet-r101": (0.5, 0.5),
        "refinenet-lw-r50": (0.5, 0.0),
        "refinenet-lw-mbv2": (0.0, 0.0),
        "refinenet-lw-mbv2-released": (0.0, 0.0),
    }
    model = create_model("refinenet-r50", 5, backbone_dropout=0.25, classifier_dropout=0.125)
    assert (model.decoder.dropout.p, model.dropout.p) == (0.25, 0.125)
    assert model.decoder.dropped == [False, False, True, True]
