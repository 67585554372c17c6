"""A file that one process holds at a time, until it ends, however it ends."""

import fcntl
from pathlib import Path
from typing import IO


class ProcessLock:
    """The kernel releases it with the process: what a holder left running has no holder any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self) -> bool:
        file = self._path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
