"""The commands as a user types them, and what they say when the input is bad: one line, exit 2, nothing left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from PIL import Image

from refineseg.cli.common import progress_bar
from refineseg.cli.main import VERBS, main
from refineseg.cli.train import commit_of_this_code
from refineseg.cli.train_progress import TrainingProgress
from refineseg.config import TrainConfig
from refineseg.data import read_mask
from refineseg.evaluation.evaluate import Evaluation
from refineseg.labels import LabelMap
from refineseg.model import create_model
from refineseg.model.folders.model_folder import ModelCard, read_config, save_model_folder
from refineseg.training.custom import TrainingEvent
from refineseg.training.run import Run
from tests.data.made import made_pair, make_folder
from tests.model.filled import fill

CLASSES = ["background", "box", "other"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = create_model("refinenet-lw-mbv2", 3, width=16, coarse_width=16)
    fill(network)
    folder = tmp_path_factory.mktemp("model") / "m"
    save_model_folder(folder, network, ModelCard("m", LabelMap.from_names(CLASSES)))
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(made_pair(index, 3)[0]).save(folder / f"p{index}.png")
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def says_one_line(error: str) -> bool:
    lines = [line for line in error.splitlines() if line.startswith(("error:", "failed:"))]
    return len(lines) == 1 and "Traceback" not in error


def test_predict_writes_what_it_promises(capsys: pytest.CaptureFixture[str], model: Path, pictures: Path) -> None:
    out = pictures.parent / "out"
    code, printed, _ = run(
        capsys, "predict", pictures, "-o", out, "--model", model, "--save", "mask,overlay,probs"
    )
    assert code == 0
    assert "3 of 3 pictures done" in printed
    entries = json.loads((out / "predictions.json").read_text())["predictions"]
    assert [Path(entry["input"]).name for entry in entries] == ["p0.png", "p1.png", "p2.png"]
    for entry in entries:
        assert set(entry["files"]) == {"mask", "overlay", "probs"}
        mask = read_mask(out / entry["files"]["mask"])
        assert mask.shape == (36, 48)
        shares = {CLASSES[i]: count / mask.size for i, count in enumerate(np.bincount(mask.ravel())) if count}
        assert entry["class_shares"] == pytest.approx(shares, abs=1e-5)
        assert entry["seconds"] > 0
    assert not list(out.rglob(".*"))


def test_files_of_earlier_runs_are_kept_and_counted(
    capsys: pytest.CaptureFixture[str], model: Path, pictures: Path
) -> None:
    predict = ["predict", "-o", pictures.parent / "out", "--model", model, "--save", "mask"]
    assert run(capsys, *predict, pictures)[2] == ""
    code, _, error = run(capsys, *predict, pictures / "p1.png", "--overwrite")
    assert code == 0
    assert error == f"note: 2 files of earlier runs left in {pictures.parent / 'out'}, such as masks/p0.png\n"
    assert len(list((pictures.parent / "out" / "masks").iterdir())) == 3
    assert run(capsys, *predict, pictures, "--overwrite")[2] == ""


def test_without_a_terminal_there_is_no_thread_for_the_progress(capsys: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    with progress_bar() as bar:
        bar.add_task("working", total=3, note="")
        assert threading.active_count() == before
    assert capsys.readouterr() == ("", "")


def test_an_error_is_said_when_the_commands_memory_is_free_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Large:
        """What the command holds when memory runs out."""

    held = list[weakref.ref[Large]]()

    def fail(*_: object, **__: object) -> None:
        large = Large()
        held.append(weakref.ref(large))
        raise MemoryError

    def say(message: str, code: int) -> int:
        assert held[0]() is None
        assert "memory ran out" in message
        return code

    monkeypatch.setattr("refineseg.cli.main.command_line", lambda: fail)
    monkeypatch.setattr("refineseg.cli.main._say", say)
    assert main(["check", "x"]) == 2
    assert held


def test_inputs_of_one_name_are_said_to_be_numbered(
    capsys: pytest.CaptureFixture[str], model: Path, pictures: Path
) -> None:
    Image.open(pictures / "p0.png").save(pictures / "P0.bmp")
    code, _, error = run(capsys, "predict", pictures, "-o", pictures.parent / "out", "--model", model)
    assert code == 0
    assert "2 inputs have the same names: predictions.json" in error


def test_broken_pictures_are_named_and_the_others_done(
    capsys: pytest.CaptureFixture[str], model: Path, pictures: Path
) -> None:
    (pictures / "p1.png").write_bytes(b"broken")
    out = pictures.parent / "out"
    code, printed, error = run(capsys, "predict", pictures, "-o", out, "--model", model)
    assert code == 2
    assert "2 of 3 pictures done" in printed
    assert "p1.png" in error
    assert says_one_line(error)
    entries = json.loads((out / "predictions.json").read_text())["predictions"]
    assert ["error" in entry for entry in entries] == [False, True, False]
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["p0.png", "p2.png"]


def test_evaluate_writes_json(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=12)
    file = tmp_path / "score.json"
    code, printed, _ = run(capsys, "evaluate", "--model", model, "--data", f"folder:{root}", "--json", file)
    assert code == 0
    score = json.loads(file.read_text())
    assert {"mean_iou", "pixel_accuracy", "mean_class_accuracy", "iou", "protocol"} <= set(score)
    assert list(score["iou"]) == CLASSES
    assert f"{score['mean_iou']:.4f}" in printed
    assert "labels at their own size" in " ".join(printed.split())


def test_train_then_predict(capsys: pytest.CaptureFixture[str], tmp_path: Path, pictures: Path) -> None:
    root = make_folder(tmp_path, pictures=12)
    settings = ["--set", "model.width=16", "--set", "model.coarse_width=16", "--crop", "32", "--workers", "0"]
    trained = tmp_path / "run"
    code, printed, _ = run(
        capsys, "train", "--data", f"folder:{root}", "-o", trained, "--steps", 2, "--batch-size", 2, *settings
    )
    assert code == 0
    assert "last val mean IoU" in printed
    kept = read_config(trained / "best")[1].scores[0]["mean_iou"]
    assert f"best model in {trained / 'best'} (val mean IoU {kept:.4f})" in printed
    config = (trained / "config.yaml").read_text()
    assert "width: 16" in config
    code, _, _ = run(capsys, "predict", pictures / "p0.png", "-o", tmp_path / "out", "--model", trained / "best")
    assert code == 0
    code, _, error = run(capsys, "train", "--data", f"folder:{root}", "-o", trained, "--steps", 2)
    assert (code, says_one_line(error)) == (2, True)
    assert "--resume" in error


BAD = {
    "missing picture": (
        ["predict", "{tmp}/none.png", "-o", "{tmp}/out", "--model", "{model}"],
        "File or folder not found:",
    ),
    "empty folder": (["predict", "{tmp}/empty", "-o", "{tmp}/out", "--model", "{model}"], "no pictures found in"),
    "glob without match": (["predict", "{tmp}/*.nothing", "-o", "{tmp}/out"], "matching"),
    "unknown model": (
        ["predict", "{pictures}", "-o", "{tmp}/out", "--model", "nothing"],
        "unknown model 'nothing'",
    ),
    "empty model folder": (["predict", "{pictures}", "-o", "{tmp}/out", "--model", "{tmp}/empty"], "config.json"),
    "no model argument": (["evaluate", "--data", "folder:{tmp}"], "--model"),
    "unknown option": (["predict", "{pictures}", "-o", "{tmp}/out", "--sales", "1"], "--sales"),
    "unknown verb": (["segment"], "segment"),
    "scales": (["predict", "{pictures}", "-o", "{tmp}/out", "--scales", "big"], "--scales"),
    "scale of zero": (
        ["predict", "{pictures}", "-o", "{tmp}/out", "--model", "{model}", "--scales", "0"],
        "scales",
    ),
    "unknown kind": (["predict", "{pictures}", "-o", "{tmp}/out", "--model", "{model}", "--save", "x"], "--save"),
    "device": (["predict", "{pictures}", "-o", "{tmp}/out", "--model", "{model}", "--device", "abacus"], "device"),
    "output is a file": (["predict", "{pictures}", "-o", "{tmp}/file", "--model", "{model}"], "output folder"),
    "output holds files": (["predict", "{pictures}", "-o", "{tmp}/full", "--model", "{model}"], "--overwrite"),
    "unknown data": (["evaluate", "--model", "{model}", "--data", "mine:{tmp}"], "write folder:ROOT"),
    "missing data": (["train", "--data", "folder:{tmp}/none", "-o", "{tmp}/run"], "Folder not found"),
    "unknown preset": (
        ["train", "--data", "{data}", "-o", "{tmp}/run", "--model", "refinenet-r7"],
        "refinenet-r7",
    ),
    "unknown preset, before data": (
        ["train", "--data", "folder:{tmp}/none", "-o", "{tmp}/run", "--model", "refinenet-r7"],
        "expected a preset (refinenet-r18, ",
    ),
    "unknown setting": (["train", "--data", "{data}", "-o", "{tmp}/run", "--set", "lrr=1"], "did you mean lr"),
    "wrong type": (["train", "--data", "{data}", "-o", "{tmp}/run", "--set", "lr=fast"], "lr to be float"),
    "out of range": (["train", "--data", "{data}", "-o", "{tmp}/run", "--set", "ema=3"], "ema in"),
    "config missing": (["train", "--data", "{data}", "-o", "{tmp}/run", "--config", "{tmp}/c.yaml"], "c.yaml"),
    "weights missing": (["train", "--data", "{data}", "-o", "{tmp}/run", "--backbone-weights", "x.st"], "x.st"),
    "device to train on": (["train", "--data", "{data}", "-o", "{tmp}/run", "--device", "abacus"], "device"),
    "crop": (["train", "--data", "{data}", "-o", "{tmp}/run", "--crop", "wide"], "--crop"),
    "nothing to resume": (["train", "--data", "{data}", "-o", "{tmp}/run", "--resume"], "config.yaml"),
    "other classes": (["evaluate", "--model", "{model}", "--data", "{renamed}"], "model's classes"),
    "empty split": (
        ["evaluate", "--model", "{model}", "--data", "{data}", "--split", "test"],
        "no pictures in split",
    ),
    "no such split": (["evaluate", "--model", "{model}", "--data", "{data}", "--split", "dev"], "split"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_input(
    case: str, capsys: pytest.CaptureFixture[str], model: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    root = make_folder(tmp_path, pictures=12)
    renamed = tmp_path / "renamed.yaml"
    renamed.write_text("root: set\nclasses: [x, y, z]\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words, message = BAD[case]
    places = {"tmp": tmp_path, "model": model, "pictures": pictures, "data": f"folder:{root}", "renamed": renamed}
    code, _, error = run(capsys, *[word.format(**places) for word in words])
    assert code == 2, error
    assert says_one_line(error), error
    assert message in error
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert before == after


def test_no_permission(capsys: pytest.CaptureFixture[str], model: Path, pictures: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    code, _, error = run(capsys, "predict", pictures, "-o", locked / "out", "--model", model)
    assert code == 2
    assert "Permission denied" in error


def test_no_permission_from_the_system(
    capsys: pytest.CaptureFixture[str],
    model: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same as above where the tests run as root: the system's refusal is played."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    code, _, error = run(capsys, "predict", pictures, "-o", tmp_path / "out", "--model", model)
    assert code == 2
    assert "Permission denied" in error
    assert says_one_line(error)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(
    capsys: pytest.CaptureFixture[str],
    model: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Writing fails as on a full disk: one line, exit 2, no half-written file under a final name."""
    from refineseg.system import files

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "_flush", full)
    code, _, error = run(capsys, "predict", pictures, "-o", tmp_path / "out", "--model", model)
    assert code == 2
    assert "No space left on device" in error
    assert says_one_line(error)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_an_unforeseen_failure_is_one_line_and_exit_1(
    capsys: pytest.CaptureFixture[str],
    model: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr("refineseg.inference.batch.predict_files", fail)
    code, _, error = run(capsys, "predict", pictures, "-o", tmp_path / "out", "--model", model)
    assert code == 1
    assert says_one_line(error)
    with pytest.raises(ZeroDivisionError):
        main(["-v", "predict", str(pictures), "-o", str(tmp_path / "out"), "--model", str(model)])


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = run(capsys, verb, "--help")
    assert code == 0
    assert "refineseg" in printed


def test_version_and_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = run(capsys, "--version")
    assert (code, printed.split()[0]) == (0, "refineseg")
    code, printed, _ = run(capsys)
    assert code == 2
    assert "predict" in printed


def test_the_console_script_from_elsewhere(model: Path, pictures: Path, tmp_path: Path) -> None:
    script = shutil.which("refineseg", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("the package is not installed in this environment")
    done = subprocess.run(
        [script, "predict", str(pictures / "p0.png"), "-o", "out", "--model", str(model)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "masks" / "p0.png").is_file()


def test_a_long_wait_for_pictures_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the steps after the first, which starts the workers."""
    with progress_bar(unit=None) as bar:
        watch = TrainingProgress(bar)
        for step, waiting in enumerate((0.9, 0.1, 0.3, 0.2), 1):
            watch(TrainingEvent("train", step, 4, 0, 1.0, 1e-3, 2.0, waiting))
    assert watch.share_waiting() == pytest.approx(0.2)
    assert "20% of the time waiting for pictures" in capsys.readouterr().err


def test_a_score_is_shown_with_its_trend_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Validations of mean IoU 0.25 and 0.5; half of the steps took 300 s."""
    run = cast(Run, SimpleNamespace(time_left="5 min", config=TrainConfig()))
    with progress_bar(unit=None, remaining=False) as bar:
        watch = TrainingProgress(bar)
        for step, iou in ((10, 0.25), (20, 0.5)):
            scored = cast(Evaluation, SimpleNamespace(scores=SimpleNamespace(mean_iou=iou)))
            watch(TrainingEvent("train", step, 40, loss=1.0, run=run))
            watch(TrainingEvent("epoch", step, 40, evaluation=scored, run=run))
    said = capsys.readouterr().err
    assert "step 10/40: loss 1.000, mean IoU 0.250, 5 min left" in said
    assert "step 20/40: loss 1.000, mean IoU 0.500 (+0.250), 5 min left" in said
    timed = cast(Run, SimpleNamespace(config=TrainConfig(minutes=10)))
    assert watch.place(TrainingEvent("train", 20, 40, run=timed)) == "step 20/~40", "an estimate"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_this_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a checkout, not of the project in whose virtual environment the package is installed."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    theirs = subprocess.run([*git, "describe", "--always"], check=True, capture_output=True, text=True).stdout
    for place, own in ((".venv/lib/python3.13/site-packages", False), ("src", True)):
        folder = tmp_path / place / "refineseg/cli"
        folder.mkdir(parents=True)
        monkeypatch.setattr("refineseg.cli.train.__file__", str(folder / "train.py"))
        assert commit_of_this_code().startswith(theirs.strip() if own else "refineseg ")
