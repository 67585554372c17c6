"""Makes a database look as Supabase hands it out, before the first migration. Safe to run again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from local.cluster import Cluster

_HERE = Path(__file__).parent
_LOCK = 7_146_201  # any number: whoever bootstraps holds it, in database postgres
_PASSWORDS_BEFORE_MIGRATIONS = ("postgres", "authenticator", "supabase_auth_admin")
_PASSWORDS_AFTER_MIGRATIONS = ("gym_api", "gym_worker")


def bootstrap(cluster: Cluster, database: str = "postgres", *, default_grants: bool = True) -> None:
    """Roles for the whole server, then schemas, `auth` and grants in `database`, made if there is none.

    `default_grants` are Supabase's old ones (see `default_grants.sql`); without them it is as a new project.
    """
    with _one_at_a_time(cluster) as admin:
        _run(admin, "roles.sql")
        _set_passwords(admin, cluster, _PASSWORDS_BEFORE_MIGRATIONS)
        _ensure_database(admin, database)
        with _as_superuser(cluster, database) as connection, connection.transaction():
            _run(connection, "bootstrap.sql")
            _run(connection, "auth.sql")
            if default_grants:
                _run(connection, "default_grants.sql")


def set_login_passwords(cluster: Cluster) -> None:
    """Passwords for the login roles that migrations make without one; those not there yet are skipped."""
    with _one_at_a_time(cluster) as admin:
        _set_passwords(admin, cluster, _PASSWORDS_AFTER_MIGRATIONS)


@contextmanager
def _as_superuser(cluster: Cluster, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(cluster.dsn("supabase_admin", database), autocommit=True) as connection:
        cluster.require_own(connection)
        yield connection


@contextmanager
def _one_at_a_time(cluster: Cluster) -> Iterator[psycopg.Connection]:
    """Two that alter the same roles or grants would meet in "tuple concurrently updated"."""
    with _as_superuser(cluster, "postgres") as connection:
        connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        yield connection  # the lock goes with the connection


def _run(connection: psycopg.Connection, file: str) -> None:
    # Our own files, read from beside this one; as bytes, so that they may hold several statements.
    connection.execute((_HERE / file).read_bytes())


def _set_passwords(connection: psycopg.Connection, cluster: Cluster, roles: tuple[str, ...]) -> None:
    """Sent as the verifier that Postgres stores, so that no log can hold a password."""
    passwords = cluster.passwords
    present = connection.execute(
        "select rolname from pg_catalog.pg_roles where rolname = any(%s)", (list(roles),)
    )
    for (role,) in present.fetchall():
        verifier = connection.pgconn.encrypt_password(
            passwords[role].encode(), role.encode(), algorithm=b"scram-sha-256"
        )
        connection.execute(
            sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
        )


def _ensure_database(connection: psycopg.Connection, database: str) -> None:
    name = sql.Identifier(database)
    known = connection.execute("select from pg_catalog.pg_database where datname = %s", (database,))
    if known.fetchone() is None:
        connection.execute(sql.SQL("create database {}").format(name))
    # So that postgres owns schema public, as on Supabase.
    connection.execute(sql.SQL("alter database {} owner to postgres").format(name))
