"""refineseg export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from typer import Option

from refineseg.cli.common import console, progress_bar
from refineseg.system.text import counted

if TYPE_CHECKING:
    from refineseg.inference.runners.exported import Input, Outputs


def export(
    output: Annotated[
        Path, Option("--output", "-o", help="FILE.onnx, FILE.xml (OpenVINO) or FILE.pt2 (torch.export).")
    ],
    model: Annotated[str, Option("--model", "-m", help="Bundled name or model folder.")] = "camvid",
    format: Annotated[
        str | None, Option(help="Format: onnx, openvino or torch. Default: by the suffix of FILE.")
    ] = None,
    input: Annotated[str, Option(help="Input: float32 (BxCxHxW in [0, 1]) or uint8 (BxHxWx3).")] = "float32",
    outputs: Annotated[
        str, Option(help="Outputs: logits (for predict), or full-size labels or probabilities for other programs.")
    ] = "logits",
    int8: Annotated[bool, Option("--int8", help="Quantise to 8 bits; needs --calibrate.")] = False,
    calibrate: Annotated[
        str | None,
        Option(
            help="Data set (NAME:ROOT or YAML) for the check; int8 calibrates on train and is checked on val.",
            metavar="DATA",
        ),
    ] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Export a model to a file for other engines, kept only if its labels match the model's.

    Example: [bold]refineseg export --model camvid -o camvid.onnx[/bold]
    """
    from refineseg.deploy import export as deploy
    from refineseg.deploy import report as reports

    with progress_bar(unit=None) as bar:
        task = bar.add_task("exporting", total=None, note="")
        report = deploy.export(
            model,
            output,
            format=format,
            int8=int8,
            calibrate=calibrate,
            overwrite=overwrite,
            input=cast("Input", input),  # checked there, as are the outputs
            outputs=cast("Outputs", outputs),
            progress=lambda what, done, of: bar.update(
                task, description=what, completed=done, total=of if of else None
            ),
        )
    scored = report.int8
    if scored is not None:
        console.print(
            f"mean IoU on {scored.data} {scored.judged_on}: {scored.mean_iou:.4f}, of the network "
            f"{scored.mean_iou_float32:.4f}: {scored.loss:.2f} points lost"
        )
    console.print(
        f"{report.closeness} at {counted(report.checks, 'size')}; "
        f"{report.engine_ms:.0f} ms with {report.engine}, {report.torch_ms:.0f} ms with torch for 480x360"
    )
    console.print(f"wrote {output} ({report.megabytes:.1f} MB) and {reports.files(output)[1]}")
