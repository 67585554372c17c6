"""The whole application on a real port over a test's database, and clients of its subscriptions."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import jwt
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from app import create_app
from settings import Settings
from tests.cast import Character
from tests.databases import Database
from tests.serving import serving
from tests.signing import ISSUER, SECRET

PATIENCE = 5.0
LIMITS = {"max_sockets_per_user": 5, "max_operations_per_socket": 4, "socket_init_seconds": 0.5}


@contextmanager
def live_server(database: Database, *, ping_seconds: float = 20, **more: Any) -> Iterator[str]:
    """Its address, without the scheme."""
    settings = Settings(
        database_url=database.dsn("gym_api"),
        jwt_secret=SECRET,
        jwt_issuer=ISSUER,
        environment="production",
        run_jobs=False,
        **{**LIMITS, **more},
    )
    with serving(create_app(settings), ping_seconds=ping_seconds) as port:
        yield f"127.0.0.1:{port}"


def token(person: Character, *, seconds: float = 600, **claims: Any) -> str:
    now = time.time()
    told = {
        "iss": ISSUER,
        "aud": "authenticated",
        "role": "authenticated",
        "sub": str(person.id),
        "iat": int(now),
        "exp": int(now + seconds),
        "app_metadata": {"community_id": str(person.community)},
        **claims,
    }
    return jwt.encode(told, SECRET, "HS256")


class Talk:
    """One WebSocket, message by message."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def begin(self, person: Character | None, **more: Any) -> None:
        payload = {} if person is None else {"Authorization": f"Bearer {token(person, **more)}"}
        await self.say(type="connection_init", payload=payload)
        assert await self.hear() == {"type": "connection_ack"}

    async def ask(self, name: str, query: str, **variables: Any) -> None:
        await self.say(type="subscribe", id=name, payload={"query": query, "variables": variables})

    async def hear(self) -> Any:
        return json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE))

    async def end(self) -> tuple[int, str]:
        """The code and the reason that the server closes it with; what comes before is passed over."""
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await self._hear_all()
        received = closed.value.rcvd
        assert received is not None
        return received.code, received.reason

    async def _hear_all(self) -> None:
        while True:
            await asyncio.wait_for(self.socket.recv(), PATIENCE)


@asynccontextmanager
async def talking(
    address: str, protocol: str = "graphql-transport-ws", **headers: str
) -> AsyncIterator[Talk]:
    subprotocols = [websockets.Subprotocol(protocol)] if protocol else None
    url = f"ws://{address}/graphql"
    async with websockets.connect(url, subprotocols=subprotocols, additional_headers=headers) as socket:
        yield Talk(socket)
