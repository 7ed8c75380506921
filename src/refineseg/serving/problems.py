"""Problem documents (RFC 9457): the body of every answer that is not a success, with one clear sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"


@dataclass
class Problem(Exception):
    """A request is refused or cannot be answered."""

    status: int  # HTTP status
    detail: str  # expected, found, what to do; never a path or a decoder's message
    headers: dict[str, str] = field(default_factory=dict)  # further headers of the answer


def problem_document(status: int, detail: str) -> dict[str, Any]:
    """A problem document."""
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
