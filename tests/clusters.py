"""Servers for the tests of the platform itself: on the embedded Postgres and, on a system's 15 if any."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from local.cluster import Cluster

_SYSTEM_15 = Path("/usr/lib/postgresql/15/bin")

# None stands for the embedded one.
BINARIES: dict[str, Path | None] = {"embedded": None}
if (_SYSTEM_15 / "initdb").exists():
    BINARIES["system15"] = _SYSTEM_15


@contextmanager
def new_cluster(binaries: Path | None = None, *, port: int = 0, durable: bool = False) -> Iterator[Cluster]:
    """Not started; gone without a trace at the end."""
    directory = Path(tempfile.gettempdir(), f"gym-local-{secrets.token_hex(6)}")
    cluster = Cluster(directory, binaries=binaries, port=port, durable=durable)
    try:
        yield cluster
    finally:
        cluster.destroy()


def superuser(cluster: Cluster, database: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(cluster.dsn("supabase_admin", database), autocommit=True)
