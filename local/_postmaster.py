"""One Postgres server process: what its pid file says, how it is started, awaited and stopped."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from local._account import Account
from local._binaries import run
from local.errors import LocalError

HOST = "127.0.0.1"

_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class PidFile:
    pid: int
    port: int | None = None
    ready: bool = False


def read_pid_file(data: Path) -> PidFile | None:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid = int(lines[0])
    except (OSError, ValueError, IndexError):  # absent, or just being written
        return None
    port = int(lines[3]) if len(lines) > 3 and lines[3].isdigit() else None
    return PidFile(pid, port, ready=len(lines) > 7 and lines[7].strip() == "ready")


def running_server(data: Path) -> PidFile | None:
    """The server that runs on this data folder; None also when its pid has passed to another program."""
    file = read_pid_file(data)
    return file if file is not None and f" {data} " in _command_line(file.pid) else None


def forget_reused_pid(data: Path) -> None:
    """After a reboot the old pid may be another program's, which Postgres itself would take for a server."""
    file = read_pid_file(data)
    if file is not None and _exists(file.pid) and "postgres" not in _command_line(file.pid):
        (data / "postmaster.pid").unlink()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        if Path("/proc/self/cmdline").exists():
            return ""
    # No /proc, as on macOS.
    return run(["ps", "-ww", "-o", "args=", "-p", str(pid)]).stdout.replace("\n", " ")


def start_server(command: Sequence[str | Path], log: Path, account: Account) -> subprocess.Popen[bytes]:
    log.touch(mode=0o600)
    with log.open("ab") as output:
        # A session of its own: Ctrl-C in the terminal is for the program, which then stops the server.
        return subprocess.Popen(  # noqa: S603 (our own command)
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **account.process_options,
        )


def wait_until_ready(server: subprocess.Popen[bytes], data: Path, timeout: float = 60) -> bool:
    """True when it answers; false when it ended instead."""

    def settled() -> bool:
        file = read_pid_file(data)
        return server.poll() is not None or (file is not None and file.pid == server.pid and file.ready)

    if not _wait(settled, timeout):
        stop_server(server.pid, lambda: server.poll() is not None)
        raise LocalError(f"Postgres was not ready within {timeout:.0f} seconds.")
    return server.poll() is None


def stop_server(pid: int, ended: Callable[[], bool], timeout: float = 20) -> None:
    """Fast shutdown, and if that takes too long an immediate one, which the next start recovers from."""
    for how, patience in ((signal.SIGINT, timeout), (signal.SIGQUIT, 10.0)):
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            return
        if _wait(ended, patience):
            return
    raise LocalError(f"Postgres (process {pid}) does not stop. End it by hand: kill -QUIT {pid}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise LocalError(
                f"The database cannot listen on port {port} ({error.strerror}): probably another server "
                "does. Set DATABASE_PORT to another port, or to 0 for any free one."
            ) from None


def _wait(happened: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
