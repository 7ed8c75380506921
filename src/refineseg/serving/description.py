"""The OpenAPI description of requests and answers, made from the names and bounds in the code."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from refineseg._version import __version__
from refineseg.inference.predictor import Segmenter
from refineseg.labels import IGNORE
from refineseg.serving import answers, decoding, uploads
from refineseg.serving.limits import Limits
from refineseg.serving.problems import PROBLEM_TYPE
from refineseg.serving.request_options import OPTIONS, OUTPUTS

BINARY = {"type": "string", "format": "binary"}
BASE64 = {"type": "string", "format": "byte"}
TEXT = {"text/plain": {"schema": {"type": "string"}}}
TITLE = "refineseg"
SUMMARY = "Segment pictures: a class for every pixel. Errors are problem documents (RFC 9457)."


@dataclass(frozen=True)
class Label:
    """A class of the model: value in masks, name, RGB colour, and whether overlays leave it uncoloured."""

    train_id: int
    name: str
    color: tuple[int, int, int]
    background: bool


@dataclass(frozen=True)
class Score:
    """A score of the model and its protocol."""

    data: str
    split: str
    mean_iou: float
    pixel_accuracy: float
    protocol: str


@dataclass(frozen=True)
class Bounds:
    """Limits of a request."""

    bytes: int
    pixels: int
    seconds: float
    formats: tuple[str, ...]


@dataclass(frozen=True)
class ModelDescription:
    """The served model."""

    model: str  # name of the model
    version: str  # version of refineseg
    labels: tuple[Label, ...]  # classes by train id
    ignore: int  # value in masks that means no class
    palette: tuple[tuple[int, int, int], ...]  # 256 RGB colours of the mask PNG
    scores: tuple[Score, ...]  # scores with their protocols
    licence: str  # licence of weights and training data
    calibrated: bool  # whether probabilities are calibrated
    limits: Bounds  # limits of a request
    outputs: tuple[str, ...]  # names of the available outputs


def describe_model(segmenter: Segmenter, limits: Limits) -> ModelDescription:
    """Answer of ``GET /v1/model``; it leaves out provenance, whose commands contain paths."""
    card = segmenter.card
    scores = tuple(
        Score(item["data"], item["split"], item["mean_iou"], item["pixel_accuracy"], item["protocol"])
        for item in card.scores
    )
    return ModelDescription(
        model=card.name,
        version=__version__,
        labels=tuple(
            Label(i, item.name, item.color, i in card.labels.background_ids)
            for i, item in enumerate(card.labels.classes)
        ),
        ignore=IGNORE,
        palette=tuple((int(r), int(g), int(b)) for r, g, b in card.labels.palette),
        scores=scores,
        licence=card.licence,
        calibrated=segmenter.calibrated,
        limits=Bounds(limits.bytes, limits.pixels, limits.seconds, decoding.picture_formats()),
        outputs=OUTPUTS,
    )


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problem documents with which a route may answer."""
    types = {"type": "string", "title": "string", "status": "integer", "detail": "string"}
    properties = {name: {"type": kind} for name, kind in types.items()}
    schema = {"type": "object", "required": list(types), "properties": properties}
    headers: dict[int, dict[str, Any]] = {
        401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
        503: {"Retry-After": {"required": True, "schema": {"type": "integer"}, "description": "seconds"}},
    }
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_TYPE: {"schema": schema}},
            "headers": headers.get(status, {}),
        }
        for status in statuses
    }


def _body(picture: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [uploads.FIELD],
        "properties": {uploads.FIELD: picture},
        "additionalProperties": False,
        "description": text,
    }


def segment_request() -> dict[str, Any]:
    """Parameters and body of ``POST /v1/segment``."""
    parameters = []
    for name, option in OPTIONS.items():
        style = {"style": "form", "explode": False} if option.schema.get("type") == "array" else {}
        about = {"description": option.description, "schema": option.schema}
        parameters.append({"name": name, "in": "query", "required": False, **about, **style})
    form = _body(BINARY, "A form. Query parameters may be given as fields instead, in the same spelling.")
    document = _body(BASE64, "A JSON object. Query parameters may be given as keys instead.")
    raw = {media_type: {"schema": BINARY} for media_type in (*decoding.media_types(), "application/octet-stream")}
    return {
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {uploads.FORM: {"schema": form}, uploads.JSON: {"schema": document}, **raw},
        },
    }


def segment_answers() -> dict[int | str, dict[str, Any]]:
    """Answers of ``POST /v1/segment``."""
    shares = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1}}
    document = {"type": "object"}
    schemas = {
        answers.JSON: {
            "type": "object",
            "description": "A summary (model, width, height, class_shares, notes on what was assumed in reading "
            "the picture, and outputs where several were requested), polygons or run lengths.",
            "properties": {
                "class_shares": shares,
                "notes": {"type": "array", "items": {"type": "string"}},
                "outputs": document,
            },
        },
        "application/geo+json": document,
    }
    content = {media_type: {"schema": schemas.get(media_type, BINARY)} for media_type in answers.MEDIA_TYPES}
    timing = {"schema": {"type": "string"}, "description": "milliseconds of decode, queue, predict, encode"}
    success = {"description": "The segmentation", "content": content, "headers": {"Server-Timing": timing}}
    return {200: success, **problem_answers(400, 408, 413, 415, 422, 503, 504)}
