"""Refusals: every answer that is not a success is a problem document (RFC 9457), one clear sentence in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"


@dataclass
class Refused(Exception):
    """A request that is not done.

    Attributes:
        status: of HTTP.
        detail: what was expected, what was found, what to do; never a path or a decoder's words.
        headers: beside it.
    """

    status: int
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


def document(status: int, detail: str) -> dict[str, Any]:
    """The body of a refusal."""
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
