"""Metrics of a run: one row per epoch, as CSV, TensorBoard events and curves."""

from __future__ import annotations

import csv
import io
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from refineseg.html import jpeg
from refineseg.labels import UInt8
from refineseg.system.files import atomic_path, atomic_write

METRICS = "metrics.csv"
EVENTS = "events.out.tfevents.{step:010d}.refineseg"
COLUMNS = ("epoch", "step", "lr", "loss", "mean_iou", "pixel_accuracy", "mean_class_accuracy", "seconds")
Row = dict[str, float | int | None]
Views = dict[str, dict[str, UInt8]]  # HxWx3 by name of the picture and of the view


@dataclass
class MetricsLog:
    """Rows in memory, written as a whole, so that a resumed run has neither gaps nor duplicates."""

    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Append a row."""
        self.rows.append({column: row.get(column) for column in COLUMNS})

    def write(self, folder: Path, pictures: Views | None = None) -> None:
        """Write metrics.csv and, if tensorboard is installed, its events with ``pictures``."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        atomic_write(folder / METRICS, text.getvalue())
        self._tensorboard(folder / "tensorboard", pictures or {})

    def plot(self, path: Path) -> None:
        """Plot loss, learning rate and scores over the epochs."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        epochs = [row["epoch"] for row in self.rows]
        left.plot(epochs, [row["loss"] for row in self.rows], color="#c0392b", linewidth=1.6)
        left.set(xlabel="epoch", ylabel="training loss")
        left.set_ylim(bottom=0)
        rates = left.twinx()
        rates.plot(epochs, [row["lr"] for row in self.rows], color="#999999", linewidth=1, linestyle="--")
        rates.set_ylabel("learning rate (dashed)", color="#777777")
        scored = [row for row in self.rows if row["mean_iou"] is not None]
        for column, color in zip(COLUMNS[4:7], ("#1f77b4", "#2a9d5c", "#b07aa1"), strict=True):
            label = column.replace("_", " ").replace("iou", "IoU")
            right.plot(
                [row["epoch"] for row in scored], [row[column] for row in scored], ".-", color=color, label=label
            )
        right.set(xlabel="epoch", ylabel="validation score", ylim=(0, 1))
        right.legend(frameon=False)
        for axes in (left, right):
            axes.grid(alpha=0.25)
            axes.spines[["top"]].set_visible(False)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=120)

    def _tensorboard(self, folder: Path, pictures: Views) -> None:
        """Write one event file per epoch, atomically, named by its step.

        TensorBoard's own writer names files such that short epochs may be read in the wrong order, and loses
        errors in its thread, such as a full disk.
        """
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError:  # optional: pip install 'refineseg[tensorboard]'
            return
        row, now = self.rows[-1], time.time()
        values = [(name, row[name]) for name in COLUMNS[2:7]]
        points = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in values
            if value is not None and math.isfinite(value)
        ]
        for name, views in pictures.items():
            joined = np.concatenate([views["picture"], views["truth"], views["prediction"]], axis=1)
            image = Summary.Image(
                height=joined.shape[0], width=joined.shape[1], colorspace=3, encoded_image_string=jpeg(joined)
            )
            points.append(Summary.Value(tag=f"val/{name}", image=image))
        stream = io.BytesIO()
        records = RecordWriter(stream)
        records.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        event = Event(wall_time=now, step=int(row["step"] or 0), summary=Summary(value=points))
        records.write(event.SerializeToString())
        atomic_write(folder / EVENTS.format(step=event.step), stream.getvalue())
