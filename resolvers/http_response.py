"""The answer as HTTP carries it: which status, which headers."""

from collections.abc import Iterable
from typing import NamedTuple

import orjson
from starlette.types import Message

from resolvers.engine import Answer, Phase
from resolvers.errors import ApiError, Code, formatted
from resolvers.media_types import JSON

Header = tuple[bytes, bytes]

_ALWAYS: tuple[Header, ...] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class _Face(NamedTuple):
    """The status of an error code, where it has one of its own."""

    status: int
    headers: tuple[Header, ...] = ()


_FACES: dict[str | None, _Face] = {
    "UNAUTHENTICATED": _Face(401, ((b"www-authenticate", b"Bearer"),)),
    "UNAVAILABLE": _Face(503, ((b"retry-after", b"1"),)),
    "INTERNAL": _Face(500),
}
_NOT_BY_GET = _Face(405, ((b"allow", b"POST"),))


class HttpError(ApiError):
    """A request that is refused for how it uses HTTP."""

    def __init__(
        self, status: int, message: str, *, code: Code = "BAD_USER_INPUT", headers: tuple[Header, ...] = ()
    ) -> None:
        super().__init__(code, message)
        self.face = _Face(status, headers)


class Response(NamedTuple):
    """What goes out."""

    status: int
    media_type: str
    body: bytes
    headers: tuple[Header, ...] = ()

    def start(self, request_id: str) -> Message:
        headers = all_headers(self.media_type, len(self.body), request_id, self.headers)
        if self.status == 204:
            headers = [header for header in headers if not header[0].startswith(b"content-")]
        return {"type": "http.response.start", "status": self.status, "headers": headers}


def answered(answer: Answer, media_type: str) -> Response:
    """The response to a request that reached GraphQL."""
    face = _face(answer, media_type)
    return Response(face.status, media_type, answer.body, face.headers)


def refused(error: ApiError, media_type: str) -> Response:
    """The response to a request that did not."""
    face = error.face if isinstance(error, HttpError) else _FACES.get(error.code, _Face(400))
    return Response(face.status, media_type, error_body(error), face.headers)


def error_body(error: ApiError) -> bytes:
    return orjson.dumps({"errors": [formatted(error)]})


def all_headers(media_type: str, length: int, request_id: str, more: Iterable[Header] = ()) -> list[Header]:
    return [
        (b"content-type", b"%b; charset=utf-8" % media_type.encode()),
        (b"content-length", b"%d" % length),
        (b"x-request-id", request_id.encode()),
        *_ALWAYS,
        *more,
    ]


def _face(answer: Answer, media_type: str) -> _Face:
    """The one place that chooses the status of an answer.

    As in the GraphQL over HTTP drafts up to 2025, which deployed clients follow. That of August 2026 would have 422
    for some of the 400s, and 294 for data with errors.
    """
    if answer.phase is Phase.EXECUTED:
        return _Face(200)
    if answer.phase is Phase.UNSAFE:
        return _NOT_BY_GET
    if media_type == JSON and answer.code == "BAD_USER_INPUT":
        # Clients that ask for this type take any other status for a fault of the network, not of their document.
        return _Face(200)
    return _FACES.get(answer.code, _Face(400))
