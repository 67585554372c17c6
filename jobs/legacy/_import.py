"""The import itself: some people at a time, each with all their lines, in a transaction of their own.

Killed at any moment, it goes on where it was: lines that are there already are found again.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg

from jobs.imports import Progress, explained
from jobs.legacy._batches import SETTINGS, batch_of, begin_batch, patiently, take_turn
from jobs.legacy._file import LegacyFile, read_file
from jobs.legacy._results import REFUSED, THERE, Result, refuse_overwriting, results_file, write_results
from jobs.legacy._rows import Community, Refused, Row, rows_of

_AT_ONCE = 100
_MOST_AT_ONCE = 1_000

_TAKE: LiteralString = "select private.take_legacy_progress(%s, %s, %s)"

_THERE: LiteralString = """
    select l.line, l.percent_before, l.percent_after
    from public.legacy_batches as b
    join public.legacy_progress as l on l.community_id = b.community_id and l.batch_id = b.id
    where b.id = %s
"""

# What is there of a batch, counted by what is shown and not by what was written.
_RECONCILE: LiteralString = """
    select
        count(*), coalesce(sum(l.percent), 0),
        count(*) filter (where l.completed_at is not null or l.percent = 100),
        count(*) filter (where s.percent < least(floor(l.percent), 99)),
        count(*) filter (where l.completed_at is not null and s.version <= l.version and s.status <> 'completed')
    from public.legacy_progress as l
    left join lateral private.course_state(
        l.community_id, l.user_id, l.course_id,
        private.version_shown(l.community_id, l.user_id, l.course_id)
    ) as s on s.attempt = l.attempt
    where l.community_id = any (%s) and l.batch_id = %s
"""


@dataclass(frozen=True)
class Account:
    """Lines, the sum of their percents, and how many say complete."""

    lines: int
    percents: Decimal
    complete: int


@dataclass(frozen=True)
class Import:
    batch: UUID
    resumed: bool
    results: dict[int, Result]
    # Enrolments that this has completed.
    completed: int
    told: Account
    # What is in the database; None of a dry run.
    stored: Account | None
    shown_too_low: int


def import_legacy(
    dsn: str,
    path: Path,
    results: Path,
    *,
    community: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda *_: None,
) -> Import:
    """Raises ImportFailed. `dsn` is that of role `postgres`; `community` is for lines that name none."""
    file = read_file(path, progress)
    refuse_overwriting(path, results)
    with explained(), results_file(results) as target, closing(psycopg.connect(dsn)) as connection:
        take_turn(connection)
        rows = rows_of(file, _communities(connection), community)
        about = {row.community for row in rows if isinstance(row, Row)}
        batch, resumed = batch_of(connection, file, about)
        connection.commit()
        importing = _Import(connection, file, batch, dry_run=dry_run)
        done = importing.run(rows, progress)
        write_results(target, file, done)
        taken = [row for row in rows if isinstance(row, Row) and done[row.line].outcome != REFUSED]
        told = _account(taken)
        stored, too_low = (None, 0) if dry_run else _reconcile(connection, taken, batch, progress)
    return Import(batch, resumed, done, importing.completed, told, stored, too_low)


def _communities(connection: psycopg.Connection[Any]) -> list[Community]:
    found = connection.execute("select id, slug, time_zone from public.communities")
    return [Community(id_, slug, ZoneInfo(zone)) for id_, slug, zone in found]


class _Import:
    def __init__(
        self, connection: psycopg.Connection[Any], file: LegacyFile, batch: UUID, *, dry_run: bool
    ) -> None:
        self._connection, self._file, self._batch, self._dry_run = connection, file, batch, dry_run
        self.completed = 0
        self._looked_at = _AT_ONCE

    def run(self, rows: list[Row | Refused], progress: Progress) -> dict[int, Result]:
        step = "Trying lines" if self._dry_run else "Importing lines"
        there = self._lines_there()
        results = {
            row.line: Result(row.line, REFUSED, row.reason) if isinstance(row, Refused) else there[row.line]
            for row in rows
            if isinstance(row, Refused) or row.line in there
        }
        for some in _by_people([row for row in rows if isinstance(row, Row) and row.line not in there]):
            progress(step, len(results), len(rows))
            results.update(patiently(self._connection, partial(self._take, some)))
            self._look_at_what_there_is(len(results))
        progress(step, len(rows), len(rows))
        return results

    def _lines_there(self) -> dict[int, Result]:
        with self._connection.transaction():
            found = self._connection.execute(_THERE, [self._batch])
            return {line: Result(line, THERE, None, before, after) for line, before, after in found}

    def _take(self, rows: list[Row]) -> dict[int, Result]:
        community = rows[0].community
        with self._connection.transaction(force_rollback=self._dry_run):
            self._connection.execute(SETTINGS)
            begin_batch(self._connection, community, self._batch, self._file)
            lines = json.dumps([row.as_json() for row in rows])
            ((told,),) = self._connection.execute(_TAKE, [community, self._batch, lines]).fetchall()
        self.completed += told["completed"]
        return {line: Result(line, *result) for line, *result in told["lines"]}

    def _look_at_what_there_is(self, lines: int) -> None:
        """Plans that were made while the tables were small would go through all of them for each line."""
        if not self._dry_run and lines >= self._looked_at:
            self._looked_at = 4 * lines
            with self._connection.transaction():
                self._connection.execute("analyze public.legacy_progress, public.course_progress")


def _by_people(rows: list[Row]) -> Iterator[list[Row]]:
    """Some lines of one community; all of a person's, unless they have very many: of those, the best counts."""
    in_order = sorted(rows, key=lambda row: (row.community, row.learner.lower(), row.line))
    for _, of_community in groupby(in_order, key=lambda row: row.community):
        some: list[Row] = []
        for _, of_person in groupby(of_community, key=lambda row: row.learner.lower()):
            for row in of_person:
                some.append(row)
                if len(some) >= _MOST_AT_ONCE:
                    yield some
                    some = []
            if len(some) >= _AT_ONCE:
                yield some
                some = []
        if some:
            yield some


def _account(rows: list[Row]) -> Account:
    complete = sum(row.percent == 100 or row.completed_at is not None for row in rows)
    return Account(len(rows), sum((row.percent for row in rows), Decimal(0)), complete)


def _reconcile(
    connection: psycopg.Connection[Any], taken: list[Row], batch: UUID, progress: Progress
) -> tuple[Account, int]:
    progress("Reconciling", 0, 1)
    communities = list({row.community for row in taken})
    with connection.transaction():
        connection.execute("set local statement_timeout = 0")
        (found,) = connection.execute(_RECONCILE, [communities, batch]).fetchall()
    progress("Reconciling", 1, 1)
    lines, percents, complete, too_low, not_complete = found
    return Account(lines, percents, complete), too_low + not_complete
