"""Statements of the Experience API: who may send and read them, what they come to, and what is no statement."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app import create_app
from resolvers.xapi.endpoint import VERSIONS
from settings import Settings
from tests import cast
from tests.api import Api
from tests.cast import Character
from tests.course_documents import block, block_id, section
from tests.databases import Database
from tests.people import Person
from tests.progressing import COMPLETIONS, course_progress, event, record, teach
from tests.serving import serving
from tests.signing import ISSUER, SECRET, token
from tests.stating import (
    ADL,
    CMI5,
    MAX_BODY_BYTES,
    PROGRESS,
    REASON,
    VIDEO_PROGRESS,
    Said,
    Xapi,
    account,
    error_of,
    statement,
    token_of,
    voiding,
    xapi_over,
)

LEARNER, PEER, ADMIN = cast.LEARNER, cast.PEER, cast.ADMIN
SOME_ID = "0d2b7a6e-5c1f-4e3a-9b8d-7f6a5e4d3c2b"
BLOCKS = [section(1), block(2, 1), block(3, 1), block(4), block(5, completionMode="excluded")]
KEPT = "select event_status, reason from public.xapi_statements where id = %s"


@pytest.fixture
async def xapi(database: Database) -> AsyncIterator[Xapi]:
    async with xapi_over(database) as xapi:
        yield xapi


@pytest.fixture
async def course(api: Api, as_admin: Person) -> str:
    return await teach(api, as_admin, *BLOCKS)


async def completions(api: Api, person: Person) -> dict[str, Any]:
    """What was reached, by block."""
    nodes = (await api.ask(person, COMPLETIONS)).data["blockCompletions"]["nodes"]
    return {node["blockId"]: node for node in nodes}


def kept(database: Database, said: Said) -> tuple[str | None, str | None]:
    """What became of a statement's event, and why."""
    ((status, reason),) = database.run(KEPT, said["id"])
    return status, reason


def count(database: Database) -> int:
    return int(database.run("select count(*) from public.xapi_statements")[0][0])


# Who may


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
async def test_signed_out_is_told_to_sign_in(xapi: Xapi, method: str) -> None:
    response = await xapi.send(method, None, json=statement(LEARNER), params={"statementId": str(uuid4())})

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-experience-api-version"] == "1.0.3"


@pytest.mark.parametrize("person", [cast.VISITOR, cast.NEWCOMER, cast.SUSPENDED])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_who_acts_in_no_community_is_refused(xapi: Xapi, person: Character, method: str) -> None:
    said = statement(person)
    params = {"statementId": said["id"]} if method != "POST" else {}

    response = await xapi.send(method, person, json=said, params=params)

    assert (response.status_code, error_of(response)["extensions"]["code"]) == (403, "FORBIDDEN")


async def test_a_token_that_does_not_hold_is_refused(xapi: Xapi) -> None:
    response = await xapi.send("GET", None, headers={"authorization": f"Bearer {token()}x"})

    assert response.status_code == 401


async def test_learners_state_what_they_did_and_nobody_elses(xapi: Xapi, database: Database) -> None:
    before = count(database)
    for actor in (
        *(account(PEER), account(cast.OTHER_LEARNER), account(uuid4()), account("Lena")),
        *({"mbox": f"mailto:{PEER.email}"}, {"mbox": "mailto:nobody@cast.test"}),
        *({"mbox_sha1sum": "a" * 40}, {"openid": "https://lena.example"}),
        {"objectType": "Group", "member": [account(LEARNER)]},
        {"objectType": "Group", **account(LEARNER)},
    ):
        response = await xapi.post(LEARNER, [statement(LEARNER), statement(LEARNER, actor=actor)])

        error = error_of(response)
        assert (response.status_code, error["extensions"]["field"]) == (403, "1.actor"), actor
        assert error["message"].startswith("1: The actor is not you.")
    assert count(database) == before


@pytest.mark.parametrize(
    "actor",
    [
        account(LEARNER),
        account(str(LEARNER.id).upper()),
        {"mbox": f"mailto:{LEARNER.email}"},
        {"objectType": "Agent", "name": "L", "mbox": "mailto:LENA@cast.test"},
    ],
)
async def test_an_actor_is_told_by_account_or_confirmed_address(xapi: Xapi, actor: Said) -> None:
    said = statement(LEARNER, actor=actor)

    await xapi.stored(LEARNER, said)

    assert (await xapi.one(LEARNER, said["id"]))["actor"] == actor


async def test_an_address_that_is_not_confirmed_names_nobody(xapi: Xapi, database: Database) -> None:
    database.run("update auth.users set email_confirmed_at = null where id = %s", LEARNER.id)

    response = await xapi.post(LEARNER, statement(LEARNER, actor={"mbox": f"mailto:{LEARNER.email}"}))

    assert response.status_code == 403


@pytest.mark.usefixtures("course")
async def test_admins_state_what_members_did(xapi: Xapi, api: Api, as_peer: Person) -> None:
    by_account = statement(PEER)
    by_address = statement(PEER, block=3, actor={"mbox": f"mailto:{PEER.email}"})

    await xapi.stored(ADMIN, by_account, by_address)

    done = await completions(api, as_peer)
    assert done[block_id(2)]["value"] == done[block_id(3)]["value"] == 1
    shown = await xapi.one(PEER, by_account["id"])
    assert shown["authority"]["account"] == {"homePage": ISSUER, "name": str(ADMIN.id)}


async def test_admins_are_not_told_who_exists_elsewhere(xapi: Xapi) -> None:
    answers = [
        error_of(await xapi.post(ADMIN, statement(ADMIN, actor=actor)))
        for actor in (
            *(account(cast.OTHER_LEARNER), account(uuid4()), account(cast.SUSPENDED), account("x")),
            *({"mbox": f"mailto:{cast.OTHER_LEARNER.email}"}, {"mbox": "mailto:nobody@cast.test"}),
        )
    ]

    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["extensions"]["code"] == "FORBIDDEN"


async def test_everybody_reads_their_own_and_admins_the_communitys(xapi: Xapi) -> None:
    mine, theirs, elsewhere = statement(LEARNER), statement(PEER), statement(cast.OTHER_LEARNER)
    for person, said in ((LEARNER, mine), (PEER, theirs), (cast.OTHER_LEARNER, elsewhere)):
        await xapi.stored(person, said)

    ids = {said["id"] for said in (mine, theirs, elsewhere)}
    seen = {
        person.name: ids & set(await xapi.listed(person))
        for person in (LEARNER, PEER, ADMIN, cast.SUPER_ADMIN, cast.OTHER_ADMIN, cast.OTHER_LEARNER)
    }
    assert seen == {
        "Lena": {mine["id"]},
        "Piet": {theirs["id"]},
        "Ada": {mine["id"], theirs["id"]},
        "Sue": {mine["id"], theirs["id"]},
        "Bert": {elsewhere["id"]},
        "Olga": {elsewhere["id"]},
    }
    for person, said in ((LEARNER, theirs), (ADMIN, elsewhere), (cast.OTHER_LEARNER, mine)):
        not_theirs = await xapi.get(person, statementId=said["id"])
        nothing = await xapi.get(person, statementId=str(uuid4()))
        assert not_theirs.status_code == nothing.status_code == 404
        assert not_theirs.json() == nothing.json()


