"""Candidates of ``refineseg bench``: the baseline, our predictor, exported files, peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.bench.baseline import baseline_network
from refineseg.bench.peers import PEERS
from refineseg.errors import InputError, RefinesegError
from refineseg.inference.options import PredictOptions
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners.exported import SUFFIXES, open_exported
from refineseg.labels import LabelMap
from refineseg.model.folders.card import ModelCard
from refineseg.model.presets import create_model
from refineseg.model.refinenet import RefineNet
from refineseg.system.text import reason_of

BASELINE = "baseline: published implementation, float32"
SUFFIX = {"onnxruntime": ".onnx", "openvino": ".xml"}  # suffix of the file that an engine runs
INT8 = "-int8"  # after an engine's name
ENGINES = ("torch", "compiled", *SUFFIX, *(name + INT8 for name in SUFFIX))
CPU = torch.device("cpu")
Work = Callable[[], Tensor]  # labels BxHxW, or a training step's loss


@dataclass(frozen=True)
class Setting:
    """The task of all candidates."""

    size: tuple[int, int] = (512, 512)  # height and width of the pictures, in pixels
    batch: int = 1  # pictures at a time
    precision: str = "32"  # ``32`` or ``bf16``; the baseline is always float32
    classes: int = 21
    training: bool = False  # a step of forward, loss and backward in place of prediction
    device: torch.device = CPU  # device of all candidates

    def to_dict(self) -> dict[str, Any]:
        """All but the device, for JSON."""
        height, width = self.size
        sizes = {"height": height, "width": width, "batch": self.batch, "precision": self.precision}
        return sizes | {"classes": self.classes, "mode": "training step" if self.training else "prediction"}

    def pictures(self) -> Tensor:
        """Bx3xHxW uint8, reproducible, smooth with noise."""
        rng = np.random.default_rng(0)
        coarse = torch.from_numpy(rng.random((self.batch, 3, 9, 9), np.float32))
        fine = torch.from_numpy(rng.random((self.batch, 3, *self.size), np.float32))
        mixed = F.interpolate(coarse, self.size, mode="bilinear") * 200 + fine * 55
        return mixed.to(torch.uint8).to(self.device)

    def labels(self) -> Tensor:
        """BxHxW int64, to train on."""
        rng = np.random.default_rng(1)
        return torch.from_numpy(rng.integers(0, self.classes, (self.batch, *self.size))).to(self.device)


@dataclass(frozen=True)
class Candidate:
    """A timed call, prepared by ``build``; ``own`` ones run the baseline's network and should give its labels."""

    name: str
    build: Callable[[], Work]
    own: bool = False


def random_network(preset: str, classes: int) -> RefineNet:
    """A preset with reproducible random weights that keep the variance of activations."""
    torch.manual_seed(0)
    model = create_model(preset, classes)
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
    return model.eval()


def random_segmenter(preset: str, setting: Setting) -> Segmenter:
    """A predictor of a network with random weights."""
    labels = LabelMap.from_names([f"class {index}" for index in range(setting.classes)])
    return Segmenter.from_network(
        random_network(preset, setting.classes), ModelCard(preset, labels), str(setting.device), setting.precision
    )


def own_candidates(segmenter: Segmenter, setting: Setting, engines: Sequence[str]) -> Iterator[Candidate]:
    """The baseline and other ways to run the same weights."""
    unknown = [name for name in engines if name not in ENGINES]
    if unknown:
        raise InputError(f"expected --engines among {', '.join(ENGINES)}, got {unknown[0]!r}")
    model = segmenter.model
    name = f"refineseg {'bf16' if setting.precision == 'bf16' else 'float32'}"
    plain = name if setting.training else f"channels_last only, {name.split()[1]}"
    yield Candidate(BASELINE, lambda: work_of(baseline_network(model), setting, "32"), own=True)
    yield Candidate(plain, lambda: work_of(model, setting, setting.precision, channels_last=True), own=True)
    if setting.training:
        return
    if "torch" in engines:
        yield Candidate(name, lambda: predictor(segmenter, setting), own=True)
    if "compiled" in engines:
        yield Candidate(f"{name}, compiled", lambda: compiled(segmenter, setting), own=True)
    for engine in SUFFIX:
        if engine in engines:
            yield Candidate(f"{name}, {engine}", partial(exported, segmenter, engine, setting), own=True)
        if engine + INT8 in engines:
            work = partial(exported, segmenter, engine, replace(setting, precision="32"), True)
            yield Candidate(f"refineseg int8, {engine}", work, own=True)


