"""Clients that read slowly, or not at all: what they are told late, and what they may do meanwhile."""

import asyncio
import json
import time
from typing import Any, cast
from uuid import UUID

import pytest
from starlette.types import Message

from resolvers.documents import Request
from resolvers.engine import Answer, Engine, Phase
from resolvers.errors import ApiError
from resolvers.identity import Identity
from resolvers.live.groups import Live
from resolvers.live.sockets import SUBPROTOCOL, SocketLimits, Sockets
from resolvers.live.streams import _Stream
from resolvers.timers import Timers
from tests.signing import COMMUNITY, USER

pytestmark = pytest.mark.any_postgres

SECONDS = 0.2
SCOPE = {"type": "websocket", "headers": [], "subprotocols": [SUBPROTOCOL]}
LIMITS = SocketLimits(5, 5, 1, (), origin_pattern=None)


class Engines:
    """Knows no subscription, and notes down what else it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def watch(self, *_: Any) -> None:
        return None

    async def answer(self, request: Request, _: Identity) -> Answer:
        self.asked.append(request.query)
        return Answer(Phase.EXECUTED, b"{}")


class Verifiers:
    """Whose tokens are about to expire."""

    async def identify(self, _: list[str]) -> Identity:
        return Identity("authenticated", "{}", UUID(USER), UUID(COMMUNITY), time.time() + SECONDS)


class Wire:
    """A client's end of a WebSocket that can be stopped, and cut."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        self.flows = asyncio.Event()
        self.is_cut = False

    def say(self, **message: Any) -> None:
        self.said.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    async def send(self, message: Message) -> None:
        if message["type"] != "websocket.accept":
            await self.flows.wait()
        if self.is_cut:
            raise OSError
        self.sent.append(message)


@pytest.fixture
def engine() -> Engines:
    return Engines()


@pytest.fixture
def sockets(engine: Engines) -> Sockets:
    return Sockets(cast(Engine, engine), cast(Live, None), Verifiers(), LIMITS)


async def begun(sockets: Sockets, wire: Wire) -> "asyncio.Task[None]":
    wire.said.put_nowait({"type": "websocket.connect"})
    wire.say(type="connection_init")
    wire.say(type="subscribe", id="a", payload={"query": "{ before }"})
    task = asyncio.create_task(sockets(SCOPE, wire.said.get, wire.send))
    await asyncio.sleep(SECONDS / 2)
    return task


async def test_after_its_token_has_expired_a_socket_that_cannot_be_closed_yet_does_nothing(
    sockets: Sockets, engine: Engines
) -> None:
    wire = Wire()
    task = await begun(sockets, wire)
    await asyncio.sleep(SECONDS)
    wire.say(type="subscribe", id="b", payload={"query": "{ after }"})
    wire.say(type="ping", payload={"Authorization": "Bearer another"})
    await asyncio.sleep(0)
    wire.flows.set()
    await asyncio.sleep(0.05)
    wire.said.put_nowait({"type": "websocket.disconnect"})
    await task

    assert engine.asked == ["{ before }"]
    assert [message["type"] for message in wire.sent[-2:]] == ["websocket.send", "websocket.close"]
    assert wire.sent[-1]["code"] == 4403


async def test_a_connection_that_is_lost_while_something_is_sent_ends_quietly(sockets: Sockets) -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
    wire = Wire()
    task = await begun(sockets, wire)
    wire.is_cut = True
    wire.flows.set()
    await asyncio.sleep(0.05)
    wire.said.put_nowait({"type": "websocket.disconnect"})
    await task
    del task
    await asyncio.sleep(0)
    asyncio.get_running_loop().set_exception_handler(None)

    assert failures == []
    assert len(sockets.seats) == 0


async def test_a_stream_that_has_ended_tells_nothing_more() -> None:
    sent: list[bytes] = []

    async def send(message: Message) -> None:
        sent.append(message["body"])

    stream = _Stream(Timers(60))
    stream.each(b'"before"')
    stream.end(ApiError("UNAUTHENTICATED", "Over"))
    stream.each(b'"after"')
    stream.latest(b'"after"')
    await stream.write(send)

    assert [event.splitlines()[0] for event in sent if event] == [
        b"event: next",
        b"event: next",
        b"event: complete",
    ]
    assert not any(b"after" in event for event in sent)
