"""refineseg plan, and what train prints of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from refineseg.cli.common import console, show_notes

if TYPE_CHECKING:
    from refineseg.training.planning.plan import Plan


def plan(
    data: Annotated[str, typer.Argument(help="NAME:ROOT such as folder:DIR, or a YAML file.")],
    minutes: Annotated[float | None, typer.Option(help="Time that the training may take.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Show the settings that train would choose for a data set, and why. Takes seconds; trains nothing.

    Example: [bold]refineseg plan folder:mydata --minutes 20[/bold]
    """
    from refineseg.data import open_data
    from refineseg.data.held_out import with_validation
    from refineseg.training.planning.plan import make_plan

    opened = with_validation(open_data(data))
    show_notes(opened)
    show_plan(make_plan(opened, minutes=minutes, device=device), data)


def show_plan(plan: Plan, data: str) -> None:
    """Print data, machine, choices and expected time."""
    facts, machine = plan.facts, plan.machine
    height, width = facts.size
    what = f"{facts.train} train and {facts.val} val pictures, {len(facts.names)} classes, {width}x{height}"
    _say(f"data: {data}, {what}")
    speed = f", {plan.speed:.1f} pictures a second" if plan.speed is not None else ""
    threads = f", {machine.threads} threads" if machine.device == "cpu" else ""
    _say(f"machine: {machine.device}{threads}{speed}")
    for choice in plan.choices:
        name = choice.setting.replace("fields.", "model.")
        _say(f"  {name} = {choice.value}: {choice.reason} [{choice.option}]")
    minutes = plan.minutes
    time = "time: told after the first steps" if minutes is None else f"about {minutes:.0f} minutes"
    if minutes is not None and minutes < 1:
        time = f"about {minutes * 60:.0f} seconds"
    _say(f"length: {plan.steps} steps of {plan.config.batch_size} pictures, {time}")


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