async def test_an_id_is_nobodys_to_take_away(xapi: Xapi) -> None:
    """A learner who knows the id of somebody's statement neither blocks it nor learns that it is there."""
    theirs = statement(PEER)
    mine = {**statement(LEARNER, "experienced"), "id": theirs["id"]}
    await xapi.stored(LEARNER, mine)

    assert (await xapi.put(PEER, theirs)).status_code == 204
    assert (await xapi.one(PEER, theirs["id"]))["verb"] == theirs["verb"]
    assert (await xapi.one(LEARNER, mine["id"]))["verb"] == mine["verb"]
    # An admin, who sees both, is shown the first by its id, and both in the list.
    assert (await xapi.one(ADMIN, mine["id"]))["verb"] == mine["verb"]
    assert (await xapi.listed(ADMIN)).count(mine["id"]) == 2


# Versions, methods and types


async def test_about_needs_nothing(xapi: Xapi) -> None:
    response = await xapi.send("GET", None, "/xapi/about", headers={"x-experience-api-version": None})

    assert (response.status_code, response.json()) == (200, {"version": list(VERSIONS)})
    assert response.headers["x-experience-api-version"] == "1.0.3"


@pytest.mark.parametrize("version", ["1.0", "1.0.0", "1.0.3", "1.0.9", "2.0.0"])
async def test_a_known_version_is_answered_with_the_newest_of_its_line(xapi: Xapi, version: str) -> None:
    response = await xapi.post(LEARNER, statement(LEARNER), headers={"x-experience-api-version": version})

    assert response.status_code == 200
    assert response.headers["x-experience-api-version"] == ("2.0.0" if version == "2.0.0" else "1.0.3")


@pytest.mark.parametrize("version", [None, "", "0.9", "0.95", "1.1.0", "2.1.0", "1.0.x", "3", "1.0.3, 1.0.3"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_without_a_known_version_nothing_happens(
    xapi: Xapi, database: Database, version: str | None, method: str
) -> None:
    before = count(database)
    said = statement(LEARNER)
    params = {"statementId": said["id"]} if method == "PUT" else {}

    response = await xapi.send(
        method, LEARNER, json=said, params=params, headers={"x-experience-api-version": version}
    )

    assert response.status_code == 400
    assert "X-Experience-API-Version" in error_of(response)["message"]
    assert response.headers["x-experience-api-version"] == "1.0.3"
    assert count(database) == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/xapi/statements", 405),
        ("PATCH", "/xapi/statements", 405),
        ("POST", "/xapi/about", 405),
        ("GET", "/xapi/activities/state", 404),
        ("GET", "/xapi/", 404),
    ],
)
async def test_there_is_nothing_else(xapi: Xapi, method: str, path: str, status: int) -> None:
    response = await xapi.send(method, LEARNER, path)

    assert response.status_code == status
    assert response.headers["x-experience-api-version"] == "1.0.3"


@pytest.mark.parametrize(
    ("content_type", "status", "words"),
    [
        ("multipart/mixed; boundary=x", 400, "Attachments are not kept"),
        ("application/x-www-form-urlencoded", 415, "application/json"),
        ("text/plain", 415, "application/json"),
    ],
)
async def test_bodies_are_json(xapi: Xapi, content_type: str, status: int, words: str) -> None:
    response = await xapi.post(LEARNER, statement(LEARNER), headers={"content-type": content_type})

    assert response.status_code == status
    assert words in error_of(response)["message"]


async def test_a_body_has_its_limit(xapi: Xapi) -> None:
    response = await xapi.post(LEARNER, b" " * (MAX_BODY_BYTES + 1))

    assert response.status_code == 413


# Storing


@pytest.mark.usefixtures("course")
async def test_what_was_stored_is_read_with_what_the_server_knows(xapi: Xapi) -> None:
    said = statement(
        LEARNER,
        "passed",
        timestamp="2026-10-01T11:00:00.5+02:00",
        result={
            "score": {"scaled": 0.5, "raw": 12345678901234567891},
            "extensions": {"http://x.example/deep": {"a": [None]}},
        },
        context={"platform": "Phone", "contextActivities": {"parent": {"id": "http://x.example/parent"}}},
        stored="2001-01-01T00:00:00Z",
        authority=account(ADMIN),
        attachments=[
            {
                "usageType": "http://x.example/photo",
                "display": {"en": "Photo"},
                "contentType": "image/png",
                "length": 3,
                "sha2": "a" * 64,
                "fileUrl": "https://x.example/photo.png",
            }
        ],
    )

    response = await xapi.post(LEARNER, said)
    shown = await xapi.get(LEARNER, statementId=said["id"])

    assert (response.status_code, response.json()) == (200, [said["id"]])
    authority = {"objectType": "Agent", "account": {"homePage": ISSUER, "name": str(LEARNER.id)}}
    stored = shown.json()["stored"]
    assert datetime.fromisoformat(stored) > datetime.now(UTC) - timedelta(minutes=1)
    assert shown.json() == {**said, "stored": stored, "authority": authority, "version": "1.0.0"}
    for answer in (response, shown):
        through = datetime.fromisoformat(answer.headers["x-experience-api-consistent-through"])
        assert datetime.now(UTC) - timedelta(seconds=30) < through < datetime.fromisoformat(stored)
    assert shown.headers["last-modified"].endswith("GMT")


async def test_a_statement_without_an_id_or_a_time_gets_them(xapi: Xapi) -> None:
    said = statement(LEARNER)
    del said["id"]

    given, also_given = await xapi.stored(LEARNER, said, said)
    shown = await xapi.one(LEARNER, given)

    assert given != also_given
    assert UUID(given).version == 4
    assert shown["timestamp"] == shown["stored"]


async def test_a_list_is_answered_in_its_order_and_a_single_one_with_a_list(xapi: Xapi) -> None:
    many = [statement(LEARNER, "experienced") for _ in range(500)]

    assert await xapi.stored(LEARNER, *many) == [said["id"] for said in many]
    assert await xapi.listed(LEARNER, limit=3) == [said["id"] for said in many[:-4:-1]]
    assert (await xapi.post(LEARNER, [])).json() == []
    assert (await xapi.post(LEARNER, [*many, statement(LEARNER)])).status_code == 400


