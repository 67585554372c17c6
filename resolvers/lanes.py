"""The database as lanes: reads and writes have their own, each request goes to the one with the least to do.

Overload is refused early: a bounded number waits, for a bounded time. No community has all lanes to itself, and nobody
all those of their community for their writes.
"""

import asyncio
import math
from collections.abc import Sequence
from contextvars import Context

import psycopg
import structlog
from psycopg import pq
from psycopg.pq.abc import PGresult

from resolvers.errors import ApiError, Refusal
from resolvers.identity import Identity
from resolvers.lane import SLOW_SECONDS, Group, Lane, Sent, Writer, has_failed
from resolvers.logs import current_request_id
from resolvers.plan import Statement
from resolvers.waiting import Waiting, busy

log = structlog.get_logger(__name__)

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
# Only writes leave entries in the audit log, which name the request.
_REQUEST_ID = "select set_config('gym.request_id', $6, true), "
_SETUP = "set timezone to 'UTC'; set jit to off; set idle_in_transaction_session_timeout to '10s'"
# A pooler in transaction mode gives the next transaction another session: nothing can be set for good.
_IDENTITY_AND_SETUP = _IDENTITY.replace(
    "select ",
    "select set_config('timezone', 'UTC', true), set_config('jit', 'off', true),"
    " set_config('idle_in_transaction_session_timeout', '10s', true), ",
    1,
)

_CHANGES = "select private.changes_since($1::text)"

_CANCELLED = b"57014"
_TERMINATED = b"57P01"
_LOST_A_RACE = (b"40001", b"40P01")
# Between the tries of a transaction that lost a race: long enough for the winner to finish.
_RACE_PAUSES = (0.01, 0.05, 0.2)
# Before a group is sent again whose connection was lost: until then it shows whether the others are lost too.
_LOSS_PAUSES = (0.05,)
_FIRST_DELAY, _LONGEST_DELAY = 0.05, 1.0
_TELL_AGAIN_SECONDS = 10


def _unreachable() -> ApiError:
    return ApiError("UNAVAILABLE", "The database cannot be reached. Try again in a moment.")


def _broken() -> ApiError:
    return ApiError(
        "UNAVAILABLE", "The connection to the database broke. Read whether the change took place, then go on."
    )


def _stopping() -> ApiError:
    return ApiError("UNAVAILABLE", "The server is stopping. Try again in a moment.")


def _too_long() -> ApiError:
    return ApiError("TIMEOUT", "The request took too long and was stopped. Ask for less at once.")


