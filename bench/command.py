"""What the benchmarks' commands have in common: one at a time, stopped in order, errors in one line."""

import fcntl
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from bench.errors import BenchError
from bench.processes import end_what_is_left
from local.errors import LocalError

FOLDER = Path(__file__).parent.parent / ".bench"

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def carry_out(work: Callable[[], None]) -> None:
    """Does the work in the benchmarks' folder, and leaves nothing running however it ends."""
    for number in _STOPS:
        signal.signal(number, _stop)
    try:
        FOLDER.mkdir(exist_ok=True)
        FOLDER.chmod(0o755)  # Postgres's own account passes through
        with _alone(FOLDER / "lock"):
            work()
    except (BenchError, LocalError) as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("Stopped.") from None
    finally:
        end_what_is_left()


def whole(text: str) -> int:
    """An argument: a whole number from 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def positive(text: str) -> float:
    """An argument: a number over 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def say(text: str) -> None:
    print(text, flush=True)


def _stop(*_: object) -> NoReturn:
    """The first Ctrl-C ends everything in order; a second one must not get in the way of that."""
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two at a time would measure each other. The kernel unlocks the file when the process ends, however it ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(
                "Another benchmark is running in this checkout. Wait for it, or stop it."
            ) from None
        yield
