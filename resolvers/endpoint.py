"""`/graphql`: from an HTTP request to an HTTP response. What a request says is judged here, what it asks elsewhere."""

from collections.abc import Sequence
from typing import Protocol

from starlette.types import Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from resolvers import http_request
from resolvers.client_presence import ClientLeftError, WhileClientWaits
from resolvers.documents import Request
from resolvers.engine import Answer
from resolvers.errors import ApiError, internal
from resolvers.http_body import Bodies
from resolvers.http_response import HttpError, Response, answered, refused
from resolvers.identity import Identity
from resolvers.logs import new_request_id
from resolvers.media_types import EVENT_STREAM, GRAPHQL_RESPONSE, HTML, JSON, is_json, preferred
from resolvers.timers import Timers

_READ_HEADERS = frozenset(
    {b"accept", b"authorization", b"content-encoding", b"content-length", b"content-type"}
)
# In our own order of preference.
_ANSWERS = (GRAPHQL_RESPONSE, JSON)
# Only where it is named: who takes anything does not mean one that never ends.
_ANSWERS_AND_STREAM = (*_ANSWERS, EVENT_STREAM)
_NAMED_STREAM = EVENT_STREAM.encode()
_ANSWERS_AND_PAGE = (*_ANSWERS, HTML)
# Most answers are there before.
_PATIENCE_SECONDS = 0.05


class Answering(Protocol):
    """What answers operations."""

    async def answer(self, request: Request, identity: Identity) -> Answer: ...


class Identifying(Protocol):
    """What knows callers by their `Authorization` headers."""

    async def identify(self, authorization: Sequence[str]) -> Identity: ...


class Streaming(Protocol):
    """What answers operations as event streams."""

    async def answer(
        self,
        request: Request,
        identity: Identity,
        request_id: str,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None: ...


class GraphQLEndpoint:
    """An ASGI application for one path."""

    def __init__(
        self,
        engine: Answering,
        verifier: Identifying,
        streams: Streaming,
        *,
        max_body_bytes: int,
        body_timeout_seconds: float,
        page: Response | None,
    ) -> None:
        self._engine = engine
        self._verifier = verifier
        self._streams = streams
        self._bodies = Bodies(max_body_bytes, body_timeout_seconds)
        self._patience = Timers(_PATIENCE_SECONDS)
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        bind_contextvars(request_id=request_id)
        headers = _headers(scope)
        accept = b",".join(headers.get(b"accept", ()))
        media_type = preferred(accept, _ANSWERS_AND_STREAM if _NAMED_STREAM in accept else _ANSWERS)
        try:
            if self._page is not None and _wants_page(scope, accept):
                response = self._page
            elif media_type is None:
                raise HttpError(406, f"Accept {GRAPHQL_RESPONSE} or {JSON}: answers come in nothing else.")
            elif media_type == EVENT_STREAM:
                request, identity = await self._asked(scope, headers, receive)
                await self._streams.answer(request, identity, request_id, scope, receive, send)
                return
            else:
                response = await self._answer(scope, headers, receive, media_type)
        except ClientLeftError:
            return
        except ApiError as error:
            response = refused(error, media_type or GRAPHQL_RESPONSE)
        except Exception as error:
            response = refused(internal(error), media_type or GRAPHQL_RESPONSE)
        await self._bodies.answer(response, request_id, receive, send)

    async def _answer(
        self, scope: Scope, headers: dict[bytes, list[bytes]], receive: Receive, media_type: str
    ) -> Response:
        request, identity = await self._asked(scope, headers, receive)
        with WhileClientWaits(receive, self._patience):
            answer = await self._engine.answer(request, identity)
        return answered(answer, media_type)

    async def _asked(
        self, scope: Scope, headers: dict[bytes, list[bytes]], receive: Receive
    ) -> tuple[Request, Identity]:
        method = scope["method"]
        if method not in ("GET", "POST"):
            raise HttpError(405, "Send POST, or GET for a query.", headers=((b"allow", b"GET, POST"),))
        if method == "POST":
            _check_body_type(headers)
        # The token first: nobody's body is kept for a caller who is refused anyway.
        identity = await self._verifier.identify(
            [value.decode("latin-1") for value in headers.get(b"authorization", ())]
        )
        if method == "POST":
            return http_request.from_body(await self._bodies.read(headers, receive)), identity
        return http_request.from_query_string(scope["query_string"]), identity


def _wants_page(scope: Scope, accept: bytes) -> bool:
    return (
        scope["method"] == "GET"
        and preferred(accept, _ANSWERS_AND_PAGE) == HTML
        and not http_request.has_query(scope["query_string"])
    )


def _headers(scope: Scope) -> dict[bytes, list[bytes]]:
    """The values of the headers that count here."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        if name in _READ_HEADERS:
            found.setdefault(name, []).append(value)
    return found


def _check_body_type(headers: dict[bytes, list[bytes]]) -> None:
    types = headers.get(b"content-type", [])
    if len(types) != 1 or not is_json(types[0]):
        raise HttpError(
            415,
            f"Send the header `Content-Type: {JSON}`, once, and the body as JSON.",
            headers=((b"accept", JSON.encode()),),
        )
    if any(value.strip().lower() != b"identity" for value in headers.get(b"content-encoding", ())):
        raise HttpError(
            415, "Send the body without a Content-Encoding.", headers=((b"accept-encoding", b"identity"),)
        )
