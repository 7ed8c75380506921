"""Problem documents (RFC 9457): the body of every answer that is not a success, with one clear sentence."""

from __future__ import annotations

from dataclasses import dataclass, field

PROBLEM_TYPE = "application/problem+json"


@dataclass
class Problem(Exception):
    """A request is refused or cannot be answered."""

    status: int  # HTTP status
    detail: str  # expected, found, what to do; never a path or a decoder's message
    headers: dict[str, str] = field(default_factory=dict)  # further headers of the answer
