"""The jobs themselves: each is about one community, does what is due there, and is harmless when it is cut short."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from threading import Thread
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow

from jobs.audit import SigningKey, seal_community

Connection = psycopg.AsyncConnection[TupleRow]
Task = Callable[[Connection, UUID], Awaitable[int]]

# So many rows in one transaction: enough to be quick, few enough that nobody waits long for them.
_BATCH = 200
# So much in one run; what is left is due again at once.
_MOST = 2_000


async def advance_enrollments(connection: Connection, community: UUID) -> int:
    """Enrolments whose expiry has come end, those whose start has come begin."""
    return await _in_batches(connection, "select private.advance_enrollments(%s, %s)", community)


async def end_idle_sessions(connection: Connection, community: UUID) -> int:
    """Learning sessions that nothing was heard of end when they fell silent."""
    return await _in_batches(connection, "select private.end_idle_sessions(%s, %s)", community)


async def advance_progress(connection: Connection, community: UUID) -> int:
    """Progress that something around it has changed is looked at again, one enrolment in each transaction."""
    done = 0
    while done < _MOST and await _number(
        connection, "select private.advance_progress(%s)::integer", community
    ):
        done += 1
    return done


def sealing(dsn: str, key: SigningKey) -> Task:
    """The task that seals a community's audit log with this key."""

    async def seal_audit_log(_: Connection, community: UUID) -> int:
        return await _in_a_thread(lambda: seal_community(dsn, key, community))

    return seal_audit_log


async def _in_a_thread(work: Callable[[], int]) -> int:
    """A thread that ends with the process. For asyncio's the process waits, and this one may wait for a database."""
    result: Future[int] = Future()
    result.set_running_or_notify_cancel()  # whoever is cancelled leaves the thread alone

    def carry_out() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    Thread(target=carry_out, daemon=True).start()
    return await asyncio.wrap_future(result)


async def _in_batches(connection: Connection, advance: str, community: UUID) -> int:
    done = 0
    while done < _MOST and (more := await _number(connection, advance, community, _BATCH)):
        done += more
    return done


async def _number(connection: Connection, query: str, *parameters: object) -> int:
    cursor = await connection.execute(query, parameters)
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
