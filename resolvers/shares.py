"""Nobody takes all: each community may have only so many requests under way at a time, the others of it wait."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from resolvers.errors import ApiError


class Shares:
    """Places by whom they are for; who waits for one is served in order, up to a number and a time."""

    def __init__(self, places: int, *, most_waiting: int, wait_seconds: float) -> None:
        self._places = places
        self._most_waiting = most_waiting
        self._wait_seconds = wait_seconds
        self._taken: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def place(self, owner: Hashable) -> AsyncIterator[None]:
        """Holds one of the owner's places. Raises UNAVAILABLE when there is none in time."""
        if self._taken[owner] >= self._places:
            await self._wait(owner)
        else:
            self._taken[owner] += 1
        try:
            yield
        finally:
            self._leave(owner)

    def _leave(self, owner: Hashable) -> None:
        """Hands the place on to whoever waits longest, or gives it back."""
        waiting = self._waiting.get(owner)
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._waiting.pop(owner, None)
        self._taken[owner] -= 1
        if not self._taken[owner]:
            del self._taken[owner]

    async def _wait(self, owner: Hashable) -> None:
        waiting = self._waiting.setdefault(owner, deque())
        if len(waiting) >= self._most_waiting:
            raise _too_many()
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._leave(owner)  # it came in the same moment, and nobody takes it
            if isinstance(error, TimeoutError):
                raise _too_many() from None
            raise


def _too_many() -> ApiError:
    return ApiError(
        "UNAVAILABLE", "The database is busy with requests of your community. Try again in a moment."
    )
