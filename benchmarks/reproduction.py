"""The tables and figures of docs/reproduction.md and docs/notebook/claims.md, from benchmarks/results.

python benchmarks/reproduction.py           rewrites the text between the marks in the pages, and the figures
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import json
from pathlib import Path
import re
from statistics import mean, median, stdev
from typing import Any

from scipy.stats import t

HERE = Path(__file__).parents[1]
RESULTS, FIGURES = HERE / "benchmarks" / "results", HERE / "docs" / "figures"
PAGES = (HERE / "docs" / "reproduction.md", HERE / "docs" / "notebook" / "claims.md")
CLAIMS = RESULTS / "ablation_claims_2000.json"  # of 2,000 steps, until there are runs of 6,000
Rows = list[dict[str, Any]]

# Title of each arm, and the paper's mean IoU (%) on NYUDv2 with ResNet-50: tables 9 (variants) and 2 (parts).
CASCADE = {
    "single": ("single", 40.3),
    "two": ("2-cascaded", 40.9),
    "four": ("4-cascaded", 42.5),
    "four 2-scale": ("4-cascaded, 2-scale", 43.1),
    "two, identity": ("2-cascaded, coarser path starts as the identity", None),
    "four, identity": ("4-cascaded, coarser path starts as the identity", None),
}
COMPONENTS = {
    "no pooling": ("no chained residual pooling", 40.4),
    "four": ("4 stages, original order (base)", 42.5),
    "2 stages": ("2 stages (the paper's text)", None),
    "improved": ("4 stages, improved order", None),
    "no RCUs": ("no residual conv units", None),
    "five scales": ("base, tested at scales 0.4, 0.6, 0.8, 1.0, 1.2", 43.8),
}
CLAIM_ARMS = {  # cascades first
    arm: (title.split(" (")[0], published) for arm, (title, published) in (CASCADE | COMPONENTS | CASCADE).items()
}
RECIPES = {"authors": "authors", "modern": "modern"}
NETWORKS = {
    "deeplabv3_resnet101": "DeepLab-v3 101",
    "refinenet-r101": "RefineNet-101",
    "refinenet-lw-r101": "light-weight 101",
}
SETTLED = 2.0  # standard errors between two means, above which a difference counts as more than chance


def of(rows: Rows, arm: str) -> Rows:
    """The runs of an arm; the base's are those of the cascade study."""
    return [row for row in rows if row["arm"] == arm]


def percent(values: list[float]) -> str:
    """Mean and standard deviation of shares, in percent."""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{spread}" if values else "-"


def against(base: list[float], other: list[float]) -> str:
    """Difference of two means in points, and whether the runs settle it."""
    if not base or not other or base is other:
        return "-"
    difference = 100 * (mean(other) - mean(base))
    if min(len(base), len(other)) < 2:
        return f"{difference:+.1f} (one run)"
    error = 100 * (stdev(base) ** 2 / len(base) + stdev(other) ** 2 / len(other)) ** 0.5
    return f"{difference:+.1f}" + ("" if abs(difference) > SETTLED * error else " (within the spread)")


