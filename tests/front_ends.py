"""Front ends: the libraries that they take for subscriptions, each in a process of its own."""

import asyncio
import json
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.npm_packages import installed

_SOURCE = Path(__file__).parent / "live_clients"
# Libraries wait for some seconds before they connect again.
_PATIENCE = 15.0


@dataclass
class FrontEnd:
    """What it is told and what it tells; see client.mjs."""

    _process: Process
    _input: asyncio.StreamWriter
    _output: asyncio.StreamReader

    async def ask(self, name: str, query: str, **variables: Any) -> None:
        await self._say(ask=name, query=query, variables=variables)

    async def stop(self, name: str) -> None:
        await self._say(stop=name)

    async def hear(self) -> Any:
        line = await asyncio.wait_for(self._output.readline(), _PATIENCE)
        assert line, "the client has ended"
        return json.loads(line)

    async def sleep(self, seconds: float) -> None:
        """As in a laptop that is closed and opened again."""
        self._process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    async def _say(self, **message: Any) -> None:
        self._input.write(json.dumps(message).encode() + b"\n")
        await self._input.drain()


@asynccontextmanager
async def front_end(library: str, address: str, *tokens: str) -> AsyncIterator[FrontEnd]:
    """Each connection has the next of the tokens, and the last one for good. Raises PackagesMissingError."""
    program = await asyncio.to_thread(installed, _SOURCE) / "client.mjs"
    process = await asyncio.create_subprocess_exec(
        "node", program, library, address, *tokens, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield FrontEnd(process, process.stdin, process.stdout)
    finally:
        process.stdin.close()
        await process.wait()
