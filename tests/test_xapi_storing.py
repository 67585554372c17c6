"""Storing statements: each once, all or none, whoever sends at the same time; and voiding them."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests import cast
from tests.api import Api
from tests.course_documents import block_id
from tests.databases import Database
from tests.people import Person
from tests.progressing import completions, teach
from tests.signing import ISSUER
from tests.stating import ADL, BLOCKS, Xapi, account, error_of, kept, statement, voiding

LEARNER, PEER, ADMIN = cast.LEARNER, cast.PEER, cast.ADMIN


@pytest.fixture
async def course(api: Api, as_admin: Person) -> str:
    return await teach(api, as_admin, *BLOCKS)


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
