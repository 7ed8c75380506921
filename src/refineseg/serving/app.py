"""The routes. FastAPI evaluates annotations when functions are defined, so this module does not postpone them."""

import asyncio
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

from refineseg._version import __version__
from refineseg.errors import InputError, extra
from refineseg.html import TOKENS
from refineseg.inference.predictor import Segmenter
from refineseg.serving import description
from refineseg.serving.access import Access
from refineseg.serving.limits import Capacity, Limits
from refineseg.serving.middleware import CLOSE, Middleware, Refuse, drain
from refineseg.serving.problems import PROBLEM_TYPE, Problem
from refineseg.serving.service import Request, Service

if TYPE_CHECKING:
    from fastapi import FastAPI

PAGE = {"/": ("index.html", "text/html"), "/page.css": ("page.css", "text/css")}
SCRIPTS = ("page", "stage", "strip", "legend", "masks", "copies", "service")
PAGE |= {f"/{name}.js": (f"{name}.js", "text/javascript") for name in SCRIPTS}
ROUTES = frozenset({*PAGE, "/v1/segment", "/v1/model", "/healthz", "/readyz", "/metrics", "/openapi.json"})
PART = 64 << 10  # bytes of an answer given to the connection at once
CHALLENGE = {"WWW-Authenticate": "Bearer"}


def create_app(
    segmenter: Segmenter, limits: Limits | None = None, api_key: str | None = None, access: Access | None = None
) -> "FastAPI":
    """The server as an ASGI application; the network runs during its lifespan.

    Args:
        segmenter: the model.
        limits: limits of requests; the defaults of Limits if None.
        api_key: key that ``Authorization: Bearer KEY`` must give for /v1 and /metrics; None requires none.
        access: host names and web pages that may use the server; the defaults of Access if None.

    Raises:
        InputError: the model predicts depth, not classes.
        MissingExtraError: the packages of the extra ``serve`` are not installed.
    """
    if segmenter.outputs != "classes":
        name, outputs = segmenter.card.name, segmenter.outputs
        raise InputError(f"expected a model of classes to serve, {name} predicts {outputs}")
    with extra("fastapi", "serve", "serving"):
        from fastapi import FastAPI
        from fastapi.middleware.cors import CORSMiddleware

    service = Service(segmenter, limits or Limits())
    access = access or Access()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.start)
        yield
        await asyncio.to_thread(service.stop)

    app = FastAPI(
        title=description.TITLE,
        version=__version__,
        summary=description.SUMMARY,
        lifespan=lifespan,
        docs_url=None,  # these pages load scripts from other sites
        redoc_url=None,
        redirect_slashes=False,
    )
    if access.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=access.origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type"),
            expose_headers=("Content-Disposition", "Retry-After", "Server-Timing"),
        )
    record, refuse = service.metrics.record_answer, _add_problems(app)
    app.add_middleware(Middleware, access=access, refuse=refuse, record=record, routes=ROUTES)
    _add_interface(app, service, _key_required(api_key))
    _add_probes(app, service)
    _add_page(app)
    return app


def _key_required(api_key: str | None) -> dict[str, Any]:
    """Arguments of routes that require the key."""
    from fastapi import Depends
    from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

    Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]

    def check_key(given: Credentials) -> None:
        # Bytes, since text beyond ASCII has no constant-time comparison.
        if given is None or not hmac.compare_digest(given.credentials.encode(), (api_key or "").encode()):
            raise Problem(401, "expected the header Authorization: Bearer KEY with the server's key", CHALLENGE)

    return {"dependencies": [Depends(check_key)]} if api_key else {}


def _add_problems(app: "FastAPI") -> Refuse:
    """Make every error a problem document; returns the function that answers a refused request."""
    from fastapi import Request as Incoming
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
        title = HTTPStatus(status).phrase
        document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        return JSONResponse(document, status, headers, PROBLEM_TYPE)

    @app.exception_handler(Problem)
    async def refused(incoming: Incoming, error: Problem) -> JSONResponse:
        # If the client is still sending, close the connection: the rest of its body is not read.
        rest = {} if await drain(incoming.stream()) else CLOSE
        return problem(error.status, error.detail, error.headers | rest)

    @app.exception_handler(ClientDisconnect)
    async def disconnected(_incoming: Incoming, _error: ClientDisconnect) -> JSONResponse:
        return problem(400, "expected the whole request, the client disconnected before its end")

    @app.exception_handler(HTTPException)
    async def http_error(_incoming: Incoming, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, f"{error.detail}: see /openapi.json", dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def failed(_incoming: Incoming, _error: Exception) -> JSONResponse:
        return problem(500, "the server failed on this request; its log says why")

    return lambda scope, receive, error: refused(Incoming(scope, receive), error)


def _add_interface(app: "FastAPI", service: Service, keyed: dict[str, Any]) -> None:
    from fastapi import Request as Incoming
    from fastapi import Response
    from fastapi.responses import StreamingResponse

    described = description.describe_model(service.segmenter, service.limits)
    forbidden = description.problem_answers(401) if keyed else {}

    @app.post(
        "/v1/segment",
        response_class=Response,
        responses={**description.segment_answers(), **forbidden},
        openapi_extra=description.segment_request(),
        summary="Segment one picture",
        **keyed,
    )
    async def segment(incoming: Incoming) -> Response:
        length = incoming.headers.get("content-length", "")
        request = Request(
            query=incoming.query_params.multi_items(),
            content_type=incoming.headers.get("content-type", ""),
            coding=incoming.headers.get("content-encoding", ""),
            length=int(length[:20]) if length.isascii() and length.isdecimal() else None,
            chunks=incoming.stream(),
            disconnected=lambda: _disconnected(incoming.receive),
        )
        answer, stages = await service.segment(request)
        headers = {
            "Server-Timing": ", ".join(f"{name};dur={1000 * value:.1f}" for name, value in stages.items()),
            "Content-Disposition": f'inline; filename="{answer.name}"',
            "Content-Length": str(len(answer.content)),
        }
        parts = in_parts(answer.content, service.capacity)
        return StreamingResponse(parts, media_type=answer.media_type, headers=headers)

    @app.get("/v1/model", responses=forbidden, summary="Labels, palette, scores, licence", **keyed)
    async def model() -> description.ModelDescription:
        return described

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"description": "Counters", "content": description.TEXT}, **forbidden},
        summary="Counters for Prometheus",
        **keyed,
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=service.metrics.media_type)


def _add_probes(app: "FastAPI", service: Service) -> None:
    @app.get("/healthz", summary="The process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", responses=description.problem_answers(503), summary="Pictures are accepted")
    async def readyz() -> dict[str, str]:
        if not service.batcher.alive:
            raise Problem(503, "the server is stopping and accepts no more pictures", {"Retry-After": "5"})
        return {"status": "ready"}


def _add_page(app: "FastAPI") -> None:
    from fastapi import Response

    for path, (name, media_type) in PAGE.items():
        content = (files("refineseg.serving") / "page" / name).read_text(encoding="utf-8")
        answer = Response(TOKENS + content if name.endswith(".css") else content, media_type=media_type)
        app.add_api_route(path, lambda answer=answer: answer, response_class=Response, include_in_schema=False)


async def in_parts(content: bytes, capacity: Capacity) -> AsyncGenerator[bytes]:
    """The content in parts, each sent when the client has read the one before; counted as memory until the end."""
    with capacity.hold(len(content)):
        for start in range(0, len(content), PART):
            yield content[start : start + PART]


async def _disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    """Return when the client has left; its body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
