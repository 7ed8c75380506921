"""The decoder of DPT and MiDaS, imported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from refineseg.errors import InputError, WeightsError
from refineseg.labels import LabelMap
from refineseg.model.conversion.convert import convert_checkpoint, convert_state
from refineseg.model.dpt import DecoderConfig, DPTDecoder, load_dpt_decoder, save_dpt_decoder
from refineseg.model.dpt.decoder import DPTUnit
from refineseg.model.tensors.mismatch import MismatchError
from tests.model import port_reference as port

CHANNELS = (8, 12, 16, 20)


def maps() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    sizes = ((25, 33), (13, 17), (7, 9), (4, 5))
    return [torch.randn(2, c, *size, generator=draw) for c, size in zip(CHANNELS, sizes, strict=True)]


@pytest.mark.parametrize("out_conv", [True, False], ids=["DPT", "MiDaS 2"])
@pytest.mark.parametrize("unread", [True, False])
def test_imported_decoder_is_the_published_function(tmp_path: Path, out_conv: bool, unread: bool) -> None:
    tensors = port.random_tensors(port.dpt_shapes(CHANNELS, 10, out_conv, unread))
    others = {"pretrained.conv1.weight": torch.zeros(3), "scratch.output_conv.0.weight": torch.zeros(2)}
    torch.save(tensors | others, tmp_path / "dpt.pt")
    conversion = convert_checkpoint(tmp_path / "dpt.pt", tmp_path / "decoder")
    left_out = set(others) | {name for name in tensors if "refinenet4.resConfUnit1" in name}
    assert set(conversion.left_out) == left_out
    assert conversion.tensors == len(tensors) + len(others) - len(left_out)
    decoder = load_dpt_decoder(tmp_path / "decoder")
    with torch.inference_mode():
        ours, theirs = decoder(maps()), port.dpt(tensors, maps())
    assert ours.shape == (2, 10, 50, 66)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_shortcut_matters() -> None:
    # MiDaS 2 and DPT differ in what their units add; a decoder with the other kind must not pass.
    tensors = port.random_tensors(port.dpt_shapes(CHANNELS, 10, out_conv=False))
    decoder, _ = convert_state(tensors)
    assert isinstance(decoder, DPTDecoder)
    for unit in decoder.modules():
        if isinstance(unit, DPTUnit):
            unit.rectified = False
    with torch.inference_mode():
        ours, theirs = decoder(maps()), port.dpt(tensors, maps())
    assert float((ours - theirs).norm() / theirs.norm()) > 0.01


def test_a_decoder_inside_another_programs_head(tmp_path: Path) -> None:
    tensors = port.random_tensors(port.dpt_shapes(CHANNELS, 10, out_conv=True))
    inside, _ = convert_state({f"depth_head.{key}": value for key, value in tensors.items()})
    bare, _ = convert_state(tensors)
    assert all(torch.equal(a, b) for a, b in zip(inside.parameters(), bare.parameters(), strict=True))


def test_strictness(tmp_path: Path) -> None:
    tensors = port.random_tensors(port.dpt_shapes(CHANNELS, 10, out_conv=True))
    victim = "scratch.refinenet2.resConfUnit1.conv1.bias"
    with pytest.raises(MismatchError, match="1 tensor missing"):
        convert_state({key: value for key, value in tensors.items() if key != victim})
    with pytest.raises(MismatchError, match="1 left over"):  # batch norm in the units is another network
        convert_state(tensors | {"scratch.refinenet2.resConfUnit1.bn1.weight": torch.ones(10)})
    with pytest.raises(MismatchError, match="1 of another shape"):
        convert_state(tensors | {victim: torch.zeros(11)})
    with pytest.raises(InputError, match="no classifier"):
        convert_state(tensors, reset_head=3)
    torch.save(tensors, tmp_path / "dpt.pt")
    with pytest.raises(InputError, match="no classes"):
        convert_checkpoint(tmp_path / "dpt.pt", tmp_path / "out", LabelMap.from_names(["a"]))
    with pytest.raises(WeightsError, match=r"found no .*decoder\.json"):
        load_dpt_decoder(tmp_path)
    with pytest.raises(ValueError, match="4 maps"):
        convert_state(tensors)[0](maps()[:3])


def test_a_decoder_with_batch_norm_is_read_back(tmp_path: Path) -> None:
    config = DecoderConfig(CHANNELS, (10,) * 4, 10, batch_norm=True, unit_bias=False, align_corners=False)
    save_dpt_decoder(tmp_path / "decoder", decoder := DPTDecoder(config).eval())
    read = load_dpt_decoder(tmp_path / "decoder")
    assert read.config == config
    with torch.inference_mode():
        assert torch.equal(read(maps()), decoder(maps()))
