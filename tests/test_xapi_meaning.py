"""When two statements are the same, and that one id has one meaning."""

from copy import deepcopy
from typing import Any

import pytest

from tests import cast
from tests.api import Api
from tests.databases import Database
from tests.people import Person
from tests.progressing import teach
from tests.stating import ADL, BLOCKS, Said, Xapi, account, count, error_of, statement

LEARNER, PEER, ADMIN = cast.LEARNER, cast.PEER, cast.ADMIN


@pytest.fixture
async def course(api: Api, as_admin: Person) -> str:
    return await teach(api, as_admin, *BLOCKS)


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
