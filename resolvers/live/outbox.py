"""What has changed, as every process reads it: each change once, as soon as it can be seen."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import NamedTuple, Protocol

import orjson
import structlog

log = structlog.get_logger(__name__)

# Between two looks while somebody watches.
_EVERY_SECONDS = 0.005
_RETRY_SECONDS = 0.25
# Changes are kept for ten minutes. Whoever was away for longer may have missed some.
_KEPT_SECONDS = 300


class Change(NamedTuple):
    """One row of the outbox; ids as they are written."""

    topic: str
    community_id: str | None
    user_id: str | None
    object_id: str | None


class Source(Protocol):
    async def changes_since(self, seen: str | None) -> bytes: ...


class Outbox:
    """Reads while somebody watches. `changed` is given what there is; `missed` is told when there may be more."""

    def __init__(
        self, source: Source, changed: Callable[[list[Change]], None], missed: Callable[[], None]
    ) -> None:
        self._source = source
        self._changed = changed
        self._missed = missed
        self._reading: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()

    async def watch(self) -> None:
        """Returns when it knows a moment from which on nothing is missed."""
        # Again, where the last of those who watched has left before it was our turn to go on.
        while self._reading is None or not self._begun.is_set():
            if self._reading is None:
                self._begun = asyncio.Event()
                self._reading = asyncio.get_running_loop().create_task(self._read(), context=Context())
            await self._begun.wait()

    def rest(self) -> None:
        """Nobody watches any more."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        seen: str | None = None
        read_at = loop.time()
        lost = False
        while True:
            try:
                seen, changes = orjson.loads(await self._source.changes_since(seen))
            except Exception as error:  # whatever it is: one that reads no more would go unnoticed
                if not lost:
                    log.warning("changes cannot be read", error=str(error))
                lost = True
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._begun.set()
            if lost or loop.time() - read_at > _KEPT_SECONDS:
                self._missed()
            lost, read_at = False, loop.time()
            if changes:
                self._changed([Change(*change) for change in changes])
            await asyncio.sleep(_EVERY_SECONDS)
