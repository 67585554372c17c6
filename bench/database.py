"""The database that all servers share: the embedded Postgres in a folder of its own, migrated and filled."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.rows import TupleRow

from bench.errors import BenchError
from bench.processes import children_for_a_while
from jobs import oulad
from local.bootstrap import bootstrap, set_login_passwords
from local.cluster import Cluster
from local.migrate import migrate

_NAME = "bench"
SYNTHETIC = Path(__file__).with_name("synthetic.sql")

Report = Callable[[str], None]


@dataclass(frozen=True)
class Database:
    """The benchmark's database."""

    cluster: Cluster

    @property
    def url(self) -> str:
        """For servers: the login role that row level security binds."""
        return self.cluster.dsn("gym_api", _NAME)

    @property
    def binaries(self) -> Path:
        return self.cluster.binaries

    @property
    def pid(self) -> int:
        return int((self.cluster.data / "postmaster.pid").read_text().split()[0])

    def run(self, statement: LiteralString, *parameters: Any) -> list[TupleRow]:
        """As role `postgres`, past every policy."""
        with (
            children_for_a_while(self.pid),
            psycopg.connect(self.cluster.dsn("postgres", _NAME), autocommit=True) as connection,
        ):
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def running_database(folder: Path, data: Path, report: Report) -> Iterator[Database]:
    """A database made afresh, which is gone afterwards. `data` is a folder of OULAD, or a file of SQL."""
    cluster = Cluster(folder, port=0, durable=False)
    if cluster.made:  # of a run that was killed
        cluster.start()
        cluster.destroy()
    try:
        with cluster:
            _prepare(cluster)
            _fill(cluster.dsn("postgres", _NAME), data, report)
            yield Database(cluster)
    finally:
        cluster.destroy()


def settle(database: Database) -> None:
    """Clean pages and current statistics; nothing runs in the background while servers are measured."""
    database.run("vacuum analyze")


def _prepare(cluster: Cluster) -> None:
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    bootstrap(cluster, _NAME)
    migrate(cluster.dsn("postgres", _NAME))
    set_login_passwords(cluster)
    with psycopg.connect(cluster.dsn("supabase_admin", _NAME), autocommit=True) as connection:
        connection.execute("alter system set autovacuum to off")
        connection.execute("select pg_reload_conf()")


def _fill(dsn: str, data: Path, report: Report) -> None:
    if data.suffix == ".sql":
        report("Making the synthetic data")
        with psycopg.connect(dsn) as connection:
            connection.execute(data.read_bytes())
        return
    report(f"Importing {data}")
    try:
        oulad.import_oulad(dsn, data)
    except oulad.ImportFailed as error:
        raise BenchError(f"{data} cannot be imported: {error}") from None
