"""Reading a request's body within the size limit: a picture's bytes, a form, or JSON with base64."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from refineseg.errors import extra
from refineseg.serving.problems import Problem

FIELD = "image"  # the picture's field in forms and key in JSON
FORM = "multipart/form-data"
JSON = "application/json"
MAX_FIELDS = 20  # options in a form or a JSON object
MAX_FIELD_BYTES = 1000  # per option
MAX_BRACKETS = 1000  # brackets, quotes and commas in a JSON body; base64 has none


@dataclass
class Upload:
    """The picture's bytes and the options sent with it."""

    data: bytes = b""
    fields: list[tuple[str, str]] = field(default_factory=list)


async def read_upload(chunks: AsyncIterator[bytes], content_type: str, coding: str, limit: int) -> Upload:
    """Read a body of at most ``limit`` bytes, without Content-Encoding, as it arrives.

    ``multipart/form-data`` has the picture in the field ``image``, ``application/json`` as base64 under the key
    ``image``; any other body is the picture itself.

    Raises:
        Problem: 413 above the limit, 415 for a compressed body, 400 for a form or JSON that cannot be read, 422
            without exactly one picture.
    """
    if coding.strip().lower() not in ("", "identity"):
        raise Problem(415, f"expected a body without Content-Encoding, got {coding[:40]!r}: send it uncompressed")
    media_type = content_type.partition(";")[0].strip().lower()
    form = _Form(content_type, limit) if media_type == FORM else None
    body = bytearray()
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        check_length(size, limit)
        if form is None:
            body += chunk
        else:
            form.feed(chunk)
    if form is not None:
        return form.finish()
    return _from_json(body) if media_type == JSON else Upload(bytes(body))


def check_length(size: int, limit: int) -> None:
    """Problem (413) above the limit."""
    if size > limit:
        raise Problem(413, f"expected at most {limit / 2**20:.3g} MiB, got more: send a smaller picture or a JPEG")


class _Form:
    """A multipart form, parsed as it arrives. Files stay in memory, since the body's length is limited."""

    def __init__(self, content_type: str, limit: int) -> None:
        with extra("python-multipart", "serve", "reading forms"):
            from python_multipart.multipart import FormParser, parse_options_header
        self._upload = Upload()
        self._pictures = 0
        self._ended = False
        with _refusing_parser_errors():
            boundary = parse_options_header(content_type)[1].get(b"boundary")
            if not boundary:
                raise Problem(400, f"expected a boundary in the content type {FORM}, got none")
            self._parser = FormParser(
                FORM,
                self._field,
                self._file,
                on_end=self._end,
                boundary=boundary,
                config={
                    "MAX_MEMORY_FILE_SIZE": limit + 1,
                    "MAX_FIELD_SIZE": limit + 1,
                    "UPLOAD_ERROR_ON_BAD_CTE": True,
                },
            )

    def feed(self, chunk: bytes) -> None:
        with _refusing_parser_errors():
            self._parser.write(chunk)

    def finish(self) -> Upload:
        with _refusing_parser_errors():
            self._parser.finalize()
        if not self._ended:
            raise Problem(400, "expected a whole form, got one that is cut off")
        if not self._pictures:
            raise Problem(422, f"expected a picture in the form's field {FIELD!r}, got none")
        return self._upload

    def _field(self, item: Any) -> None:
        name, value = (item.field_name or b"").decode("utf-8", "replace"), item.value or b""
        if name == FIELD:  # a form may send the picture without a file name
            self._take(bytes(value))
        else:
            _check_field(name, len(value), self._upload)
            self._upload.fields.append((name, value.decode("utf-8", "replace")))

    def _file(self, item: Any) -> None:
        name = (item.field_name or b"").decode("utf-8", "replace")
        if name != FIELD:
            raise Problem(422, f"expected the picture in the form's field {FIELD!r}, got a file in {name[:40]!r}")
        self._take(item.file_object.getvalue())

    def _take(self, data: bytes) -> None:
        self._pictures += 1
        if self._pictures > 1:
            raise Problem(422, f"expected one picture in the form's field {FIELD!r}, got several: send each alone")
        self._upload.data = data

    def _end(self) -> None:
        self._ended = True


@contextmanager
def _refusing_parser_errors() -> Iterator[None]:
    """Turns any error of the form parser into a Problem, since its only input is the client's."""
    try:
        yield
    except (Problem, MemoryError):
        raise
    except Exception:
        raise Problem(400, "expected a form as multipart/form-data, got one that cannot be read") from None


def _from_json(body: bytearray) -> Upload:
    """Read ``{"image": "<base64>", "output": ["mask", "rle"], ...}``; values as in a query, or JSON's own."""
    if sum(body.count(mark) for mark in b'[{,"') > MAX_BRACKETS:  # or a small body could become large objects
        raise Problem(
            400, f"expected a JSON object with the picture as base64 in {FIELD!r}, got a larger structure"
        )
    try:
        pairs = json.loads(body.decode("utf-8-sig"), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        raise Problem(400, "expected a JSON object, got a body that cannot be read as JSON") from None
    if not isinstance(pairs, tuple):
        raise Problem(422, f"expected a JSON object with the picture as base64 in {FIELD!r}, got another value")
    pictures = [value for name, value in pairs if name == FIELD]
    if len(pictures) != 1 or not isinstance(pictures[0], str):
        raise Problem(422, f"expected one picture as base64 text in {FIELD!r} of the JSON object")
    upload = Upload(_from_base64(pictures[0]))
    for name, value in pairs:
        if name != FIELD:
            text = _option_text(name, value)
            _check_field(name, len(text), upload)
            upload.fields.append((name, text))
    return upload


def _from_base64(text: str) -> bytes:
    """Bytes of base64 text, of a data: URL as browsers make them, or of wrapped lines."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise Problem(422, f"expected base64 text in {FIELD!r}, got text that is not base64") from None


def _option_text(name: str, value: Any) -> str:
    """A JSON value as query parameters spell it."""
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str | int | float) for part in parts):
        raise Problem(422, f"expected text, a number, true, false or a list of them in {name[:40]!r}")
    return ",".join(str(part).lower() if isinstance(part, bool) else str(part) for part in parts)


def _check_field(name: str, length: int, upload: Upload) -> None:
    if length > MAX_FIELD_BYTES:
        raise Problem(422, f"expected options of at most {MAX_FIELD_BYTES} bytes, got {length} in {name[:40]!r}")
    if len(upload.fields) == MAX_FIELDS:
        raise Problem(422, f"expected at most {MAX_FIELDS} fields beside the picture, got more")
