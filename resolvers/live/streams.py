"""Subscriptions as event streams, each on a connection of its own (graphql-sse, distinct connections mode).

https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md
"""

import asyncio
import time
from collections import deque

import orjson
from starlette.types import Message, Receive, Scope, Send

from resolvers.client_presence import WhileClientWaits
from resolvers.documents import Request
from resolvers.engine import Engine, Watch
from resolvers.errors import ApiError, formatted
from resolvers.identity import Identity
from resolvers.live.groups import Live
from resolvers.live.seats import MOST_PENDING, Seats, too_slow
from resolvers.timers import Timers

# Set in the scope of a request that has no end of its own: the server does not wait for it when it stops.
STREAMING = "gym.streaming"

_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
)
# So that proxies, and clients, see that it is still there.
_KEEP_ALIVE = b":\n\n"
_KEEP_ALIVE_SECONDS = 12.0
# As for any request: most answers are there before.
_PATIENCE_SECONDS = 0.05


class Streams:
    """Answers operations as event streams."""

    def __init__(self, engine: Engine, live: Live, *, most_per_user: int) -> None:
        self._engine = engine
        self._live = live
        self._seats = Seats(most_per_user)
        self._patience = Timers(_PATIENCE_SECONDS)
        self._keep_alive = Timers(_KEEP_ALIVE_SECONDS)

    async def answer(
        self,
        request: Request,
        identity: Identity,
        request_id: str,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Until the client leaves, or there is no more."""
        start: Message = {
            "type": "http.response.start",
            "status": 200,
            "headers": [*_HEADERS, (b"x-request-id", request_id.encode())],
        }
        stream = _Stream(self._keep_alive)
        try:
            watch = self._engine.watch(request, identity)
            if watch is not None and not self._seats.take(identity.user_id):
                raise ApiError("LIMIT_EXCEEDED", "You have too many streams. Close some first.")
        except ApiError as error:
            watch = None
            stream.end(error)
        else:
            if watch is None:
                with WhileClientWaits(receive, self._patience):
                    stream.each((await self._engine.answer(request, identity)).body)
                stream.finish()
        await send(start)
        if watch is None:
            await stream.write(send)
            return
        scope[STREAMING] = True
        await self._watch(watch, stream, identity, receive, send)

    async def _watch(
        self, watch: Watch, stream: "_Stream", identity: Identity, receive: Receive, send: Send
    ) -> None:
        loop = asyncio.get_running_loop()
        expiry = loop.call_later(
            identity.expires_at - time.time(),
            stream.end,
            ApiError("UNAUTHENTICATED", "The access token has expired; sign in again for a new one."),
        )
        leaving = loop.create_task(_wait_until_left(receive, stream))
        group = None
        try:
            group = await self._live.subscribe(watch, stream)
            await stream.write(send)
        finally:
            expiry.cancel()
            leaving.cancel()
            if group is not None:
                self._live.unsubscribe(group, stream)
            self._seats.leave(identity.user_id)


async def _wait_until_left(receive: Receive, stream: "_Stream") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.leave()


class _Stream:
    """What is still to be sent to one client."""

    __slots__ = ("_events", "_has_left", "_has_more", "_is_over", "_keep_alive", "_latest")

    def __init__(self, keep_alive: Timers) -> None:
        self._keep_alive = keep_alive
        self._events: deque[bytes] = deque()
        self._latest: bytes | None = None
        self._has_more = asyncio.Event()
        self._is_over = False
        self._has_left = False

    def latest(self, payload: bytes) -> None:
        if not self._is_over:
            self._latest = payload
            self._has_more.set()

    def each(self, payload: bytes) -> None:
        if self._is_over:
            return
        if len(self._events) > MOST_PENDING:
            self.end(too_slow())
            return
        self._events.append(_event(payload))
        self._has_more.set()

    def end(self, error: ApiError) -> None:
        if not self._is_over:
            self._latest = None
            self._events.append(_event(orjson.dumps({"errors": [formatted(error)]})))
            self.finish()

    def finish(self) -> None:
        self._is_over = True
        self._events.append(b"event: complete\ndata:\n\n")
        self._has_more.set()

    def leave(self) -> None:
        self._has_left = True
        self._has_more.set()

    async def write(self, send: Send) -> None:
        """As fast as the client reads, until it is over or the client has left."""
        while not self._has_left:
            if self._latest is not None:
                event, self._latest = _event(self._latest), None
            elif self._events:
                event = self._events.popleft()
            elif self._is_over:
                break
            else:
                event = await self._wait()
            if event:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _wait(self) -> bytes:
        """Nothing, or what keeps the connection alive."""
        limit = self._keep_alive.start(self._has_more.set)
        await self._has_more.wait()
        limit.stop()
        self._has_more.clear()
        is_idle = self._latest is None and not self._events and not self._has_left
        return _KEEP_ALIVE if is_idle else b""


def _event(payload: bytes) -> bytes:
    # JSON has no line breaks in it as they are.
    return b"event: next\ndata: %b\n\n" % payload
