"""Event streams: graphql-sse's distinct connections, and how they end."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests import cast
from tests.api import Api
from tests.cast import LEARNER, Character
from tests.course_documents import block
from tests.databases import Database, cloned
from tests.live_servers import live_server, talking, token
from tests.people import Person
from tests.progressing import enroll, event, offer, record, teach
from tests.watching import ENROLLMENTS, PROGRESS

# What goes over the wire is the same whichever Postgres is behind it.
pytestmark = pytest.mark.any_postgres

VIEWER = "{ viewer { displayName } }"


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    with cloned(template) as database:
        yield database


@pytest.fixture(scope="module")
def address(database: Database) -> Iterator[str]:
    with live_server(database) as address:
        yield address


class Stream:
    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def event(self) -> tuple[str, Any]:
        """The next one's name and data."""
        name = ""
        async for line in self._lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data:") and name:
                text = line.removeprefix("data:").strip()
                return name, json.loads(text) if text else None
        return "end", None


@asynccontextmanager
async def stream(
    address: str,
    person: Character | None,
    query: str,
    *,
    method: str = "POST",
    seconds: float = 600,
    **variables: Any,
) -> AsyncIterator[Stream]:
    asked = {"query": query, "variables": variables}
    headers = {"Accept": "text/event-stream"}
    if person is not None:
        headers["Authorization"] = f"Bearer {token(person, seconds=seconds)}"
    by_url = {"params": {**asked, "variables": json.dumps(variables)}} if method == "GET" else {"json": asked}
    async with (
        httpx.AsyncClient(timeout=10) as client,
        client.stream(method, f"http://{address}/graphql", headers=headers, **by_url) as response,  # type: ignore[arg-type]
    ):
        yield Stream(response)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_what_is_watched_comes_as_it_changes(
    address: str, as_admin: Person, as_learner: Person, api: Api, method: str
) -> None:
    base = 10 if method == "POST" else 20
    program = await offer(api, as_admin, await teach(api, as_admin, block(base), block(base + 1)))
    await enroll(api, as_learner, program)
    async with stream(address, LEARNER, PROGRESS, method=method, program=program) as told:
        headers = told.response.headers
        first = await told.event()
        await record(api, as_learner, event(base))
        second = await told.event()

    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert (first[0], second[0]) == ("next", "next")
    assert first[1]["data"]["progress"]["percent"] < second[1]["data"]["progress"]["percent"]


async def test_a_query_is_answered_once(address: str) -> None:
    async with stream(address, LEARNER, VIEWER) as told:
        answer, complete, end = await told.event(), await told.event(), await told.event()

    assert answer == ("next", {"data": {"viewer": {"displayName": "Lena"}}})
    assert (complete, end) == (("complete", None), ("end", None))


@pytest.mark.parametrize(
    ("person", "query", "code"),
    [
        (None, ENROLLMENTS, "UNAUTHENTICATED"),
        (LEARNER, "subscription { nothing }", "BAD_USER_INPUT"),
        (
            LEARNER,
            f'subscription {{ progress(programId: "{cast.OTHER_PUBLISHED}") {{ percent }} }}',
            "NOT_FOUND",
        ),
    ],
)
async def test_what_cannot_be_watched_is_told_and_ends(
    address: str, person: Character | None, query: str, code: str
) -> None:
    async with stream(address, person, query) as told:
        error, complete, end = await told.event(), await told.event(), await told.event()

    assert error[1]["errors"][0]["extensions"]["code"] == code
    assert (complete[0], end[0]) == ("complete", "end")


async def test_it_does_not_outlive_its_token(address: str) -> None:
    async with stream(address, LEARNER, ENROLLMENTS, seconds=2) as told:
        error, complete = await told.event(), await told.event()

    assert error[1]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert complete[0] == "complete"


async def test_one_person_has_so_many(address: str) -> None:
    several = [stream(address, cast.TRAVELLER, ENROLLMENTS) for _ in range(6)]
    told = [await one.__aenter__() for one in several]
    sixth = await told[5].event()
    for one in several:
        await one.__aexit__(None, None, None)

    assert sixth[1]["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_a_plain_request_for_a_subscription_says_what_to_do(address: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            f"http://{address}/graphql",
            json={"query": ENROLLMENTS},
            headers={"Authorization": f"Bearer {token(LEARNER)}"},
        )

    assert "WebSocket" in answer.json()["errors"][0]["message"]


async def test_open_streams_and_sockets_do_not_hold_up_the_end(template: Database) -> None:
    with cloned(template) as database:
        async with asyncio.timeout(20):
            server = live_server(database)
            address = await asyncio.to_thread(server.__enter__)
            async with (
                stream(address, LEARNER, ENROLLMENTS) as told,
                talking(address) as talk,
            ):
                await talk.begin(LEARNER)
                await talk.ask("a", ENROLLMENTS)
                await asyncio.sleep(0.2)
                begun = time.monotonic()
                await asyncio.to_thread(server.__exit__, None, None, None)
                took = time.monotonic() - begun
                with pytest.raises(httpx.RemoteProtocolError):
                    await told.event()
                closed = await talk.end()

    assert took < 4
    assert closed[0] in (1001, 1012)
