"""One connection in libpq's pipeline mode, for ever: requests go out as they come, answers come back in order.

Everything up to a Sync is one implicit transaction and one round trip. psycopg's own async layer adds and removes a
reader and a timeout for each wait; here one reader stays on the socket.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple, Protocol

import psycopg
import structlog
from psycopg import AsyncConnection, pq
from psycopg.pq.abc import PGconn, PGresult

log = structlog.get_logger(__name__)

_SYNC = pq.ExecStatus.PIPELINE_SYNC
_ERROR = pq.ExecStatus.FATAL_ERROR
_SUCCEEDED = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)

# Others may stand behind a request while those before it were, and it is itself so far, quicker than this.
_QUICK_SECONDS = 0.005
# What takes longer than this is stopped when nobody waits for it, and overtaken by those behind it.
SLOW_SECONDS = 0.05
# A backend that was told to stop, and has not after this, never will: its connection is given up.
_STUCK_SECONDS = 2
_STOP_AGAIN_SECONDS = 0.25
_OPEN_SECONDS = 5


# Somebody who writes, within one community: the numbers of both.
Writer = tuple[int | None, int]


class Sent(NamedTuple):
    """One statement as it goes out. It is prepared once for each role: row level security makes the plan its own."""

    role: str
    sql: str
    parameters: Sequence[bytes | None]


class Group:
    """The statements of one transaction: for whom, until when, and what has come of them so far."""

    __slots__ = (
        "_left",
        "asides",
        "deadline",
        "expected",
        "future",
        "owner",
        "results",
        "since",
        "statements",
        "tries",
        "writer",
    )

    def __init__(
        self,
        owner: int | None,
        statements: Sequence[Sent],
        deadline: float,
        future: "asyncio.Future[list[PGresult]]",
        writer: Writer | None = None,
    ) -> None:
        self.owner = owner
        self.writer = writer  # nobody for what only reads, and for callers without a name
        self.statements = statements
        self.deadline = deadline
        self.future = future
        self.since = 0.0  # when it began to wait for a lane
        self.tries = 0  # how often it was sent again
        self._left = False
        self.begin()

    def begin(self) -> None:
        """As it is before it has been sent."""
        self.results: list[PGresult] = []
        self.expected = 0
        # The results that are not a statement's, by place: what was parsed there, or None for a name that was closed.
        self.asides: dict[int, _Parsed | None] = {}

    def expect_aside(self, parsed: "_Parsed | None") -> None:
        self.asides[self.expected] = parsed
        self.expected += 1

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for what comes of it."""
        return not (self._left or self.future.done())

    def overtaken(self) -> "Group":
        """The same once more, to be sent elsewhere: whoever waits for this one waits for that one from now on."""
        self._left = True
        return Group(self.owner, self.statements, self.deadline, self.future, self.writer)


class _Parsed(NamedTuple):
    key: tuple[str, str]
    name: bytes


_STATEMENT = _Parsed(("", ""), b"")


class Keeper(Protocol):
    """Who decides what becomes of groups."""

    def finished(self, group: Group, results: list[PGresult]) -> None:
        """Its statements' results, of which the first that failed ends the list."""

    def lost(self, lane: "Lane", groups: Sequence[Group]) -> None:
        """The connection went away. What was under way may or may not have been carried out."""

    def changed(self) -> None:
        """The lane may take groups again."""


