"""The import itself: check the files, then load them in one transaction."""

from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from jobs.imports import Problems, Progress, explained
from jobs.oulad._content import ASSIGNMENTS, BLOCKS, COMMUNITIES, COURSE_VERSIONS, COURSES, PROGRAMS
from jobs.oulad._files import read_folder
from jobs.oulad._notes import notes_on
from jobs.oulad._people import ENROLLMENTS, MEMBERSHIPS, REFUSALS, USERS
from jobs.oulad._records import Folder
from jobs.oulad._rows import Row
from jobs.oulad._submissions import record_submissions
from jobs.oulad._table import Step, Table
from jobs.oulad._totals import ImportTotals

_LOCK = 0x6F756C6164  # "oulad"

_TABLES = (
    COMMUNITIES,
    PROGRAMS,
    COURSES,
    COURSE_VERSIONS,
    BLOCKS,
    ASSIGNMENTS,
    USERS,
    MEMBERSHIPS,
    ENROLLMENTS,
)


def import_oulad(
    dsn: str, folder: Path, *, with_progress: bool = False, progress: Progress = lambda *_: None
) -> ImportTotals:
    """All of it or, with ImportFailed, nothing. `dsn` is that of role `postgres`, whom no policy stops.

    `with_progress` takes what people have submitted too; `progress` is told how far the import is.
    """
    content = read_folder(folder, progress, with_submissions=with_progress)
    totals = ImportTotals(content.rows_read)
    for count, what in notes_on(content):
        totals.note(count, what)
    with explained(), psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        _load(cursor, content, totals, progress)
    return totals


def _load(cursor: psycopg.Cursor[Any], folder: Folder, totals: ImportTotals, progress: Progress) -> None:
    cursor.execute("set local statement_timeout = 0")
    _wait_for_other_imports(cursor, progress)
    rows = {table.name: list(table.rows(folder)) for table in _TABLES}
    total, sent, stored = sum(map(len, rows.values())), 0, 0
    for table in _TABLES:
        progress("Sending rows", sent, total)
        _stage(cursor, table, rows[table.name])
        sent += len(rows[table.name])
    progress("Sending rows", sent, total)
    _refuse_what_triggers_would(cursor)
    for table in _TABLES:
        progress("Storing rows", stored, total)
        totals.created[table.name] = _insert(cursor, table, totals)
        totals.there_already[table.name] = len(rows[table.name]) - totals.created[table.name]
        stored += len(rows[table.name])
    progress("Storing rows", stored, total)
    if folder.submissions:
        record_submissions(cursor, folder, totals, progress)


def _wait_for_other_imports(cursor: psycopg.Cursor[Any], progress: Progress) -> None:
    cursor.execute("select pg_try_advisory_xact_lock(%s)", [_LOCK])
    if cursor.fetchone() == (False,):
        progress("Waiting for another import to end", 0, 1)
        cursor.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        progress("Waiting for another import to end", 1, 1)


def _stage(cursor: psycopg.Cursor[Any], table: Table, rows: list[Row]) -> None:
    staged = sql.Identifier(f"staged_{table.name}")
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    source = sql.Identifier(table.schema, table.name)
    # Takes over the types of the columns, but none of their rules: those are for the insert to meet.
    make = sql.SQL("create temporary table {} on commit drop as select {} from {} with no data")
    cursor.execute(make.format(staged, columns, source))
    with cursor.copy(sql.SQL("copy {} from stdin").format(staged)) as copy:
        for row in rows:
            copy.write_row(row)
    cursor.execute(sql.SQL("analyze {}").format(staged))


def _refuse_what_triggers_would(cursor: psycopg.Cursor[Any]) -> None:
    problems = Problems()
    for (problem,) in cursor.execute(REFUSALS):
        problems.add(problem)
    problems.refuse_if_any()


def _insert(cursor: psycopg.Cursor[Any], table: Table, totals: ImportTotals) -> int:
    _take(cursor, table.before, totals)
    created = 0
    if table.first is not None:
        created = cursor.execute(table.insert + " limit %s", [table.first]).rowcount
        cursor.execute(sql.SQL("analyze {}").format(sql.Identifier(table.schema, table.name)))
    created += cursor.execute(table.insert).rowcount
    _take(cursor, table.after, totals)
    return created


def _take(cursor: psycopg.Cursor[Any], steps: tuple[Step, ...], totals: ImportTotals) -> None:
    for step in steps:
        count = cursor.execute(step.statement).rowcount
        if step.told_as:
            totals.note(count, step.told_as)
