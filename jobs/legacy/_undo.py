"""Takes a batch back, some people at a time. Killed at any moment, it goes on where it was."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from jobs.imports import ImportFailed, Progress, explained
from jobs.legacy._batches import SETTINGS, batches, end_batch, patiently, take_turn

_AT_ONCE = 100

_UNDO: LiteralString = "select * from private.undo_legacy_progress(%s, %s, %s, %s)"


@dataclass(frozen=True)
class Undoing:
    lines: int
    reopened: int
    left_completed: int


def list_batches(dsn: str) -> list[tuple[Any, ...]]:
    with explained(), closing(psycopg.connect(dsn)) as connection:
        return batches(connection)


def undo_legacy(
    dsn: str, batch: UUID, *, dry_run: bool = False, progress: Progress = lambda *_: None
) -> Undoing:
    """Raises ImportFailed when there is no such batch, or it is undone already."""
    with explained(), closing(psycopg.connect(dsn)) as connection:
        take_turn(connection)
        communities = _communities(connection, batch)
        total = _count(connection, batch)
        connection.commit()
        lines = reopened = left = 0
        for some in _undone(connection, communities, batch, dry_run=dry_run):
            lines, reopened, left = lines + some.lines, reopened + some.reopened, left + some.left_completed
            progress("Trying to undo lines" if dry_run else "Undoing lines", lines, total)
        if not dry_run:
            with connection.transaction():
                end_batch(connection, batch)
    return Undoing(lines, reopened, left)


def _communities(connection: psycopg.Connection[Any], batch: UUID) -> list[UUID]:
    found = connection.execute(
        "select community_id, undone_at from public.legacy_batches where id = %s order by community_id",
        [batch],
    ).fetchall()
    if not found:
        raise ImportFailed(f"There is no batch {batch}. Without an id, the command lists what there is.")
    if all(undone_at is not None for _, undone_at in found):
        raise ImportFailed(f"Batch {batch} is undone already.")
    return [community for community, _ in found]


def _count(connection: psycopg.Connection[Any], batch: UUID) -> int:
    found = connection.execute(
        """
        select count(*)
        from public.legacy_batches as b
        join public.legacy_progress as l on l.community_id = b.community_id and l.batch_id = b.id
        where b.id = %s
        """,
        [batch],
    ).fetchone()
    return 0 if found is None else int(found[0])


def _undone(
    connection: psycopg.Connection[Any], communities: list[UUID], batch: UUID, *, dry_run: bool
) -> Iterator[Undoing]:
    for community in communities:
        last_user: UUID | None = None
        while True:

            def undo_some(community: UUID = community, last_user: UUID | None = last_user) -> Any:
                with connection.transaction(force_rollback=dry_run):
                    connection.execute(SETTINGS)
                    (found,) = connection.execute(_UNDO, [community, batch, last_user, _AT_ONCE]).fetchall()
                return found

            last_user, *told = patiently(connection, undo_some)
            if last_user is None:
                break
            yield Undoing(*told)
