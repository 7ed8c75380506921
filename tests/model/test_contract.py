"""One contract that every member of the family keeps."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from refineseg.errors import ConfigError, LabelError
from refineseg.labels import LabelMap
from refineseg.model import PRESETS, RefineNet, create_model, model_config
from refineseg.model.folders.model_folder import ModelCard, load_model_folder, save_model_folder
from refineseg.model.refinenet import Decoder
from tests.model.filled import fill, picture

GOLDEN = Path(__file__).parents[1] / "golden" / "logits.json"
PUBLISHED = {  # trainable parameters with 21 classes
    "refinenet-r101": 118_052_437,
    "refinenet-lw-r50": 27_357_525,
    "refinenet-lw-r101": 46_349_653,
    "refinenet-lw-r152": 61_993_301,
    "refinenet-lw-mbv2-released": 3_284_565,
    "refinenet-lw-mbv2": 3_284_565 - 32 * 32 - 2 * 32,  # without the expansion convolution and its norm
}
RESNETS = {18: 11_176_512, 34: 21_284_672, 50: 23_508_032, 101: 42_500_160, 152: 58_143_808}  # without classifier
VARIANTS: dict[str, dict[str, Any]] = {
    "mbv2": {"preset": "refinenet-lw-mbv2"},
    "mbv2-released": {"preset": "refinenet-lw-mbv2-released"},
    "lw-r18": {"preset": "refinenet-lw-r18"},
    "r18": {"preset": "refinenet-r18", "width": 32, "coarse_width": 64},
    "r18-paper": {"preset": "refinenet-r18", "width": 32, "coarse_width": 64, "settings": "paper"},
    "r50-authors": {"preset": "refinenet-r50", "width": 32, "coarse_width": 64, "settings": "authors"},
    "r18-improved": {"preset": "refinenet-r18", "width": 32, "coarse_width": 64, "pooling": "improved"},
    "r18-two": {"preset": "refinenet-r18", "width": 32, "coarse_width": 64, "cascade": "two"},
    "r18-single": {"preset": "refinenet-r18", "width": 32, "coarse_width": 64, "cascade": "single"},
    "r18-2-scale": {"preset": "refinenet-r18", "width": 32, "coarse_width": 64, "input_scales": (1.2, 0.6)},
    "lw-r50": {"preset": "refinenet-lw-r50", "width": 32, "coarse_width": 64},
    "convnext": {"preset": "refinenet-lw-r18", "backbone": "convnext_atto", "width": 32, "coarse_width": 64},
    "pvt": {"preset": "refinenet-lw-r18", "backbone": "pvt_v2_b0", "width": 32, "coarse_width": 64},
}
SIZES = [(1, 1), (2, 67), (33, 47), (64, 96)]
LABELS = LabelMap.from_names([f"class {index}" for index in range(5)])


def variant(name: str) -> RefineNet:
    model = create_model(num_classes=5, **VARIANTS[name])
    fill(model)
    return model


@pytest.fixture(scope="module", params=list(VARIANTS))
def named(request: pytest.FixtureRequest) -> tuple[str, RefineNet]:
    return request.param, variant(request.param)


def counted_from_the_table(depth: int, light: bool) -> int:
    """Parameters of a ResNet member, added up from the table of the released networks (21 classes)."""
    square = 1 if light else 9  # kernel area
    wide = 1 if depth < 50 else 4
    maps = [64 * wide, 128 * wide, 256 * wide, 512 * wide]
    widths = [256, 256, 256, 512]
    total = RESNETS[depth]
    for channels, width in zip(maps, widths, strict=True):
        rcu = 2 * square * width * width + width  # first convolution with bias, second without
        total += square * channels * width  # adaptation
        total += 4 * square * width * width  # pooling stages, at the block's output width
        total += 0 if light else 2 * rcu + 3 * rcu
    total += 3 * square * 256 * 256  # fusion convolutions of the backbone paths
    total += square * 512 * 256 + 2 * square * 256 * 256  # and of the coarser blocks' outputs
    return total + 9 * 256 * 21 + 21


@pytest.mark.parametrize("preset", list(PRESETS))
def test_parameter_counts(preset: str) -> None:
    with torch.device("meta"):
        model = create_model(preset, 21)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == PUBLISHED.get(preset, count)
    if preset.rpartition("-")[2].removeprefix("r").isdecimal():
        assert count == counted_from_the_table(int(preset.rpartition("r")[2]), "-lw-" in preset)


def test_paper_settings_differ_from_the_ports_as_the_text_says() -> None:
    paper, ports = model_config("refinenet-r101", 21, "paper"), model_config("refinenet-r101", 21)
    assert (paper.crp_stages, paper.output_rcus, paper.refined_rcus, paper.final_rcus) == (2, 1, 2, 2)
    assert (ports.crp_stages, ports.output_rcus, ports.refined_rcus, ports.final_rcus) == (4, 3, 0, 0)
    # Two pooling convolutions less in every block; as many units as in the ports, in other places.
    fewer = 2 * 9 * 512 * 512 + 3 * 2 * 9 * 256 * 256
    with torch.device("meta"):
        model = create_model("refinenet-r101", 21, settings="paper")
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED["refinenet-r101"] - fewer


def test_block_types_of_the_published_network() -> None:
    with torch.device("meta"):
        model = create_model("refinenet-r101", 21)
    kinds = Counter(type(module).__name__ for module in model.decoder.modules())
    assert kinds["RefineNetBlock"] == 4
    assert kinds["ResidualConvUnit"] == 4 * 2 + 4 * 3
    assert kinds["ChainedResidualPooling"] == 4
    assert kinds["BatchNorm2d"] == 0
    sizes = Counter(module.kernel_size for module in model.decoder.modules() if isinstance(module, nn.Conv2d))
    assert set(sizes) == {(3, 3)}
    assert [block.out_channels for block in model.decoder.blocks] == [512, 256, 256, 256]
    assert model.decoder.dropped == [False, False, True, True]


def test_light_weight_has_only_1x1_but_the_classifier() -> None:
    with torch.device("meta"):
        model = create_model("refinenet-lw-r101", 21)
    sizes = {module.kernel_size for module in model.decoder.modules() if isinstance(module, nn.Conv2d)}
    assert sizes == {(1, 1)}
    assert model.classifier.kernel_size == (3, 3)
    assert not any(type(module).__name__ == "ResidualConvUnit" for module in model.modules())


@torch.no_grad()
def test_any_size(named: tuple[str, RefineNet]) -> None:
    _, model = named
    scale = model.config.input_scales[0]
    for height, width in SIZES:
        x = picture(height, width, batch=2)
        assert model(x).shape == (2, 5, height, width)
        low = [-(-max(1, round(side * scale)) // 4) for side in (height, width)]
        assert model(x, upsample=False).shape == (2, 5, *low)


@torch.no_grad()
def test_eval_is_deterministic_and_leaves_the_input_alone(named: tuple[str, RefineNet]) -> None:
    _, model = named
    x = picture(33, 47)
    kept = x.clone()
    assert torch.equal(model(x), model(x))
    assert torch.equal(x, kept)


@torch.no_grad()
def test_with_and_without_autograd_agree(named: tuple[str, RefineNet]) -> None:
    """In-place sums at inference must not change the function; frozen batch norm is rounded otherwise."""
    _, model = named
    x = picture(33, 47)
    with torch.enable_grad():
        tracked = model(x, upsample=False).detach()
    torch.testing.assert_close(
        model(x, upsample=False), tracked, rtol=1e-5, atol=3e-5 * float(tracked.abs().max())
    )


def test_gradient_reaches_every_parameter(named: tuple[str, RefineNet]) -> None:
    name, _ = named
    model = variant(name).train()  # filled: timm starts the last norm of each residual at zero
    torch.manual_seed(0)
    model(torch.rand(2, 3, 64, 96)).square().mean().backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert not without
    zero = [key for key, parameter in model.named_parameters() if not parameter.grad.abs().sum() > 0]  # type: ignore[union-attr]
    assert not zero


@torch.no_grad()
def test_golden_logits(named: tuple[str, RefineNet]) -> None:
    """Numbers kept in the repository; made by ``python -m tests.model.test_contract``."""
    name, model = named
    golden = json.loads(GOLDEN.read_text())[name]
    logits = model(picture(33, 47), upsample=False).double()
    assert list(logits.shape) == golden["shape"]
    norm = golden["norm"]
    assert float(logits.norm()) == pytest.approx(norm, rel=1e-3)
    sampled = logits.flatten()[:: golden["every"]]
    torch.testing.assert_close(sampled, torch.tensor(golden["values"]).double(), rtol=0, atol=1e-4 * norm)


@torch.no_grad()
def test_save_and_load_are_equal(named: tuple[str, RefineNet], tmp_path: Path) -> None:
    name, model = named
    save_model_folder(tmp_path / "model", model, ModelCard(name, LABELS, licence="none"))
    loaded, info = load_model_folder(tmp_path / "model")
    assert info.labels == LABELS
    assert info.name == name
    assert loaded.config == model.config
    x = picture(33, 47)
    assert torch.equal(loaded(x), model(x))


@torch.no_grad()
def test_half_storage_is_close_and_half_as_large(tmp_path: Path) -> None:
    model, x = variant("mbv2"), picture(33, 47)
    for half in (False, True):
        save_model_folder(tmp_path / str(half), model, ModelCard("x", LABELS), half=half)
    sizes = [(tmp_path / str(half) / "model.safetensors").stat().st_size for half in (False, True)]
    assert sizes[1] < 0.55 * sizes[0]
    loaded, _ = load_model_folder(tmp_path / "True")
    assert float((loaded(x) - model(x)).norm() / model(x).norm()) < 5e-3


def test_decoder_frees_maps() -> None:
    decoder = Decoder(model_config("refinenet-lw-r18", 5), [64, 128, 256, 512], [4, 8, 16, 32]).eval()
    maps = [torch.rand(1, c, s, s) for c, s in ((64, 16), (128, 8), (256, 4), (512, 2))]
    with torch.no_grad():
        assert decoder(maps).shape == (1, 256, 16, 16)
    assert maps == []


def test_normalisation_is_inside() -> None:
    model = variant("lw-r18")
    other = create_model("refinenet-lw-r18", 5, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    other.load_state_dict(model.state_dict())
    x = picture(32, 32)
    torch.testing.assert_close(model(x), other.eval()((x - model.mean) / model.std))


def test_shape_error_says_what_to_do() -> None:
    model = variant("lw-r18")
    with pytest.raises(
        ValueError, match=r"expected images of shape \(B, 3, H, W\).*got \(3, 8, 8\).*batch dimension"
    ):
        model(torch.rand(3, 8, 8))


@pytest.mark.parametrize(
    ("preset", "fields", "message"),
    [
        ("refinenet-r99", {}, "unknown preset"),
        ("refinenet-r18", {"settings": "mine"}, "unknown settings"),
        ("refinenet-r18", {"crp_stage": 2}, "did you mean crp_stages"),
        ("refinenet-r18", {"pooling": "best"}, "pooling to be one of original, improved"),
        ("refinenet-r18", {"backbone": "no_such_net"}, "timm model"),
        ("refinenet-r18", {"dropout": 1.5}, "backbone_dropout in"),
        ("refinenet-r18", {"classifier_dropout": -0.5}, "classifier_dropout in"),
        ("refinenet-r18", {"upsampling": "bicubic"}, "align_corners false with bicubic"),
        ("refinenet-r18", {"mean": (0.5,)}, "one mean and std"),
    ],
)
def test_wrong_settings(preset: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_model(preset, 5, **fields)


@torch.no_grad()
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_identity_carries_the_coarser_block_through(kernel_size: int) -> None:
    """With nothing from the finer maps, the coarsest block's output arrives at the end, only enlarged."""
    fields: dict[str, Any] = {"kernel_size": kernel_size, "width": 16, "coarse_width": 16, "crp_stages": 0}
    decoder = create_model("refinenet-lw-r18", 5, init="identity", **fields).eval().decoder
    for block in list(decoder.blocks)[1:]:
        torch.nn.init.zeros_(next(block.get_submodule("adapt").parameters()))
    maps = [torch.rand(1, 64 * factor, 32 // factor, 48 // factor) for factor in (1, 2, 4, 8)]
    enlarged = decoder.blocks[0](maps[3])
    for side in ((8, 12), (16, 24), (32, 48)):
        enlarged = torch.nn.functional.interpolate(enlarged, side, mode="bilinear", align_corners=True)
    torch.testing.assert_close(decoder(maps), enlarged)


def test_wrong_number_of_classes() -> None:
    with pytest.raises(ConfigError, match="num_classes"):
        create_model("refinenet-lw-r18", 0)
    with pytest.raises(LabelError):
        LabelMap.from_names([str(index) for index in range(256)])


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("preset", [name for name in PRESETS if not name.endswith(("r18", "mbv2", "released"))])
def test_large_presets_run(preset: str) -> None:
    model = fill(create_model(preset, 21))
    assert torch.isfinite(model(picture(65, 97))).all()


def make_golden() -> None:
    """Write the golden file anew; only for a change of the network that is meant."""
    golden = {}
    for name in VARIANTS:
        with torch.no_grad():
            logits = variant(name)(picture(33, 47), upsample=False).double()
        every = max(1, logits.numel() // 40)
        values = [float(f"{value:.6g}") for value in logits.flatten()[::every].tolist()]
        golden[name] = {
            "shape": list(logits.shape),
            "norm": float(logits.norm()),
            "every": every,
            "values": values,
        }
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    make_golden()