def exported(segmenter: Segmenter, engine: str, setting: Setting, int8: bool = False) -> Work:
    """The network in another engine, exported for this run alone, int8 calibrated on its pictures.

    Only for its speed: ``refineseg export`` verifies its files.
    """
    from refineseg.deploy.export import description
    from refineseg.deploy.formats import check_packages, write_format
    from refineseg.deploy.int8 import to_int8
    from refineseg.deploy.options import ExportOptions
    from refineseg.deploy.trace import Exportable, trace

    format = "onnx" if engine == "onnxruntime" else engine
    check_packages(format)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"network{SUFFIX[engine]}"
        traced = trace(Exportable(segmenter.model))
        write_format(traced, format, path, description(segmenter, format, ExportOptions()))
        if int8:
            picture = setting.pictures()[:1].float().div(255).numpy()
            made = path.with_stem("int8")
            text = description(segmenter, format, ExportOptions(int8=True))
            to_int8(format, path, made, [lambda: picture], text)
            path = made
        return work_of_file(path, engine, setting)


def file_candidates(paths: Sequence[Path], setting: Setting) -> Iterator[Candidate]:
    """Files written by ``refineseg export``, each in all engines that run it."""
    for path in paths:
        for engine in SUFFIXES.get(path.suffix.lower(), ("auto",)):
            yield Candidate(f"{path.name}, {engine}", partial(work_of_file, path, engine, setting))


def work_of_file(path: Path, engine: str, setting: Setting) -> Work:
    """Prediction with an exported file."""
    if setting.batch != 1 or setting.training:
        raise InputError("expected --batch 1 and prediction with files and engines other than torch")
    runner = open_exported(path, engine, setting.precision)
    segmenter = Segmenter(runner, runner.exported.card)
    picture = setting.pictures()[0].permute(1, 2, 0).contiguous().cpu().numpy()
    return lambda: torch.from_numpy(segmenter.predict(picture).labels)[None]


def peer_candidate(name: str, setting: Setting, channels_last: bool) -> Candidate:
    """Another network, as its package builds it, or with channels last."""

    def build() -> Work:
        torch.manual_seed(0)
        net = PEERS[name](setting.classes).to(setting.device).eval()
        if channels_last:
            net = net.to(memory_format=torch.channels_last)
        return work_of(net, setting, setting.precision, channels_last)

    return Candidate(name + (", channels_last" if channels_last else ""), build)


def work_of(net: nn.Module, setting: Setting, precision: str, channels_last: bool = False) -> Work:
    """Prediction, or a training step."""
    return (step_of if setting.training else labels_of)(net, setting, precision, channels_last)


def labels_of(net: nn.Module, setting: Setting, precision: str, channels_last: bool = False) -> Work:
    """Prediction with any network whose logits have the input's size."""
    form = torch.channels_last if channels_last else torch.contiguous_format
    x = (setting.pictures().float() / 255).contiguous(memory_format=form)

    @torch.inference_mode()
    def work() -> Tensor:
        with torch.autocast(setting.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits: Tensor = net(x)
        return logits.argmax(1).to(torch.uint8)

    return work


def predictor(segmenter: Segmenter, setting: Setting) -> Work:
    """Prediction with our predictor."""
    pictures = setting.pictures().permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return lambda: torch.from_numpy(segmenter.segment(pictures, PredictOptions())[0])


def compiled(segmenter: Segmenter, setting: Setting) -> Work:
    """Prediction with torch.compile, which needs a C++ compiler on a CPU."""
    net = cast(nn.Module, torch.compile(segmenter.model, dynamic=False))
    work = labels_of(net, setting, setting.precision, channels_last=True)
    try:
        work()
    except Exception as error:
        raise InputError(f"torch.compile does not work here: {type(error).__name__}") from error
    return work


def step_of(net: nn.Module, setting: Setting, precision: str, channels_last: bool = False) -> Work:
    """Forward, full-size cross-entropy and backward; gradients are dropped afterwards."""
    form = torch.channels_last if channels_last else torch.contiguous_format
    x = (setting.pictures().float() / 255).contiguous(memory_format=form)
    labels = setting.labels()
    net.train()

    def work() -> Tensor:
        with torch.autocast(setting.device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = F.cross_entropy(net(x).float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        net.zero_grad(set_to_none=True)
        return loss.detach()

    return work


def runnable(candidates: Sequence[Candidate]) -> tuple[dict[str, Work], dict[str, str]]:
    """The candidates that can run, by name, and reasons why the others cannot."""
    works: dict[str, Work] = {}
    skipped: dict[str, str] = {}
    for candidate in candidates:
        try:
            works[candidate.name] = candidate.build()
        except (RefinesegError, ImportError) as error:
            skipped[candidate.name] = reason_of(error, 1000)
    return works, skipped
