"""Models on the Hub, against one on 127.0.0.1: fetched, cached, pinned, pushed; each failure is one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from PIL import Image
from safetensors.torch import load_file

import refineseg
from refineseg.cli.main import main
from refineseg.errors import InputError, WeightsError
from refineseg.labels import LabelMap
from refineseg.model import create_model
from refineseg.model.folders.hub import HubName, fetch_model, pinned, push_model
from refineseg.model.folders.model_folder import ModelCard, load_model_folder, save_model_folder
from refineseg.system.files import sha256_of
from tests.hub import TOKEN, FakeHub, fake_hub, point_at, reached_hub
from tests.model.filled import fill

NAMES = ["road", "sky"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = create_model("refinenet-lw-mbv2", 2, backbone="test_efficientnet", width=16, coarse_width=16)
    fill(model)
    path = tmp_path_factory.mktemp("hub") / "streets"
    save_model_folder(path, model, ModelCard("streets", LabelMap.from_names(NAMES)))
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with reached_hub(tmp_path / "cache", monkeypatch) as running:
        yield running


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [("hf:org/name", "org/name", None), ("hf:o-1/n.a_b@v1.0", "o-1/n.a_b", "v1.0"), ("hf:o/n@a/b", "o/n", "a/b")],
)
def test_names(text: str, repo: str, revision: str | None) -> None:
    name = HubName.parse(text)
    assert (name.repo, name.revision, str(name)) == (repo, revision, text)


@pytest.mark.parametrize(
    "text", ["hf:", "hf:name", "hf:a/b/c", "hf:../x", "hf:a/..", "hf:a/b@", "hf:a/b@../x", "a/b"]
)
def test_no_names(text: str) -> None:
    with pytest.raises(InputError, match="expected hf:ORG/NAME"):
        HubName.parse(text)


def test_a_model_is_fetched_once_and_pinned(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = hub.add("org/streets", folder)
    segmenter = refineseg.load("hf:org/streets", device="cpu")
    assert segmenter.class_names == NAMES
    assert segmenter.card.provenance["hub"] == f"hf:org/streets@{commit}"
    assert segmenter.card.provenance["sha256"] == sha256_of(folder / "model.safetensors")
    assert pinned("hf:org/streets") == f"hf:org/streets@{commit}"
    assert pinned("camvid") == "camvid"
    gets = [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]
    assert len(gets) == 2, "config and weights once each, nothing else"
    assert not any("README" in line or ".bin" in line for line in hub.asked)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.asked)
    assert refineseg.load("hf:org/streets", device="cpu").card == segmenter.card
    assert refineseg.load(f"hf:org/streets@{commit}", device="cpu").card == segmenter.card
    assert len(hub.asked) == asked, "offline means offline"


def test_a_revision_stays_what_it_was(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    first = hub.add("org/streets", folder)
    hub.repos["org/streets"].names["v1"] = first
    other = tmp_path / "other"
    model, info = load_model_folder(folder)
    assert model.classifier.bias is not None
    model.classifier.bias.data.add_(1)
    save_model_folder(other, model, info)
    second = hub.add("org/streets", other)
    for revision, commit, source in (("v1", first, folder), (first, first, folder), ("main", second, other)):
        found = fetch_model(f"hf:org/streets@{revision}")
        assert found.name == commit
        assert sha256_of(found / "model.safetensors") == sha256_of(source / "model.safetensors")


def spoil_config(path: Path) -> None:
    (path / "config.json").write_text('{"architectures": ["Segformer"]}')


def spoil_json(path: Path) -> None:
    (path / "config.json").write_bytes(b"\xff{")


def only_a_pickle(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def no_config(path: Path) -> None:
    (path / "config.json").unlink()


@pytest.mark.parametrize("spoil", [spoil_config, spoil_json, only_a_pickle, no_config])
def test_what_is_no_refineseg_model(hub: FakeHub, folder: Path, tmp_path: Path, spoil: object) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    spoil(copy)  # type: ignore[operator]
    hub.add("org/other", copy)
    with pytest.raises(WeightsError, match=r"hf:org/other(@\w+)? is not a refineseg model"):
        refineseg.load("hf:org/other")
    assert not any("GET" in line and "safetensors" in line for line in hub.asked)


def test_each_way_to_fail_is_one_line(
    hub: FakeHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")

    def said(name: str) -> str:
        assert main(["predict", str(tmp_path / "a.png"), "--model", name, "-o", str(tmp_path / "out")]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        return line

    assert "found no hf:org/nothing on the Hub" in said("hf:org/nothing")
    hub.add("org/closed", folder, gated=True)
    assert "hf:org/closed is gated: ask for access" in said("hf:org/closed")
    hub.add("org/streets", folder)
    assert "org/streets on the Hub has no revision 'v9'" in said("hf:org/streets@v9")
    assert "expected hf:ORG/NAME" in said("hf:streets")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "is not in the cache and HF_HUB_OFFLINE is set" in said("hf:org/streets")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    point_at("http://127.0.0.1:9", monkeypatch)
    assert "is not in the cache and the Hub cannot be reached" in said("hf:org/streets")
    assert not (tmp_path / "out").exists()


def test_a_token_opens_what_is_gated(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/closed", folder, gated=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert refineseg.load("hf:org/closed", device="cpu").class_names == NAMES


def test_spoilt_weights_are_refused(hub: FakeHub, folder: Path) -> None:
    hub.add("org/streets", folder)
    hub.spoil = True
    with pytest.raises(
        WeightsError, match=r"model.safetensors of hf:org/streets@\w+ does not match its hash: delete"
    ):
        refineseg.load("hf:org/streets")


def test_push_and_load_again(
    hub: FakeHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "secret.txt").write_text("stays here")
    assert main(["push", str(copy), "hf:me/streets"]) == 2
    assert "the Hub refuses hf:me/streets (401): set HF_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert main(["push", str(copy), "hf:me/streets"]) == 0
    (commit,) = set(hub.repos["me/streets"].names.values())
    shown = capsys.readouterr().out
    assert f"hf:me/streets@{commit}" in shown
    assert sha256_of(folder / "model.safetensors") in shown
    files = hub.repos["me/streets"].commits[commit]
    assert set(files) == {"config.json", "model.safetensors", "README.md"}
    assert b'refineseg.load("hf:me/streets")' in files["README.md"]
    found = fetch_model("hf:me/streets")
    one, other = (load_file(path / "model.safetensors") for path in (folder, found))
    assert all(one[key].equal(other[key]) for key in one | other)
    again, _ = push_model(copy, "hf:me/streets", message="again")
    assert again.startswith("hf:me/streets@")


def test_push_reads_strictly_first(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:-9])
    with pytest.raises(WeightsError, match="damaged"):
        push_model(copy, "hf:me/streets")
    assert not hub.asked


def test_evaluate_writes_the_commit_and_does_not_write_into_the_cache(
    hub: FakeHub, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit = hub.add("org/streets", folder)
    root = tmp_path / "data"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    (root / "labels.yaml").write_text("classes: [road, sky]\n")
    Image.new("RGB", (48, 32), (90, 90, 90)).save(root / "images" / "a.png")
    Image.new("L", (48, 32), 1).save(root / "masks" / "a.png")
    command = ["evaluate", "--model", "hf:org/streets", "--data", f"folder:{root}", "--split", "train"]
    assert main([*command, "--json", str(tmp_path / "s.json")]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "s.json").read_text())["model"] == f"hf:org/streets@{commit}"
    assert main([*command, "--calibrate", "global"]) == 2
    assert "expected a model folder to calibrate" in capsys.readouterr().err


@pytest.mark.slow
def test_the_environments_variables(folder: Path, tmp_path: Path) -> None:
    """A process of its own, with nothing patched: HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE."""
    code = "import sys; from refineseg.model.folders.hub import fetch_model; print(fetch_model(sys.argv[1]))"

    def run(**extra: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", **extra}
        command = [sys.executable, "-c", code, "hf:org/streets"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)

    with fake_hub() as hub:
        commit = hub.add("org/streets", folder)
        first = run(HF_ENDPOINT=hub.url)
        assert first.stdout.strip().endswith(f"/snapshots/{commit}"), first.stderr
    second = run(HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")  # the Hub is gone, the cache is there
    assert second.stdout == first.stdout
    third = run(HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "empty"))
    assert "HF_HUB_OFFLINE is set" in third.stderr
