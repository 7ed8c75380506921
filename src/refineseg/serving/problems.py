"""Every answer that is not a success is a problem document (RFC 9457) with one clear sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"


@dataclass
class Problem(Exception):
    """A request that is refused or cannot be answered.

    Attributes:
        status: HTTP status.
        detail: what was expected, what was found, what to do; never a path or a decoder's words.
        headers: further headers of the answer.
    """

    status: int
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


def document(status: int, detail: str) -> dict[str, Any]:
    """Body of the answer."""
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