class _Lanes:
    """Lanes for one kind of work, and those who wait for one. Decides what becomes of each group."""

    def __init__(
        self, lanes: list[Lane], *, repeatable: bool, most_waiting: int, wait_seconds: float
    ) -> None:
        self._lanes = lanes
        self._repeatable = repeatable
        # One owner has three lanes of four at most, so that their slow requests stand in nobody else's way.
        self._most_held = max(1, len(lanes) * 3 // 4)
        # Of these one person writes on two at most, and leaves one: a learner's writes wait for each other's locks. Not
        # on one, since those of an admin, about many people, do not wait: half as many would get done.
        self._most_written = self._most_held if repeatable else max(1, min(2, self._most_held - 1))
        self._waiting = Waiting(most=most_waiting, seconds=wait_seconds)
        self._wait_seconds = wait_seconds
        self._reopening: set[asyncio.Task[None]] = set()
        self._clock: asyncio.TimerHandle | None = None
        self._lost_at = 0.0
        self._told_at = -math.inf
        self._closing = False

    async def open(self) -> None:
        """Begins to connect. Returns once all lanes are there, or after a second: a database may come up later."""
        self._loop = asyncio.get_running_loop()
        self._lost_at = self._loop.time()
        for lane in self._lanes:
            self._reopen(lane)
        await asyncio.wait(self._reopening, timeout=1)

    async def close(self, drain_seconds: float) -> None:
        """Lets what is under way and what waits finish, then ends the connections."""
        self._closing = True
        under_way = [group for lane in self._lanes for group in lane.under_way]
        waited_for = [group.future for group in (*under_way, *self._waiting.groups()) if group.wanted]
        if waited_for:
            await asyncio.wait(waited_for, timeout=drain_seconds)
        for task in self._reopening:
            task.cancel()
        await asyncio.gather(*self._reopening, return_exceptions=True)
        for lane in self._lanes:
            await lane.close()
        for group in self._waiting.groups():
            self._refuse(group, _stopping())
        if self._clock is not None:
            self._clock.cancel()

    # Sending

    def start(self, group: Group) -> None:
        """Sends it, or has it wait for its turn. Raises UNAVAILABLE when that could take too long."""
        if self._closing:
            raise _stopping()
        if not self._sent(group):
            now = self._loop.time()
            if not self._is_reachable() and now - self._lost_at > self._wait_seconds:
                raise _unreachable()
            self._waiting.add(group, now)
        self._keep_watch()

    def _start_again(self, group: Group) -> None:
        if not group.wanted:
            return
        if self._closing:
            self._refuse(group, _stopping())
        elif not self._sent(group):
            self._waiting.add_first(group, self._loop.time())
        self._keep_watch()

    def _sent(self, group: Group) -> bool:
        if self._has_enough(group.writer):
            return False
        while (lane := self._lane_for(group.owner)) is not None:
            if self._took(lane, group):
                return True
        return False

    def _took(self, lane: Lane, group: Group) -> bool:
        # A write shall not be the first to notice that the connection has gone: nobody would know what became of it.
        return (self._repeatable or lane.is_alive()) and lane.submit(group)

    def _lane_for(self, owner: int | None) -> Lane | None:
        """The lane with the least to do, if any takes requests."""
        now = self._loop.time()
        lanes = self._lanes
        held = [lane for lane in lanes if lane.serves(owner)]
        if len(held) >= self._most_held:
            lanes = held
        best = None
        for lane in lanes:
            if lane.takes(now):
                if not lane.under_way:
                    return lane
                if best is None or lane.burden() < best.burden():
                    best = lane
        return best

    def _has_enough(self, writer: Writer | None) -> bool:
        """Whether somebody writes on as many lanes as one person may."""
        if writer is None or self._most_written == self._most_held:
            return False
        written = 0
        for lane in self._lanes:
            for group in lane.under_way:
                if group.writer == writer:
                    written += 1
        return written >= self._most_written

    def _serve(self) -> None:
        """Gives those who wait what is free."""
        while self._waiting and self._is_any_free():
            following = self._waiting.next(self._lane_for, self._has_enough)
            if following is None:
                return
            group, lane = following
            if not self._took(lane, group):
                self._waiting.add_first(group, self._loop.time())

    def _is_any_free(self) -> bool:
        now = self._loop.time()
        return any(lane.takes(now) for lane in self._lanes)

    # What becomes of it

    def finished(self, group: Group, results: list[PGresult]) -> None:
        if group.wanted:
            if has_failed(results[-1]):
                self._failed(group, results)
            else:
                group.future.set_result(results)
        self._serve()

    def _failed(self, group: Group, results: list[PGresult]) -> None:
        sqlstate = results[-1].error_field(pq.DiagnosticField.SQLSTATE)
        late = self._loop.time() > group.deadline
        if sqlstate == _CANCELLED and late:
            self._refuse(group, _too_long())
        elif late or not self._is_tried_again(group, _pauses(sqlstate)):
            group.future.set_exception(_refusal(results))

    def lost(self, lane: Lane, groups: Sequence[Group]) -> None:
        self._lost_at = self._loop.time()
        for group in groups:
            if not group.wanted:
                continue
            if not self._repeatable:
                self._refuse(group, _broken())
            elif self._lost_at > group.deadline:
                self._refuse(group, _too_long())
            elif not self._is_tried_again(group, _LOSS_PAUSES):
                self._refuse(group, _unreachable())
        self._reopen(lane)

    def changed(self) -> None:
        self._serve()

    def _is_tried_again(self, group: Group, pauses: Sequence[float]) -> bool:
        if group.tries >= len(pauses) or self._closing:
            return False
        self._loop.call_later(pauses[group.tries], self._start_again, group)
        group.tries += 1
        return True

    def _refuse(self, group: Group, error: ApiError) -> None:
        if group.wanted:
            group.future.set_exception(error)

    # Looking after it

    def _keep_watch(self) -> None:
        if self._clock is None:
            self._clock = self._loop.call_later(SLOW_SECONDS, self._look)

    def _look(self) -> None:
        self._clock = None
        now = self._loop.time()
        for lane in self._lanes:
            lane.check(now)
        self._let_pass(now)
        writers = {group.writer for lane in self._lanes for group in lane.under_way}
        served = {writer for writer in writers if self._has_enough(writer)}
        for group in self._waiting.expired(now, served):
            self._refuse(group, busy() if self._is_reachable() else _unreachable())
        self._serve()
        if self._waiting or any(lane.under_way for lane in self._lanes):
            self._keep_watch()

    def _let_pass(self, now: float) -> None:
        """Those who stand behind something slow go elsewhere, or wait for what is free first."""
        for lane in self._lanes:
            for group in lane.held_up(now):
                self._start_again(group.overtaken())

    def _is_reachable(self) -> bool:
        return any(lane.is_open for lane in self._lanes)

    def _reopen(self, lane: Lane) -> None:
        if not self._closing:
            # In no request's context, whose id the log would show.
            task = self._loop.create_task(self._keep_opening(lane), context=Context())
            self._reopening.add(task)
            task.add_done_callback(self._reopening.discard)

    def _tell_unreachable(self, error: psycopg.Error) -> None:
        """Once for all connections that try, and then every few seconds."""
        now = self._loop.time()
        if now - self._told_at > _TELL_AGAIN_SECONDS:
            self._told_at = now
            log.warning("database_unreachable", error=str(error).splitlines()[0])

    async def _keep_opening(self, lane: Lane) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                await lane.open(self)
            except psycopg.Error as error:
                self._tell_unreachable(error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
            else:
                self.changed()
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
        most_waiting: int = 2_000,
        wait_seconds: float = 3,
    ) -> None:
        self._timeouts = (b"%d" % statement_timeout_ms, b"%d" % lock_timeout_ms)
        # Postgres times each statement; a request of many ends in the time of one.
        self._deadline_seconds = statement_timeout_ms / 1000 + wait_seconds + 1
        self._identity = _IDENTITY if prepared_statements else _IDENTITY_AND_SETUP
        self._identity_of_writes = self._identity.replace("select ", _REQUEST_ID, 1)
        setup = _SETUP if prepared_statements else ""

        def lanes(number: int, depth: int, *, repeatable: bool) -> _Lanes:
            several = [
                Lane(url, setup=setup, most_prepared=most_prepared, named=prepared_statements, depth=depth)
                for _ in range(number)
            ]
            return _Lanes(
                several, repeatable=repeatable, most_waiting=most_waiting, wait_seconds=wait_seconds
            )

        writes = max(1, connections // 2)
        # Poolers in transaction mode were known to mix up what came before an answer was there.
        self._reads = lanes(max(1, connections - writes), 4 if prepared_statements else 1, repeatable=True)
        # A write may wait for a lock: nobody stands behind it.
        self._writes = lanes(writes, 1, repeatable=False)

        # What the server asks in its own name: what has changed. Nobody's request stands before or behind it.
        self._own = lanes(1, 1, repeatable=True)

    async def open(self) -> None:
        await asyncio.gather(self._reads.open(), self._writes.open(), self._own.open())

    async def close(self, drain_seconds: float = 5) -> None:
        several = (self._reads, self._writes, self._own)
        await asyncio.gather(*(lanes.close(drain_seconds) for lanes in several))

    async def changes_since(self, seen: str | None) -> bytes:
        """See private.changes_since. Raises UNAVAILABLE."""
        loop = asyncio.get_running_loop()
        sent = [Sent("", _CHANGES, _encoded([seen]))]
        group = Group(None, sent, loop.time() + self._deadline_seconds, loop.create_future())
        self._own.start(group)
        results = await group.future
        return results[0].get_value(0, 0) or b""

    async def run(
        self, identity: Identity, statements: Sequence[Statement], *, read_only: bool
    ) -> list[bytes | None]:
        loop = asyncio.get_running_loop()
        role, community = identity.role, identity.community_id
        who = (b"on" if read_only else b"off", *self._timeouts, identity.claims.encode(), role.encode())
        if read_only:
            sent = [Sent("", self._identity, who)]
        else:
            sent = [Sent("", self._identity_of_writes, (*who, (current_request_id() or "").encode()))]
        for statement in statements:
            sent.append(Sent(role, statement.sql, _encoded(statement.parameters)))
        owner = None if community is None else community.int
        # Strangers are many people: together they have what a community has.
        writer = None if read_only or identity.user_id is None else (owner, identity.user_id.int)
        group = Group(owner, sent, loop.time() + self._deadline_seconds, loop.create_future(), writer)
        (self._reads if read_only else self._writes).start(group)
        results = await group.future
        return [result.get_value(0, 0) if result.ntuples else None for result in results[1:]]


def _encoded(parameters: Sequence[str | None]) -> list[bytes | None]:
    return [None if value is None else value.encode() for value in parameters]


def _pauses(sqlstate: bytes | None) -> Sequence[float]:
    """When to try again what did nothing, and not for a fault of its own."""
    if sqlstate in _LOST_A_RACE:
        return _RACE_PAUSES
    return _LOSS_PAUSES if sqlstate == _TERMINATED else ()


def _refusal(results: Sequence[PGresult]) -> Refusal:
    failure = results[-1]

    def said(name: pq.DiagnosticField) -> str | None:
        value = failure.error_field(name)
        return value.decode(errors="replace") if value else None

    return Refusal(
        # The identity comes first and is nobody's statement.
        max(len(results) - 2, 0),
        said(pq.DiagnosticField.SQLSTATE) or "XX000",
        said(pq.DiagnosticField.MESSAGE_PRIMARY) or "",
        said(pq.DiagnosticField.CONSTRAINT_NAME),
        said(pq.DiagnosticField.COLUMN_NAME),
    )