def ablation_table(rows: Rows, arms: dict[str, tuple[str, float | None]], base: str) -> str:
    """One row per arm, with the paper's figure and ours."""
    lines = [
        "| network | paper, mean IoU, % | ours, mean IoU, % | pixel accuracy, % | difference from the base |"
        " parameters | CPU s | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    compared = [row["mean_iou"] for row in of(rows, base)]
    for arm, (title, published) in arms.items():
        runs = of(rows, arm)
        scores = [row["mean_iou"] for row in runs]
        accuracy = percent([row["pixel_accuracy"] for row in runs])
        size = f"{runs[0]['parameters']:,}" if runs and "parameters" in runs[0] else "-"
        seconds = f"{mean(row['seconds'] for row in runs):.0f}" if runs else "-"
        difference = "-" if arm == base else against(compared, scores)
        if runs and runs[0]["study"] == "multiscale":  # the base's own weights, so seed by seed
            pairs = {row["seed"]: row["mean_iou"] for row in of(rows, base)}
            gains = [100 * (row["mean_iou"] - pairs[row["seed"]]) for row in runs]
            difference = f"{mean(gains):+.1f} ({min(gains):+.1f} to {max(gains):+.1f}, same weights)"
        cells = (title, published or "-", percent(scores), accuracy, difference, size, seconds, len(runs))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def paired_difference(gains: list[float]) -> str:
    """Mean of differences within a seed, with Student's 95 % interval over the seeds where there are several."""
    if len(gains) < 2:
        return f"{mean(gains):+.1f}"
    half = t.ppf(0.975, len(gains) - 1) * stdev(gains) / len(gains) ** 0.5
    return f"{mean(gains):+.1f} ({mean(gains) - half:+.1f} to {mean(gains) + half:+.1f})"


def claims_table(rows: Rows) -> str:
    """One row per arm of the full-length runs: the last scores, paired by seed with the base."""
    lines = [
        "| network | paper, mean IoU, % | ours, mean IoU, % | difference from 4-cascaded, paired (95 % interval) |"
        " pixel accuracy, % | boundary IoU, % | several scales, % | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    base = {row["seed"]: row["mean_iou"] for row in of(rows, "four")}
    for arm, (title, published) in CLAIM_ARMS.items():
        runs = of(rows, arm)
        if not runs:
            continue
        gains = [100 * (row["mean_iou"] - base[row["seed"]]) for row in runs if row["seed"] in base]
        paired = paired_difference(gains) if gains and arm != "four" else "-"
        figures = [[row[name] for row in runs] for name in ("mean_iou", "pixel_accuracy")]
        edges = [row["curve"][-1]["boundary_iou"] for row in runs]
        several = [row["several_scales"]["mean_iou"] for row in runs]
        cells = (percent(figures[0]), paired, percent(figures[1]), percent(edges), percent(several), len(runs))
        lines.append(f"| {' | '.join(map(str, (title, published or '-', *cells)))} |")
    return "\n".join(lines)


def recipe_table(rows: Rows) -> str:
    """One row per recipe."""
    lines = [
        "| recipe | steps | pictures | CPU s | mean IoU, % | pixel accuracy, % | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, title in RECIPES.items():
        runs = of(rows, arm)
        if not runs:
            continue
        counts = [f"{mean(row[key] for row in runs):,.0f}" for key in ("steps", "pictures", "seconds")]
        scores = [percent([row[key] for row in runs]) for key in ("mean_iou", "pixel_accuracy")]
        lines.append(f"| {' | '.join((title, *counts, *scores, str(len(runs))))} |")
    return "\n".join(lines)


def memory_table(table: dict[str, dict[str, float]]) -> str:
    """Absolute figures, and in brackets the ratio to the dilated network."""
    dilated = next(iter(NETWORKS))
    lines = [f"| case | {' | '.join(NETWORKS.values())} |", "|---" * (1 + len(NETWORKS)) + "|"]
    for case, row in table.items():
        cells = [
            f"{row[name]:,.0f}" + ("" if name == dilated else f" ({row[name] / row[dilated]:.2f})")
            for name in NETWORKS
        ]
        lines.append(f"| {' | '.join((case.replace('x', ' x '), *cells))} |")
    return "\n".join(lines)


def time_table(seconds: dict[str, dict[str, list[float]]]) -> str:
    """Median seconds, and in brackets the median of the ratios to the dilated network in the same round."""
    dilated = next(iter(NETWORKS))
    lines = [f"| case | {' | '.join(NETWORKS.values())} | rounds |", "|---" * (2 + len(NETWORKS)) + "|"]
    for case, row in seconds.items():
        cells = [f"{median(row[dilated]):.1f}"]
        for name in list(NETWORKS)[1:]:
            ratio = median(ours / theirs for ours, theirs in zip(row[name], row[dilated], strict=True))
            cells.append(f"{median(row[name]):.1f} ({ratio:.2f})")
        lines.append(f"| {' | '.join((case.replace('x', ' x '), *cells, str(len(row[dilated]))))} |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Every table of the pages by the name of its mark."""
    rows = runs_of(RESULTS / "ablation_cut.json")
    longer = runs_of(RESULTS / "ablation_cut_1200.json")
    made_longer = {arm: title for arm, title in CASCADE.items() if of(longer, arm)}
    memory = json.loads((RESULTS / "memory.json").read_text(encoding="utf-8"))
    made: dict[str, Callable[[], str]] = {
        "claims": lambda: claims_table(runs_of(CLAIMS)),
        "claims-1e-3": lambda: claims_table(runs_of(RESULTS / "ablation_claims_lr_1e-3.json")),
        "claims-5e-4": lambda: claims_table(runs_of(RESULTS / "ablation_claims_lr_5e-4.json")),
        "cascade": lambda: ablation_table([r for r in rows if r["study"] == "cascade"], dict(CASCADE), "four"),
        "longer": lambda: ablation_table(longer, made_longer, "four"),
        "components": lambda: ablation_table([r for r in rows if r["study"] != "recipes"], COMPONENTS, "four"),
        "recipes": lambda: recipe_table(rows),
        "live": lambda: memory_table(memory["live"]),
        "process": lambda: memory_table(memory["process"]),
        "time": lambda: time_table(memory["seconds"]),
    }
    return {name: make() for name, make in made.items()}


def runs_of(file: Path) -> Rows:
    """The finished runs in a file of results."""
    return list(json.loads(file.read_text(encoding="utf-8"))["runs"])


def filled(pages: dict[Path, str], content: dict[str, str]) -> dict[Path, str]:
    """The pages with every table between its marks replaced; each table has its mark in one page."""
    pages = dict(pages)
    for name, table in content.items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n)(.*?)(<!-- end -->)", re.DOTALL)
        marks = [path for path, text in pages.items() for _ in pattern.findall(text)]
        if len(marks) != 1:
            raise SystemExit(f"expected one mark for the table {name} in the pages, found {len(marks)}")
        text = pages[marks[0]]
        if found := pattern.search(text):
            pages[marks[0]] = f"{text[: found.start(2)]}{table}\n{text[found.end(2) :]}"
    return pages


def draw(path: Path) -> None:
    """Every run as a dot and means as lines; memory in a third panel."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = runs_of(RESULTS / "ablation_cut.json")
    live = json.loads((RESULTS / "memory.json").read_text(encoding="utf-8"))["live"]
    figure, panels = plt.subplots(1, 3, figsize=(14, 3.6), layout="constrained", width_ratios=(4, 6, 5))
    studies = (
        ("cascade", {arm: title for arm, (title, _) in CASCADE.items()}),
        ("parts of the block", {arm: title.split(" (")[0] for arm, (title, _) in COMPONENTS.items()}),
    )
    for panel, (name, arms) in zip(panels, studies, strict=False):
        for place, (arm, title) in enumerate(reversed(arms.items())):
            scores = [100 * row["mean_iou"] for row in of(rows, arm)]
            panel.plot(scores, [place] * len(scores), "o", color="#4477aa", alpha=0.6, markeredgewidth=0)
            if scores:
                panel.plot([mean(scores)] * 2, [place - 0.3, place + 0.3], color="#aa3377", linewidth=2)
            panel.text(
                -0.02, place, title, transform=panel.get_yaxis_transform(), ha="right", va="center", fontsize=8
            )
        panel.set(
            yticks=[],
            xlabel="mean IoU on CamVid val, %",
            title=f"{name} (small setting)",
            ylim=(-0.6, len(arms) - 0.4),
        )
        panel.grid(axis="x", alpha=0.3)
    width = 0.26
    for index, (name, title) in enumerate(NETWORKS.items()):
        places = [case + (index - 1) * width for case in range(len(live))]
        color = ("#bbbbbb", "#4477aa", "#66ccee")[index]
        panels[2].bar(places, [row[name] for row in live.values()], width, label=title, color=color)
    labels = [case.replace("training step", "training\n2x320x320") for case in live]
    panels[2].set(xticks=range(len(live)), ylabel="MiB", title="peak of live tensors")
    panels[2].set_xticklabels(labels, fontsize=8)
    panels[2].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_curves(rows: Rows, path: Path) -> None:
    """Three scores against steps: a line for each run, a colour for each arm."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(14, 4), layout="constrained", sharex=True)
    arms = {arm: title for arm, (title, _) in CLAIM_ARMS.items() if of(rows, arm)}
    for panel, name in zip(panels, ("mean_iou", "pixel_accuracy", "boundary_iou"), strict=True):
        for index, (arm, title) in enumerate(arms.items()):
            for number, row in enumerate(of(rows, arm)):
                steps, scores = zip(*((point["step"], 100 * point[name]) for point in row["curve"]), strict=True)
                panel.plot(steps, scores, color=f"C{index}", alpha=0.8, label=None if number else title)
        panel.set(xlabel="steps", title=f"{name.replace('_', ' ').replace('iou', 'IoU')} on CamVid val, %")
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Write pages and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    pages = {path: path.read_text(encoding="utf-8") for path in PAGES}
    for path, text in filled(pages, tables()).items():
        path.write_text(text, encoding="utf-8")
    draw(FIGURES / "reproduction.png")
    draw_curves(runs_of(CLAIMS), FIGURES / "claims.png")


if __name__ == "__main__":
    main()
