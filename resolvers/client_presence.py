"""Work that ends when nobody waits for it any more."""

import asyncio
from types import TracebackType

from starlette.types import Receive

from resolvers.timers import Timers

_AGAIN_SECONDS = 0.5


class ClientLeftError(Exception):
    """The client closed its connection before it had its answer."""


class WhileClientWaits:
    """A block that is cancelled, and raises ClientLeftError, once the client has left.

    Watching costs a task, and most answers are there before it would have begun: it starts when `patience` ends.
    """

    def __init__(self, receive: Receive, patience: Timers) -> None:
        self._receive = receive
        self._patience = patience
        self._watch: asyncio.Task[None] | None = None
        self._cancelled = 0

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an application always runs in a task
        self._task = task
        self._limit = self._patience.start(self._start)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limit.stop()
        if self._watch is not None:
            self._watch.cancel()
        if self._cancelled:
            others = self._task.cancelling() - self._cancelled
            for _ in range(self._cancelled):
                self._task.uncancel()
            if not others and kind is asyncio.CancelledError:
                raise ClientLeftError from None

    def _start(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._wait_for_disconnect())

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        while True:
            self._cancelled += 1
            self._task.cancel()
            # Before Python 3.12, wait_for loses a cancellation that comes with its result; psycopg's pool uses it.
            await asyncio.sleep(_AGAIN_SECONDS)
