"""Watching: a client of a subscription as the groups see one, and what it was told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from resolvers.documents import Request
from resolvers.errors import ApiError
from resolvers.live.groups import Group, Live
from tests.api import Api, identity_of
from tests.people import Person

PROGRESS = """subscription ($program: UUID!, $user: UUID) { progress(programId: $program, userId: $user) {
    status percent courses { percent } } }"""
ENROLLMENTS = """subscription ($program: UUID) { enrollmentChanged(programId: $program) {
    id status member { userId } } }"""
PATIENCE = 5.0


@dataclass(eq=False)
class Seat:
    """A client that reads everything at once."""

    told: "asyncio.Queue[Any]" = field(default_factory=asyncio.Queue)
    ended: "asyncio.Future[ApiError]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    group: Group | None = None

    def latest(self, payload: bytes) -> None:
        self.told.put_nowait(json.loads(payload)["data"])

    def each(self, payload: bytes) -> None:
        self.told.put_nowait(json.loads(payload)["data"])

    def end(self, error: ApiError) -> None:
        self.ended.set_result(error)

    async def next(self) -> Any:
        """The value of the one field."""
        (value,) = (await asyncio.wait_for(self.told.get(), PATIENCE)).values()
        return value

    async def end_code(self) -> str:
        return (await asyncio.wait_for(self.ended, PATIENCE)).code

    async def is_silent(self, seconds: float = 0.15) -> bool:
        await asyncio.sleep(seconds)
        return self.told.empty() and not self.ended.done()


@dataclass
class House:
    """The groups of one process."""

    api: Api
    live: Live

    async def seat(self, person: Person, document: str, **variables: Any) -> Seat:
        seat = Seat()
        watch = self.api.engine.watch(Request(document, None, variables), identity_of(person))
        assert watch is not None
        seat.group = await self.live.subscribe(watch, seat)
        return seat

    def leave(self, seat: Seat) -> None:
        assert seat.group is not None
        self.live.unsubscribe(seat.group, seat)


@asynccontextmanager
async def house_of(api: Api) -> AsyncIterator[House]:
    live = Live(api.engine, api.database.real)
    try:
        yield House(api, live)
    finally:
        await live.close()
