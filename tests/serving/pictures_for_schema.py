"""Loaded by schemathesis (SCHEMATHESIS_HOOKS): bodies that the description calls binary are pictures."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

from refineseg.serving.decoding import media_types
from tests.serving.made import encoded, pixels

PICTURES = st.sampled_from([encoded(pixels(24, 32), format) for format in ("PNG", "JPEG", "WEBP", "TIFF")])

for media_type in (*media_types(), "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, PICTURES)
schemathesis.openapi.format("binary", PICTURES)
