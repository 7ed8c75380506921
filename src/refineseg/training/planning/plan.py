"""The plan of a training run: data, machine, choices and duration."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from refineseg.config import TrainConfig
from refineseg.data.dataset import SegmentationData
from refineseg.model.presets import PRESETS, SETTINGS
from refineseg.system.text import counted
from refineseg.training.planning.choose import (
    DEEP_FROM,
    QUICK,
    Choice,
    choose_balance,
    choose_crop,
    choose_network,
    choose_precision,
    choose_scales,
    choose_start,
)
from refineseg.training.planning.data_summary import DataSummary, measure_data
from refineseg.training.planning.speed import Machine, images_per_second, this_machine

EPOCHS = 60  # if no time is given
LEAST_STEPS, MOST_STEPS = 200, 6000
LONGEST = 60  # minutes of a training without --minutes
VALIDATIONS = 10
VAL_SPEED = 3  # speed of prediction relative to training
FEW_STEPS = 150  # fewer steps are worse than smaller batches
FINE_TUNING_RATE = 5e-4  # docs/notebook/experiments.md, people 4


@dataclass(frozen=True)
class Plan:
    """The plan of a training run."""

    summary: DataSummary
    machine: Machine
    config: TrainConfig  # settings, including the choices
    choices: tuple[Choice, ...]  # chosen settings, in the order of display
    steps: int  # total number of optimiser steps; an estimate if the time is given
    speed: float | None = None  # measured training pictures per second; None if the length is given

    @property
    def minutes(self) -> float | None:
        """The given or expected duration, including validations; None if no speed was measured."""
        if self.config.minutes is not None or self.speed is None:
            return self.config.minutes
        validations = min(VALIDATIONS, self.steps) * self.summary.val / VAL_SPEED
        return (self.steps * self.config.batch_size + validations) / self.speed / 60


def make_plan(
    data: SegmentationData, config: TrainConfig | None = None, explicit: Collection[str] = (), device: str = "auto"
) -> Plan:
    """Choose all settings that are not explicit (``batch_size``, ``augment.crop``, ``fields.width`` ...).

    The data has ``train`` and ``val``. Without ``minutes`` the run takes at most an hour.
    """
    summary, machine = measure_data(data), this_machine(device)
    making = _Making(config or TrainConfig(), explicit)
    own_fields = any(name.startswith("fields.") for name in explicit)
    making.take(choose_start(summary, own_fields, making.config.class_map))
    preset = making.config.model in PRESETS
    own_network = preset and "model" not in explicit
    if own_network:
        backbone = str((PRESETS[making.config.model] | making.config.fields)["backbone"])
        for choice in choose_network(summary, making.config.steps, backbone):
            making.take(choice)
    form = SETTINGS.get(str(making.config.fields.get("settings")), {})
    scale = float((form | making.config.fields).get("input_scales", [1.0])[0])
    making.take(choose_crop(summary, machine, scale))
    making.take(choose_scales(summary, list(making.config.augment.crop)))
    making.take(choose_precision(machine))
    for choice in choose_balance(summary):
        making.take(choice)
    if not preset:
        making.take(Choice("lr", FINE_TUNING_RATE, "a trained model needs smaller steps than a new one"))
    speed = None
    steps = making.config.steps or making.config.epochs * max(1, summary.train // making.config.batch_size)
    if not {"steps", "epochs"} & set(explicit):
        speed, steps = _choose_length(making, summary, machine, own_network)
    every = max(1, steps * making.config.batch_size // summary.train // VALIDATIONS)
    making.take(Choice("validate_every", every, f"in epochs: about {VALIDATIONS} validations"))
    return Plan(summary, machine, making.config, tuple(making.choices.values()), steps, speed)


class _Making:
    """Settings in the making; explicit ones do not change."""

    def __init__(self, start: TrainConfig, explicit: Collection[str]) -> None:
        self.start, self.explicit = start, explicit
        self.choices: dict[str, Choice] = {}  # by setting

    @property
    def config(self) -> TrainConfig:
        """The settings with all choices."""
        values: dict[str, Any] = self.start.to_dict()
        for choice in self.choices.values():
            group, _, name = choice.setting.rpartition(".")
            (values[group] if group else values)[name] = choice.value
        return TrainConfig.from_dict(values)

    def take(self, choice: Choice) -> None:
        """Add a choice, unless the setting is explicit; replaces an earlier one."""
        if choice.setting not in self.explicit:
            self.choices.pop(choice.setting, None)  # the newest is shown last
            self.choices[choice.setting] = choice


def _choose_length(making: _Making, data: DataSummary, machine: Machine, own_network: bool) -> tuple[float, int]:
    """Speed and steps, after choosing four blocks instead of one and the batch size by time."""
    speed = _measure(making, data, machine)
    steps = _steps(making.config, data, speed)
    if own_network and steps >= DEEP_FROM:
        for name in QUICK:
            making.choices.pop(f"fields.{name}", None)
        speed = _measure(making, data, machine)
        steps = _steps(making.config, data, speed)
    if steps < FEW_STEPS and making.config.batch_size > 4:
        making.take(
            Choice("batch_size", 4, f"the time is enough for only {counted(steps, 'step')} of a larger batch")
        )
        steps = _steps(making.config, data, speed)
    if making.config.minutes is None:
        epochs = max(1, round(steps * making.config.batch_size / data.train))
        reason = (
            f"every picture about {counted(epochs, 'time')}, an hour at most, at {speed:.1f} pictures a second"
        )
        making.take(Choice("steps", steps, reason))
    return speed, steps


def _measure(making: _Making, summary: DataSummary, machine: Machine) -> float:
    """Pictures per second, after reducing the batch size to fit in memory."""
    config = making.config
    if config.model not in PRESETS:  # model folders are measured as the most similar preset
        config = replace(config, model="refinenet-lw-mbv2", fields={})
    channels = 3 if summary.rgb else int(config.fields.get("in_channels", 3))
    speed, batch = images_per_second(config, len(summary.names), channels, machine.device)
    reason = "enough for batch norm" if batch == config.batch_size else "as much as fits in memory"
    making.take(Choice("batch_size", batch, reason))
    return speed


def _steps(config: TrainConfig, summary: DataSummary, speed: float) -> int:
    """Number of steps for the given time, or sensible within an hour."""
    batch = config.batch_size
    seconds = (config.minutes or LONGEST) * 60
    validating = VALIDATIONS * summary.val / VAL_SPEED / speed
    if config.minutes:
        validating = min(validating, 0.1 * seconds)
    possible = max(10, int((seconds - validating) * speed / batch))
    sensible = min(MOST_STEPS, max(LEAST_STEPS, EPOCHS * summary.train // batch))
    return possible if config.minutes else min(possible, sensible)
