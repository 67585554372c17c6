"""One connection in libpq's pipeline mode, for ever: requests go out as they come, answers come back in order.

Everything up to a Sync is one implicit transaction and one round trip. psycopg's own async layer adds and removes a
reader and a timeout for each wait; here one reader stays on the socket.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import AsyncConnection, pq
from psycopg.pq.abc import PGconn, PGresult

from resolvers.plan import Statement

_SYNC = pq.ExecStatus.PIPELINE_SYNC
_ABORTED = pq.ExecStatus.PIPELINE_ABORTED
# What takes longer than this is not a request that others should stand behind.
_SLOW_SECONDS = 0.05
_ERROR = pq.ExecStatus.FATAL_ERROR


class LaneLostError(Exception):
    """The connection went away. What was under way may or may not have been carried out."""


@dataclass(frozen=True)
class Outcome:
    """What came of the statements of a group: a result each, of which the first that failed ends the list."""

    results: list[PGresult]
    disturbed: bool = False  # while it was under way, the statement of a neighbour was stopped

    @property
    def failure(self) -> PGresult | None:
        last = self.results[-1] if self.results else None
        return last if last is not None and last.status == _ERROR else None


@dataclass
class _Expected:
    """One result to come: of a Parse of that name, of a Close, or of a statement."""

    parsed: tuple[str, str] | None = None
    is_statement: bool = False


@dataclass
class _Group:
    future: asyncio.Future[Outcome]
    stops: int
    expected: list[_Expected] = field(default_factory=list)
    results: list[PGresult] = field(default_factory=list)


class Lane:
    """A connection, the groups that are under way on it, and the names of what is prepared there."""

    def __init__(self, dsn: str, *, setup: Sequence[str], most_prepared: int, named: bool = True) -> None:
        self._dsn = dsn
        self._setup = setup
        self._most_prepared = most_prepared
        self._named = named
        self._under_way: deque[_Group] = deque()
        self._names: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._numbers = 0
        self._connection: AsyncConnection[Any] | None = None
        self._writing = False
        self._socket = -1
        self._head_since = 0.0
        self._stops = 0
        self._stopping: asyncio.Task[None] | None = None

    @property
    def load(self) -> int:
        return len(self._under_way)

    def burden(self, now: float) -> tuple[bool, int, float]:
        """How bad it is to come next here: behind something slow, behind many, behind what has run for longer."""
        age = now - self._head_since if self._under_way else 0
        return age > _SLOW_SECONDS, len(self._under_way), age

    @property
    def is_open(self) -> bool:
        """Whether it takes requests. While a statement is being stopped it does not: the stop could hit the next."""
        return self._connection is not None and self._stopping is None

    async def open(self, on_lost: Callable[["Lane"], None], on_change: Callable[[], None]) -> None:
        """Connects. Raises psycopg.OperationalError when that fails.

        Calls `on_lost` when the connection breaks later, `on_change` when it may take requests again.
        """
        connection = await AsyncConnection.connect(self._dsn, autocommit=True, connect_timeout=5)
        try:
            for command in self._setup:
                await connection.execute(command.encode())
        except BaseException:
            await connection.close()
            raise
        connection.pgconn.nonblocking = 1
        connection.pgconn.enter_pipeline_mode()
        self._names.clear()
        self._on_lost = on_lost
        self._on_change = on_change
        self._connection = connection
        # libpq forgets the number when the connection breaks; the loop still needs it then.
        self._socket = connection.pgconn.socket
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    async def drained(self) -> None:
        """Returns when nothing is under way."""
        while self._under_way:
            await asyncio.wait([self._under_way[-1].future])

    async def close(self) -> None:
        """Ends the connection and whatever is under way on it."""
        connection = self._detach()
        if connection is not None:
            # uvloop hangs when a socket is closed in the turn of the loop that its reader was removed in, and a new
            # one gets the same number.
            await asyncio.sleep(0)
            await connection.close()

    def submit(self, statements: Sequence[tuple[str, Statement]]) -> asyncio.Future[Outcome]:
        """Sends statements as one transaction. Each comes with the role that it is planned for.

        A name per role: plans under row level security belong to a role, and a shared one is planned anew at each
        change of it.
        """
        connection = self._require()
        group = _Group(asyncio.get_running_loop().create_future(), self._stops)
        group.future.add_done_callback(self._stop_what_nobody_waits_for)
        try:
            for planned_for, statement in statements:
                self._send(connection, group, planned_for, statement)
            connection.pipeline_sync()
        except psycopg.OperationalError as error:
            self._lose()
            raise LaneLostError from error
        if not self._under_way:
            self._head_since = asyncio.get_running_loop().time()
        self._under_way.append(group)
        self._flush()
        return group.future

    def _send(self, connection: PGconn, group: _Group, planned_for: str, statement: Statement) -> None:
        parameters = [None if value is None else value.encode() for value in statement.parameters]
        if not self._named:
            connection.send_query_params(statement.sql.encode(), parameters)
        else:
            connection.send_query_prepared(
                self._name(connection, group, planned_for, statement.sql), parameters
            )
        group.expected.append(_Expected(is_statement=True))

    def _name(self, connection: PGconn, group: _Group, planned_for: str, sql: str) -> bytes:
        """The name of a prepared statement; one that is new is parsed at this place of the group, under its role."""
        key = (planned_for, sql)
        name = self._names.get(key)
        if name is not None:
            self._names.move_to_end(key)
            return name
        self._make_room(connection, group)
        self._numbers += 1
        name = b"s%d" % self._numbers
        connection.send_prepare(name, sql.encode())
        group.expected.append(_Expected(parsed=key))
        self._names[key] = name
        return name

    def _make_room(self, connection: PGconn, group: _Group) -> None:
        while len(self._names) >= self._most_prepared:
            _, dropped = self._names.popitem(last=False)
            connection.send_close_prepared(dropped)
            group.expected.append(_Expected())

    def _require(self) -> PGconn:
        if self._connection is None:
            raise LaneLostError
        return self._connection.pgconn

    def _flush(self) -> None:
        """Sends what libpq holds; what the socket does not take now goes when it can."""
        if self._connection is None:
            return
        connection = self._connection.pgconn
        loop = asyncio.get_running_loop()
        try:
            left = connection.flush()
        except psycopg.OperationalError:
            self._lose()
            return
        if left and not self._writing:
            self._writing = True
            loop.add_writer(self._socket, self._flush)
        elif not left and self._writing:
            self._writing = False
            loop.remove_writer(self._socket)

    def _read(self) -> None:
        if self._connection is None:  # lost in the same turn of the loop
            return
        connection = self._connection.pgconn
        try:
            connection.consume_input()
            while self._under_way and not connection.is_busy():
                self._take(connection.get_result())
        except psycopg.OperationalError:
            self._lose()
            return
        if connection.status == pq.ConnStatus.BAD:
            self._lose()

    def _take(self, result: PGresult | None) -> None:
        if result is None:  # the end of one statement's results
            return
        group = self._under_way[0]
        if result.status != _SYNC:
            group.results.append(result)
            return
        self._under_way.popleft()
        self._head_since = asyncio.get_running_loop().time()
        self._finish(group)
        self._stop_what_nobody_waits_for()

    def _finish(self, group: _Group) -> None:
        outcome: list[PGresult] = []
        for expected, result in zip(group.expected, group.results, strict=True):
            failed = result.status in (_ERROR, _ABORTED)
            if failed and expected.parsed is not None:
                # A Parse that failed, or was not reached, gives its name back.
                self._names.pop(expected.parsed, None)
            if result.status == _ERROR or (expected.is_statement and not failed):
                outcome.append(result)
        if not group.future.done():  # nobody waits any more
            group.future.set_result(Outcome(outcome, disturbed=group.stops != self._stops))

    def _stop_what_nobody_waits_for(self, _: object = None) -> None:
        """Cancels the statement that runs when its caller has gone; one behind it, when its turn comes."""
        abandoned = bool(self._under_way) and self._under_way[0].future.cancelled()
        if abandoned and self._connection is not None and self._stopping is None:
            self._stops += 1
            self._stopping = asyncio.get_running_loop().create_task(self._stop(self._connection))

    async def _stop(self, connection: AsyncConnection[Any]) -> None:
        try:
            await connection.cancel_safe(timeout=2)
            # The server has the order, and carries it out in a moment.
            await asyncio.sleep(0.02)
        except psycopg.Error:
            pass  # statement_timeout ends it then
        finally:
            self._stopping = None
            # The order may have come too early or hit one statement of several.
            self._stop_what_nobody_waits_for()
            self._on_change()

    def _lose(self) -> None:
        connection = self._detach()
        if connection is not None:
            asyncio.get_running_loop().call_soon(connection.pgconn.finish)
            self._on_lost(self)

    def _detach(self) -> AsyncConnection[Any] | None:
        """Takes the connection off the loop, and fails all that was under way."""
        connection, self._connection = self._connection, None
        if connection is None:
            return None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        if self._writing:
            self._writing = False
            loop.remove_writer(self._socket)
        for group in self._under_way:
            if not group.future.done():
                group.future.set_exception(LaneLostError())
        self._under_way.clear()
        return connection
