"""Fuzz targets: bytes go into a decoder; anything but a result or a RefinesegError of one line is a find.

python fuzz/decoders.py TARGET [-max_total_time=SECONDS] [CORPUS ...]
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["refineseg", "yaml", "safetensors"]):
    import torch
    from safetensors.torch import save

    from refineseg.config import ModelConfig, TrainConfig
    from refineseg.config.yaml import read_yaml
    from refineseg.errors import RefinesegError
    from refineseg.labels import LabelMap
    from refineseg.model.folders.model_folder import read_config
    from refineseg.model.tensors.checkpoints import read_checkpoint
    from refineseg.training.checkpoint import load_checkpoint

PLACE = Path(tempfile.mkdtemp(prefix="refineseg-fuzz-"))
LABELS = LabelMap.from_names(["road", "sky"])
FOLDER = {"format": 1, "name": "m", "labels": LABELS.to_dict(), "model": ModelConfig(num_classes=2).to_dict()}


def labels(data: bytes) -> None:
    """labels.yaml."""
    LabelMap.from_dict(read_yaml(put("labels.yaml", data)))


def config(data: bytes) -> None:
    """Training settings."""
    TrainConfig.from_dict(read_yaml(put("config.yaml", data)))


def folder(data: bytes) -> None:
    """config.json of a model folder."""
    read_config(put("config.json", data).parent)


def safetensors(data: bytes) -> None:
    """Weights, as convert reads them."""
    read_checkpoint(put("c.safetensors", data))


def checkpoint(data: bytes) -> None:
    """A pickled checkpoint, as convert reads it."""
    read_checkpoint(put("c.pth", data))


def resumed(data: bytes) -> None:
    """A run's own checkpoint whose hash fits."""
    import hashlib

    path = put("run/step-00000003.pt", data)
    path.with_suffix(".sha256").write_text(hashlib.sha256(data).hexdigest())
    load_checkpoint(path.parent)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (labels, config, folder, safetensors, checkpoint, resumed)
}


def seeds() -> dict[str, list[bytes]]:
    """Good inputs to start from."""
    stream = io.BytesIO()
    torch.save({"a.weight": torch.arange(4.0)}, stream)
    old = io.BytesIO()
    torch.save({"a.weight": torch.arange(4.0)}, old, _use_new_zipfile_serialization=False)
    from refineseg.config.yaml import to_yaml

    return {
        "labels": [to_yaml(LABELS.to_dict()).encode(), b"classes: [a, b]\nignore: [255]\n"],
        "config": [to_yaml(TrainConfig().to_dict()).encode()],
        "folder": [json.dumps(FOLDER).encode()],
        "safetensors": [save({"a.weight": torch.arange(4.0)})],
        "checkpoint": [stream.getvalue(), old.getvalue()],
        "resumed": [stream.getvalue()],
    }


def put(name: str, data: bytes) -> Path:
    """The input as a file."""
    path = PLACE / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def main() -> None:
    """Fuzz one target; libFuzzer ends the process."""
    name, *options = sys.argv[1:] or [""]
    if name not in TARGETS:
        raise SystemExit(f"expected one of {', '.join(TARGETS)}, got {name!r}")
    target = TARGETS[name]

    def once(data: bytes) -> None:
        try:
            target(data)
        except RefinesegError as error:
            if "\n" in str(error) or len(str(error)) > 2000:
                raise ValueError(f"expected a message of one line, got {str(error)[:500]!r}") from error

    corpus = PLACE / "corpus"
    corpus.mkdir()
    for number, data in enumerate(seeds()[name]):
        (corpus / f"seed{number}").write_bytes(data)
    atheris.Setup([sys.argv[0], *options, str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
