"""The comparison: rounds, ratios, the literal baseline, the report and the command."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.speed_page import markdown_table

from refineseg.bench.baseline import baseline_network
from refineseg.bench.comparison import flop_of, rows, time_candidates
from refineseg.bench.machine import describe_machine
from refineseg.bench.networks import (
    BASELINE,
    Candidate,
    Setting,
    labels_of,
    own_candidates,
    peer_candidate,
    predictor,
    random_segmenter,
    runnable,
)
from refineseg.bench.peers import PEERS, chosen_peers
from refineseg.bench.timing import peak_memory, ratios, spread, time_in_turns
from refineseg.cli.main import main
from refineseg.errors import InputError, MissingExtraError
from refineseg.model.backbones.timm_backbone import InPlaceBatchNormAct2d
from refineseg.model.blocks import ChainedResidualPooling
from refineseg.model.memory_saving import InPlaceBatchNorm2d

CPU = torch.device("cpu")
TINY = Setting((48, 64), classes=5)


def test_rounds_are_interleaved_and_start_with_another_each_time() -> None:
    order: list[str] = []
    works = {name: (lambda name=name: order.append(name)) for name in "abc"}
    seconds = time_in_turns(works, 2, CPU)
    assert order == list("abc" + "bca" + "cab")
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2, "c": 2}


def test_ratios_are_within_rounds() -> None:
    assert spread(ratios([4.0, 9.0, 2.0], [2.0, 3.0, 2.0]), 2) == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert spread([0.123, 0.456], 1) == {"median": 0.3, "min": 0.1, "max": 0.5}
    seconds = time_in_turns({"slow": lambda: time.sleep(0.02), "fast": lambda: time.sleep(0.001)}, 2, CPU)
    assert spread(ratios(seconds["slow"], seconds["fast"]), 1)["median"] > 3


def test_peak_memory_sees_what_is_freed_again() -> None:
    peak = peak_memory(lambda: torch.ones(10 << 20).add_(1), CPU)
    if peak is None:
        pytest.skip("this system does not tell")
    assert 35 << 20 < peak < 90 << 20


@pytest.mark.parametrize("net", ["refinenet-lw-mbv2", "refinenet-r18"])
def test_the_baseline_is_the_same_network(net: str) -> None:
    segmenter = random_segmenter(net, TINY)
    old = baseline_network(segmenter.model)
    x = TINY.pictures().float() / 255
    with torch.no_grad():
        wanted, found = segmenter.model(x), old(x)
    assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))
    kinds = {type(part) for part in old.modules()}
    assert not kinds & {InPlaceBatchNorm2d, InPlaceBatchNormAct2d, ChainedResidualPooling}
    assert all(value.is_contiguous() for value in old.parameters())
    agreed = labels_of(old, TINY, "32")() == predictor(segmenter, TINY)()
    assert agreed.double().mean() > 0.99


def test_flop_are_those_of_the_convolutions() -> None:
    net = torch.nn.Conv2d(3, 8, 3, padding=1)
    assert flop_of(net, Setting((10, 20), batch=2)) == 2 * 2 * 10 * 20 * 3 * 8 * 9
    segmenter = random_segmenter("refinenet-lw-mbv2", Setting())
    assert flop_of(segmenter.model, Setting()) == pytest.approx(17e9, rel=0.05)  # 512x512


def test_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refineseg.bench.machine.SECONDS", 0.001)
    monkeypatch.setattr("refineseg.bench.machine.SIDES", (64,))
    segmenter = random_segmenter("refinenet-lw-mbv2", TINY)

    def missing() -> Any:
        raise MissingExtraError("nothing", "bench", "comparing")

    candidates = [*own_candidates(segmenter, TINY, ["torch"]), Candidate("absent", missing)]
    report = {"net": "x"} | time_candidates(candidates, TINY, 2, flop_of(segmenter.model, TINY))
    json.dumps(report)
    assert set(report["results"]) == {BASELINE, "channels_last only, float32", "refineseg float32"}
    assert report["results"][BASELINE]["faster"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    assert report["results"]["refineseg float32"]["same_labels"] > 0.99
    assert "pip install 'refineseg[bench]'" in report["skipped"]["absent"]
    assert report["machine"]["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    table = markdown_table(report)
    assert table.count("\n| ") == 1 + 4  # title and candidates
    assert [row[0] for row in rows(report)][-1] == "absent"


def test_a_training_step_gives_every_weight_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting((32, 32), batch=2, classes=5, training=True)
    segmenter = random_segmenter("refinenet-lw-mbv2", setting)
    seen: list[bool] = []
    zero = torch.nn.Module.zero_grad

    def watched(self: torch.nn.Module, set_to_none: bool = True) -> None:
        seen.append(all(value.grad is not None for value in self.parameters()))
        zero(self, set_to_none)

    monkeypatch.setattr(torch.nn.Module, "zero_grad", watched)
    works, _ = runnable(list(own_candidates(segmenter, setting, ["torch"])))
    assert all(torch.isfinite(work()) for work in works.values())
    assert seen == [True, True]


def test_peers_by_name() -> None:
    assert chosen_peers("peers") == list(PEERS)
    assert chosen_peers("none") == []
    assert chosen_peers("unet, PSPNet") == ["unet", "pspnet"]
    with pytest.raises(InputError, match="expected --against"):
        chosen_peers("yolo")


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PEERS))
def test_peers_give_labels(name: str) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    work = peer_candidate(name, Setting((64, 64), classes=5), channels_last=False).build()
    assert work().shape == (1, 64, 64)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_int8_engines_run_depthwise_convolutions(engine: str) -> None:
    pytest.importorskip("nncf")
    setting = Setting((64, 64), classes=5)
    segmenter = random_segmenter("refinenet-lw-mbv2", setting)
    (candidate,) = [c for c in own_candidates(segmenter, setting, [f"{engine}-int8"]) if "int8" in c.name]
    found = candidate.build()()
    assert found.shape == (1, 64, 64)
    assert int(found.max()) < 5


def test_machine() -> None:
    facts = describe_machine(CPU)
    assert facts["processor"]
    assert facts["threads"] >= 1


def test_the_command_plans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.json"
    assert main(["bench", "--plan", "--size", "64x96", "--batch", "2", "--json", str(file)]) == 0
    planned = json.loads(file.read_text())
    assert planned["peak_mib"] == pytest.approx(planned["resting_mib"] + planned["working_mib"], abs=0.2)
    assert "64x96, batch 2" in capsys.readouterr().out
    assert main(["bench", "--precision", "8"]) == 2
    assert main(["bench", "--engines", "abacus", "--size", "32"]) == 2
    assert "abacus" in capsys.readouterr().err
