from __future__ import annotations

import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from refineseg.cli.check import check
from tests.data.check.corpus import Corpus
from tests.data.check.faults import FAULTS

app = typer.Typer()
app.command()(check)
BY_NAME = {fault.name: fault for fault in FAULTS}


def test_a_clean_set_exits_0_and_writes_what_was_asked(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    done = CliRunner().invoke(
        app, [corpus.spec, "--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html")]
    )
    assert done.exit_code == 0, done.output
    assert "20 train, 5 val; no problems found" in done.output
    assert json.loads((tmp_path / "a.json").read_text())["ok"] is True
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")


def test_an_error_exits_2_and_says_what_mends_it(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    BY_NAME["object_as_255"].inject(corpus)
    done = CliRunner().invoke(app, [corpus.spec, "--quick", "--json", str(tmp_path / "a.json")])
    assert done.exit_code == 2
    assert "binary-0-255" in done.output
    assert "write 'raw: 255' for object" in done.output
    assert json.loads((tmp_path / "a.json").read_text())["findings"][0]["severity"] == "error"


def test_a_warning_exits_0(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    BY_NAME["pair_copied"].inject(corpus)
    done = CliRunner().invoke(app, [corpus.spec])
    assert done.exit_code == 0
    assert "duplicate-image" in done.output


def test_names_with_brackets_are_printed_as_they_are(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "[red]set", 0)
    BY_NAME["mask_deleted"].inject(corpus)
    done = CliRunner().invoke(app, [corpus.spec])
    assert done.exit_code == 2
    assert "[red]set" in done.output


def test_the_data_set_may_be_an_option(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    done = CliRunner().invoke(app, ["--data", corpus.spec])
    assert done.exit_code == 0, done.output
    assert "20 train, 5 val; no problems found" in done.output
    for words in ([], [corpus.spec, "--data", corpus.spec]):
        refused = CliRunner().invoke(app, words)
        assert "expected one data set" in str(refused.exception)
