"""refineseg plan, also printed by train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from refineseg.cli.common import console, show_notes
from refineseg.cli.options import Device
from refineseg.system.text import counted, duration

if TYPE_CHECKING:
    from refineseg.config import TrainConfig
    from refineseg.data import SegmentationData
    from refineseg.training.planning.plan import Plan
    from refineseg.training.planning.speed import Machine


def plan(
    data: Annotated[str, Argument(metavar="DATA", help="NAME:ROOT such as folder:DIR, or a YAML file.")],
    minutes: Annotated[float | None, Option(help="Time limit of the training in minutes.")] = None,
    device: Device = "auto",
) -> None:
    """Show the settings that train would choose for a data set, and why, in seconds.

    Example: [bold]refineseg plan folder:mydata --minutes 20[/bold]
    """
    from refineseg.config import TrainConfig
    from refineseg.data import open_data
    from refineseg.data.splits.held_out import with_validation
    from refineseg.training.planning.plan import make_plan

    opened = with_validation(open_data(data))
    show_notes(opened.notes)
    show_plan(make_plan(opened, TrainConfig(minutes=minutes), device=device), data)


def show_plan(plan: Plan, data: str) -> None:
    """Print data, machine, choices and length."""
    summary, machine, batch = plan.summary, plan.machine, plan.config.batch_size
    height, width = summary.size
    pictures = f"{summary.train} train and {counted(summary.val, 'val picture')}, {width}x{height}"
    console.print(f"data: {data}, {pictures}, {counted(summary.names, 'class')}")
    speed = f", {plan.speed:.1f} pictures a second" if plan.speed is not None else ""
    console.print(f"machine: {_describe(machine)}{speed}")
    for choice in plan.choices:
        name = choice.setting.replace("fields.", "model.")
        console.print(f"  {name} = {choice.value}: {choice.reason} [{choice.option}]")
    time = "the time is shown after the first steps" if plan.minutes is None else duration(60 * plan.minutes)
    if plan.config.minutes is None:
        console.print(
            f"length: {counted(plan.steps, 'step')} of {counted(batch, 'picture')}, "
            f"{'' if plan.minutes is None else 'about '}{time}"
        )
    else:
        console.print(
            f"length: {time} by the clock, about {counted(plan.steps, 'step')} of {counted(batch, 'picture')}"
        )


def show_length(data: SegmentationData, config: TrainConfig, device: str) -> None:
    """Print data, machine and length of a run without plan."""
    from refineseg.training.planning.speed import this_machine

    pictures = f"{len(data.split('train'))} train and {counted(data.split('val'), 'val picture')}"
    console.print(f"data: {config.data}, {pictures}, {counted(data.label_map.names, 'class')}")
    console.print(f"machine: {_describe(this_machine(device))}")
    length = counted(config.steps, "step") if config.steps else counted(config.epochs, "epoch")
    if config.minutes is not None:
        length = duration(60 * config.minutes)
    console.print(
        f"length: {length}, batches of {config.batch_size}; the time left is shown after the first steps"
    )


def _describe(machine: Machine) -> str:
    """Device and, for a processor, its number of threads."""
    if machine.device != "cpu":
        return machine.device
    return f"cpu, {counted(machine.threads, 'thread')}"
