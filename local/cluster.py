"""The embedded Postgres: made once in DATA_DIR, started and stopped with the program, shut by passwords."""

import contextlib
import os
import secrets
import shutil
import struct
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg

from local._account import Place, home_of, place
from local._binaries import check_programs, embedded_binaries
from local._files import read_private_json, write_private_json
from local._initdb import check_version, initialise, remove_unfinished
from local._lock import ProcessLock
from local._postmaster import (
    HOST,
    forget_reused_pid,
    free_port,
    require_free,
    running_server,
    start_server,
    stop_server,
    wait_until_ready,
)
from local.errors import ForeignServerError, LocalError

IDENTITY_QUERY = "select system_identifier from pg_catalog.pg_control_system()"

_SUPERUSER = "supabase_admin"
_LOGIN_ROLES = (_SUPERUSER, "postgres", "authenticator", "supabase_auth_admin", "gym_api", "gym_worker")
_MAX_LOG_BYTES = 10 * 1024 * 1024
_OPTIONS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a socket in a shared folder would be one more door
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "log_parameter_max_length_on_error": "0",  # parameters are tokens and personal data
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Cluster:
    """A Postgres server of our own in `directory`, listening on the loopback address only.

    Port 0 stands for any free one. Not `durable`, a crash may lose everything: for tests.
    """

    def __init__(
        self, directory: Path, *, binaries: Path | None = None, port: int = 54322, durable: bool = True
    ) -> None:
        self.directory = directory.resolve()
        self.binaries = binaries or embedded_binaries()
        self._wanted_port = port
        self._durable = durable
        self._lock = ProcessLock(self.directory / "cluster.lock")
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def log(self) -> Path:
        return self.directory / "postgres.log"

    @property
    def data(self) -> Path:
        """Where Postgres keeps its files: in DATA_DIR, unless the account that it runs as cannot reach that."""
        return home_of(self.directory) / "postgres"

    @property
    def running(self) -> bool:
        """Whether its server runs, whichever process started it."""
        return running_server(self.data) is not None

    @property
    def port(self) -> int:
        """The port it listens on; when it does not run, the one it was asked to."""
        server = running_server(self.data)
        return (server and server.port) or self._wanted_port

    @property
    def made(self) -> bool:
        """Whether an earlier start has made it."""
        return read_private_json(self._secrets) is not None

    @property
    def passwords(self) -> dict[str, str]:
        """By login role."""
        passwords = read_private_json(self._secrets)
        if passwords is None:
            raise LocalError(f"There is no database in {self.directory} yet. Start it first: make run")
        return passwords

    def dsn(self, role: str, database: str = "postgres") -> str:
        return f"postgresql://{role}:{self.passwords[role]}@{HOST}:{self.port}/{quote(database, safe='')}"

    @property
    def system_identifier(self) -> int:
        """The number that Postgres gave this cluster when it was made."""
        try:
            control_file = (self.data / "global" / "pg_control").read_bytes()
        except OSError as error:
            raise LocalError(f"The database in {self.data} cannot be read: {error.strerror}") from None
        return int(struct.unpack_from("=q", control_file)[0])

    def owns(self, connection: psycopg.Connection[Any]) -> bool:
        """Whether the server at the other end is this cluster's, whatever the address promised."""
        row = connection.execute(IDENTITY_QUERY).fetchone()
        return row is not None and row[0] == self.system_identifier

    def require_own(self, connection: psycopg.Connection[Any]) -> None:
        if not self.owns(connection):
            raise foreign_server(connection.info.port)

    def start(self) -> None:
        """Makes the cluster if there is none, then runs it; returns when it answers."""
        check_programs(self.binaries)
        try:
            # Root's cluster runs as another user, who must be able to pass through to it.
            self.directory.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            self._take_lock()
            self._start(place(self.directory, self.binaries))
        except OSError as error:
            self.stop()
            raise LocalError(f"The database cannot use {self.directory}: {error}. Set DATA_DIR.") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server that this object started, if it did."""
        server, self._server = self._server, None
        try:
            if server is not None and server.poll() is None:
                stop_server(server.pid, lambda: server.poll() is not None)
        finally:
            self._lock.release()

    def destroy(self) -> None:
        """Stops it and deletes all that it has made, wherever it was put."""
        self.stop()
        if self.running:
            raise LocalError(f"The database in {self.directory} is in use. Stop the other program first.")
        home = home_of(self.directory)
        shutil.rmtree(home / "postgres", ignore_errors=True)
        remove_unfinished(home)
        for name in ("secrets.json", "location.json", "postgres.log", "postgres.log.1", "cluster.lock"):
            (self.directory / name).unlink(missing_ok=True)
        for folder in (home, self.directory):
            with contextlib.suppress(OSError):  # it holds something that is not ours
                folder.rmdir()

    @property
    def _secrets(self) -> Path:
        return self.directory / "secrets.json"

    def _take_lock(self) -> None:
        if not self._lock.acquire():
            raise LocalError(
                f"The database in {self.directory} is already running on port {self.port}: another "
                "`make run`? Stop that one first, or set DATA_DIR for a database of its own."
            )

    def _start(self, place: Place) -> None:
        self._end_left_over()
        self._initialise(place)
        forget_reused_pid(self.data)
        self._turn_log_over()
        self._server = start_server(self._command(place), self.log, place.account)
        if not wait_until_ready(self._server, self.data):
            raise LocalError(f"Postgres did not start. The end of {self.log}:\n{_tail(self.log)}")

    def _end_left_over(self) -> None:
        """Nobody held the lock, so a server on our data has outlived a program that was killed."""
        server = running_server(self.data)
        if server is not None:
            stop_server(server.pid, lambda: running_server(self.data) is None)

    def _initialise(self, place: Place) -> None:
        if not self.data.exists():
            passwords = {role: secrets.token_urlsafe(24) for role in _LOGIN_ROLES}
            write_private_json(self._secrets, passwords)
            initialise(place, _SUPERUSER, passwords[_SUPERUSER], durable=self._durable)
        check_version(place)
        if not self._secrets.exists():
            raise LocalError(f"{self._secrets} is missing. Restore it, or choose another DATA_DIR.")

    def _turn_log_over(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > _MAX_LOG_BYTES:
                self.log.replace(self.log.with_name("postgres.log.1"))

    def _command(self, place: Place) -> list[str | Path]:
        port = self._wanted_port or free_port()
        require_free(port)
        options = {**_OPTIONS, "port": str(port), **({} if self._durable else _NOT_DURABLE)}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [place.binaries / "postgres", "-D", self.data, *settings]


def foreign_server(port: int) -> ForeignServerError:
    return ForeignServerError(
        f"The server on port {port} is not the embedded one of this DATA_DIR; nothing was done to it. "
        "Start the embedded one (make run), or set DATABASE_PORT to a port of its own."
    )


def _tail(log: Path, lines: int = 10) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
