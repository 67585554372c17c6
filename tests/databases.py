"""A Postgres server of the tests' own, and databases on it: one template, cloned for whoever writes."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from local.bootstrap import bootstrap, set_login_passwords
from local.cluster import Cluster
from local.migrate import migrate
from tests.scenery import build_scenery


@dataclass(frozen=True)
class Database:
    cluster: Cluster
    name: str

    def dsn(self, role: str = "postgres") -> str:
        return self.cluster.dsn(role, self.name)

    def connect(self, role: str = "postgres") -> psycopg.Connection[TupleRow]:
        """One transaction as a `with` block: committed at its end, rolled back by an error."""
        return psycopg.connect(self.dsn(role))

    def run(self, statement: str | sql.Composed, *parameters: Any) -> list[TupleRow]:
        """As role `postgres`, past every policy: to arrange things, and to look at what became of them."""
        return self.run_as("postgres", statement, *parameters)

    def run_as(self, role: str, statement: str | sql.Composed, *parameters: Any) -> list[TupleRow]:
        with self.connect(role) as connection:
            cursor = connection.execute(statement, parameters or None)
            return [] if cursor.rownumber is None else cursor.fetchall()


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """`PG_BIN` names the folder of another Postgres's programs; without it the embedded one runs."""
    binaries = os.environ.get("PG_BIN")
    directory = Path(tempfile.gettempdir(), f"gym-tests-{secrets.token_hex(6)}")
    cluster = Cluster(directory, binaries=Path(binaries) if binaries else None, port=0, durable=False)
    try:
        with cluster:
            yield cluster
    finally:
        cluster.destroy()


@contextmanager
def fresh_database(cluster: Cluster, *, default_grants: bool = True) -> Iterator[Database]:
    """As the platform hands it out, before any migration."""
    database = Database(cluster, f"fresh_{secrets.token_hex(6)}")
    bootstrap(cluster, database.name, default_grants=default_grants)
    try:
        yield database
    finally:
        _drop(database)


def build_template(cluster: Cluster) -> Database:
    template = Database(cluster, "template")
    bootstrap(cluster, template.name)
    migrate(template.dsn())
    set_login_passwords(cluster)
    build_scenery(template.dsn())
    return template


@contextmanager
def cloned(template: Database) -> Iterator[Database]:
    clone = Database(template.cluster, f"clone_{secrets.token_hex(6)}")
    name, original = sql.Identifier(clone.name), sql.Identifier(template.name)
    make = sql.SQL("create database {} template {} owner postgres").format(name, original)
    _administer(clone.cluster, make)
    # Grants on a database itself are not cloned with it; this one comes from sql/roles.sql.
    _administer(clone.cluster, sql.SQL("revoke temporary on database {} from public").format(name))
    try:
        yield clone
    finally:
        _drop(clone)


def _drop(database: Database) -> None:
    name = sql.Identifier(database.name)
    _administer(database.cluster, sql.SQL("drop database if exists {} with (force)").format(name))


def _administer(cluster: Cluster, statement: sql.Composed) -> None:
    with psycopg.connect(cluster.dsn("supabase_admin"), autocommit=True) as connection:
        connection.execute(statement)
