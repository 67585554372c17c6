"""Batches: files that were imported, each with one id in all the communities that it tells of."""

import time
from collections.abc import Callable, Collection
from typing import Any, LiteralString, TypeVar
from uuid import UUID, uuid4

import psycopg

from jobs.imports import ImportFailed
from jobs.legacy._file import LegacyFile

_LOCK = 0x6C6567616379  # "legacy"
# Learners who do something at the same moment shall not wait long for it; see `patiently`.
SETTINGS: LiteralString = "set local statement_timeout = 0; set local lock_timeout = '400ms'"

Result = TypeVar("Result")


def take_turn(connection: psycopg.Connection[Any]) -> None:
    """One import or undoing at a time; the turn ends with the connection."""
    (taken,) = connection.execute("select pg_try_advisory_lock(%s)", [_LOCK]).fetchone() or (False,)
    connection.commit()
    if not taken:
        raise ImportFailed(
            "Legacy progress is being imported or undone by another process. Wait for its end."
        )


def patiently(connection: psycopg.Connection[Any], act: Callable[[], Result]) -> Result:
    """Does something in a transaction of its own; again, when it stood in somebody's way or they in its."""
    for pause in (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0):
        try:
            return act()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            connection.rollback()
            time.sleep(pause)
    return act()


def batch_of(
    connection: psycopg.Connection[Any], file: LegacyFile, communities: Collection[UUID]
) -> tuple[UUID, bool]:
    """The id of the file's batch in these communities, and whether it was begun before."""
    known = connection.execute(
        """
        select id from public.legacy_batches
        where file_digest = %s and undone_at is null and community_id = any (%s)
        limit 1
        """,
        [file.digest, list(communities)],
    ).fetchone()
    return (known[0], True) if known else (uuid4(), False)


def begin_batch(connection: psycopg.Connection[Any], community: UUID, batch: UUID, file: LegacyFile) -> None:
    connection.execute("select private.note_reason('Importing legacy progress.')")
    connection.execute(
        """
        insert into public.legacy_batches (community_id, id, file_name, file_digest)
        values (%s, %s, %s, %s)
        on conflict (community_id, id) do nothing
        """,
        [community, batch, file.name[-255:], file.digest],
    )
    connection.execute("select private.note_reason(null)")


def end_batch(connection: psycopg.Connection[Any], batch: UUID) -> None:
    """All of it is undone, in all of its communities."""
    connection.execute("select private.note_reason('Undoing an import of legacy progress.')")
    connection.execute(
        "update public.legacy_batches set undone_at = now() where id = %s and undone_at is null", [batch]
    )


def batches(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    """For people: id, communities, file, lines, when it was begun and undone; the newest first."""
    return connection.execute(
        """
        select
            b.id, string_agg(c.slug, ', ' order by c.slug), min(b.file_name),
            sum((
                select count(*) from public.legacy_progress as l
                where l.community_id = b.community_id and l.batch_id = b.id
            )),
            min(b.imported_at), case when bool_and(b.undone_at is not null) then max(b.undone_at) end
        from public.legacy_batches as b
        join public.communities as c on c.id = b.community_id
        group by b.id
        order by min(b.imported_at) desc, b.id
        """
    ).fetchall()
