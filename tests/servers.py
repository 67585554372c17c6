"""The real server as a process of its own, started as a user starts it."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from local.cluster import Cluster

ROOT = Path(__file__).parent.parent


@dataclass
class Server:
    """A running `cli.py serve` with an embedded database of its own in `data_dir`."""

    process: subprocess.Popen[str]
    url: str
    data_dir: Path

    def stop(self, with_signal: signal.Signals = signal.SIGINT) -> str:
        """Stops it as Ctrl-C does, to the whole group at once, and gives what it printed."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, with_signal)
        output, _ = self.process.communicate(timeout=30)
        return output


@contextmanager
def own_data_dir() -> Iterator[Path]:
    """A DATA_DIR that is gone without a trace at the end, wherever root had to put the database."""
    directory = Path(tempfile.gettempdir(), f"gym-server-{secrets.token_hex(6)}")
    try:
        yield directory
    finally:
        Cluster(directory).destroy()
        shutil.rmtree(directory, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(data_dir: Path, port: int | None = None, **environment: str) -> Iterator[Server]:
    """Starts the server and waits until it is ready."""
    port = port or free_port()
    process = subprocess.Popen(
        [sys.executable, "cli.py", "serve"],
        cwd=ROOT,
        env=os.environ
        | {"PORT": str(port), "DATABASE_PORT": str(free_port()), "DATA_DIR": str(data_dir)}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    server = Server(process, f"http://127.0.0.1:{port}", data_dir)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        server.stop()


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise AssertionError(f"the server ended:\n{server.process.communicate()[0]}")
        try:
            if httpx.get(f"{server.url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server did not become ready")
