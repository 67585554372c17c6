"""The database as lanes: reads and writes have their own, each request goes to the one with the least to do.

Overload is refused early: a bounded number waits, for a bounded time.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

import psycopg
import structlog
from psycopg import pq
from psycopg.pq.abc import PGresult

from resolvers.errors import ApiError, Refusal
from resolvers.identity import Identity
from resolvers.lane import Lane, LaneLostError, Outcome
from resolvers.plan import Statement
from resolvers.shares import Shares

log = structlog.get_logger(__name__)

Group = Sequence[tuple[str, Statement]]

# The older settings are blanked because a stale `request.jwt.claim.sub` would win over the claims. The role comes
# last: what stands before it must not be subject to it.
_IDENTITY = (
    "select set_config('transaction_read_only', $1, true), set_config('statement_timeout', $2, true),"
    " set_config('lock_timeout', $3, true), set_config('search_path', 'public, extensions', true),"
    " set_config('request.jwt.claim', '', true), set_config('request.jwt.claim.sub', '', true),"
    " set_config('request.jwt.claim.role', '', true), set_config('request.jwt.claim.email', '', true),"
    " set_config('gym.changed', '', true), set_config('request.jwt.claims', $4, true),"
    " set_config('role', $5, true)"
)
_SETUP = ("set timezone to 'UTC'", "set jit to off", "set idle_in_transaction_session_timeout to '10s'")

_NO_SUCH_STATEMENT = b"26000"
_CANCELLED = b"57014"
# Between the tries of a transaction that lost a race: long enough for the winner to finish.
_PAUSES = (0.01, 0.05, 0.2)
_FIRST_DELAY, _LONGEST_DELAY = 0.05, 5.0


def _busy() -> ApiError:
    return ApiError("UNAVAILABLE", "The database is busy. Try again in a moment.")


class _Set:
    """Lanes for one kind of work, and those who wait for one."""

    def __init__(
        self, lanes: list[Lane], *, most_under_way: int, most_waiting: int, wait_seconds: float
    ) -> None:
        self._lanes = lanes
        self._most_under_way = most_under_way
        self._most_waiting = most_waiting
        self._wait_seconds = wait_seconds
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._reopening: set[asyncio.Task[None]] = set()
        self._closing = False

    async def open(self) -> None:
        """Begins to connect. Returns once all lanes are there, or after a second: a database may come up later."""
        for lane in self._lanes:
            self._reopen(lane)
        await asyncio.wait(self._reopening, timeout=1)

    async def close(self, drain_seconds: float) -> None:
        """Lets what is under way finish, then ends the connections."""
        self._closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                await asyncio.gather(*(lane.drained() for lane in self._lanes))
        for task in self._reopening:
            task.cancel()
        await asyncio.gather(*self._reopening, return_exceptions=True)
        for lane in self._lanes:
            await lane.close()

    async def run(self, group: Group) -> Outcome:
        """Raises LaneLostError, and UNAVAILABLE when there was no lane in time."""
        lane = await self._free_lane()
        future = lane.submit(group)
        future.add_done_callback(self._wake)
        return await future

    async def _free_lane(self) -> Lane:
        # Who comes while others wait does not overtake them.
        lane = None if self._waiting else self._least_loaded()
        while lane is None:
            await self._wait()
            lane = self._least_loaded()
        return lane

    async def _wait(self) -> None:
        if len(self._waiting) >= self._most_waiting or self._closing:
            raise _busy()
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await turn
        except TimeoutError:
            raise _busy() from None
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(turn)

    def _least_loaded(self) -> Lane | None:
        free = [lane for lane in self._lanes if lane.is_open and lane.load < self._most_under_way]
        if not free:
            return None
        now = asyncio.get_running_loop().time()
        return min(free, key=lambda lane: lane.burden(now))

    def _wake(self, _: object = None) -> None:
        places = sum(self._most_under_way - lane.load for lane in self._lanes if lane.is_open)
        while self._waiting and places > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                places -= 1

    def _reopen(self, lane: Lane) -> None:
        if not self._closing:
            task = asyncio.get_running_loop().create_task(self._keep_opening(lane))
            self._reopening.add(task)
            task.add_done_callback(self._reopening.discard)

    async def _keep_opening(self, lane: Lane) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                await lane.open(self._reopen, self._wake)
            except psycopg.Error as error:
                log.warning("database_unreachable", error=str(error).splitlines()[0], again_in_seconds=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
            else:
                self._wake()
                return


class LaneDatabase:
    """A `Database` on lanes."""

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        statement_timeout_ms: int,
        lock_timeout_ms: int,
        prepared_statements: bool = True,
        most_prepared: int = 100,
        most_waiting: int = 128,
        wait_seconds: float = 2,
    ) -> None:
        self._timeouts = (str(statement_timeout_ms), str(lock_timeout_ms))
        # Postgres times each statement; a request of many ends in the time of one.
        self._deadline_seconds = statement_timeout_ms / 1000 + wait_seconds + 1

        def lanes(number: int, most_under_way: int) -> _Set:
            opened = [
                Lane(url, setup=_SETUP, most_prepared=most_prepared, named=prepared_statements)
                for _ in range(number)
            ]
            return _Set(
                opened, most_under_way=most_under_way, most_waiting=most_waiting, wait_seconds=wait_seconds
            )

        writes = max(1, connections // 2)
        reads = max(1, connections - writes)
        self._reads = lanes(reads, 4)
        # A write may wait for a lock: nobody stands behind it.
        self._writes = lanes(writes, 1)

        def shares(number: int) -> Shares:
            """A community has three lanes of four at most, so that its slow requests stand in nobody else's way."""
            return Shares(max(1, number * 3 // 4), most_waiting=most_waiting, wait_seconds=wait_seconds)

        self._read_shares, self._write_shares = shares(reads), shares(writes)

    async def open(self) -> None:
        await self._reads.open()
        await self._writes.open()

    async def close(self, drain_seconds: float = 5) -> None:
        await asyncio.gather(self._reads.close(drain_seconds), self._writes.close(drain_seconds))

    async def run(
        self, identity: Identity, statements: Sequence[Statement], *, read_only: bool
    ) -> list[bytes | None]:
        who = ("on" if read_only else "off", *self._timeouts, identity.claims, identity.role)
        group = [("", Statement(_IDENTITY, who)), *((identity.role, statement) for statement in statements)]
        try:
            async with asyncio.timeout(self._deadline_seconds):
                outcome = await self._settled(identity, group, read_only=read_only)
        except TimeoutError:
            raise ApiError(
                "TIMEOUT", "The request took too long and was stopped. Ask for less at once."
            ) from None
        if outcome.failure is not None:
            raise _refusal(outcome)
        return [_value(result) for result in outcome.results[1:]]

    async def _settled(self, identity: Identity, group: Group, *, read_only: bool) -> Outcome:
        """What came of the group. What lost a race with another transaction, and so did nothing, is tried again."""
        shares = self._read_shares if read_only else self._write_shares
        async with shares.place(identity.community_id):
            for again_in_seconds in (*_PAUSES, None):
                outcome = await self._outcome(group, read_only=read_only)
                if again_in_seconds is None or not _lost_a_race(outcome):
                    break
                await asyncio.sleep(again_in_seconds)
        return outcome

    async def _outcome(self, group: Group, *, read_only: bool) -> Outcome:
        """What came of the group; what failed for a neighbour's sake is tried once more."""
        lanes = self._reads if read_only else self._writes
        try:
            outcome = await lanes.run(group)
        except LaneLostError as error:
            if not read_only:
                message = (
                    "The connection to the database broke. Read whether the change took place, then go on."
                )
                raise ApiError("UNAVAILABLE", message) from error
        else:
            if not _suffered_from_neighbour(outcome, read_only=read_only):
                return outcome
        try:
            return await lanes.run(group)
        except LaneLostError as error:
            raise ApiError("UNAVAILABLE", "The database cannot be reached. Try again in a moment.") from error


def _suffered_from_neighbour(outcome: Outcome, *, read_only: bool) -> bool:
    """Whether the group failed because one before it on the lane failed to prepare, or was stopped."""
    if outcome.failure is None:
        return False
    sqlstate = outcome.failure.error_field(pq.DiagnosticField.SQLSTATE)
    return sqlstate == _NO_SUCH_STATEMENT or (read_only and outcome.disturbed and sqlstate == _CANCELLED)


def _lost_a_race(outcome: Outcome) -> bool:
    if outcome.failure is None:
        return False
    return outcome.failure.error_field(pq.DiagnosticField.SQLSTATE) in (b"40001", b"40P01")


def _refusal(outcome: Outcome) -> Refusal:
    failure = outcome.results[-1]

    def said(name: pq.DiagnosticField) -> str | None:
        value = failure.error_field(name)
        return value.decode(errors="replace") if value else None

    return Refusal(
        # The identity comes first and is nobody's statement.
        max(len(outcome.results) - 2, 0),
        said(pq.DiagnosticField.SQLSTATE) or "XX000",
        said(pq.DiagnosticField.MESSAGE_PRIMARY) or "",
        said(pq.DiagnosticField.CONSTRAINT_NAME),
        said(pq.DiagnosticField.COLUMN_NAME),
    )


def _value(result: PGresult) -> bytes | None:
    return result.get_value(0, 0) if result.ntuples else None
