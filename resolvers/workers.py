"""Several server processes behind one address, which end as promptly as one does."""

import signal
import sys
import time
from typing import ClassVar

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

_ASK_SECONDS = 0.1


class _Process(multiprocess.Process):
    # The signals that have come and are not yet obeyed.
    signals: ClassVar[list[int]] = []

    def start(self) -> None:
        """Ctrl-C goes to all processes of a terminal. One that is still starting leaves it to its parent."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            super().start()
        finally:
            signal.signal(signal.SIGINT, before)

    def _healthcheck(self, timeout: float) -> bool | None:
        """A process that has died does not answer: uvicorn would wait for it all the same."""
        try:
            self.parent_conn.send(b"ping")
            deadline = time.monotonic() + timeout
            while self.process.is_alive() and not self.signals and time.monotonic() < deadline:
                if self.parent_conn.poll(_ASK_SECONDS):
                    started: bool = self.parent_conn.recv()
                    return started
        except (OSError, EOFError):
            pass
        return False if self.signals else None


class _Workers(multiprocess.Multiprocess):
    def init_processes(self) -> None:
        _Process.signals = self.signal_queue
        super().init_processes()

    def keep_subprocess_alive(self) -> None:
        if not self.signal_queue:
            super().keep_subprocess_alive()

    def terminate_all(self) -> None:
        # The parent's own hold on the address would keep it open for connections that nobody takes.
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


def run(config: uvicorn.Config) -> None:
    """Serves until it is told to stop. Exits when the server cannot start."""
    if config.workers > 1:
        multiprocess.Process = _Process  # type: ignore[misc]
        _Workers(config, sockets=[config.bind_socket()]).run()
        return
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)
