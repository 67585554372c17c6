"""uvicorn's HTTP with the limits it lacks: how large and how slow the head of a request may be, and how slow its body.

Bodies are counted by the application, which alone knows how much it wants.
"""

import asyncio
import uuid
from enum import Enum, auto
from itertools import chain
from typing import Any, ClassVar

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from resolvers.http_response import HttpError, all_headers, error_body
from resolvers.live.streams import STREAMING
from resolvers.media_types import JSON
from resolvers.upgrades import Parser, head_without_offer


class _Awaited(Enum):
    """What a client has to send next."""

    FIRST_BYTE = auto()
    REST_OF_HEAD = auto()
    REST_OF_BODY = auto()
    NOTHING = auto()


class _GatheredWrites:
    """A transport that sends together what is written in one turn of the loop.

    uvicorn writes the head of a response and then its body, and the loop would send each at once: the client is woken
    twice, which takes longer than all that Python does for the request.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._pending: list[bytes] = []
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._pending:
            self._loop.call_soon(self._send)
        self._pending.append(data)

    def write_eof(self) -> None:
        self._send()
        self._transport.write_eof()

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._pending and not self.is_closing():
            self._transport.write(b"".join(self._pending))
        self._pending.clear()


class GuardedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    head_seconds: ClassVar[float] = 10
    # Longer than the endpoint's own limit, which answers; this one only closes, and is there for bodies nobody reads.
    body_seconds: ClassVar[float] = 15
    linger_seconds: ClassVar[float] = 1
    max_target_bytes: ClassVar[int] = 8 * 1024
    max_header_bytes: ClassVar[int] = 16 * 1024
    max_headers: ClassVar[int] = 100

    _awaited = _Awaited.FIRST_BYTE
    _timed = _Awaited.NOTHING
    _timer: asyncio.TimerHandle | None = None
    _refusal: HttpError | None = None
    _withheld = 0  # bytes since the parser last passed something on
    _deaf = False
    _answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_GatheredWrites(transport))  # type: ignore[arg-type]
        self.parser = Parser(self, self._head_without_offer)  # type: ignore[assignment]
        self._set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._abandon_request()  # uvicorn tells only the last of several pipelined ones
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._withheld += len(data)
        super().data_received(data)
        if self._withheld > self.max_target_bytes + self.max_header_bytes and not self._deaf:
            self._refuse(self._too_long() or _HEADERS_TOO_LARGE)
        self._notice_stray_bytes()
        if self._awaited is not self._timed and not self._deaf:
            self._set_timer()

    def handle_websocket_upgrade(self) -> None:
        self._deaf = True
        self._stop_timer()
        super().handle_websocket_upgrade()

    def shutdown(self) -> None:
        # What has no end of its own ends now; all else may finish.
        if self._answering is not None and self._answering.scope.get(STREAMING):
            self._hang_up()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn has one message for everything
        self._refuse(self._refusal or _MALFORMED)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    # Parser callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._awaited, self._withheld = _Awaited.REST_OF_HEAD, 0
        self._stop_timer()  # each request has its own time

    def on_headers_complete(self) -> None:
        self._refusal = self._too_long()
        if self._refusal is not None:
            raise ValueError  # stops the parser, which then calls send_400_response
        if self._makes_idle_offer():
            return
        # A copy: uvicorn would add a body's trailers to the headers that have been checked.
        self.scope["headers"] = list(self.headers)
        super().on_headers_complete()
        self._awaited, self._withheld = _Awaited.REST_OF_BODY, 0

    def on_body(self, body: bytes) -> None:
        self._withheld = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._makes_idle_offer():
            return
        super().on_message_complete()
        self._awaited, self._withheld = _Awaited.NOTHING, 0

    # Offers to change the protocol

    def _makes_idle_offer(self) -> bool:
        """Whether this request offers a protocol that we do not speak. CONNECT demands one, and is refused."""
        return (
            self.parser.should_upgrade()
            and self.parser.get_method() != b"CONNECT"
            and not self._should_upgrade()
        )

    def _head_without_offer(self) -> bytes | None:
        if not self._makes_idle_offer():
            return None
        return head_without_offer(
            self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers
        )

    # Limits

    def _too_long(self) -> HttpError | None:
        if len(self.url) > self.max_target_bytes:
            return _TARGET_TOO_LONG
        size = sum(map(len, chain.from_iterable(self.headers)))
        if len(self.headers) > self.max_headers or size > self.max_header_bytes:
            return _HEADERS_TOO_LARGE
        return None

    def _notice_stray_bytes(self) -> None:
        """Line ends between requests, or a body nobody read, stop uvicorn's keep-alive timer: they start ours."""
        if self._awaited is _Awaited.NOTHING and (
            self._answering is None or self._answering.response_complete
        ):
            self._awaited = _Awaited.FIRST_BYTE

    def _set_timer(self) -> None:
        self._stop_timer()
        self._timed = self._awaited
        if self._awaited is not _Awaited.NOTHING:
            seconds = self.body_seconds if self._awaited is _Awaited.REST_OF_BODY else self.head_seconds
            self._timer = self.loop.call_later(seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timed = _Awaited.NOTHING

    def _give_up(self) -> None:
        if self._awaited is _Awaited.REST_OF_HEAD:
            self._refuse(_HEAD_TOO_SLOW)
        else:
            self._hang_up()

    def _refuse(self, error: HttpError) -> None:
        """Closes the connection, with an answer if it is this request's turn."""
        if self.transport.is_closing():
            return
        self._deaf = True
        self._stop_timer()
        answering = self._answering if self._answering and not self._answering.response_complete else None
        if self._awaited is not _Awaited.REST_OF_BODY:
            if answering is None:
                self._answer_and_close(error)
            else:
                self.cycle.keep_alive = False  # earlier requests get their answers; then uvicorn closes
        elif answering is None or answering is not self.cycle or answering.response_started:
            self._hang_up()
        else:
            self._abandon_request()
            self._answer_and_close(error)

    def _hang_up(self) -> None:
        self._abandon_request()
        self.transport.close()

    def _abandon_request(self) -> None:
        """Tells the application that nobody waits for its answer."""
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _answer_and_close(self, error: HttpError) -> None:
        body = error_body(error)
        headers = all_headers(
            JSON, len(body), str(uuid.uuid4()), [*error.face.headers, (b"connection", b"close")]
        )
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[error.face.status] + head + b"\r\n" + body)
        # Closing with unread bytes would reset the connection, and the client might lose the answer.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(self.linger_seconds, self.transport.close)


_MALFORMED = HttpError(
    400, "This is not an HTTP/1.1 request. Check the request line, the headers and the length."
)
_TARGET_TOO_LONG = HttpError(
    414, "The URL is longer than 8 KiB. Send the request by POST.", code="LIMIT_EXCEEDED"
)
_HEADERS_TOO_LARGE = HttpError(
    431, "The headers are more than 100, or larger than 16 KiB. Send fewer.", code="LIMIT_EXCEEDED"
)
_HEAD_TOO_SLOW = HttpError(408, "The request's head did not arrive in time. Send it at once.", code="TIMEOUT")