async def test_put_takes_the_id_of_the_url(xapi: Xapi) -> None:
    said = statement(LEARNER)
    without = {key: value for key, value in said.items() if key != "id"}

    stored = await xapi.put(LEARNER, without, said["id"])
    again = await xapi.put(LEARNER, said, said["id"].upper())
    other = await xapi.put(LEARNER, said, str(uuid4()))

    assert (stored.status_code, stored.content) == (204, b"")
    assert "content-length" not in stored.headers
    assert again.status_code == 204
    assert (other.status_code, error_of(other)["extensions"]["field"]) == (400, "id")
    assert (await xapi.one(LEARNER, said["id"]))["verb"] == said["verb"]


@pytest.mark.parametrize(
    "params", [{}, {"statementId": "x"}, {"statementId": ""}, {"statementId": SOME_ID, "x": "1"}]
)
async def test_put_needs_an_id_and_nothing_else(xapi: Xapi, params: dict[str, str]) -> None:
    response = await xapi.send("PUT", LEARNER, params=params, json=statement(LEARNER))

    assert response.status_code == 400


async def test_put_takes_one_and_post_no_parameters(xapi: Xapi) -> None:
    said = statement(LEARNER)

    assert (await xapi.put(LEARNER, [said], said["id"])).status_code == 400
    assert (await xapi.post(LEARNER, said, params={"statementId": said["id"]})).status_code == 400
    assert (await xapi.post(LEARNER, said, params={"method": "PUT"})).status_code == 400


SAME: dict[str, Any] = {
    "the order of keys": lambda said: dict(reversed(said.items())),
    "another zone": lambda said: {**said, "timestamp": "2026-10-01T06:30:00.000-02:30"},
    "without its time": lambda said: {key: value for key, value in said.items() if key != "timestamp"},
    "stored, authority, version": lambda said: {
        **said,
        "stored": "2020-01-01T00:00:00Z",
        "authority": account(ADMIN),
        "version": "1.0.1",
    },
    "how the verb is shown": lambda said: {**said, "verb": {**said["verb"], "display": {"de": "fertig"}}},
    "what an activity is": lambda said: {
        **said,
        "object": {**said["object"], "definition": {"name": {"en": "Another"}}},
    },
    "the order of members": lambda said: changed(said, "context", "team", "member", lambda m: m[::-1]),
    "the order of activities": lambda said: changed(
        said, "context", "contextActivities", "grouping", lambda m: m[::-1]
    ),
    "an activity in a list": lambda said: changed(
        said, "context", "contextActivities", "parent", lambda one: [one]
    ),
    "the case of a registration": lambda said: changed(said, "context", "registration", str.upper),
    "the case of a domain": lambda said: changed(
        said, "context", "instructor", "mbox", lambda _: "mailto:Ines@X.Example"
    ),
    "a number in other digits": lambda said: changed(said, "result", "score", "raw", lambda _: 7.0),
}
OTHER: dict[str, Any] = {
    "another verb": lambda said: {**said, "verb": {"id": f"{ADL}passed"}},
    "another object": lambda said: {**said, "object": {"id": "http://x.example/other"}},
    "another time": lambda said: {**said, "timestamp": "2026-10-01T09:00:01Z"},
    "another score": lambda said: changed(said, "result", "score", "raw", lambda _: 8),
    "a duration spelt otherwise": lambda said: changed(said, "result", "duration", lambda _: "PT60S"),
    "without its result": lambda said: {key: value for key, value in said.items() if key != "result"},
    "another member": lambda said: changed(said, "context", "team", "member", lambda m: m[:1]),
    "a local part in another case": lambda said: changed(
        said, "context", "instructor", "mbox", lambda _: "mailto:ines@x.example"
    ),
}


def changed(said: Said, *path: Any) -> Said:
    """A copy in which the last of the path has made something else of what is at the others."""
    *keys, last, change = path
    copy = deepcopy(said)
    inner = copy
    for key in keys:
        inner = inner[key]
    inner[last] = change(inner[last])
    return copy


def full_statement() -> Said:
    return statement(
        LEARNER,
        timestamp="2026-10-01T09:00:00Z",
        result={"score": {"raw": 7, "max": 10}, "duration": "PT1M"},
        context={
            "registration": "2f6b7c1e-1a3b-4c5d-8e9f-abcdefabcdef",
            "instructor": {"mbox": "mailto:Ines@x.example"},
            "team": {"objectType": "Group", "member": [account(PEER), account(LEARNER)]},
            "contextActivities": {
                "parent": {"id": "http://x.example/p", "definition": {"type": "http://x.example/t"}},
                "grouping": [{"id": "http://x.example/a"}, {"id": "http://x.example/b"}],
            },
        },
    )


@pytest.mark.usefixtures("course")
@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
async def test_the_same_statement_again_changes_nothing(xapi: Xapi, database: Database, change: Any) -> None:
    said = full_statement()
    await xapi.stored(LEARNER, said)
    before = await xapi.one(LEARNER, said["id"])

    assert (await xapi.put(LEARNER, change(said))).status_code == 204
    assert await xapi.stored(LEARNER, change(said)) == [said["id"]]

    assert await xapi.one(LEARNER, said["id"]) == before
    assert database.run("select count(*) from public.progress_events where event_id = %s", said["id"]) == [
        (1,)
    ]


@pytest.mark.usefixtures("course")
@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
async def test_another_statement_with_its_id_is_a_conflict(
    xapi: Xapi, database: Database, change: Any
) -> None:
    said = full_statement()
    await xapi.stored(LEARNER, said)
    before, stored = await xapi.one(LEARNER, said["id"]), count(database)

    put = await xapi.put(LEARNER, change(said))
    listed = await xapi.post(LEARNER, [statement(LEARNER), change(said)])

    assert (put.status_code, error_of(put)["extensions"]) == (409, {"code": "CONFLICT", "field": "id"})
    assert (listed.status_code, error_of(listed)["extensions"]["field"]) == (409, "1.id")
    assert await xapi.one(LEARNER, said["id"]) == before
    assert count(database) == stored


async def test_sub_statements_are_compared_by_meaning_too(xapi: Xapi) -> None:
    planned = {"objectType": "SubStatement", **statement(PEER, "attended", "http://x.example/meeting")}
    del planned["id"]
    said = {**statement(LEARNER, "planned"), "object": {**planned, "timestamp": "2026-12-01T09:00:00Z"}}
    same = changed(said, "object", "timestamp", lambda _: "2026-12-01T10:00:00+01:00")
    await xapi.stored(LEARNER, said)

    assert (await xapi.put(LEARNER, same)).status_code == 204
    assert (
        await xapi.put(LEARNER, changed(said, "object", "actor", lambda _: account(ADMIN)))
    ).status_code == 409


