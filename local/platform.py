"""The local platform as a whole: embedded Postgres, bootstrapped and migrated, its keys and addresses."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from local.auth import LocalAuth
from local.bootstrap import bootstrap, set_login_passwords
from local.cluster import Cluster
from local.errors import LocalError
from local.keys import Keys
from local.migrate import MIGRATIONS, migrate
from settings import Settings


@dataclass(frozen=True)
class Platform:
    """A running local platform; only the process that started it stops it."""

    cluster: Cluster
    keys: Keys

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def database_url(self) -> str:
        """For the server: role `gym_api`."""
        return self.cluster.dsn("gym_api")

    @property
    def admin_database_url(self) -> str:
        """For migrations and imports: role `postgres`."""
        return self.cluster.dsn("postgres")

    @property
    def worker_database_url(self) -> str:
        """For jobs: role `gym_worker`."""
        return self.cluster.dsn("gym_worker")

    @property
    def auth_database_url(self) -> str:
        """For users and sessions: role `supabase_auth_admin`."""
        return self.cluster.dsn("supabase_auth_admin")

    @property
    def publishable_key(self) -> str:
        return self.keys.publishable_key

    def sign_in(self, issuer: str) -> LocalAuth:
        """The endpoints under `/auth/v1`; `issuer` is the address of that."""
        return LocalAuth(self.auth_database_url, self.keys, issuer, self.cluster)

    def stop(self) -> None:
        self.cluster.stop()


def start(
    settings: Settings, report: Callable[[str], None] = lambda _: None, migrations: Path = MIGRATIONS
) -> Platform:
    """Everything up and current; `report` is told of each step that may take a moment."""
    cluster = _cluster(settings)
    if not cluster.made:
        report(f"Making a database in {cluster.directory}")
    cluster.start()
    if not cluster.data.is_relative_to(cluster.directory):
        report(
            f"Postgres runs as another user, who does not reach that: it keeps its files in {cluster.data}"
        )
    try:
        keys = Keys.make_once(cluster.directory)
        bootstrap(cluster)
        migrate(cluster.dsn("postgres"), migrations, lambda name: report(f"Applying migration {name}"))
        set_login_passwords(cluster)
    except BaseException:
        cluster.stop()
        raise
    return Platform(cluster, keys)


def attach(settings: Settings) -> Platform:
    """The platform that another process has started, for its workers and for commands beside it."""
    cluster = _cluster(settings)
    if not cluster.running:
        raise LocalError(f"The database in {cluster.directory} does not run. Start it first: make run")
    return Platform(cluster, Keys.load(cluster.directory))


def has_database(settings: Settings) -> bool:
    """Whether one was made already."""
    return _cluster(settings).made


def _cluster(settings: Settings) -> Cluster:
    return Cluster(settings.data_dir, port=settings.database_port)
