"""Work that nobody is waiting for: found when it is due, queued once, done in small steps, tried again on failure."""

from jobs.worker._install import install
from jobs.worker._loop import Worker, WorkerError, run

__all__ = ["Worker", "WorkerError", "install", "run"]