async def test_two_with_one_id_are_no_list(xapi: Xapi, database: Database) -> None:
    said, before = statement(LEARNER), count(database)

    response = await xapi.post(LEARNER, [said, said])

    assert (response.status_code, error_of(response)["extensions"]["field"]) == (400, "1.id")
    assert count(database) == before


@pytest.mark.usefixtures("course")
async def test_sent_many_times_at_once_it_is_stored_once(
    xapi: Xapi, api: Api, database: Database, as_learner: Person
) -> None:
    said = [statement(LEARNER, block=number) for number in (2, 3)]
    other = {**said[0], "verb": {"id": f"{ADL}experienced"}}

    responses = await asyncio.gather(*(xapi.post(LEARNER, said[:: (-1) ** n]) for n in range(20)))
    late = await asyncio.gather(*(xapi.post(LEARNER, other) for _ in range(5)))

    assert [response.status_code for response in responses] == [200] * 20
    assert [response.status_code for response in late] == [409] * 5
    ids = [one["id"] for one in said]
    stored = "select count(*) from public.xapi_statements where id = any(%s::uuid[])"
    assert database.run(stored, ids) == [(2,)]
    assert (await completions(api, as_learner))[block_id(2)]["eventCount"] == 1


async def test_of_different_ones_at_once_with_one_id_one_is_stored(xapi: Xapi) -> None:
    said = statement(LEARNER)
    others = [{**said, "object": {"id": f"http://x.example/{number}"}} for number in range(20)]

    responses = await asyncio.gather(*(xapi.put(LEARNER, other) for other in others))

    assert sorted(response.status_code for response in responses) == [204] + [409] * 19


async def test_statements_stay_as_they_were_sent(xapi: Xapi, database: Database) -> None:
    said = statement(LEARNER)
    await xapi.stored(LEARNER, said)

    for attempt in (
        "update public.xapi_statements set content = '{}'",
        "delete from public.xapi_statements",
        "truncate public.xapi_statements",
    ):
        with pytest.raises(Exception, match="stays as it was sent"):
            database.run(attempt)


async def test_a_member_who_is_deleted_takes_them_along(xapi: Xapi, database: Database) -> None:
    await xapi.stored(PEER, statement(PEER))

    database.run("delete from auth.users where id = %s", PEER.id)

    assert database.run("select from public.xapi_statements where user_id = %s", PEER.id) == []


# What statements come to

SCALED = {"score": {"scaled": 0.755}}
MAPPED: list[tuple[str, Said, float, float | None, bool | None]] = [
    ("completed", {}, 1, None, None),
    ("completed", {"completion": True, **SCALED}, 1, 75.5, None),
    ("completed", {"completion": False}, 0, None, None),
    ("passed", {"success": True, **SCALED}, 1, 75.5, None),
    ("passed", {"success": False, **SCALED}, 0, 75.5, None),
    ("failed", {"success": False, "completion": True, **SCALED}, 0, 75.5, None),
    (f"{CMI5}satisfied", {}, 1, None, None),
    ("progressed", {"extensions": {PROGRESS: 40}}, 0.4, None, None),
    ("progressed", {"extensions": {PROGRESS: 1}}, 0.01, None, None),
    ("progressed", {"extensions": {PROGRESS: 100}}, 1, None, None),
    ("progressed", {"extensions": {VIDEO_PROGRESS: 0.25}}, 0.25, None, None),
    ("progressed", {"extensions": {VIDEO_PROGRESS: 1}}, 1, None, None),
    ("answered", {"success": True, "score": {"raw": 3, "min": 1, "max": 5}}, 0, 50, True),
    ("answered", {"success": False, "completion": True}, 1, None, False),
    ("answered", {"response": "42"}, 0, None, None),
    ("scored", {"score": {"raw": 3, "max": 4}}, 0, 75, None),
    ("scored", {"score": {"raw": 3}}, 0, None, None),
    ("scored", {"score": {"scaled": -0.5}, "completion": True}, 1, 0, None),
    ("experienced", {}, 0, None, None),
    ("launched", {}, 0, None, None),
    ("attempted", {}, 0, None, None),
    ("initialized", {"extensions": {PROGRESS: 10}}, 0.1, None, None),
]


@pytest.mark.parametrize(("verb", "result", "value", "score", "correct"), MAPPED)
async def test_a_statement_does_what_its_event_does(
    xapi: Xapi,
    api: Api,
    database: Database,
    course: str,
    as_learner: Person,
    as_peer: Person,
    verb: str,
    result: Said,
    value: float,
    score: float | None,
    correct: bool | None,
) -> None:
    when = datetime.now(UTC).isoformat()
    said = {**statement(LEARNER, verb, timestamp=when), **({"result": result} if result else {})}
    more = {"score": score, "correct": correct, "occurredAt": when}

    await xapi.stored(LEARNER, said)
    told = await record(api, as_peer, event(2, value, **{k: v for k, v in more.items() if v is not None}))

    assert told["results"][0]["status"] == "ACCEPTED"
    assert kept(database, said) == ("accepted", None)
    done = (await completions(api, as_learner))[block_id(2)]
    also_done = (await completions(api, as_peer))[block_id(2)]
    for found in (done, also_done):
        del found["member"]
        found["completedAt"] = found["completedAt"] and found["completedAt"][:19]
    assert done == also_done
    assert done["value"] == value
    same = await course_progress(api, as_learner, course), await course_progress(api, as_peer, course)
    numbers = [{key: value for key, value in told.items() if key in NUMBERS} for told in same]
    assert numbers[0] == numbers[1]


NUMBERS = {"status", "doneRequired", "totalRequired", "earned", "possible", "percent", "nextBlock"}


@pytest.mark.usefixtures("course")
@pytest.mark.parametrize(
    "address", ["urn:uuid:{}", "https://x.example/courses/7/blocks/{}", "HTTPS://x/blocks/{}"]
)
async def test_a_block_is_named_in_two_ways(xapi: Xapi, api: Api, as_learner: Person, address: str) -> None:
    await xapi.stored(LEARNER, statement(LEARNER, block=address.format(block_id(2).upper())))

    assert (await completions(api, as_learner))[block_id(2)]["value"] == 1


