"""Load on a real server, by people of two communities whose answers prove whose they are."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import jwt

from tests import cast
from tests.cast import Character
from tests.databases import Database
from tests.people import signed_in
from tests.signing import ISSUER, SECRET

EVERYBODY = (
    *(cast.ADMIN, cast.LEARNER, cast.PEER),
    *(cast.OTHER_ADMIN, cast.OTHER_LEARNER, cast.OTHER_PEER),
)
COMMUNITIES = {
    **{str(program): cast.ALPHA for program in (cast.DRAFT, cast.PUBLISHED, cast.OPEN_TO_ALL)},
    **{str(program): cast.ALPHA for program in (cast.ARCHIVED, cast.ARCHIVED_UNSEEN)},
    **{str(program): cast.ALPHA for program in (cast.UNFINISHED, cast.RENEWED)},
    **{str(program): cast.BETA for program in (cast.OTHER_DRAFT, cast.OTHER_PUBLISHED)},
}
# Who asks this, and where; and what only that community has.
WHOSE = "{ viewer { id community { id } } programs(first: 3) { nodes { id } } }"
# Stands behind nobody's lock on programs.
WHO = "{ viewer { id community { id } } }"
PROGRAMS = "{ programs(first: 3) { nodes { id } } }"


@dataclass(frozen=True)
class Reply:
    """One answer, and how long it took; status 0: the connection ended without one."""

    status: int
    head: bytes
    body: Any
    seconds: float

    @property
    def code(self) -> str | None:
        """Of the one error, if there is one."""
        if not self.status or "errors" not in self.body:
            return None
        (error,) = self.body["errors"]
        return str(error["extensions"]["code"])

    @property
    def message(self) -> str:
        return str(self.body["errors"][0]["message"])

    @property
    def is_refusal_for_now(self) -> bool:
        return self.status == 503 and self.code == "UNAVAILABLE" and b"retry-after: " in self.head


class Asker:
    """One person on one connection at a time."""

    def __init__(self, url: str, database: Database, person: Character) -> None:
        self.person = person
        self._port = urlsplit(url).port
        claims = {**signed_in(database, person).claims, "iss": ISSUER}
        self._head = (
            "POST /graphql HTTP/1.1\r\nHost: server\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {jwt.encode(claims, SECRET, 'HS256')}\r\n"
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, query: str, **variables: str) -> Reply:
        began = time.monotonic()
        try:
            reader, _ = await self.send(query, **variables)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r")[0]))
        except (OSError, asyncio.IncompleteReadError):
            self.leave()
            return Reply(0, b"", None, time.monotonic() - began)
        if b"connection: close" in head:
            self.leave()
        return Reply(int(head[9:12]), head, json.loads(body), time.monotonic() - began)

    async def send(self, query: str, **variables: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Only asks."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        body = json.dumps({"query": query, "variables": variables}).encode()
        self._streams[1].write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return self._streams

    def leave(self) -> None:
        """Without a word."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


def is_about(person: Character, reply: Reply) -> bool:
    """Whether an answer is this person's, in this person's community."""
    data, community = reply.body["data"], person.community
    seen = {COMMUNITIES.get(node["id"]) for node in data.get("programs", {}).get("nodes", [])}
    expected = {community} if "programs" in data else set()
    return seen == expected and data["viewer"] == {"id": str(person.id), "community": {"id": str(community)}}


@dataclass
class Load:
    """What came of many asking over and over."""

    replies: list[tuple[Character, Reply]] = field(default_factory=list)
    stopped: bool = False

    def outcomes(self) -> Counter[str]:
        return Counter(self._outcome(person, reply) for person, reply in self.replies)

    def _outcome(self, person: Character, reply: Reply) -> str:
        if not reply.status:
            return "no answer"
        if reply.code is not None:
            return "refused for now" if reply.is_refusal_for_now else reply.code
        return "right" if is_about(person, reply) else "WRONG"

    async def keep_asking(self, asker: Asker, query: str) -> None:
        while not self.stopped:
            reply = await asker.ask(query)
            self.replies.append((asker.person, reply))
            if reply.status != 200:
                await asyncio.sleep(0.05)
        asker.leave()


@asynccontextmanager
async def load(
    url: str,
    database: Database,
    *,
    clients: int = 12,
    query: str = WHOSE,
    people: Sequence[Character] = EVERYBODY,
) -> AsyncIterator[Load]:
    """Many asking over and over, for as long as the block takes; each has its last answer before it ends."""
    running = Load()
    askers = [Asker(url, database, people[n % len(people)]) for n in range(clients)]
    tasks = [asyncio.create_task(running.keep_asking(asker, query)) for asker in askers]
    try:
        yield running
    finally:
        running.stopped = True
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)
