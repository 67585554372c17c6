"""Programs that the benchmark starts and, whatever happens, ends; and what they cost."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError

_START_SECONDS = 60
_STOP_SECONDS = 10
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@contextmanager
def running(
    command: Sequence[str | Path], *, port: int, log: Path, cwd: Path, environment: Mapping[str, str]
) -> Iterator[int]:
    """A server that listens on the port, as its process id."""
    with log.open("wb") as output:
        # A session of its own: Ctrl-C in the terminal is for the benchmark, which then ends the server.
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_until_it_listens(process, port, log)
        yield process.pid
    finally:
        _end(process)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    end = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    raise BenchError(f"A server did not start. The end of {log}:\n{end}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end_what_is_left() -> None:
    """Ends whatever this process has started and an interruption at a bad moment has left running."""
    for pid in _tree(os.getpid())[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_ns(root: int) -> int:
    """Scheduler time of a process, of those below it, and of the ones among them that have ended."""
    return sum(_own_cpu_ns(pid) + _ended_cpu_ns(pid) for pid in _tree(root))


@contextmanager
def children_for_a_while(pid: int) -> Iterator[None]:
    """Waits at its end for the processes that came meanwhile to go: then their CPU time is known, as their parent's."""
    before = set(_tree(pid))
    yield
    deadline = time.monotonic() + _STOP_SECONDS
    while not before.issuperset(_tree(pid)) and time.monotonic() < deadline:
        time.sleep(0.01)


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise BenchError(f"Process {pid} has ended.")


def _own_cpu_ns(pid: int) -> int:
    """The sum of schedstat over the threads, also over those that are gone: the CPU clock of the process."""
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)  # what clock_getcpuclockid() makes of a process id
    except OSError:  # it has just ended
        return 0


def _ended_cpu_ns(pid: int) -> int:
    """CPU of children that have ended and been waited for; known in ticks of ten milliseconds only."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[13]) + int(fields[14])) * _TICK_NS


def _tree(root: int) -> list[int]:
    found = [root]
    for pid in found:
        with contextlib.suppress(OSError):  # it has just ended
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, task.read_text().split())
    return found


class Neighbours:
    """What other programs take of the machine meanwhile: it is in every figure."""

    def __init__(self, roots: Sequence[int]) -> None:
        self._roots = roots
        self._began = time.monotonic()
        self._busy, self._own = _busy_ns(), self._own_ns()

    @property
    def share(self) -> float:
        """Of all cores, since this object was made."""
        capacity = (time.monotonic() - self._began) * 1e9 * (os.cpu_count() or 1)
        return max(0.0, (_busy_ns() - self._busy - (self._own_ns() - self._own)) / capacity)

    def _own_ns(self) -> int:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        waited_for = int((children.ru_utime + children.ru_stime) * 1e9)
        return time.process_time_ns() + waited_for + sum(map(cpu_ns, self._roots))


def _busy_ns() -> int:
    user, nice, system, _, _, interrupts, soft, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + interrupts + soft) * _TICK_NS
