"""Offers to change the protocol that nobody takes, as HTTP/2's over plain connections, which Java's client makes.

llhttp takes what follows the head of such a request for the other protocol: the body would be lost, or be read as the
next request. So the request is read again without the offer.
"""

from collections.abc import Callable, Iterable
from typing import Any

import httptools


class Parser:
    """llhttp for one connection; `offered` gives the head of the request at hand when its offer is ignored, or None."""

    def __init__(self, protocol: Any, offered: Callable[[], bytes | None]) -> None:
        self._protocol = protocol
        self._offered = offered
        self._renew()

    def _renew(self) -> None:
        self._parser = httptools.HttpRequestParser(self._protocol)
        # As uvicorn does, so that it can answer a request behind which others stand.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.get_http_version = self._parser.get_http_version
        self.get_method = self._parser.get_method
        self.should_keep_alive = self._parser.should_keep_alive
        self.should_upgrade = self._parser.should_upgrade

    def feed_data(self, data: bytes) -> None:
        """Raises what llhttp raises; HttpParserUpgrade only for an offer that is taken."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            head = self._offered()
            if head is None:
                raise
            rest = data[upgrade.args[0] :]
            self._renew()
            self.feed_data(head + rest)


def head_without_offer(
    method: bytes, target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """The head of a request once more, without what offers to change the protocol."""
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    for name, value in headers:
        if name == b"connection":
            kept = [token for token in value.split(b",") if token.strip().lower() != b"upgrade"]
            value = b",".join(kept)
        if name != b"upgrade" and (value or name != b"connection"):
            lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"", b""])
