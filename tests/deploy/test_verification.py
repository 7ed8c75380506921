"""Verification passes what is right and refuses what is deliberately broken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from refineseg.cli.main import main
from refineseg.config import ModelConfig
from refineseg.deploy import export as module
from refineseg.deploy import verification
from refineseg.deploy.export import export
from refineseg.deploy.pictures import fitted, generated_pictures
from refineseg.deploy.report import ExportReport, Int8Scores
from refineseg.deploy.trace import Exportable, trace
from refineseg.errors import RefusedError
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners.exported import Exported, ExportedRunner
from refineseg.model import RefineNet
from refineseg.model.blocks import MultiResolutionFusion
from tests.deploy import made


class Eager(ExportedRunner):
    """An exported file that is a network."""

    name = "eager"

    def __init__(self, model: RefineNet, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        super().__init__(Exported(made.segmenter(model).card, model.config, {}))
        self.model, self.change = model, change

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.change(verification.run_network(Exportable(self.model), images).numpy())


def flipped(model: RefineNet) -> RefineNet:
    """With the other corners in every fusion, as exporters do it that leave the attribute out."""
    model = copy.deepcopy(model)
    for part in model.modules():
        if isinstance(part, MultiResolutionFusion):
            part.align_corners = not part.align_corners
    return model


def swapped(model: RefineNet) -> RefineNet:
    """With mean and standard deviation swapped."""
    model = copy.deepcopy(model)
    model.mean, model.std = model.std, model.mean
    return model


SOME = verification.SIZES[:12]


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "SIZES", SOME)


def checked(engine: ExportedRunner, model: RefineNet) -> list[verification.SizeComparison]:
    seen = generated_pictures(model.config)
    return verification.compare_outputs(engine, Exportable(model), seen, lambda _done, _of: None)


def test_the_network_itself_passes(segmenter: Segmenter) -> None:
    checks = checked(Eager(copy.deepcopy(segmenter.model), lambda x: x), segmenter.model)
    assert len(checks) == 20
    assert len({(check.height, check.width) for check in checks}) == 20
    assert sum(check.height % 32 == 0 and check.width % 32 == 0 for check in checks) == 1
    assert verification.agreement(checks) == 1
    assert verification.refusal(checks) is None


@pytest.mark.usefixtures("fewer")
@pytest.mark.parametrize("broken", [flipped, swapped])
def test_broken_networks_are_refused(segmenter: Segmenter, broken: Callable[[RefineNet], RefineNet]) -> None:
    checks = checked(Eager(broken(segmenter.model), lambda x: x), segmenter.model)
    reason = verification.refusal(checks)
    assert reason is not None
    assert "99.99% of the labels" in reason


@pytest.mark.usefixtures("fewer")
def test_channels_in_another_order_are_refused(segmenter: Segmenter) -> None:
    backwards = Eager(segmenter.model, lambda x: x)
    backwards.__class__ = type("Bgr", (Eager,), {"run": lambda s, x: Eager.run(s, x[:, ::-1].copy())})
    assert verification.refusal(checked(backwards, segmenter.model)) is not None


@pytest.mark.usefixtures("fewer")
def test_drift_that_changes_no_label_is_refused_too(segmenter: Segmenter) -> None:
    """Logits that are all 3 % too large give the same labels, but not the same probabilities."""
    checks = checked(Eager(segmenter.model, lambda x: x * np.float32(1.03)), segmenter.model)
    assert verification.agreement(checks) == 1
    assert "by at most 1% of their standard deviation" in str(verification.refusal(checks))


@pytest.mark.usefixtures("fewer")
def test_not_a_number_is_refused(segmenter: Segmenter) -> None:
    assert verification.refusal(checked(Eager(segmenter.model, lambda x: x * np.float32("nan")), segmenter.model))


def test_an_engine_that_fails_at_a_size_is_refused(segmenter: Segmenter) -> None:
    def fixed(x: NDArray[np.float32]) -> NDArray[np.float32]:
        raise RuntimeError("wants 512x512")

    with pytest.raises(RefusedError, match="eager fails at 1x1: wants 512x512"):
        checked(Eager(segmenter.model, fixed), segmenter.model)
    with pytest.raises(RefusedError, match="expected logits of"):
        checked(Eager(segmenter.model, lambda x: x[..., :1, :1]), segmenter.model)


def test_agreement_is_over_all_pixels() -> None:
    checks = [verification.SizeComparison(1, 1, 1, 0.0, 0.0), verification.SizeComparison(3, 3, 1, 1.0, 0.0)]
    assert verification.agreement(checks) == pytest.approx(0.9)


def test_pictures_keep_their_middle() -> None:
    planes = np.zeros((1, 20, 40), np.float32)
    planes[:, :, 6:34] = 1  # the middle and what smoothing takes from beside it
    assert fitted(planes, 8, 8).shape == (1, 8, 8)
    assert fitted(planes, 8, 8).min() == 1


def test_pictures_at_hand() -> None:
    found = generated_pictures(ModelConfig())
    assert "grace_hopper.jpg" in found.source
    assert all(planes.shape[0] == 3 and planes.min() >= 0 and planes.max() <= 1 for planes in found.planes)
    five = ModelConfig(in_channels=5, mean=(0.1,) * 5, std=(0.05,) * 5)
    assert generated_pictures(five).planes[0].mean() == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize(("found", "refused"), [(0.6951, False), (0.6949, True), (0.71, False)])
def test_int8_may_lose_half_a_point(found: float, refused: bool) -> None:
    scored = Int8Scores("data", "train", 8, "val", 4, 0.7, found)
    assert scored.loss == pytest.approx(100 * (0.7 - found))
    assert (scored.refused is not None) == refused


@pytest.mark.parametrize("broken", [flipped, pytest.param(swapped, marks=pytest.mark.slow)])
def test_a_broken_export_leaves_a_report_and_no_file(
    segmenter: Segmenter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[RefineNet], RefineNet],
) -> None:
    monkeypatch.setattr(module, "trace", lambda network: trace(Exportable(broken(network.model))))
    with pytest.raises(RefusedError, match=r"export refused: expected 99.99% .* figures in .*model.pt2.report.md"):
        export(segmenter, tmp_path / "model.pt2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt2.report.json", "model.pt2.report.md"]
    assert json.loads((tmp_path / "model.pt2.report.json").read_text())["passed"] is False


def test_a_refusal_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model_folder: Path
) -> None:
    def refuse(*_: object, **__: object) -> ExportReport:
        raise RefusedError("export refused: it drifts")

    monkeypatch.setattr(module, "_write_and_check", refuse)
    assert main(["export", "--model", str(model_folder), "-o", str(tmp_path / "a.pt2")]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1] == "error: export refused: it drifts"
    assert not list(tmp_path.iterdir())
