"""Time limits that are nearly always taken back.

A timer of the event loop costs as much as all else that a request needs a limit for, so one of them serves all limits
of a length: they run out in the order in which they began.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType


class Limit:
    """A limit that runs until it is stopped."""

    __slots__ = ("at", "call")

    def __init__(self, at: float, call: Callable[[], object]) -> None:
        self.at = at
        self.call: Callable[[], object] | None = call

    def stop(self) -> None:
        self.call = None


class Timers:
    """Limits of one length, in one event loop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._limits: deque[Limit] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def start(self, call: Callable[[], object]) -> Limit:
        """Calls back after the time, unless it is stopped before."""
        loop = asyncio.get_running_loop()
        limit = Limit(loop.time() + self.seconds, call)
        self._forget_stopped()
        self._limits.append(limit)
        if self._timer is None:
            self._timer = loop.call_at(limit.at, self._ring)
        return limit

    def _forget_stopped(self) -> None:
        while self._limits and self._limits[0].call is None:
            self._limits.popleft()

    def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._limits and (self._limits[0].call is None or self._limits[0].at <= now):
            call = self._limits.popleft().call
            if call is not None:
                call()
        self._timer = loop.call_at(self._limits[0].at, self._ring) if self._limits else None


class Within:
    """A block that raises TimeoutError when it takes longer: `asyncio.timeout` on shared timers."""

    __slots__ = ("_cancelling", "_expired", "_limit", "_task", "_timers")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - whoever can wait is a task
        self._task = task
        self._cancelling = task.cancelling()
        self._expired = False
        self._limit = self._timers.start(self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limit.stop()
        # A task that somebody else has cancelled as well stays cancelled.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
