"""Applies `supabase/migrations` in order and keeps the history that the Supabase CLI reads and writes."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psycopg
from psycopg.pq import TransactionStatus

from local.errors import LocalError

MIGRATIONS = Path(__file__).parent.parent / "supabase" / "migrations"

_FILE_NAME = re.compile(r"(?P<version>\d{14})_(?P<name>.*)\.sql")
_LOCK = 7_146_202  # any number: whoever migrates this database holds it
_HISTORY = """
    create schema if not exists supabase_migrations;
    create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
    alter table supabase_migrations.schema_migrations add column if not exists statements text[];
    alter table supabase_migrations.schema_migrations add column if not exists name text;
"""
# The CLI compares versions and never reads a statement back to run it, so the file's text is kept as one.
_RECORD = "insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)"


@dataclass(frozen=True, order=True)
class Migration:
    version: str
    name: str
    path: Path


def migrate(
    dsn: str, directory: Path = MIGRATIONS, progress: Callable[[str], None] = lambda _: None
) -> list[Migration]:
    """Runs what is new, as role `postgres`, each file in a transaction of its own; returns it.

    `progress` is told the name of each file before it runs.
    """
    migrations = read_migrations(directory)
    with _migrating(dsn) as connection:
        pending = _pending(migrations, _applied(connection), directory)
        for migration in pending:
            progress(migration.path.name)
            _apply(connection, migration)
    return pending


def read_migrations(directory: Path) -> list[Migration]:
    """The files that the CLI would apply, oldest first; others and sub-folders are none of ours."""
    try:
        paths = sorted(path for path in directory.iterdir() if path.is_file())
    except OSError as error:
        raise LocalError(f"The migrations in {directory} cannot be read: {error.strerror}.") from None
    matches = ((path, _FILE_NAME.fullmatch(path.name)) for path in paths)
    migrations = [Migration(match["version"], match["name"], path) for path, match in matches if match]
    for earlier, later in pairwise(migrations):
        if earlier.version == later.version:
            raise LocalError(
                f"{earlier.path.name} and {later.path.name} have one version. Rename one of them."
            )
    return migrations


@contextmanager
def _migrating(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        connection.execute(_HISTORY)
        yield connection  # the lock goes with the connection


def _applied(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute("select version from supabase_migrations.schema_migrations order by version")
    return [version for (version,) in rows]


def _pending(migrations: Sequence[Migration], applied: Sequence[str], directory: Path) -> list[Migration]:
    known = {migration.version for migration in migrations}
    if missing := [version for version in applied if version not in known]:
        raise LocalError(
            f"The database has migrations that {directory} does not: {', '.join(missing)}. "
            "It was last used by another version of the code: use that one, or another DATA_DIR."
        )
    pending = [migration for migration in migrations if migration.version not in applied]
    if applied and pending and pending[0].version < applied[-1]:
        raise LocalError(
            f"{pending[0].path.name} is older than {applied[-1]}, which the database already has. "
            "Rename it to a later time, or use another DATA_DIR."
        )
    return pending


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    text = migration.path.read_bytes()
    connection.execute("reset all")  # an earlier file's `set` must not reach this one
    try:
        with connection.transaction():
            connection.execute(text)
            if connection.info.transaction_status != TransactionStatus.INTRANS:
                raise LocalError(
                    f"{migration.path.name} ends its transaction. Remove its `commit` or `rollback`."
                )
            connection.execute(_RECORD, (migration.version, migration.name, [text.decode()]))
    except psycopg.Error as error:
        raise LocalError(_explanation(migration, text.decode(errors="replace"), error)) from error


def _explanation(migration: Migration, text: str, error: psycopg.Error) -> str:
    """The database's own words with the place in the file; nothing of it was applied."""
    diagnosis = error.diag
    position = int(diagnosis.statement_position) if diagnosis.statement_position else None
    line = "" if position is None else f":{text.count(chr(10), 0, position - 1) + 1}"
    extras = [
        f"{title}: {words}"
        for title, words in (
            ("detail", diagnosis.message_detail),
            ("hint", diagnosis.message_hint),
            ("context", diagnosis.context),
        )
        if words
    ]
    message = f"{diagnosis.message_primary or error} ({diagnosis.sqlstate or 'no SQLSTATE'})"
    return "\n".join((f"{migration.path.name}{line}: {message}", *extras, "The migration was not applied."))
