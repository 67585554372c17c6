"""Subscriptions as front ends have them: with graphql-ws and graphql-sse, the libraries from npm."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests import cast
from tests.api import Api
from tests.cast import LEARNER
from tests.course_documents import block
from tests.databases import Database
from tests.front_ends import FrontEnd, front_end
from tests.live_servers import live_server, token
from tests.npm_packages import PackagesMissingError
from tests.people import Person
from tests.progressing import RECORD, enroll, event, offer, record, teach
from tests.watching import PROGRESS

# What goes over the wire is the same whichever Postgres is behind it.
pytestmark = pytest.mark.any_postgres

LIBRARIES = ("graphql-ws", "graphql-sse")
VIEWER = "{ viewer { displayName } }"
NOTHING = {"status": "NOT_STARTED", "percent": 0, "courses": [{"percent": 0}]}
HALF = {"status": "IN_PROGRESS", "percent": 50, "courses": [{"percent": 50}]}


@pytest.fixture
def address(database: Database) -> Iterator[str]:
    with live_server(database, ping_seconds=1) as address:
        yield address


class Opens(Protocol):
    def __call__(self, library: str, *tokens: str) -> AbstractAsyncContextManager[FrontEnd]: ...


@pytest.fixture
def opens(address: str) -> Opens:
    @asynccontextmanager
    async def opened(library: str, *tokens: str) -> AsyncIterator[FrontEnd]:
        try:
            async with front_end(library, address, *tokens or [token(LEARNER)]) as client:
                yield client
        except PackagesMissingError as error:
            pytest.skip(str(error))

    return opened


@pytest.fixture
async def program(api: Api, as_admin: Person, as_learner: Person) -> str:
    program = await offer(api, as_admin, await teach(api, as_admin, block(1), block(2)))
    await enroll(api, as_learner, program)
    return program


@pytest.mark.parametrize("library", LIBRARIES)
async def test_progress_is_watched_until_it_is_stopped(
    opens: Opens, api: Api, as_learner: Person, program: str, library: str
) -> None:
    async with opens(library) as client:
        await client.ask("a", PROGRESS, program=program)
        first = await client.hear()
        await record(api, as_learner, event(1))
        second = await client.hear()
        await client.stop("a")
        stopped = await client.hear()
        await record(api, as_learner, event(2))
        await client.ask("b", VIEWER)
        after = await client.hear()

    assert first == {"a": {"data": {"progress": NOTHING}}}
    assert second == {"a": {"data": {"progress": HALF}}}
    assert stopped == {"a": "complete"}
    assert after == {"b": {"data": {"viewer": {"displayName": "Lena"}}}}


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("library", LIBRARIES)
async def test_queries_and_mutations_go_the_same_way(opens: Opens, library: str) -> None:
    done = event(1)
    async with opens(library) as client:
        await client.ask("a", VIEWER)
        asked = [await client.hear(), await client.hear()]
        await client.ask("b", RECORD, events=[done])
        recorded = [await client.hear(), await client.hear()]

    assert asked == [{"a": {"data": {"viewer": {"displayName": "Lena"}}}}, {"a": "complete"}]
    (result,) = recorded[0]["b"]["data"]["recordProgress"]["results"]
    assert result == {"eventId": done["eventId"], "status": "ACCEPTED", "reason": None}
    assert recorded[1] == {"b": "complete"}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { nothing }", "BAD_USER_INPUT"),
        (f'subscription {{ progress(programId: "{cast.OTHER_PUBLISHED}") {{ percent }} }}', "NOT_FOUND"),
    ],
)
async def test_what_cannot_be_watched_is_an_error_and_the_next_goes_on(
    opens: Opens, library: str, query: str, code: str
) -> None:
    async with opens(library) as client:
        await client.ask("a", query)
        told = (await client.hear())["a"]
        if library == "graphql-sse":
            assert await client.hear() == {"a": "complete"}
        await client.ask("b", VIEWER)
        after = await client.hear()

    (error,) = told["error"] if library == "graphql-ws" else told["errors"]
    assert error["extensions"]["code"] == code
    assert after == {"b": {"data": {"viewer": {"displayName": "Lena"}}}}


async def test_a_socket_whose_token_expired_is_opened_again_with_the_next(
    opens: Opens, api: Api, as_learner: Person, program: str
) -> None:
    async with opens("graphql-ws", token(LEARNER, seconds=2), token(LEARNER)) as client:
        await client.ask("a", PROGRESS, program=program)
        before = await client.hear()
        closed = await client.hear()
        await record(api, as_learner, event(1))  # while nobody listens
        again = await client.hear()
        await client.stop("a")
        stopped = await client.hear()

    assert before == {"a": {"data": {"progress": NOTHING}}}
    assert closed == {"closed": 4403, "reason": "The access token has expired"}
    assert again == {"a": {"data": {"progress": HALF}}}
    assert stopped == {"a": "complete"}


async def test_a_client_that_was_asleep_goes_on(
    opens: Opens, api: Api, as_learner: Person, program: str
) -> None:
    async with opens("graphql-ws") as client:
        await client.ask("a", PROGRESS, program=program)
        before = await client.hear()
        await client.sleep(3)
        closed = await client.hear()
        await record(api, as_learner, event(1))
        after = await client.hear()

    assert before == {"a": {"data": {"progress": NOTHING}}}
    assert closed["closed"] == 1006
    assert after == {"a": {"data": {"progress": HALF}}}


async def test_a_stream_whose_token_expired_says_so_and_ends(opens: Opens, program: str) -> None:
    async with opens("graphql-sse", token(LEARNER, seconds=2), token(LEARNER)) as client:
        await client.ask("a", PROGRESS, program=program)
        told = [await client.hear() for _ in range(3)]
        await client.ask("b", PROGRESS, program=program)
        again = await client.hear()

    assert told[0] == {"a": {"data": {"progress": NOTHING}}}
    assert told[1]["a"]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert told[2] == {"a": "complete"}
    assert again == {"b": {"data": {"progress": NOTHING}}}


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_bad_token_is_tried_again_with_the_next(opens: Opens, library: str) -> None:
    async with opens(library, "bad", token(LEARNER)) as client:
        await client.ask("a", VIEWER)
        if library == "graphql-ws":
            assert (await client.hear())["closed"] == 4403
        answer = await client.hear()

    assert answer == {"a": {"data": {"viewer": {"displayName": "Lena"}}}}


def test_their_lock_names_no_registry() -> None:
    lock = Path(__file__).parent / "live_clients" / "package-lock.json"

    assert "://" not in lock.read_text()
