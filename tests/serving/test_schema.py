"""Requests made from the OpenAPI description by schemathesis: the server does what it says, whatever is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from refineseg.serving.limits import Limits
from refineseg.serving.pictures import MEDIA_TYPES
from tests.serving.browser import listening
from tests.serving.made import encoded, pixels, tiny

schemathesis = pytest.importorskip("schemathesis")
pytestmark = pytest.mark.slow

KEY = "a-key"
# What the description cannot say of "binary": that it is a picture. Broken ones are test_refusals.py's.
PICTURES = st.sampled_from([encoded(pixels(24, 32), format) for format in ("PNG", "JPEG", "WEBP", "TIFF")])
for media_type in (*MEDIA_TYPES, "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, PICTURES)
schemathesis.openapi.format("binary", PICTURES)


@pytest.fixture(scope="module", params=[None, KEY], ids=["open", "locked"])
def interface(request: Any) -> Iterator[Any]:
    with listening(tiny(), Limits(bytes=200_000, pixels=200_000, memory=256 << 20), request.param) as address:
        yield schemathesis.openapi.from_url(f"{address}openapi.json")


described = schemathesis.pytest.from_fixture("interface")


@described.parametrize()
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_server_does_as_it_is_described(case: Any) -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {KEY}"})
