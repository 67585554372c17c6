"""WebSockets that speak graphql-transport-ws (the protocol of the library graphql-ws), with its close codes.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from starlette.types import Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from resolvers import http_request
from resolvers.engine import Answer, Engine, Phase, Watch
from resolvers.errors import ApiError, formatted, internal
from resolvers.identity import ANONYMOUS, Identity
from resolvers.live.groups import Group, Live
from resolvers.live.seats import MOST_PENDING, Seats, too_slow
from resolvers.logs import new_request_id

SUBPROTOCOL = "graphql-transport-ws"

_BAD_MESSAGE = 4400
_UNAUTHORIZED = 4401
_FORBIDDEN = 4403
_NOT_OUR_PROTOCOL = 4406
_INIT_TIMEOUT = 4408
_DUPLICATE_ID = 4409
_SECOND_INIT = 4429
_TRY_LATER = 1013
_LONGEST_REASON = 120
_LONGEST_ID = 128


class Identifying(Protocol):
    async def identify(self, authorization: list[str]) -> Identity: ...


@dataclass(frozen=True)
class SocketLimits:
    """What one client may have open, and how long it may take to say who it is."""

    sockets_per_user: int
    operations_per_socket: int
    init_seconds: float
    origins: Collection[str]
    origin_pattern: re.Pattern[str] | None


class _ClosedError(Exception):
    """The socket is to be closed, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Sockets:
    """An ASGI application for WebSockets."""

    def __init__(self, engine: Engine, live: Live, verifier: Identifying, limits: SocketLimits) -> None:
        self.engine = engine
        self.live = live
        self.verifier = verifier
        self.limits = limits
        self.seats = Seats(limits.sockets_per_user)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if not self._is_origin_allowed(scope):
            await send({"type": "websocket.close"})  # before it is accepted: 403
            return
        if SUBPROTOCOL not in scope["subprotocols"]:
            await send({"type": "websocket.accept"})
            await send(
                {"type": "websocket.close", "code": _NOT_OUR_PROTOCOL, "reason": f"Speak {SUBPROTOCOL}"}
            )
            return
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        await _Socket(self, receive, send).run()

    def _is_origin_allowed(self, scope: Scope) -> bool:
        """Browsers send one; a page of another site shall not use what a person has open here."""
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin or origin in self.limits.origins:
            return True
        if origin.partition("://")[2].encode("latin-1") == headers.get(b"host"):
            return True
        return self.limits.origin_pattern is not None and bool(self.limits.origin_pattern.fullmatch(origin))


