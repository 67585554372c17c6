"""WebSockets: the protocol graphql-transport-ws with its close codes, and the limits of a client."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import websockets

from tests import cast
from tests.api import Api
from tests.cast import LEARNER, PEER
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


async def test_what_is_watched_comes_as_it_changes(
    address: str, as_admin: Person, as_learner: Person, api: Api
) -> None:
    program = await offer(api, as_admin, await teach(api, as_admin, block(1), block(2)))
    await enroll(api, as_learner, program)
    async with talking(address) as talk:
        await talk.begin(LEARNER)
        await talk.ask("a", PROGRESS, program=program)
        first = await talk.hear()
        await record(api, as_learner, event(1))
        second = await talk.hear()
        await talk.say(type="complete", id="a")
        await record(api, as_learner, event(2))
        await talk.ask("b", VIEWER)
        answer, complete = await talk.hear(), await talk.hear()

    assert (first["id"], first["type"], set(first["payload"])) == ("a", "next", {"data"})
    assert first["payload"]["data"]["progress"]["percent"] < second["payload"]["data"]["progress"]["percent"]
    assert answer == {"id": "b", "type": "next", "payload": {"data": {"viewer": {"displayName": "Lena"}}}}
    assert complete == {"id": "b", "type": "complete"}


async def test_another_protocol_is_not_spoken(address: str) -> None:
    for protocol in ("graphql-ws", ""):
        async with talking(address, protocol) as talk:
            assert (await talk.end())[0] == 4406


async def test_whoever_says_nothing_is_not_waited_for(address: str) -> None:
    async with talking(address) as talk:
        assert await talk.end() == (4408, "Connection initialisation timeout")


@pytest.mark.parametrize(
    "message",
    [
        "no JSON",
        "[]",
        "{}",
        '{"type": 1}',
        '{"type": "connect"}',
        '{"type": "subscribe", "id": 1, "payload": {}}',
        '{"type": "subscribe", "payload": {}}',
        '{"type": "complete"}',
        '{"type": "ping", "payload": "x"}',
        json.dumps({"type": "subscribe", "id": "x" * 129, "payload": {}}),
        b"\x00\x01",
    ],
)
async def test_what_is_no_message_ends_it(address: str, message: str | bytes) -> None:
    async with talking(address) as talk:
        await talk.begin(LEARNER)
        await talk.socket.send(message)

        assert (await talk.end())[0] == 4400


async def test_nothing_is_asked_before_it_is_known_who_asks(address: str) -> None:
    async with talking(address) as talk:
        await talk.ask("a", VIEWER)

        assert await talk.end() == (4401, "Unauthorized")


@pytest.mark.parametrize("sent", ["Bearer x", "x", f"Bearer {token(LEARNER, seconds=-600)}", 7])
async def test_a_bad_token_is_refused_and_not_taken_for_none(address: str, sent: Any) -> None:
    async with talking(address) as talk:
        await talk.say(type="connection_init", payload={"Authorization": sent})

        assert (await talk.end())[0] == (4400 if sent == 7 else 4403)


async def test_signed_out_the_viewer_is_null_and_nothing_is_watched(address: str) -> None:
    async with talking(address) as talk:
        await talk.begin(None)
        await talk.ask("a", VIEWER)
        answer, _ = await talk.hear(), await talk.hear()
        await talk.ask("b", PROGRESS, program=str(cast.PUBLISHED))
        refused = await talk.hear()

    assert answer["payload"] == {"data": {"viewer": None}}
    assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "UNAUTHENTICATED")


async def test_one_init_is_enough(address: str) -> None:
    async with talking(address) as talk:
        await talk.begin(LEARNER)
        await talk.say(type="connection_init")

        assert (await talk.end())[0] == 4429


async def test_an_id_is_used_once_at_a_time(address: str) -> None:
    async with talking(address) as talk:
        await talk.begin(LEARNER)
        await talk.ask("a", ENROLLMENTS)
        await talk.ask("a", ENROLLMENTS)

        assert await talk.end() == (4409, "Subscriber for a already exists")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { nothing }", "BAD_USER_INPUT"),
        ("subscription { progress(programId: 7) { percent } }", "BAD_USER_INPUT"),
        ("subscription { enrollmentChanged { id } b: enrollmentChanged { id } }", "BAD_USER_INPUT"),
        ("subscription { enrollmentChanged { id } @skip(if: true) }", "BAD_USER_INPUT"),
        ("subscription {", "BAD_USER_INPUT"),
        (f'subscription {{ progress(programId: "{cast.OTHER_PUBLISHED}") {{ percent }} }}', "NOT_FOUND"),
    ],
)
async def test_what_cannot_be_watched_is_an_error_of_its_id(address: str, query: str, code: str) -> None:
    async with talking(address) as talk:
        await talk.begin(LEARNER)
        await talk.ask("a", query)
        error = await talk.hear()
        await talk.ask("a", VIEWER)

        assert (error["id"], error["type"]) == ("a", "error")
        assert error["payload"][0]["extensions"]["code"] == code
        assert (await talk.hear())["type"] == "next"


async def test_a_value_that_is_wrong_is_named(address: str) -> None:
    async with talking(address) as talk:
        await talk.begin(LEARNER)
        await talk.ask("a", PROGRESS, program="x")
        (error,) = (await talk.hear())["payload"]

    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_USER_INPUT", "program")


async def test_mutations_are_answered_too(address: str) -> None:
    rename = 'mutation { createProgram(input: {title: "By socket"}) { program { title } } }'
    async with talking(address) as talk:
        await talk.begin(cast.ADMIN)
        await talk.ask("a", rename)

        assert (await talk.hear())["payload"]["data"]["createProgram"]["program"] == {"title": "By socket"}


async def test_a_ping_is_answered(address: str) -> None:
    async with talking(address) as talk:
        await talk.begin(LEARNER)
        await talk.say(type="ping", payload={"any": "thing"})
        await talk.say(type="pong")
        await talk.say(type="ping")

        assert [await talk.hear() for _ in range(2)] == [{"type": "pong"}] * 2


async def test_it_does_not_outlive_its_token(address: str) -> None:
    async with talking(address) as talk:
        await talk.begin(LEARNER, seconds=2)
        await talk.ask("a", ENROLLMENTS)

        assert await asyncio.wait_for(talk.end(), 4) == (4403, "The access token has expired")


async def test_a_new_token_lets_it_go_on(address: str) -> None:
    async with talking(address) as talk:
        await talk.begin(LEARNER, seconds=2)
        await talk.say(type="ping", payload={"Authorization": f"Bearer {token(LEARNER)}"})
        assert await talk.hear() == {"type": "pong"}
        await asyncio.sleep(2.5)
        await talk.ask("a", VIEWER)

        assert (await talk.hear())["type"] == "next"


@pytest.mark.parametrize("other", [token(PEER), token(LEARNER, app_metadata={}), "x"])
async def test_the_token_of_somebody_else_does_not(address: str, other: str) -> None:
    async with talking(address) as talk:
        await talk.begin(LEARNER)
        await talk.say(type="ping", payload={"Authorization": f"Bearer {other}"})

        assert (await talk.end())[0] == 4403


async def test_one_socket_has_so_many_operations(address: str) -> None:
    async with talking(address) as talk:
        await talk.begin(LEARNER)
        for number in range(5):
            await talk.ask(str(number), ENROLLMENTS)
        refused = await talk.hear()

    assert (refused["id"], refused["payload"][0]["extensions"]["code"]) == ("4", "LIMIT_EXCEEDED")


async def test_one_person_has_so_many_sockets(address: str) -> None:
    talks = [talking(address) for _ in range(5)]
    for talk in talks:
        await (await talk.__aenter__()).begin(cast.TRAVELLER)

    async with talking(address) as sixth:
        await sixth.say(
            type="connection_init", payload={"headers": {"authorization": f"Bearer {token(cast.TRAVELLER)}"}}
        )
        refused = await sixth.end()
    await talks[0].__aexit__(None, None, None)
    await asyncio.sleep(0.1)
    async with talking(address) as again:
        await again.begin(cast.TRAVELLER)
    for talk in talks[1:]:
        await talk.__aexit__(None, None, None)

    assert refused[0] == 1013


async def test_a_page_of_another_site_is_not_let_in(address: str) -> None:
    for origin in (f"http://{address}", f"https://{address}"):
        async with talking(address, Origin=origin) as talk:
            await talk.begin(None)
    for other in ("https://evil.example", "http://[", "null", f"http://evil.example/{address}"):
        with pytest.raises(websockets.InvalidStatus, match="403"):
            async with talking(address, Origin=other):
                pass


async def test_a_message_has_an_end(address: str) -> None:
    async with talking(address) as talk:
        await talk.begin(LEARNER)
        await talk.ask("a", "#" * 300_000)

        assert (await talk.end())[0] == 1009


async def test_there_is_nothing_at_other_addresses(address: str) -> None:
    with pytest.raises(websockets.InvalidStatus):
        async with websockets.connect(f"ws://{address}/elsewhere"):
            pass
