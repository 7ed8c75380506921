"""RUN/index.html: a self-contained page on a training run, updated after every validation."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from refineseg.channels import display_rgb
from refineseg.config.settings import flat
from refineseg.data.dataset import SegmentationData, evenly_spaced
from refineseg.evaluation.evaluate import Evaluation
from refineseg.evaluation.metrics import Floats
from refineseg.evaluation.report import sections
from refineseg.evaluation.report.charts import history_chart, percent
from refineseg.evaluation.report.overlays import panels
from refineseg.evaluation.report.style import SCRIPT, STYLE
from refineseg.html import document, fact_list, header, section
from refineseg.labels import UInt8
from refineseg.system.files import atomic_write
from refineseg.system.processes import own_share
from refineseg.system.text import counted, duration
from refineseg.training.custom import TrainingEvent
from refineseg.training.run import BEST, CURVES, PAGE, Run

SHOWN = 8  # val pictures on the page
REFRESH = 15  # seconds between reloads while the run goes on
State = Literal["running", "finished", "stopped"]
CSS_CLASSES: dict[State, str] = {"running": "note", "finished": "", "stopped": "warning"}  # of the header
OWN_STYLE = """
.said { margin: 18px 0 0; padding-left: 18px; } .settings { columns: 2 320px; font-size: 13px; }
.settings div { display: flex; gap: 12px; justify-content: space-between; break-inside: avoid; padding: 2px 0;
  border-bottom: 1px solid var(--line); } .settings dd { margin: 0; text-align: right; }
summary { cursor: pointer; font-size: 18px; font-weight: 600; margin: 40px 0 12px; }
"""


@dataclass
class Examples:
    """A measure on ``val`` that keeps views of a few pictures (``report.overlays.panels``) by index and name."""

    data: SegmentationData
    views: dict[int, dict[str, UInt8]] = field(default_factory=dict)
    _next: int = -1

    def add(self, truth: UInt8, prediction: UInt8, probabilities: NDArray[np.float16]) -> None:  # noqa: ARG002
        """Keep the views of a picture if it is one of those shown."""
        samples = self.data.split("val")
        if self._next < 0:
            self._next = own_share(len(samples)).start
        if self._next in evenly_spaced(range(len(samples)), SHOWN):
            picture = display_rgb(self.data.read_picture(samples[self._next].image), self.data.channels)
            self.views[self._next] = panels(picture, truth, prediction, self.data.label_map)
        self._next += 1

    def merge(self, other: Examples) -> None:
        """Add the pictures of another process."""
        self.views |= other.views

    def to_dict(self, names: list[str]) -> dict[str, Any]:  # noqa: ARG002
        """Empty: there are no figures."""
        return {}


def examples_of(evaluation: Evaluation | None) -> dict[str, dict[str, UInt8]]:
    """The views of an evaluation's examples by stem, in the order of the split."""
    found = evaluation.measures.get(Examples.__name__) if evaluation else None
    if not isinstance(found, Examples):
        return {}
    samples = found.data.split("val")
    return {samples[place].stem: views for place, views in sorted(found.views.items())}