@pytest.mark.usefixtures("course")
async def test_when_it_happened_and_when_it_came_are_two_clocks(xapi: Xapi, database: Database) -> None:
    happened = datetime.now(UTC) - timedelta(hours=5)
    said, untimed = statement(LEARNER, timestamp=happened.isoformat()), statement(LEARNER, block=3)

    await xapi.stored(LEARNER, said, untimed)

    events = database.run("select event_id::text, occurred_at from public.progress_events")
    statements = database.run("select id::text, stored_at from public.xapi_statements")
    times, stored = ({one: moment for one, moment in rows} for rows in (events, statements))  # noqa: C416
    assert times[said["id"]] == happened
    assert stored[said["id"]] > happened + timedelta(hours=4)
    assert times[untimed["id"]] == stored[untimed["id"]]


@pytest.mark.usefixtures("course")
@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        (statement(LEARNER, block=99), "rejected", "There is no block with this id"),
        (statement(LEARNER, block=1), "rejected", "complete when what is in it is"),
        (statement(LEARNER, block=5), "accepted", "this block never counts"),
        (statement(LEARNER, timestamp="1850-01-01T00:00:00Z"), "rejected", "occurredAt can be"),
        (statement(LEARNER, "progressed", result={"extensions": {PROGRESS: 101}}), "rejected", "0 to 1"),
        (statement(LEARNER, "progressed"), None, "does not say how far"),
        (statement(LEARNER, f"{CMI5}waived"), None, "Only admins waive"),
        (statement(LEARNER, "http://x.example/verbs/juggled"), None, None),
        (statement(LEARNER, "terminated"), None, None),
        (statement(LEARNER, block="http://x.example/blocks/2"), None, None),
        (statement(LEARNER, object=account(PEER) | {"objectType": "Agent"}), None, None),
    ],
    ids=range(11),
)
async def test_what_does_not_count_is_kept_with_its_reason(
    xapi: Xapi, database: Database, said: Said, status: str | None, words: str | None
) -> None:
    await xapi.stored(LEARNER, said, counting := statement(LEARNER, block=3))

    found, reason = kept(database, said)
    assert (found, words is None) == (status, reason is None)
    assert words is None or words in (reason or "")
    assert kept(database, counting) == ("accepted", None)
    assert (await xapi.one(LEARNER, said["id"]))["verb"] == said["verb"]


@pytest.mark.usefixtures("course")
async def test_admins_waive_with_a_reason(
    xapi: Xapi, api: Api, database: Database, as_learner: Person
) -> None:
    waived = statement(LEARNER, f"{CMI5}waived", result={"extensions": {REASON: "Administrative"}})
    without = statement(LEARNER, f"{CMI5}waived", block=3)

    await xapi.stored(ADMIN, waived, without)

    done = await completions(api, as_learner)
    assert done[block_id(2)]["value"] == 1
    assert block_id(3) not in done
    assert "waives without a reason" in (kept(database, without)[1] or "")


@pytest.mark.usefixtures("course")
async def test_an_event_with_the_id_of_a_statement_is_one_event(
    xapi: Xapi, api: Api, database: Database, as_learner: Person
) -> None:
    when = datetime.now(UTC).isoformat()
    same, other = (statement(LEARNER, block=number, timestamp=when) for number in (2, 3))
    sent = [
        event(2, 1, eventId=same["id"], occurredAt=when),
        event(4, 1, eventId=other["id"], occurredAt=when),
    ]
    await record(api, as_learner, *sent)

    await xapi.stored(LEARNER, same, other)

    assert kept(database, same) == ("duplicate", None)
    assert kept(database, other)[0] == "conflict"


@pytest.mark.usefixtures("course")
async def test_failing_after_passing_takes_nothing_away(xapi: Xapi, api: Api, as_learner: Person) -> None:
    passed = statement(LEARNER, "passed", result={"score": {"scaled": 0.8}})
    failed = statement(LEARNER, "failed", result={"score": {"scaled": 0.3}})

    await xapi.stored(LEARNER, passed)
    await xapi.stored(LEARNER, failed)

    done = (await completions(api, as_learner))[block_id(2)]
    assert (done["value"], done["score"], done["eventCount"]) == (1, 80, 2)


async def test_a_course_is_completed_by_statements(
    xapi: Xapi, api: Api, course: str, as_learner: Person
) -> None:
    await xapi.stored(LEARNER, *(statement(LEARNER, block=number) for number in (2, 3, 4)))

    told = await course_progress(api, as_learner, course)
    assert (told["status"], told["percent"]) == ("COMPLETED", 100)


# Voiding


@pytest.mark.usefixtures("course")
@pytest.mark.parametrize("order", ["target first", "voiding first", "together", "together, voiding first"])
async def test_what_is_voided_is_read_by_its_own_parameter_only(xapi: Xapi, order: str) -> None:
    target = statement(LEARNER)
    void = voiding(LEARNER, target["id"].upper())
    lists = {
        "target first": [[target], [void]],
        "voiding first": [[void], [target]],
        "together": [[target, void]],
        "together, voiding first": [[void, target]],
    }
    for sent in lists[order]:
        await xapi.stored(LEARNER, *sent)

    assert (await xapi.get(LEARNER, statementId=target["id"])).status_code == 404
    read = await xapi.get(LEARNER, voidedStatementId=target["id"])
    assert (read.status_code, read.json()["object"]) == (200, target["object"])
    listed = await xapi.listed(LEARNER)
    assert target["id"] not in listed
    assert void["id"] in listed
    assert (await xapi.get(LEARNER, voidedStatementId=void["id"])).status_code == 404
    # Sent again, it is still there and still voided.
    assert (await xapi.put(LEARNER, target)).status_code == 204
    assert (await xapi.get(LEARNER, statementId=target["id"])).status_code == 404


@pytest.mark.usefixtures("course")
async def test_what_was_reached_does_not_fall_and_what_was_void_never_counts(
    xapi: Xapi, api: Api, database: Database, as_learner: Person
) -> None:
    counted, void_before = statement(LEARNER, block=2), statement(LEARNER, block=3)

    await xapi.stored(LEARNER, counted, voiding(LEARNER, void_before["id"]))
    await xapi.stored(LEARNER, voiding(LEARNER, counted["id"]), void_before)

    done = await completions(api, as_learner)
    assert done[block_id(2)]["value"] == 1
    assert block_id(3) not in done
    assert kept(database, void_before) == (None, "It was voided before it came.")


async def test_a_voiding_is_not_voided(xapi: Xapi) -> None:
    target = statement(LEARNER)
    void = voiding(LEARNER, target["id"])
    again = voiding(LEARNER, void["id"])

    await xapi.stored(LEARNER, again, target, void)
    await xapi.stored(LEARNER, voiding(LEARNER, void["id"]), voiding(LEARNER, target["id"]))

    for said in (void, again):
        assert (await xapi.one(LEARNER, said["id"]))["verb"]["id"] == f"{ADL}voided"
    assert (await xapi.get(LEARNER, statementId=target["id"])).status_code == 404


