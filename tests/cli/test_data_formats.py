from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from refineseg.cli.data_formats import export, import_
from refineseg.data import read_mask
from refineseg.errors import InputError
from tests.data.formats import test_coco, test_exporter

app = typer.Typer(pretty_exceptions_enable=False)
app.command("import")(import_)
app.command("export")(export)


def run(*arguments: object) -> str:
    """Output of the command; its error is raised."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_import_and_export(tmp_path: Path) -> None:
    src = test_coco.made(tmp_path / "src", test_coco.GOOD)
    output = run("import", src, "-o", tmp_path / "my data #1")
    assert f"next: refineseg check 'folder:{tmp_path / 'my data #1'}'" in output
    output = run("import", src, "-o", tmp_path / "mydata")
    assert "1 picture (no splits in the source), 3 classes, read as coco" in output
    assert "classes: background, cat, dog" in output
    assert f"next: refineseg check folder:{tmp_path / 'mydata'}" in output
    labels = tmp_path / "mydata/labels.yaml"
    photos = tmp_path / "mydata/images"
    options = ("--format", "cvat", "--labels", labels, "--images", photos, "-o", tmp_path / "pre")
    assert "annotations.xml" in run("export", tmp_path / "mydata", *options)
    run("import", tmp_path / "pre", "--images", photos, "-o", tmp_path / "back", "--format", "cvat")
    np.testing.assert_array_equal(
        read_mask(tmp_path / "back/masks/a.png"), read_mask(tmp_path / "mydata/masks/a.png")
    )


def test_options_reach_the_import(tmp_path: Path) -> None:
    src = test_coco.made(tmp_path / "src", test_coco.document({"segmentation": test_coco.BOX}))
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    run(
        "import",
        src,
        "-o",
        tmp_path / "out",
        "--labels",
        tmp_path / "classes.txt",
        "--unlabelled",
        "ignore",
        "--link",
    )
    mask = read_mask(tmp_path / "out/masks/a.png")
    assert set(np.unique(mask)) == {0, 255}
    assert (tmp_path / "out/images/a.png").stat().st_nlink == 2


def test_export_wants_the_class_names_once(tmp_path: Path) -> None:
    predictions = test_exporter.predicted(tmp_path, [test_exporter.HOLES], test_exporter.MAPS[0])
    with pytest.raises(InputError, match="--model MODEL or --labels"):
        run("export", predictions, "--format", "coco", "-o", tmp_path / "pre")
    with pytest.raises(InputError, match="unknown model"):
        run("export", predictions, "--format", "coco", "-o", tmp_path / "pre", "--model", "nothing-like-it")


def test_export_takes_the_names_from_a_model(tmp_path: Path) -> None:
    from refineseg.model.folders.model_folder import ModelCard, save_model_folder
    from refineseg.model.presets import build, model_config

    label_map = test_exporter.MAPS[0]
    model = build(model_config("refinenet-lw-mbv2", 4, width=8, coarse_width=8))
    save_model_folder(tmp_path / "model", model, ModelCard("tiny", label_map))
    predictions = test_exporter.predicted(tmp_path, [test_exporter.HOLES], label_map)
    output = run(
        "export", predictions, "--format", "labelme", "-o", tmp_path / "pre", "--model", tmp_path / "model"
    )
    assert "p0.json" in output
    assert "assumed to be STEM.jpg" in output


def test_help_has_an_example() -> None:
    assert "Example:" in run("import", "--help")
    assert "Example:" in run("export", "--help")