class RunPage:
    """A callback that updates the page of a run."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []  # phase and line
        self.evaluation: Evaluation | None = None
        self.before: Floats | None = None  # IoU by class at the previous validation

    def __call__(self, event: TrainingEvent) -> None:
        """Collect messages; write the page at the first step, after every validation and at the end."""
        if event.note:
            self.said.append((event.phase, event.note))
        if event.run is None:
            return
        if event.evaluation is not None:
            self.before = self.evaluation.scores.iou if self.evaluation else None
            self.evaluation = event.evaluation
            self.write(event.run)
        elif event.phase == "train" and not (event.run.folder / PAGE).exists():
            self.write(event.run)
        elif event.phase == "end" and self.evaluation is not None:
            self.write(event.run, "finished")
        elif event.phase == "stopped" and (event.run.folder / PAGE).exists():
            self.write(event.run, "stopped")

    def write(self, run: Run, state: State = "running") -> None:
        """Write RUN/index.html, which reloads while the run goes on."""
        said = "".join(f"<li>{escape(kind)}: {escape(text)}</li>" for kind, text in self.said if kind != "start")
        parts = [_head(run, self.said, state), _facts(run), f'<ul class="said">{said}</ul>' if said else ""]
        if self.evaluation is not None:
            parts += [
                _curves(run),
                _pictures(run, self.evaluation),
                sections.classes_section(self.evaluation, run.data.label_map, self.before),
                sections.confusion_section(self.evaluation, run.data.label_map),
            ]
        parts.append(_settings(run.config.to_dict()))
        body, title = "\n".join(part for part in parts if part), f"{run.folder.name}: training"
        refresh = REFRESH if state == "running" else None
        atomic_write(run.folder / PAGE, document(title, body, STYLE + OWN_STYLE, SCRIPT, refresh))


def _scored(run: Run) -> list[dict[str, Any]]:
    return [row for row in run.log.rows if row["mean_iou"] is not None]


def _head(run: Run, said: list[tuple[str, str]], state: State) -> str:
    rows = _scored(run)
    where = f"step {run.position.step:,} of " + ("about " if run.config.minutes else "") + f"{run.steps:,}"
    if state == "finished":
        position = f"Finished after {counted(run.position.step, 'step')} and {duration(run.position.seconds)}"
    elif state == "stopped":
        position = f"Stopped at {where}"
    else:
        position = (
            f"{where.capitalize()}, {run.time_left} left" if run.position.step > 1 else "Running the first steps"
        )
    score = "No validation yet"
    if rows:
        best = max(rows, key=lambda row: float(row["mean_iou"]))
        score = f"Best mean IoU {percent(best['mean_iou'])} at step {best['step']:,}, kept in {BEST}/"
    begun = "".join(f"<p>Starts from {escape(text)}.</p>" for phase, text in said if phase == "start")
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    again = f"; reloads every {REFRESH} seconds" if state == "running" else ""
    resume = shlex.join(["refineseg", "train", "--resume", "-o", str(run.folder)])
    failed = any(phase == "stopped" for phase, _ in said)  # and would fail again
    continued = f"<p>Continue with <code>{escape(resume)}</code></p>" if state == "stopped" and not failed else ""
    more = f'{begun}{continued}<p class="quiet">Written {now}{again}.</p>'
    return header("train", escape(run.folder.name), f"{position}. {score}.", CSS_CLASSES[state], more)


def _facts(run: Run) -> str:
    rows = _scored(run)
    now, change = rows[-1]["mean_iou"] if rows else None, ""
    if len(rows) > 1:
        points = sections.signed(rows[-1]["mean_iou"] - rows[-2]["mean_iou"])
        change = f"<span>{points} points since the previous validation</span>"
    loss = f"{run.log.rows[-1]['loss']:.3f}" if run.log.rows else "&ndash;"
    facts = [
        ("Pixel accuracy", percent(rows[-1]["pixel_accuracy"] if rows else None)),
        ("Training loss", loss),
        ("Time so far", duration(run.position.seconds)),
        ("Data", escape(f"{run.data.name}, {counted(run.data.label_map.names, 'class')}")),
        ("Pictures", f"{len(run.pictures):,} train, {len(run.data.split('val')):,} val"),
        ("Device", f"{run.fabric.device.type}, batches of {run.config.batch_size}"),
    ]
    return (
        f'<div class="score"><div class="headline"><span>Mean IoU on val</span><b>{percent(now)}</b>{change}</div>'
        f"{fact_list(facts)}</div>"
    )


def _curves(run: Run) -> str:
    rows, end = _scored(run), run.position.step if run.is_last else run.steps
    scores = {
        "mean IoU": [row["mean_iou"] for row in rows],
        "pixel accuracy": [row["pixel_accuracy"] for row in rows],
    }
    losses = [(int(row["step"] or 0), row["loss"] or 0.0) for row in run.log.rows]
    charts = sections.framed(
        "Scores on val", history_chart([row["step"] for row in rows], scores, end, "score, %")
    )
    loss = history_chart([step for step, _ in losses], {"loss": [value for _, value in losses]}, end, "loss")
    charts += sections.framed("Training loss", loss)
    return section("Curves", f"also in {CURVES} and tensorboard/", f'<div class="charts">{charts}</div>')


def _pictures(run: Run, evaluation: Evaluation) -> str:
    """The example pictures."""
    names = evaluation.by_picture.names
    sums = evaluation.by_picture.sums
    shown, articles = np.zeros(len(run.data.label_map.names), bool), []
    for name, views in examples_of(evaluation).items():
        place = names.index(name)
        shown |= sums.union[place] > 0
        right = sums.hit[place].sum() / max(1, sums.true[place].sum())
        articles.append(sections.picture_article(name, f"{percent(float(right))} of the pixels correct", views))
    key = sections.key_of_classes(run.data.label_map, np.flatnonzero(shown).tolist())
    note = "the same val pictures every time; click a picture to enlarge it; void is dark"
    return section("Pictures", note, key + "\n".join(articles))


def _settings(config: Mapping[str, Any]) -> str:
    """All settings, collapsed."""
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd><code>{escape(str(value))}</code></dd></div>"
        for name, value in flat(config).items()
    )
    return f'<details><summary>Settings</summary><dl class="bars settings">{rows}</dl></details>'