@pytest.mark.parametrize("early", [True, False])
async def test_learners_void_their_own_and_admins_the_communitys(xapi: Xapi, early: bool) -> None:
    target, elsewhere = statement(PEER), statement(cast.OTHER_LEARNER)

    async def store() -> None:
        await xapi.stored(PEER, target)
        await xapi.stored(cast.OTHER_LEARNER, elsewhere)

    if not early:
        await store()
    await xapi.stored(LEARNER, voiding(LEARNER, target["id"]))
    await xapi.stored(cast.OTHER_ADMIN, voiding(cast.OTHER_ADMIN, target["id"]))
    await xapi.stored(ADMIN, voiding(ADMIN, elsewhere["id"]))
    if early:
        await store()

    assert (await xapi.one(PEER, target["id"]))["id"] == target["id"]
    assert (await xapi.one(cast.OTHER_LEARNER, elsewhere["id"]))["id"] == elsewhere["id"]
    await xapi.stored(ADMIN, voiding(ADMIN, target["id"]))
    assert (await xapi.get(PEER, statementId=target["id"])).status_code == 404
    assert (await xapi.get(PEER, voidedStatementId=target["id"])).status_code == 200


async def test_a_voiding_and_its_target_at_once_leave_it_void(xapi: Xapi) -> None:
    targets = [statement(PEER, "experienced") for _ in range(15)]
    sent = [(PEER, target) for target in targets] + [(ADMIN, voiding(ADMIN, t["id"])) for t in targets]

    responses = await asyncio.gather(*(xapi.post(person, said) for person, said in sent[::2] + sent[1::2]))

    assert {response.status_code for response in responses} == {200}
    assert not {target["id"] for target in targets} & set(await xapi.listed(ADMIN))


async def test_a_voiding_names_a_statement(xapi: Xapi) -> None:
    response = await xapi.post(LEARNER, statement(LEARNER, "voided"))

    assert (response.status_code, error_of(response)["extensions"]["field"]) == (400, "object")


# Reading lists


async def test_lists_are_filtered_and_ordered(xapi: Xapi) -> None:
    mine = [statement(LEARNER, verb, f"http://x.example/{n % 2}") for n, verb in enumerate("aabb")]
    for said in mine:
        said["verb"]["id"] = f"http://x.example/{said['verb']['id'][-1]}"
        await xapi.stored(LEARNER, said)
    ids = [said["id"] for said in mine]
    stored = [(await xapi.one(LEARNER, one))["stored"] for one in ids]

    assert (await xapi.listed(LEARNER))[:4] == ids[::-1]
    assert (await xapi.listed(LEARNER, ascending="true", since=stored[0])) == ids[1:]
    assert await xapi.listed(LEARNER, verb="http://x.example/a") == [ids[1], ids[0]]
    assert await xapi.listed(LEARNER, activity="http://x.example/1", format="exact") == [ids[3], ids[1]]
    assert await xapi.listed(LEARNER, since=stored[0], until=stored[2]) == [ids[2], ids[1]]
    assert await xapi.listed(LEARNER, verb="http://x.example/none", attachments="false") == []
    assert await xapi.listed(ADMIN, verb="http://x.example/a", activity="http://x.example/1") == [ids[1]]


@pytest.mark.parametrize("ascending", ["true", "false"])
@pytest.mark.parametrize("person", [LEARNER, ADMIN], ids=["learner", "admin"])
async def test_more_goes_through_all_of_them_once(xapi: Xapi, person: Character, ascending: str) -> None:
    many = await xapi.stored(LEARNER, *(statement(LEARNER, "juggled") for _ in range(7)))
    many += await xapi.stored(LEARNER, *(statement(LEARNER, "juggled") for _ in range(4)))

    response = await xapi.get(person, verb=f"{ADL}juggled", limit=3, ascending=ascending)
    seen = []
    while True:
        page = response.json()
        seen += [said["id"] for said in page["statements"]]
        if not page["more"]:
            break
        response = await xapi.send("GET", person, page["more"])

    assert seen == (many if ascending == "true" else many[::-1])


async def test_more_is_for_who_asked(xapi: Xapi) -> None:
    await xapi.stored(LEARNER, *(statement(LEARNER) for _ in range(3)))
    more = (await xapi.get(LEARNER, limit=1)).json()["more"]

    for person in (PEER, ADMIN, cast.OTHER_LEARNER):
        assert (await xapi.send("GET", person, more)).status_code == 400
    for forged in (more[:-2], more[:-1] + ("A" if more[-1] != "A" else "B"), "/xapi/statements?more=%C3%A9"):
        assert (await xapi.send("GET", LEARNER, forged)).status_code == 400
    assert (await xapi.send("GET", LEARNER, f"{more}&limit=3")).status_code == 400


async def test_a_page_has_a_hundred_at_the_most(xapi: Xapi) -> None:
    await xapi.stored(LEARNER, *(statement(LEARNER) for _ in range(102)))

    for limit in ({}, {"limit": "0"}, {"limit": "100000000000"}):
        assert len(await xapi.listed(LEARNER, **limit)) == 100


@pytest.mark.parametrize(
    "params",
    [
        {"statementId": "x"},
        {"statementId": ""},
        {"voidedStatementId": "x"},
        {"statementId": SOME_ID, "voidedStatementId": SOME_ID},
        {"statementId": SOME_ID, "limit": "1"},
        {"statementId": SOME_ID, "verb": "http://x.example/a"},
        {"verb": "completed"},
        {"verb": "http://x.example/\x00"},
        {"activity": ""},
        {"activity": "http://x.example/" + "a" * 2_000},
        {"since": "yesterday"},
        {"until": "2026-02-30T00:00:00Z"},
        {"limit": "-1"},
        {"limit": "1.5"},
        {"limit": "²"},
        {"ascending": "TRUE"},
        {"more": "x"},
        {"format": "ids"},
        {"attachments": "true"},
        {"agent": "{}"},
        {"registration": SOME_ID},
        {"related_agents": "true"},
        {"StatementId": SOME_ID},
    ],
    ids=str,
)
async def test_what_cannot_be_asked_is_refused(xapi: Xapi, params: dict[str, str]) -> None:
    response = await xapi.get(LEARNER, **params)

    assert response.status_code == 400
    assert error_of(response)["extensions"]["field"]


@pytest.mark.parametrize(
    "query", ["statementId=%FF", "verb=http://x/a&verb=http://x/b", "&".join(["a=1"] * 40)]
)
async def test_parameters_that_cannot_be_read_are_refused(xapi: Xapi, query: str) -> None:
    assert (await xapi.send("GET", LEARNER, f"/xapi/statements?{query}")).status_code == 400


