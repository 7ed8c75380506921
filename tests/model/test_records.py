"""Weights as records, and downloads that are checked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from refineseg.errors import WeightsError
from refineseg.labels import LabelMap
from refineseg.model import PRESETS, bundled, create_model
from refineseg.model.model_folder import ModelCard, save_model_folder
from refineseg.model.records import HISTORIC, Score, WeightRecord, all_records, bundled_records, fetch

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class Short(Quiet):
    """Promises more bytes than it sends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000])


def serve(handler: object) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:  # type: ignore[arg-type]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "good.pth.tar").write_bytes(CONTENT)
    (tmp_path / "www" / "bad.pth.tar").write_bytes(CONTENT[:-1] + b"\x00")
    yield from serve(partial(Quiet, directory=str(tmp_path / "www")))


@pytest.fixture
def short_home() -> Iterator[str]:
    yield from serve(Short)


def record(*homes: str) -> WeightRecord:
    return WeightRecord("net.tag", None, "voc2012", "MIT", "test", "none", homes, DIGEST)


def test_a_download_is_checked_and_kept(home: str, tmp_path: Path) -> None:
    path = fetch(record(f"{home}/good.pth.tar"), tmp_path / "cache")
    assert path == tmp_path / "cache" / "net.tag.pth.tar"
    assert path.read_bytes() == CONTENT
    # A second time the network is not needed; with another byte on the disk it is.
    assert fetch(record("http://127.0.0.1:9/good.pth.tar"), tmp_path / "cache") == path
    path.write_bytes(CONTENT + b"x")
    assert fetch(record(f"{home}/good.pth.tar"), tmp_path / "cache").read_bytes() == CONTENT


def test_one_byte_off_is_refused_and_not_kept(home: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"expected SHA-256 {DIGEST}, got "):
        fetch(record(f"{home}/bad.pth.tar"), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_homes_are_tried_in_turn(home: str, tmp_path: Path) -> None:
    homes = ("http://127.0.0.1:9/x.pth.tar", f"{home}/gone.pth.tar", f"{home}/bad.pth.tar", f"{home}/good.pth.tar")
    assert fetch(record(*homes), tmp_path).read_bytes() == CONTENT
    with pytest.raises(WeightsError) as caught:
        fetch(record(*homes[:3]), tmp_path / "other")
    text = str(caught.value)
    assert "no connection, offline?" in text
    assert "not there any more (404)" in text
    assert "expected SHA-256" in text
    assert "\n" not in text


def test_an_interrupted_download_is_not_kept(short_home: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="could not fetch"):
        fetch(record(f"{short_home}/good.pth"), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))


def test_what_cannot_be_fetched_says_why(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="closed"):
        fetch(HISTORIC[0], tmp_path)
    with pytest.raises(WeightsError, match="no SHA-256"):
        fetch(replace(record("http://127.0.0.1:9/x"), sha256=None), tmp_path)
    with pytest.raises(WeightsError, match="http or https"):
        fetch(record(f"file://{tmp_path}/x"), tmp_path)
    with pytest.raises(ValueError, match="hexadecimal"):
        replace(record(), sha256="abc")


def test_the_historic_table() -> None:
    names = [entry.name for entry in HISTORIC]
    assert len(set(names)) == len(names) == 22  # 11 light-weight ResNets, MobileNet-v2, ResNet-101, 9 of MATLAB
    assert all(entry.preset is None or entry.preset in PRESETS for entry in HISTORIC)
    assert all(entry.sha256 is None and not entry.homes for entry in HISTORIC)  # none was ever published
    scores = {entry.name: entry.score for entry in HISTORIC}
    assert scores["refinenet-lw-r152.nekrasov-pascal-context"] == Score(
        0.458, "val", "single scale, no flip, as published"
    )
    assert "refinenet-lw-r50.nekrasov-pascal-context" not in scores


def test_bundled_models_are_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "BUNDLED", tmp_path)
    scores: dict[str, object] = {"data": "toy", "split": "val", "mean_iou": 0.5, "pixel_accuracy": 1.0}
    scores |= {"mean_class_accuracy": 1.0, "protocol": "p", "iou": {}}
    scores |= {"intervals": {"mean_iou": [0.4, 0.6], "level": 0.95, "method": "m"}}
    info = ModelCard("toy", LabelMap.from_names(["a", "b"]), (scores,), {}, "MIT")
    save_model_folder(tmp_path / "toy", create_model("refinenet-lw-mbv2", 2), info)
    (entry,) = bundled_records()
    assert (entry.name, entry.preset, entry.dataset, entry.class_names) == (
        "toy",
        "refinenet-lw-mbv2",
        "toy",
        "a, b",
    )
    assert entry.score == Score(0.5, "val", "p", (0.4, 0.6))
    file = tmp_path / "toy" / bundled.INT8
    file.write_bytes(CONTENT)
    report: dict[str, Any] = {"int8": {"mean_iou": 0.49, "judged_on": "val", "learnt": True}}
    file.with_name(f"{file.name}.report.json").write_text(json.dumps(report))
    assert bundled_records()[1].score is None
    report["int8"]["learnt"] = False
    file.with_name(f"{file.name}.report.json").write_text(json.dumps(report))
    _, eight = bundled_records()
    assert (eight.name, eight.preset, eight.licence, eight.sha256) == ("toy-int8", entry.preset, "MIT", DIGEST)
    assert eight.score == Score(0.49, "val", "p")
    assert entry.sha256 == hashlib.sha256((tmp_path / "toy" / "model.safetensors").read_bytes()).hexdigest()
    assert [entry.name for entry in all_records()][:3] == ["toy", "toy-int8", "mobilenetv2_100.imagenet"]
