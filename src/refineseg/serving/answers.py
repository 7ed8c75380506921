"""The body of an answer: one output as its own file, or several in a JSON document."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from typing import Any

from refineseg.inference.outputs import JSON as JSON_TYPES
from refineseg.inference.result import Result
from refineseg.serving.request_options import KINDS, SUMMARY

JSON = "application/json"
COMPRESSION = 3  # zlib's level: takes a third of the time of 6, and masks are hardly larger
MEDIA_TYPES = tuple(dict.fromkeys([JSON, *(kind.media_type for kind in KINDS.values())]))


@dataclass(frozen=True)
class Answer:
    """Body of a successful answer, its media type, and a file name for browsers that save it."""

    content: bytes
    media_type: str
    name: str


def answer(result: Result, outputs: tuple[str, ...], model: str) -> Answer:
    """One output as its own file; several as a summary with each output under ``outputs``.

    In the summary, JSON outputs (polygons, geojson, rle) are values and the others base64 text.
    """
    if len(outputs) == 1 and outputs[0] != SUMMARY:
        kind = KINDS[outputs[0]]
        return Answer(_content(result, outputs[0]), kind.media_type, f"{outputs[0]}{kind.suffix}")
    document = summary(result, model)
    parts = [name for name in outputs if name != SUMMARY]
    if parts:
        document["outputs"] = {name: _value(result, name) for name in parts}
    return Answer(json.dumps(document, ensure_ascii=False).encode(), JSON, "result.json")


def summary(result: Result, model: str) -> dict[str, Any]:
    """Size, shares of the classes (largest first, in [0, 1]), and notes on how the picture was read, if any."""
    height, width = result.labels.shape
    shares = {name: round(share, 6) for name, share in result.class_shares.items()}
    notes = {"notes": list(result.notes)} if result.notes else {}
    return {"model": model, "width": width, "height": height, "class_shares": shares, **notes}


def _content(result: Result, kind: str) -> bytes:
    stream = io.BytesIO()
    result.write(kind, stream, COMPRESSION)
    return stream.getvalue()


def _value(result: Result, kind: str) -> Any:
    content = _content(result, kind)
    return (
        json.loads(content) if KINDS[kind].media_type in JSON_TYPES else base64.b64encode(content).decode("ascii")
    )
