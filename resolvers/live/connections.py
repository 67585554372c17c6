"""uvicorn's WebSocket, but for how it ends with a client that does not answer."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class SocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    def keepalive_timeout(self) -> None:
        # Not with uvicorn's close code 1011: a laptop that wakes up would read it, and client libraries take it for a
        # fault of the server and do not connect again. And a close would wait for the client to read what there is.
        self.transport.abort()