class _Socket:
    """One connection: what it has begun, and what is still to be sent on it."""

    def __init__(self, sockets: Sockets, receive: Receive, send: Send) -> None:
        self._sockets = sockets
        self._receive = receive
        self._send = send
        self._identity: Identity | None = None
        self._operations: dict[str, _Operation] = {}
        self._frames: deque[bytes] = deque()
        self._latest: dict[_Operation, bytes] = {}
        self._has_more = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._closing: _ClosedError | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        limits = self._sockets.limits
        self._timer = loop.call_later(
            limits.init_seconds, self.close, _INIT_TIMEOUT, "Connection initialisation timeout"
        )
        writing = loop.create_task(self._write_until_left())
        try:
            while (message := await self._receive())["type"] == "websocket.receive":
                if self._closing is None:
                    await self._take(message.get("text"))
        except _ClosedError as closed:
            self.close(closed.code, closed.reason)
            await writing
        finally:
            self._leave()
            writing.cancel()

    def close(self, code: int, reason: str) -> None:
        """Once what stands before it has been sent, which may be long; nothing is taken or told meanwhile."""
        if self._closing is None:
            self._closing = _ClosedError(code, reason[:_LONGEST_REASON])
            self._has_more.set()

    def push(self, frame: bytes) -> None:
        if self._closing is None:
            self._frames.append(frame)
            self._has_more.set()

    def push_latest(self, operation: "_Operation", payload: bytes) -> None:
        if self._closing is None:
            self._latest[operation] = payload
            self._has_more.set()

    @property
    def is_overflowing(self) -> bool:
        return len(self._frames) > MOST_PENDING

    def finished(self, operation: "_Operation") -> None:
        if self._operations.get(operation.id) is operation:
            del self._operations[operation.id]
        self._latest.pop(operation, None)

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for operation in list(self._operations.values()):
            operation.stop()
        self._operations.clear()
        if self._identity is not None:
            self._sockets.seats.leave(self._identity.user_id)

    async def _write_until_left(self) -> None:
        with suppress(OSError):  # the client's connection is gone, as what we receive says, too
            await self._write()

    async def _write(self) -> None:
        """As fast as the client reads: of what is only the latest, older ones are left out meanwhile."""
        while True:
            await self._has_more.wait()
            self._has_more.clear()
            while self._frames or self._latest:
                if self._frames:
                    frame = self._frames.popleft()
                else:
                    operation = next(iter(self._latest))
                    frame = operation.frame(self._latest.pop(operation))
                await self._send({"type": "websocket.send", "text": frame.decode()})
            if self._closing is not None:
                closed = self._closing
                await self._send({"type": "websocket.close", "code": closed.code, "reason": closed.reason})
                return

    # What clients say

    async def _take(self, text: str | None) -> None:
        message = _message(text)
        match message["type"]:
            case "connection_init":
                await self._init(message.get("payload"))
            case "ping":
                await self._renew(message.get("payload"))
                self.push(b'{"type":"pong"}')
            case "pong":
                pass
            case "subscribe":
                await self._subscribe(message)
            case "complete":
                operation = self._operations.pop(_id_in(message), None)
                if operation is not None:
                    operation.stop()
            case _:
                raise _ClosedError(_BAD_MESSAGE, "Unknown type of message")

    async def _init(self, payload: Any) -> None:
        if self._identity is not None:
            raise _ClosedError(_SECOND_INIT, "Too many initialisation requests")
        identity = await self._identified(_authorization(payload))
        if not self._sockets.seats.take(identity.user_id):
            raise _ClosedError(_TRY_LATER, "You have too many connections. Close some first.")
        self._identity = identity
        self._watch_expiry(identity)
        self.push(b'{"type":"connection_ack"}')

    async def _renew(self, payload: Any) -> None:
        """A ping may bring the next token of the same session along."""
        authorization = _authorization(payload)
        if not authorization or self._identity is None:
            return
        identity = await self._identified(authorization)
        if (identity.user_id, identity.community_id) != (self._identity.user_id, self._identity.community_id):
            raise _ClosedError(
                _FORBIDDEN, "The token is for somebody else, or another community. Connect again."
            )
        self._identity = identity
        self._watch_expiry(identity)

    async def _identified(self, authorization: list[str]) -> Identity:
        try:
            return await self._sockets.verifier.identify(authorization)
        except ApiError as error:
            raise _ClosedError(_FORBIDDEN, error.message) from error

    def _watch_expiry(self, identity: Identity) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if identity is not ANONYMOUS:
            self._timer = asyncio.get_running_loop().call_later(
                identity.expires_at - time.time(), self.close, _FORBIDDEN, "The access token has expired"
            )

    async def _subscribe(self, message: Mapping[str, Any]) -> None:
        if self._identity is None:
            raise _ClosedError(_UNAUTHORIZED, "Unauthorized")
        name = _id_in(message)
        if name in self._operations:
            raise _ClosedError(_DUPLICATE_ID, f"Subscriber for {name} already exists")
        operation = _Operation(self, name)
        try:
            if len(self._operations) >= self._sockets.limits.operations_per_socket:
                raise ApiError(
                    "LIMIT_EXCEEDED", "This connection has too many operations. Complete some first."
                )
            request = http_request.from_payload(message.get("payload"))
            watch = self._sockets.engine.watch(request, self._identity)
        except ApiError as error:
            self.push(operation.error_frame(error))
            return
        except Exception as error:
            self.push(operation.error_frame(internal(error)))
            return
        self._operations[name] = operation
        if watch is None:
            operation.answer(self._sockets.engine.answer(request, self._identity))
        else:
            operation.watch(self._sockets.live, watch)


