"""Puts procrastinate's own tables into a schema that no client reaches, and keeps them at the library's version."""

import re
from importlib.metadata import version
from pathlib import Path

import psycopg
from procrastinate.schema import SchemaManager
from psycopg import sql

SCHEMA = "procrastinate"

_LOCK = 0x6A6F6273  # "jobs"
_MADE_FOR = "select obj_description(to_regnamespace(%s), 'pg_namespace')"
_VERSION = re.compile(r"procrastinate (\d+)\.(\d+)\.(\d+)")
# Every object of the library is the worker's to use, and nobody else's.
_GRANTS = """
revoke all on schema procrastinate from public;
revoke all on all tables in schema procrastinate from public, anon, authenticated, service_role;
revoke all on all sequences in schema procrastinate from public, anon, authenticated, service_role;
revoke all on all functions in schema procrastinate from public, anon, authenticated, service_role;
grant usage on schema procrastinate to gym_worker;
grant select, insert, update, delete on all tables in schema procrastinate to gym_worker;
grant usage on all sequences in schema procrastinate to gym_worker;
grant execute on all functions in schema procrastinate to gym_worker;
"""

Version = tuple[int, int, int]


def install(dsn: str) -> bool:
    """Makes the queue, or brings it up to date, as role `postgres`; whether there was anything to do. Repeatable."""
    with psycopg.connect(dsn) as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        made_for = installed(connection)
        if made_for == current():
            return False
        connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(SCHEMA)))
        connection.execute(sql.SQL("set local search_path = {}").format(sql.Identifier(SCHEMA)))
        for statements in [SchemaManager.get_schema()] if made_for is None else _newer_than(made_for):
            connection.execute(statements.encode())
        connection.execute(_GRANTS)
        # The library names its tables without a schema. Not a setting of the connection: poolers may drop it.
        find = sql.SQL("alter role gym_worker in database {} set search_path = {}")
        database = sql.Identifier(connection.info.dbname)
        connection.execute(find.format(database, sql.Identifier(SCHEMA)))
        told = ".".join(map(str, current()))
        comment = sql.SQL("comment on schema {} is {}")
        connection.execute(
            comment.format(sql.Identifier(SCHEMA), sql.Literal(f"The queue of jobs: procrastinate {told}."))
        )
    return True


def installed(connection: psycopg.Connection) -> Version | None:
    """The version of the library that the queue was made for; nothing where there is no queue."""
    row = connection.execute(_MADE_FOR, [SCHEMA]).fetchone()
    return _read(_VERSION.search(row[0])) if row and row[0] else None


def current() -> Version:
    """The version of the library that is here."""
    return _read(_VERSION.search(f"procrastinate {version('procrastinate')}")) or (0, 0, 0)


def _read(found: re.Match[str] | None) -> Version | None:
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _newer_than(made_for: Version) -> list[str]:
    """The library's migrations since a version; their names begin with the version that they came with."""
    paths = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    return [
        path.read_text()
        for path in paths
        if tuple(int(number) for number in path.name.split("_")[0].split(".")) > made_for
    ]