# What is no statement


def broken(**parts: Any) -> Said:
    """A statement with other parts; what is None is left out."""
    return {key: value for key, value in {**statement(LEARNER), **parts}.items() if value is not None}


ACTIVITY = {"id": "http://x.example/a"}
BROKEN: list[tuple[Any, str]] = [
    (broken(actor=None), "actor"),
    (broken(verb=None), "verb"),
    (broken(object=None), "object"),
    (broken(id="x"), "id"),
    (broken(id=7), "id"),
    (broken(more=1), "more"),
    (broken(Verb={"id": f"{ADL}passed"}), "Verb"),
    (broken(verb={"id": "completed"}), "verb.id"),
    (broken(verb={"id": ""}), "verb.id"),
    (broken(verb={"id": "http://x.example/" + "a" * 2_000}), "verb.id"),
    (broken(verb={"id": f"{ADL}passed", "display": {"not a tag": "x"}}), "verb.display.not a tag"),
    (broken(verb={"id": f"{ADL}passed", "display": {"en": 1}}), "verb.display.en"),
    (broken(actor={}), "actor"),
    (broken(actor={"name": "Lena"}), "actor"),
    (broken(actor={**account(LEARNER), "mbox": "mailto:lena@cast.test"}), "actor"),
    (broken(actor={"mbox": "lena@cast.test"}), "actor.mbox"),
    (broken(actor={"account": {"name": str(LEARNER.id)}}), "actor.account.homePage"),
    (broken(actor={"account": {"name": 1, "homePage": "http://x.example"}}), "actor.account.name"),
    (broken(actor={**account(LEARNER), "objectType": "agent"}), "actor.objectType"),
    (broken(actor={"objectType": "Group"}), "actor"),
    (broken(object={}), "object.id"),
    (broken(object={"id": "no scheme"}), "object.id"),
    (broken(object={"id": 1}), "object.id"),
    (broken(object={**ACTIVITY, "objectType": "Thing"}), "object.objectType"),
    (broken(object={**ACTIVITY, "objectType": ["Activity"]}), "object.objectType"),
    (
        broken(object={**ACTIVITY, "definition": {"interactionType": "x"}}),
        "object.definition.interactionType",
    ),
    (
        broken(object={**ACTIVITY, "definition": {"choices": [{"id": "a"}, {"id": "a"}]}}),
        "object.definition.choices",
    ),
    (broken(object={"objectType": "StatementRef", "id": "x"}), "object.id"),
    (broken(object={"objectType": "SubStatement", **broken(id=None, object=ACTIVITY)}), ""),
    (broken(object={"objectType": "SubStatement", **broken(object=ACTIVITY)}), "object.id"),
    (
        broken(
            object={
                "objectType": "SubStatement",
                **broken(id=None, object={"objectType": "SubStatement", **broken(id=None)}),
            }
        ),
        "object.object",
    ),
    (broken(result={"score": {"scaled": 1.1}}), "result.score.scaled"),
    (broken(result={"score": {"scaled": "0.5"}}), "result.score.scaled"),
    (broken(result={"score": {"scaled": True}}), "result.score.scaled"),
    (broken(result={"score": {"raw": 5, "max": 4}}), "result.score.raw"),
    (broken(result={"score": {"min": 5, "max": 4}}), "result.score.min"),
    (broken(result={"completion": "true"}), "result.completion"),
    (broken(result={"success": 1}), "result.success"),
    (broken(result={"duration": "1 hour"}), "result.duration"),
    (broken(result={"duration": "P"}), "result.duration"),
    (broken(result={"duration": "PT"}), "result.duration"),
    (broken(result={"extensions": {"progress": 1}}), "result.extensions.progress"),
    (broken(result={"score": None}), "result.score"),
    (broken(result=[]), "result"),
    (broken(context={"registration": "x"}), "context.registration"),
    (broken(context={"language": "not a tag"}), "context.language"),
    (broken(context={"team": account(PEER)}), "context.team.objectType"),
    (broken(context={"contextActivities": {"cousin": ACTIVITY}}), "context.contextActivities.cousin"),
    (broken(context={"contextActivities": [ACTIVITY]}), "context.contextActivities"),
    (broken(context={"platform": "x"}, object={"objectType": "Agent", **account(PEER)}), "context.platform"),
    (broken(timestamp="yesterday"), "timestamp"),
    (broken(timestamp="2026-02-30T09:00:00Z"), "timestamp"),
    (broken(timestamp="2026-10-01T09:00:00-00:00"), "timestamp"),
    (broken(timestamp="2026-10-01"), "timestamp"),
    (broken(timestamp="2026-10-01T09:00:00+99:00"), "timestamp"),
    (broken(timestamp=1_790_000_000), "timestamp"),
    (broken(stored="x"), "stored"),
    (broken(version="0.9"), "version"),
    (broken(version="1.1.0"), "version"),
    (broken(authority="x"), "authority"),
    (broken(attachments=[{"usageType": "http://x.example"}]), "attachments.0.display"),
    (
        broken(
            attachments=[
                {
                    "usageType": "http://x.example",
                    "display": {},
                    "contentType": "text/plain",
                    "length": 1,
                    "sha2": "a" * 64,
                }
            ]
        ),
        "attachments.0.fileUrl",
    ),
    (1, ""),
    ("x", ""),
    (None, ""),
]


@pytest.mark.parametrize(
    ("said", "place"), BROKEN, ids=[f"{n} {place}" for n, (_, place) in enumerate(BROKEN)]
)
async def test_what_is_malformed_is_refused_with_its_place(
    xapi: Xapi, database: Database, said: Any, place: str
) -> None:
    before = count(database)

    response = await xapi.post(LEARNER, said)
    listed = await xapi.post(LEARNER, [statement(LEARNER), statement(LEARNER), said])

    if isinstance(said, dict) and not place:
        assert response.status_code == 200
        return
    assert response.status_code == listed.status_code == 400
    extensions = {"code": "BAD_USER_INPUT", **({"field": place} if place else {})}
    assert error_of(response)["extensions"] == extensions
    assert error_of(listed)["extensions"]["field"] == (f"2.{place}" if place else "2")
    assert error_of(listed)["message"].startswith("2")
    assert count(database) == before