class Lane:
    """A connection, the groups that are under way on it, and the names of what is prepared there."""

    def __init__(self, dsn: str, *, setup: str, most_prepared: int, named: bool, depth: int) -> None:
        self._dsn = dsn
        self._setup = setup
        self._most_prepared = most_prepared
        self._named = named
        self._depth = depth
        self.under_way: deque[Group] = deque()
        self._names: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._parsing: set[tuple[str, str]] = set()
        self._dropped: list[bytes] = []
        self._connection: AsyncConnection[Any] | None = None
        self._writing = False
        self._socket = -1
        self._head_since = 0.0
        self._pace = 0.0
        self._stopping: asyncio.Task[None] | None = None
        self._stop_since = self._stop_again = 0.0

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def takes(self, now: float) -> bool:
        """Whether a request may go here: nobody shall stand behind something slow.

        Nor where a statement is being stopped: that could hit the next one.
        """
        if self._connection is None or self._stopping is not None:
            return False
        if not self.under_way:
            return True
        return (
            len(self.under_way) < self._depth
            and self._pace < _QUICK_SECONDS
            and now - self._head_since < _QUICK_SECONDS
        )

    def burden(self) -> tuple[int, float]:
        """How bad it is to come next here: behind many, behind what has run for longer."""
        return len(self.under_way), -self._head_since

    async def open(self, keeper: Keeper) -> None:
        """Connects. Raises psycopg.Error when that fails."""
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                connection = await self._connected()
        except TimeoutError:
            raise psycopg.OperationalError(f"no answer within {_OPEN_SECONDS} seconds") from None
        self._names.clear()
        self._parsing.clear()
        self._dropped.clear()
        self._pace = self._stop_since = 0.0
        self._keeper = keeper
        self._connection = connection
        # libpq forgets the number when the connection breaks; the loop still needs it then.
        self._socket = connection.pgconn.socket
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self.read)

    async def _connected(self) -> AsyncConnection[Any]:
        connection = await AsyncConnection.connect(self._dsn, autocommit=True)
        try:
            if self._setup:
                await connection.execute(self._setup.encode())
            connection.pgconn.nonblocking = 1
            connection.pgconn.enter_pipeline_mode()
        except BaseException:
            connection.pgconn.finish()
            raise
        return connection

    async def close(self) -> None:
        """Ends the connection and whatever is under way on it."""
        connection = self._detach()
        if connection is not None:
            # uvloop hangs when a socket is closed in the turn of the loop that its reader was removed in, and a new
            # one gets the same number.
            await asyncio.sleep(0)
            await connection.close()
            self._give_up()

    # Sending

    def submit(self, group: Group) -> bool:
        """Sends it. False when the connection turned out to be gone before that."""
        assert self._connection is not None  # noqa: S101 - it takes requests
        connection = self._connection.pgconn
        try:
            self._send(connection, group)
        except psycopg.OperationalError:
            self._lose()  # without its Sync, nothing of it is carried out
            return False
        except BaseException:
            self._lose()  # half a group must not become part of the next one
            raise
        if not self.under_way:
            self._head_since = self._loop.time()
        self.under_way.append(group)
        self._flush()
        return True

    def _send(self, connection: PGconn, group: Group) -> None:
        group.begin()
        # First of all, where nothing that fails can prevent it.
        for dropped in self._dropped:
            connection.send_close_prepared(dropped)
            group.expect_aside(None)
        self._dropped.clear()
        for role, sql, parameters in group.statements:
            name = self._name(connection, group, (role, sql)) if self._named else None
            if name is None:
                connection.send_query_params(sql.encode(), parameters)
            else:
                connection.send_query_prepared(name, parameters)
            group.expected += 1
        connection.pipeline_sync()

    def _name(self, connection: PGconn, group: Group, key: tuple[str, str]) -> bytes | None:
        """The name of a prepared statement; one that is new is parsed at this place of the group, under its role.

        None while another group prepares it: whether that succeeds is not known yet.
        """
        known = self._names.get(key)
        if known is not None:
            self._names.move_to_end(key)
            return known
        if key in self._parsing:
            return None
        name = _name_of(key)
        connection.send_prepare(name, key[1].encode())
        self._parsing.add(key)
        group.expect_aside(_Parsed(key, name))
        return name

    def _flush(self) -> None:
        """Sends what libpq holds; what the socket does not take now goes when it can."""
        if self._connection is None:
            return
        try:
            left = self._connection.pgconn.flush()
        except psycopg.OperationalError:
            self._lose()
            return
        if left and not self._writing:
            self._writing = True
            self._loop.add_writer(self._socket, self._flush)
        elif not left and self._writing:
            self._writing = False
            self._loop.remove_writer(self._socket)

    # Receiving

    def read(self) -> None:
        """Takes in what has come."""
        if self._connection is None:  # lost in the same turn of the loop
            return
        connection, under_way = self._connection.pgconn, self.under_way
        try:
            connection.consume_input()
            while under_way and not connection.is_busy():
                result = connection.get_result()
                if result is None:  # the end of one statement's results
                    continue
                if result.status == _SYNC:
                    self._finish(under_way.popleft())
                else:
                    under_way[0].results.append(result)
        except psycopg.OperationalError:
            self._lose()
            return
        if connection.status == pq.ConnStatus.BAD:
            self._lose()

    def _finish(self, group: Group) -> None:
        now = self._loop.time()
        self._pace += (now - self._head_since - self._pace) / 4
        self._head_since = now
        self._stop_since = 0.0
        surplus = group.results[group.expected :]
        fails_at_commit = len(surplus) == 1 and _is_error(surplus[0])  # by a deferred constraint
        if len(group.results) != group.expected and not fails_at_commit:
            # Whose result is whose is no longer certain.
            self.under_way.appendleft(group)
            self._lose()
            return
        self._keeper.finished(group, self._outcome(group))

    def _outcome(self, group: Group) -> list[PGresult]:
        results = self._without_asides(group) if group.asides else group.results
        if results and results[-1].status in _SUCCEEDED:
            return results
        first_failed = next((i for i, result in enumerate(results) if has_failed(result)), len(results))
        return results[: first_failed + 1]

    def _without_asides(self, group: Group) -> list[PGresult]:
        """The statements' own results. What was prepared has its name from now on; what failed to be, has failed."""
        kept = []
        for place, result in enumerate(group.results):
            parsed = group.asides.get(place, _STATEMENT)
            if parsed is None:
                continue
            if parsed is not _STATEMENT:
                self._parsing.discard(parsed.key)
                if not has_failed(result):
                    self._keep_name(parsed)
                if result.status != _ERROR:
                    continue
            kept.append(result)
        return kept

    def _keep_name(self, parsed: _Parsed) -> None:
        self._names[parsed.key] = parsed.name
        if len(self._names) > self._most_prepared:
            _, dropped = self._names.popitem(last=False)
            self._dropped.append(dropped)

    # Looking after it

    def is_alive(self) -> bool:
        """Whether the connection is still there, as far as anybody can know."""
        self.read()
        self.read()  # the first may have been the server's farewell
        return self.is_open

    def serves(self, owner: int | None) -> bool:
        """Whether something of theirs is under way."""
        for group in self.under_way:  # noqa: SIM110 - asked for each lane at each request: half the time of any()
            if group.owner == owner:
                return True
        return False

    def held_up(self, now: float) -> list[Group]:
        """Those who stand behind something slow."""
        if now - self._head_since < SLOW_SECONDS:
            return []
        return [group for group in islice(self.under_way, 1, None) if group.wanted]

    def check(self, now: float) -> None:
        """What no event tells: to be called now and then while something is under way."""
        # uvloop calls a reader once for a connection that was reset, and then never again.
        self.read()
        if not self.under_way or now - self._head_since < SLOW_SECONDS:
            return
        head = self.under_way[0]
        if not head.wanted or now > head.deadline:
            self._stop_head(now)

    def _stop_head(self, now: float) -> None:
        if not self._stop_since:
            self._stop_since = self._stop_again = now
        if now - self._stop_since > _STUCK_SECONDS:
            log.warning("backend_stuck")
            self._lose()
        elif self._stopping is None and now >= self._stop_again and self._connection is not None:
            self._stop_again = now + _STOP_AGAIN_SECONDS
            self._stopping = self._loop.create_task(self._stop(self._connection))

    async def _stop(self, connection: AsyncConnection[Any]) -> None:
        try:
            await connection.cancel_safe(timeout=_STUCK_SECONDS)
            # Postgres has the order now; a pooler passes it on in a moment.
            await asyncio.sleep(0.02)
        except psycopg.Error:
            pass  # it is tried again, until the backend counts as stuck
        finally:
            self._stopping = None
            self._keeper.changed()

    def _lose(self) -> None:
        connection = self._detach()
        if connection is not None:
            self._loop.call_soon(_finish, connection)
            self._give_up()

    def _detach(self) -> AsyncConnection[Any] | None:
        """Takes the connection off the loop."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._loop.remove_reader(self._socket)
            if self._writing:
                self._writing = False
                self._loop.remove_writer(self._socket)
        return connection

    def _give_up(self) -> None:
        groups = list(self.under_way)
        self.under_way.clear()
        results = groups[0].results if groups else []
        # An error in the place of a statement's result, not behind all of them: there, the commit may be over.
        if results and len(results) <= groups[0].expected and any(map(_is_error, results)):
            # It failed before the connection went, and so did nothing.
            self._keeper.finished(groups[0], self._outcome(groups[0]))
            del groups[0]
        self._keeper.lost(self, groups)


def _name_of(key: tuple[str, str]) -> bytes:
    """Of what it says: behind a pooler that mixes up sessions, a name must not stand for another statement."""
    return b"s" + blake2b("\0".join(key).encode(), digest_size=16).hexdigest().encode()


def _is_error(result: PGresult) -> bool:
    return result.status == _ERROR


def has_failed(result: PGresult) -> bool:
    return result.status not in _SUCCEEDED


def _finish(connection: AsyncConnection[Any]) -> None:
    connection.pgconn.finish()
