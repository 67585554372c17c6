"""The database that all servers share: the embedded Postgres in a folder of its own, migrated and filled."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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
    def admin_url(self) -> str:
        """For commands: role `postgres`."""
        return self.cluster.dsn("postgres", _NAME)

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


@dataclass(frozen=True)
class Script:
    """A file of SQL that makes data, which role runs it, and settings that it reads."""

    path: Path
    role: str = "postgres"
    settings: Mapping[str, str] = field(default_factory=dict)


SYNTHETIC = Script(Path(__file__).with_name("synthetic.sql"))


@contextmanager
def running_database(folder: Path, data: Path | Script | None, report: Report) -> Iterator[Database]:
    """A database made afresh, which is gone afterwards. `data` is a folder of OULAD, SQL, or nothing."""
    cluster = Cluster(folder, port=0, durable=False)
    if cluster.made:  # of a run that was killed
        cluster.start()
        cluster.destroy()
    try:
        with cluster:
            _prepare(cluster)
            _fill(cluster, data, report)
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


def _fill(cluster: Cluster, data: Path | Script | None, report: Report) -> None:
    match data:
        case Script():
            report("Making the synthetic data")
            with psycopg.connect(cluster.dsn(data.role, _NAME)) as connection:
                for name, value in data.settings.items():
                    connection.execute("select set_config(%s, %s, false)", [name, value])
                connection.execute(data.path.read_bytes())
        case Path():
            report(f"Importing {data}")
            try:
                oulad.import_oulad(cluster.dsn("postgres", _NAME), data)
            except oulad.ImportFailed as error:
                raise BenchError(f"{data} cannot be imported: {error}") from None