class _Operation:
    """One operation of a client, and one watcher of a group when it is a subscription."""

    __slots__ = ("_group", "_head", "_live", "_socket", "_task", "id")

    def __init__(self, socket: _Socket, name: str) -> None:
        self.id = name
        self._socket = socket
        self._head = b'{"id":%b,"type":"next","payload":' % orjson.dumps(name)
        self._task: asyncio.Task[None] | None = None
        self._live: Live | None = None
        self._group: Group | None = None

    def frame(self, payload: bytes) -> bytes:
        return b"%b%b}" % (self._head, payload)

    def error_frame(self, *errors: ApiError) -> bytes:
        return self._told("error", [formatted(error) for error in errors])

    # A single answer

    def answer(self, answering: Any) -> None:
        self._task = asyncio.get_running_loop().create_task(self._answer(answering))

    async def _answer(self, answering: Any) -> None:
        bind_contextvars(request_id=new_request_id())
        answer: Answer = await answering
        self._socket.finished(self)
        if answer.phase is Phase.EXECUTED:
            self._socket.push(self.frame(answer.body))
            self._socket.push(self._told("complete"))
        else:
            self._socket.push(self._told("error", orjson.loads(answer.body)["errors"]))

    # Many

    def watch(self, live: Live, watch: Watch) -> None:
        self._live = live
        self._task = asyncio.get_running_loop().create_task(self._watch(live, watch))

    async def _watch(self, live: Live, watch: Watch) -> None:
        try:
            self._group = await live.subscribe(watch, self)
        except Exception as error:
            self.end(internal(error))
        self._task = None

    def latest(self, payload: bytes) -> None:
        self._socket.push_latest(self, payload)

    def each(self, payload: bytes) -> None:
        if self._socket.is_overflowing:
            self.stop()
            self.end(too_slow())
        else:
            self._socket.push(self.frame(payload))

    def end(self, error: ApiError) -> None:
        self._socket.finished(self)
        self._socket.push(self.error_frame(error))

    def stop(self) -> None:
        """The client does not want it any more."""
        if self._task is not None:
            self._task.cancel()
        if self._live is not None and self._group is not None:
            self._live.unsubscribe(self._group, self)
        self._socket.finished(self)

    def _told(self, kind: str, payload: Any = None) -> bytes:
        message = {"id": self.id, "type": kind}
        return orjson.dumps(message if payload is None else {**message, "payload": payload})


def _message(text: str | None) -> dict[str, Any]:
    if text is None:
        raise _ClosedError(_BAD_MESSAGE, "Messages are text")
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _ClosedError(_BAD_MESSAGE, "The message is not JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise _ClosedError(_BAD_MESSAGE, "The message has no type")
    return message


def _id_in(message: Mapping[str, Any]) -> str:
    name = message.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID:
        raise _ClosedError(_BAD_MESSAGE, "The message has no id, or a long one")
    return name


def _authorization(payload: Any) -> list[str]:
    """The header, in the payload itself or among its `headers`, in any case."""
    if payload is not None and not isinstance(payload, dict):
        raise _ClosedError(_BAD_MESSAGE, "The payload is not an object")
    members = payload or {}
    inside = members.get("headers")
    for given in (members, inside if isinstance(inside, dict) else {}):
        found = [value for name, value in given.items() if name.lower() == "authorization"]
        if found:
            if not all(isinstance(value, str) for value in found):
                raise _ClosedError(_BAD_MESSAGE, "Authorization is not a text")
            return found
    return []
