"""The transport on a real port: uvicorn, our protocol and endpoint, and at its seam an engine that only notes down."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from resolvers.documents import Request
from resolvers.endpoint import Answering, GraphQLEndpoint, Identifying
from resolvers.engine import Answer, Phase
from resolvers.http_response import Response
from resolvers.identity import Identity
from resolvers.live.connections import SocketProtocol
from resolvers.media_types import HTML
from resolvers.protocol import GuardedHttpProtocol
from tests.signing import VERIFIER

DATA = b'{"data":{"ok":true}}'
MAX_BODY_BYTES = 262_144
PAGE = "<!doctype html><title>The page</title>"


@dataclass
class NotingEngine:
    """Gives one answer to everything, or fails at everything; what was asked and by whom is there to be looked at."""

    answer_: Answer | Exception = field(default_factory=lambda: Answer(Phase.EXECUTED, DATA))
    seconds: float = 0
    asked: list[tuple[Request, Identity]] = field(default_factory=list)
    running: int = 0
    cancelled: int = 0

    async def answer(self, request: Request, identity: Identity) -> Answer:
        self.asked.append((request, identity))
        self.running += 1
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if isinstance(self.answer_, Exception):
            raise self.answer_
        return self.answer_

    def reset(self) -> None:
        self.answer_, self.seconds, self.cancelled = Answer(Phase.EXECUTED, DATA), 0, 0
        self.asked.clear()

    @property
    def request(self) -> Request:
        """The one request that came this far."""
        ((request, _),) = self.asked
        return request

    @property
    def caller(self) -> Identity:
        ((_, identity),) = self.asked
        return identity


def endpoint(
    engine: Answering,
    *,
    verifier: Identifying = VERIFIER,
    page: str | None = PAGE,
    body_timeout_seconds: float = 10,
) -> GraphQLEndpoint:
    return GraphQLEndpoint(
        engine,
        verifier,
        NoStreams(),
        max_body_bytes=MAX_BODY_BYTES,
        body_timeout_seconds=body_timeout_seconds,
        page=None if page is None else Response(200, HTML, page.encode()),
    )


class NoStreams:
    """Where nobody asks for event streams."""

    async def answer(self, *_: Any) -> None:
        raise NotImplementedError


class QuickProtocol(GuardedHttpProtocol):
    """The limits in time shortened, so that tests need not wait for them."""

    head_seconds = 0.8
    body_seconds = 1
    linger_seconds = 0.3


@contextmanager
def serving(
    app: ASGIApp, protocol: type[GuardedHttpProtocol] = GuardedHttpProtocol, *, ping_seconds: float = 20
) -> Iterator[int]:
    """The port that the application answers on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            app,
            http=protocol,
            ws=SocketProtocol,
            ws_ping_interval=ping_seconds,
            ws_ping_timeout=ping_seconds,
            ws_max_size=MAX_BODY_BYTES,
            ws_per_message_deflate=False,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.01)
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
