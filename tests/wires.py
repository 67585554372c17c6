"""A wire between the lanes and Postgres, that can be cut."""

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

# A close with this sends a reset instead of a farewell.
_AT_ONCE = struct.pack("ii", 1, 0)


class Wire:
    """Passes everything on, in threads: it works while an event loop does not."""

    def __init__(self, dsn: str) -> None:
        address = urlsplit(dsn)
        self._far_end = (address.hostname or "", address.port or 0)
        self._listening = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        self.dsn = address._replace(netloc=f"{address.netloc.rpartition(':')[0]}:{port}").geturl()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        self.cut()

    def cut(self, last_words: bytes = b"") -> None:
        """Ends all connections, at our end by a reset, which comes in together with the last words."""
        pairs, self._pairs = self._pairs, []
        for ours, theirs in pairs:
            with suppress(OSError):
                ours.sendall(last_words)
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            for end in (theirs, ours):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
                end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listening.accept()
                theirs = socket.create_connection(self._far_end)
                self._pairs.append((ours, theirs))
                for source, target in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
