"""A request's body, kept in memory and never larger than allowed: the picture itself, or a form with it in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from refineseg.errors import MissingExtraError
from refineseg.serving.problems import Refused

FIELD = "image"  # of a form
FORM = "multipart/form-data"
FIELDS = 20  # parts of a form, at most
SMALL = 1000  # bytes of a field that is not the picture


@dataclass
class Upload:
    """What came: the picture's bytes and the form's other fields."""

    data: bytes = b""
    fields: list[tuple[str, str]] = field(default_factory=list)


async def read_upload(chunks: AsyncIterator[bytes], content_type: str, limit: int) -> Upload:
    """Read a body of at most ``limit`` bytes.

    A form (multipart/form-data) has the picture in the field ``image``; any other body is the picture.

    Raises:
        Refused: 413 above the limit, 400 for a form that cannot be read, 422 for one without a picture.
    """
    form = _Form(content_type, limit) if content_type.partition(";")[0].strip().lower() == FORM else None
    body = bytearray()
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        check_length(size, limit)
        if form is None:
            body += chunk
        else:
            form.feed(chunk)
    return Upload(bytes(body)) if form is None else form.finish()


def check_length(size: int, limit: int) -> None:
    """Refused (413) above the limit."""
    if size > limit:
        raise Refused(413, f"expected at most {limit / 2**20:.3g} MiB, got more: send a smaller picture or a JPEG")


class _Form:
    """A multipart form, read as it comes in; files stay in memory, since the body's length is bounded."""

    def __init__(self, content_type: str, limit: int) -> None:
        try:
            from python_multipart.exceptions import FormParserError
            from python_multipart.multipart import FormParser, parse_options_header
        except ImportError as error:
            raise MissingExtraError("python-multipart", "serve", "reading forms") from error
        self._error = FormParserError
        self._upload = Upload()
        self._pictures = 0
        self._ended = False
        _, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary")
        if not boundary:
            raise Refused(400, f"expected a boundary in the content type {FORM}, got none")
        self._parser = FormParser(
            FORM,
            self._field,
            self._file,
            on_end=self._end,
            boundary=boundary,
            config={"MAX_MEMORY_FILE_SIZE": limit + 1, "MAX_FIELD_SIZE": limit + 1},
        )

    def feed(self, chunk: bytes) -> None:
        with _readable(self._error):
            self._parser.write(chunk)

    def finish(self) -> Upload:
        with _readable(self._error):
            self._parser.finalize()
        if not self._ended:
            raise Refused(400, "expected a whole form, got one that is cut off")
        if not self._pictures:
            raise Refused(422, f"expected a picture in the form's field {FIELD!r}, got none")
        return self._upload

    def _field(self, item: Any) -> None:
        name, value = (item.field_name or b"").decode("utf-8", "replace"), item.value or b""
        if name == FIELD:  # a form may send the picture without a file name
            self._take(bytes(value))
        elif len(value) > SMALL:
            raise Refused(422, f"expected options of at most {SMALL} bytes, got {len(value)} in {name[:40]!r}")
        elif len(self._upload.fields) == FIELDS:
            raise Refused(422, f"expected at most {FIELDS} fields in the form, got more")
        else:
            self._upload.fields.append((name, value.decode("utf-8", "replace")))

    def _file(self, item: Any) -> None:
        name = (item.field_name or b"").decode("utf-8", "replace")
        if name != FIELD:
            raise Refused(422, f"expected the picture in the form's field {FIELD!r}, got a file in {name[:40]!r}")
        self._take(item.file_object.getvalue())

    def _take(self, data: bytes) -> None:
        self._pictures += 1
        if self._pictures > 1:
            raise Refused(422, f"expected one picture in the form's field {FIELD!r}, got several: send each alone")
        self._upload.data = data

    def _end(self) -> None:
        self._ended = True


class _readable:
    """Turns the parser's errors into a refusal."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, self.error):
            raise Refused(400, "expected a form as multipart/form-data, got one that cannot be read") from None