GOOD = statement(LEARNER, "juggled", id=SOME_ID)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b"\xff",
        b"\xef\xbb\xbf{}",
        json.dumps(GOOD).encode("utf-16"),
        json.dumps(GOOD).replace("juggled", "\\ud800").encode(),
        json.dumps(GOOD).replace("juggled", "\\u0000").encode(),
        json.dumps({**GOOD, "result": {"response": "a\x00b"}}).encode(),
        json.dumps({**GOOD, "result": {"extensions": {"http://x.example/a": {"\x00": 1}}}}).encode(),
        json.dumps(GOOD).replace('"verb"', '"verb": {"id": "http://x.example/a"}, "verb"', 1).encode(),
        b"[" * 500 + b"]" * 500,
        b"[" * 100_000 + b"]" * 100_000,
        json.dumps({**GOOD, "result": {"score": {"raw": 1}}}).replace(": 1}", ": NaN}").encode(),
        json.dumps({**GOOD, "result": {"score": {"raw": 1}}}).replace(": 1}", ": 1e400}").encode(),
        json.dumps({**GOOD, "result": {"score": {"raw": 1}}}).replace(": 1}", f": {'9' * 5_000}}}").encode(),
        json.dumps({**GOOD, "result": {"score": {"raw": 1}}}).replace(": 1}", ": 1e-99999}").encode(),
        json.dumps({**GOOD, "result": {"response": "x" * 70_000}}).encode(),
        json.dumps({**GOOD, "result": {"extensions": {"http://x.example/a": [1] * 3_000}}})
        .replace(" 1,", "1e300,")
        .encode(),
    ],
    ids=range(20),
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_broken_bodies_are_refused(xapi: Xapi, database: Database, body: bytes, method: str) -> None:
    before = count(database)
    send = xapi.post(LEARNER, body) if method == "POST" else xapi.put(LEARNER, body, GOOD["id"])

    response = await send

    assert (response.status_code, error_of(response)["extensions"]["code"]) == (400, "BAD_USER_INPUT")
    assert len(response.content) < 2_000
    assert count(database) == before


async def test_deep_and_large_extensions_within_the_limits_are_kept(xapi: Xapi) -> None:
    deep: Any = 1
    for _ in range(90):
        deep = [deep]
    extensions = {
        "http://x.example/a": {"deep": deep, "large": 10**300, "small": 1.5e-300, "é": "ü" * 20_000}
    }
    said = {**statement(LEARNER), "result": {"extensions": extensions}}

    await xapi.stored(LEARNER, said)

    assert (await xapi.one(LEARNER, said["id"]))["result"]["extensions"] == extensions


# Over the wire


def settings_for(database: Database) -> Settings:
    return Settings(
        _env_file=None,
        database_url=database.dsn("gym_api"),
        jwt_secret=SECRET,
        jwt_issuer=ISSUER,
        allowed_origins=["https://front.example"],
        environment="production",
    )


def token_of_now(person: Character) -> str:
    now = int(time.time())
    return token_of(person, algorithm="HS256", iat=now, exp=now + 3600)


@pytest.fixture
def server(database: Database) -> Iterator[str]:
    """The address of the whole application on a port."""
    with serving(create_app(settings_for(database))) as port:
        yield f"http://127.0.0.1:{port}"


async def test_head_is_get_without_its_body(xapi: Xapi, server: str) -> None:
    said = statement(LEARNER)
    await xapi.stored(LEARNER, said)
    headers = {"authorization": f"Bearer {token_of_now(LEARNER)}", "x-experience-api-version": "1.0.3"}
    address = f"{server}/xapi/statements?statementId={said['id']}"

    async with httpx.AsyncClient(headers=headers) as client:
        got, head = await client.get(address), await client.head(address)
        missing = await client.head(f"{server}/xapi/statements?statementId={uuid4()}")
        put = await client.put(address, json=said)
        again = await client.get(address)

    assert (head.status_code, head.content, missing.status_code) == (200, b"", 404)
    for name in ("content-length", "content-type", "x-experience-api-version", "last-modified"):
        assert head.headers[name] == got.headers[name]
    assert (put.status_code, put.content) == (204, b"")
    assert again.content == got.content


@pytest.mark.usefixtures("course")
async def test_a_client_library_stores_reads_and_voids(server: str) -> None:
    """TinCanPython, as Rustici wrote it; it knows no version after 1.0.3."""
    from tincan import Agent, AgentAccount, RemoteLRS, Statement

    lrs = RemoteLRS(endpoint=f"{server}/xapi/", version="1.0.3", auth=f"Bearer {token_of_now(LEARNER)}")
    actor = Agent(account=AgentAccount(name=str(LEARNER.id), home_page="https://learn.example"))

    def use() -> None:
        done = Statement(
            actor=actor,
            verb={"id": f"{ADL}completed", "display": {"en-US": "completed"}},
            object={"id": f"urn:uuid:{block_id(2)}", "objectType": "Activity"},
            timestamp=datetime.now(UTC),
        )
        about, saved = lrs.about(), lrs.save_statement(done)
        assert about.success, about.data
        assert saved.success, saved.data
        again = lrs.save_statement(saved.content)
        assert (again.success, again.response.status) == (True, 204)
        found = lrs.retrieve_statement(str(saved.content.id))
        assert found.success, found.data
        assert found.content.verb.id == done.verb.id
        many = lrs.save_statements(
            [Statement(actor=actor, verb=done.verb, object=done.object) for _ in range(3)]
        )
        assert many.success, many.data
        page = lrs.query_statements({"verb": done.verb, "limit": 2, "ascending": "true"})
        assert page.success, page.data
        more = lrs.more_statements(page.content)
        assert more.success, more.data
        ids = [said.id for result in (page, more) for said in result.content.statements]
        assert ids == [saved.content.id, *(said.id for said in many.content)]
        void = Statement(
            actor=actor,
            verb={"id": f"{ADL}voided"},
            object={"objectType": "StatementRef", "id": str(saved.content.id)},
        )
        assert lrs.save_statement(void).success
        assert lrs.retrieve_statement(str(saved.content.id)).response.status == 404
        assert lrs.retrieve_voided_statement(str(saved.content.id)).success

    await asyncio.to_thread(use)


@pytest.mark.any_postgres
async def test_browsers_may_put_with_the_header_of_the_version(database: Database) -> None:
    transport = httpx.ASGITransport(app=create_app(settings_for(database)))
    asked = {
        "origin": "https://front.example",
        "access-control-request-method": "PUT",
        "access-control-request-headers": "authorization,content-type,x-experience-api-version",
    }
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        allowed = await client.options("/xapi/statements", headers=asked)
        graphql = await client.options("/graphql", headers=asked)
        about = await client.get("/xapi/about", headers={"origin": "https://front.example"})

    assert (allowed.status_code, graphql.status_code) == (200, 400)
    assert "x-experience-api-consistent-through" in about.headers["access-control-expose-headers"]
