"""The load generator, a process of its own: kept-alive connections, with epoll and bare sockets.

In a closed loop each connection sends its next request when it has the answer to the last. In an open one requests come
at a constant rate whether or not others are answered, and latency counts from the moment at which they were to come. It
shares the machine with what it measures, so it builds no objects and parses no more of an answer than it must; its own
CPU time is told with the result.
"""

import gc
import itertools
import json
import pickle
import re
import resource
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from bench.errors import BenchError

_OK = b"HTTP/1.1 200"
_BUSY = b"HTTP/1.1 503"
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_BUFFER_BYTES = 1 << 20
_PATIENCE_SECONDS = 30
_REST_NS = 1_000_000_000


@dataclass(frozen=True)
class Job:
    """What to send, in this order and then from the beginning again; until the time is over, or once through.

    With `rate` an open loop of so many requests a second, once through. Who is `patient` and is told that the server is
    busy sends the same again a second later; otherwise that is a failure as any other.
    """

    port: int
    requests: Sequence[bytes]
    connections: int
    seconds: float = float("inf")
    order: Sequence[int] | None = None
    once: bool = False
    rate: float | None = None
    patient: bool = False


@dataclass(frozen=True)
class Load:
    """What came of a job; `busy` is how often the server asked to come back."""

    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    own_cpu_us: float
    busy: int = 0

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def run(job: Job) -> Load:
    """The job in a process of its own, which ends with this one's interest in it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        answer, _ = process.communicate(pickle.dumps(job))
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise BenchError("The load generator failed; the lines above say why.")
    told = json.loads(answer)
    if "failure" in told:
        raise BenchError(f"A server failed under load: {told['failure']}")
    return Load(**told)


class _BusyError(ValueError):
    """The server asks to come back."""


class _Connection:
    """A socket, its request and when that left, and what has come of an answer that did not arrive in one piece."""

    __slots__ = ("part", "request", "sent_at", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.sent_at = 0
        self.request = b""
        self.part = b""


def _is_whole(answer: bytes | bytearray, length: int) -> bool:
    """Whether an answer is there to its end. Raises ValueError when it is none that counts."""
    if not answer.startswith(_OK):
        told = bytes(answer[: min(length, 500)]).decode(errors="replace")
        raise _BusyError(told) if answer.startswith(_BUSY) else ValueError(told)
    head = answer.find(b"\r\n\r\n", 0, length)
    if head < 0:
        return False
    stated = _LENGTH.search(answer, 0, head)
    whole = answer.endswith(_LAST_CHUNK, 0, length) if stated is None else head + 4 + int(stated[1]) <= length
    if whole and answer.find(b'"errors":', head, length) >= 0:
        raise ValueError(bytes(answer[head + 4 : min(length, head + 500)]).decode(errors="replace"))
    return whole


def _answered(connection: _Connection, buffer: bytearray) -> bool:
    """Reads what has come; whether the answer is there to its end."""
    length = connection.socket.recv_into(buffer)
    if length == 0:
        raise ValueError("it closed a connection")
    if connection.part:
        connection.part += buffer[:length]
        if not _is_whole(connection.part, len(connection.part)):
            return False
        connection.part = b""
    elif not _is_whole(buffer, length):
        connection.part = bytes(buffer[:length])
        return False
    return True


def _connect(job: Job) -> tuple[dict[int, _Connection], select.epoll]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    connections = {c.socket.fileno(): c for c in (_Connection(job.port) for _ in range(job.connections))}
    poller = select.epoll()
    for number in connections:
        poller.register(number, select.EPOLLIN)
    return connections, poller


def _drive(job: Job) -> Load:
    upcoming = _upcoming(job)
    connections, poller = _connect(job)
    buffer = bytearray(_BUFFER_BYTES)
    latencies: list[int] = []
    began, cpu_began = time.perf_counter_ns(), time.process_time_ns()
    deadline = began + job.seconds * 1e9
    waiting = busy = 0
    resting: deque[tuple[int, _Connection]] = deque()
    for connection in connections.values():
        waiting += _send(connection, next(upcoming, None))
    while waiting:
        patience = (resting[0][0] - time.perf_counter_ns()) / 1e9 if resting else _PATIENCE_SECONDS
        ready = poller.poll(max(0.0, patience))
        if not ready and not resting:
            raise ValueError(f"no answer for {_PATIENCE_SECONDS} seconds")
        while resting and resting[0][0] <= time.perf_counter_ns():
            _, connection = resting.popleft()
            connection.socket.send(connection.request)
        for number, _ in ready:
            connection = connections[number]
            try:
                if not _answered(connection, buffer):
                    continue
            except _BusyError:
                if not job.patient:
                    raise
                busy += 1
                resting.append((time.perf_counter_ns() + _REST_NS, connection))
                continue
            now = time.perf_counter_ns()
            latencies.append(now - connection.sent_at)
            waiting -= 1
            if now < deadline:
                waiting += _send(connection, next(upcoming, None))
    return _result(latencies, time.perf_counter_ns() - began, time.process_time_ns() - cpu_began, busy)


def _drive_at(rate: float, job: Job) -> Load:
    connections, poller = _connect(job)
    free = deque(connections.values())  # in turn: the server closes those that are idle
    buffer = bytearray(_BUFFER_BYTES)
    latencies: list[int] = []
    began, cpu_began = time.perf_counter_ns(), time.process_time_ns()
    schedule = ((began + int(number * 1e9 / rate), request) for number, request in enumerate(job.requests))
    upcoming = next(schedule, None)
    due: deque[tuple[int, bytes]] = deque()
    resting: deque[tuple[int, tuple[int, bytes]]] = deque()
    busy = 0
    while len(latencies) < len(job.requests):
        now = time.perf_counter_ns()
        while upcoming and upcoming[0] <= now:
            due.append(upcoming)
            upcoming = next(schedule, None)
        while resting and resting[0][0] <= now:
            due.append(resting.popleft()[1])
        while due and free:
            scheduled, request = due.popleft()
            connection = free.popleft()
            _send(connection, request)
            connection.sent_at = scheduled
        moments = [one[0] for one in (upcoming, resting[0] if resting else None) if one]
        patience = max(0.0, (min(moments) - time.perf_counter_ns()) / 1e9) if moments else _PATIENCE_SECONDS
        # Not the poller's own waiting, which is in whole milliseconds.
        ready, _, _ = select.select([poller], [], [], patience)
        if not ready and not moments:
            raise ValueError(f"no answer for {_PATIENCE_SECONDS} seconds")
        for number, _ in poller.poll(0) if ready else ():
            connection = connections[number]
            try:
                if not _answered(connection, buffer):
                    continue
                latencies.append(time.perf_counter_ns() - connection.sent_at)
            except _BusyError:
                if not job.patient:
                    raise
                busy += 1
                resting.append((time.perf_counter_ns() + _REST_NS, (connection.sent_at, connection.request)))
            free.append(connection)
    return _result(latencies, time.perf_counter_ns() - began, time.process_time_ns() - cpu_began, busy)


def _upcoming(job: Job) -> Iterator[bytes]:
    chosen = job.requests if job.order is None else [job.requests[number] for number in job.order]
    return iter(chosen) if job.once else itertools.cycle(chosen)


def _send(connection: _Connection, request: bytes | None) -> int:
    """Sends the next request if there is one; how many that were."""
    if request is None:
        return 0
    connection.request, connection.sent_at = request, time.perf_counter_ns()
    if connection.socket.send(request) != len(request):
        raise ValueError("it does not take requests any more")
    return 1


def _result(latencies: list[int], nanoseconds: int, cpu: int, busy: int = 0) -> Load:
    latencies.sort()
    count = len(latencies)
    return Load(
        requests=count,
        seconds=nanoseconds / 1e9,
        p50_ms=latencies[count // 2] / 1e6,
        p95_ms=latencies[count * 95 // 100] / 1e6,
        p99_ms=latencies[count * 99 // 100] / 1e6,
        own_cpu_us=cpu / 1000 / count,
        busy=busy,
    )


def main() -> None:
    job: Job = pickle.load(sys.stdin.buffer)
    gc.disable()
    try:
        told: dict[str, object] = dict(asdict(_drive(job) if job.rate is None else _drive_at(job.rate, job)))
    except (ValueError, OSError) as error:
        told = {"failure": str(error)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
