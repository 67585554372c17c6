"""The body of a request: within its size and its time, and only while the client is there."""

from contextlib import suppress

from starlette.types import Receive, Send

from resolvers.client_presence import ClientLeftError
from resolvers.http_response import HttpError, Response
from resolvers.timers import Timers, Within


class Bodies:
    """Reads bodies under one server's limits, and answers what came with them."""

    def __init__(self, max_bytes: int, timeout_seconds: float) -> None:
        self._max_bytes = max_bytes
        self._timers = Timers(timeout_seconds)

    async def read(self, headers: dict[bytes, list[bytes]], receive: Receive) -> bytearray:
        declared = headers.get(b"content-length", [b""])[0]
        if declared.isdigit() and int(declared[:18]) > self._max_bytes:
            raise self._too_large()
        try:
            with Within(self._timers):
                return await self._read(receive)
        except TimeoutError:
            message = f"The body did not arrive within {self._timers.seconds:g} seconds. Send it at once."
            raise HttpError(408, message, code="TIMEOUT", headers=((b"connection", b"close"),)) from None

    async def _read(self, receive: Receive) -> bytearray:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return body

    async def answer(self, response: Response, request_id: str, receive: Receive, send: Send) -> None:
        too_large = response.status == 413
        await send(response.start(request_id))
        await send({"type": "http.response.body", "body": response.body, "more_body": too_large})
        if too_large:
            # Ending before would reset a connection that the client still writes to: it might lose the answer.
            await self._discard(receive)
            await send({"type": "http.response.body"})

    async def _discard(self, receive: Receive) -> None:
        with suppress(TimeoutError), Within(self._timers):
            while (await receive()).get("more_body"):
                pass

    def _too_large(self) -> HttpError:
        message = f"The body is larger than {self._max_bytes} bytes (MAX_BODY_BYTES). Send less at once."
        return HttpError(413, message, code="LIMIT_EXCEEDED")
