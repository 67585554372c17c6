"""How statements reach Postgres: under the caller's identity, in one round trip and one transaction.

Everything else asks a `Database` and knows nothing of connections.
"""

from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from resolvers.errors import ApiError, Refusal
from resolvers.identity import Identity
from resolvers.plan import Statement

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


class Database(Protocol):
    """Runs the statements of one request."""

    async def run(
        self, identity: Identity, statements: Sequence[Statement], *, read_only: bool
    ) -> list[bytes | None]:
        """The one value of each statement; none for a statement without rows.

        All or nothing. Raises Refusal for the statement that Postgres refused, and UNAVAILABLE or TIMEOUT.
        """
        ...


class PooledDatabase:
    """A pool of connections; each request is one pipeline on one of them."""

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        statement_timeout_ms: int,
        lock_timeout_ms: int,
        wait_seconds: float = 2,
    ) -> None:
        self._timeouts = (str(statement_timeout_ms), str(lock_timeout_ms))
        self._pool = AsyncConnectionPool(
            url,
            min_size=min(2, connections),
            max_size=connections,
            max_waiting=connections * 16,
            timeout=wait_seconds,
            kwargs={"autocommit": True, "cursor_factory": AsyncRawCursor, "prepare_threshold": 0},
            configure=_configure,
            open=False,
        )

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def run(
        self, identity: Identity, statements: Sequence[Statement], *, read_only: bool
    ) -> list[bytes | None]:
        async with self._connection() as connection:
            who = ("on" if read_only else "off", *self._timeouts, identity.claims, identity.role)
            return await _run(connection, [Statement(_IDENTITY, who), *statements])

    @asynccontextmanager
    async def _connection(self) -> Any:
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (PoolTimeout, PoolClosed, psycopg.errors.TooManyConnections) as error:
            raise ApiError("UNAVAILABLE", "The database is busy. Try again in a moment.") from error
        except psycopg.OperationalError as error:
            raise ApiError("UNAVAILABLE", "The database cannot be reached. Try again in a moment.") from error


async def _configure(connection: AsyncConnection[Any]) -> None:
    await connection.execute("set timezone to 'UTC'")
    await connection.execute("set jit to off")
    await connection.execute("set idle_in_transaction_session_timeout to '10s'")


async def _run(connection: AsyncConnection[Any], statements: Sequence[Statement]) -> list[bytes | None]:
    # Without begin and commit, everything up to the pipeline's Sync is one implicit transaction.
    cursors: list[Any] = []
    try:
        async with connection.pipeline():
            for statement in statements:
                cursor = connection.cursor()
                cursors.append(cursor)
                await cursor.execute(statement.sql, statement.parameters, prepare=True)
    except psycopg.Error as error:
        diagnostic = error.diag
        if error.sqlstate is None:
            raise
        done = sum(
            1 for cursor in cursors if cursor.pgresult is not None and not cursor.pgresult.error_message
        )
        raise Refusal(
            max(done - 1, 0),
            error.sqlstate,
            diagnostic.message_primary or "",
            diagnostic.constraint_name,
            diagnostic.column_name,
        ) from error
    return [_value(cursor) for cursor in cursors[1:]]


def _value(cursor: Any) -> bytes | None:
    result = cursor.pgresult
    value: bytes | None = result.get_value(0, 0) if result.ntuples else None
    return value
