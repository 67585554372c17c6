"""Clients of subscriptions, many in one process: bare sockets and epoll, which note when something arrives.

They share the machine with what they measure, so they parse no more than whether a message came.
"""

import json
import os
import pickle
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

from bench.errors import BenchError

_PATIENCE_SECONDS = 120
_BUFFER_BYTES = 1 << 16


@dataclass(frozen=True)
class Client:
    """Whom a connection is for, and what it watches."""

    token: str
    query: str
    variables: dict[str, Any]


@dataclass(frozen=True)
class Watch:
    """The clients of one process."""

    port: int
    clients: Sequence[Client]
    by_stream: bool = False


class Watchers:
    """A process of clients: all have their first answer when this is made."""

    def __init__(self, watch: Watch) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.watchers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._send(watch)
        self._hear()

    def arrivals(self, wanted: int, seconds: float = 10.0) -> list[tuple[int, int]]:
        """What has come since the last time: the client's place and the moment, when there are so many, or in time."""
        self._send((wanted, seconds))
        return [(place, moment) for place, moment in self._hear()]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _send(self, message: object) -> None:
        pickle.dump(message, _pipe(self._process.stdin))
        _pipe(self._process.stdin).flush()

    def _hear(self) -> Any:
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise BenchError("The clients of subscriptions failed; the lines above say why.")
        return json.loads(line)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise TypeError("the process has no such pipe")
    return pipe


class _Clients:
    def __init__(self, watch: Watch) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, tuple[int, socket.socket]] = {}
        self._came: list[tuple[int, int]] = []
        begin = _begin_stream if watch.by_stream else _begin_socket
        for place, client in enumerate(watch.clients):
            connection = begin(watch.port, client)
            connection.setblocking(False)
            self._sockets[connection.fileno()] = place, connection
            self._poll.register(connection, select.EPOLLIN)

    def arrivals(self, wanted: int, seconds: float) -> list[tuple[int, int]]:
        deadline = time.monotonic() + seconds
        while len(self._came) < wanted and (left := deadline - time.monotonic()) > 0:
            for number, _ in self._poll.poll(left, 4096):
                place, connection = self._sockets[number]
                data = connection.recv(_BUFFER_BYTES)
                if not data:
                    raise BenchError(f"The server closed the connection of client {place}.")
                if b'"data"' in data:
                    self._came.append((place, time.monotonic_ns()))
        came, self._came = self._came, []
        return came


def _begin_socket(port: int, client: Client) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
    connection.sendall(
        b"GET /graphql HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
    )
    _until(connection, b"\r\n\r\n")
    connection.sendall(
        _frame({"type": "connection_init", "payload": {"Authorization": f"Bearer {client.token}"}})
    )
    _until(connection, b"connection_ack")
    asked = {"query": client.query, "variables": client.variables}
    connection.sendall(_frame({"type": "subscribe", "id": "1", "payload": asked}))
    _until(connection, b'"data"')
    return connection


def _begin_stream(port: int, client: Client) -> socket.socket:
    body = json.dumps({"query": client.query, "variables": client.variables}).encode()
    connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
    connection.sendall(
        b"POST /graphql HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (client.token.encode(), len(body), body)
    )
    _until(connection, b'"data"')
    return connection


def _frame(message: object) -> bytes:
    """A text frame of a client, masked with zeros: the same bytes."""
    text = json.dumps(message).encode()
    length = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return b"\x81" + length + b"\0\0\0\0" + text


def _until(connection: socket.socket, wanted: bytes) -> None:
    got = b""
    while wanted not in got:
        data = connection.recv(_BUFFER_BYTES)
        if not data or b'"errors"' in data or b'"error"' in data:
            raise BenchError(f"A subscription did not begin: {got + data!r}")
        got += data


def main() -> None:
    """Reads what to watch, and then how many arrivals to wait for, from its input; answers in lines."""
    try:
        clients = _Clients(pickle.load(sys.stdin.buffer))
        print(json.dumps("begun"), flush=True)
        while True:
            wanted, seconds = pickle.load(sys.stdin.buffer)
            print(json.dumps(clients.arrivals(wanted, seconds)), flush=True)
    except EOFError:
        os._exit(0)


if __name__ == "__main__":
    main()
