"""Many people at once: a list of people enrolled in one call, and one person enrolled by many calls."""

import threading
import time
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from resolvers.errors import CONSTRAINTS
from tests import cast
from tests.api import Api
from tests.databases import Database
from tests.people import Person

ENROLL = """mutation ($input: EnrollInput!) { enroll(input: $input) { enrollment { id } results {
    userId code message enrollment { id status attempt dueAt member { userId } cohort { name } } } } }"""
ADD_MEMBERS = """
with people as (insert into auth.users (id, email) select gen_random_uuid(), n || '@many.test'
    from generate_series(1, %s) as n returning id)
insert into public.memberships (community_id, user_id, display_name)
select %s, id, 'Somebody' from people returning user_id
"""


async def enroll(api: Api, person: Person, *people: UUID, **given: Any) -> Any:
    return await api.ask(person, ENROLL, input={"programId": cast.OPEN_TO_ALL, "userIds": people, **given})


async def test_a_list_tells_what_became_of_each_and_one_does_not_hinder_another(
    api: Api, as_admin: Person, database: Database
) -> None:
    nobody = uuid4()
    listed = [
        *(cast.SUSPENDED.id, cast.LEARNER.id, cast.OTHER_PEER.id, cast.TRAVELLER.id, cast.PEER.id),
        *(nobody, cast.LEARNER.id, nobody),
    ]
    begun = "insert into public.program_enrollments (community_id, program_id, user_id) values (%s, %s, %s)"
    database.run(begun, cast.ALPHA, cast.OPEN_TO_ALL, cast.TRAVELLER.id)
    due = "2090-01-01T00:00:00.000000Z"

    payload = (await enroll(api, as_admin, *listed, dueAt=due, cohortId=cast.OPEN_COHORT)).data["enroll"]

    assert payload["enrollment"] is None
    assert [UUID(result["userId"]) for result in payload["results"]] == listed
    assert [result["code"] for result in payload["results"]] == [
        *(
            "FAILED_PRECONDITION",
            None,
            "NOT_FOUND",
            "CONFLICT",
            None,
            "NOT_FOUND",
            "BAD_USER_INPUT",
            "BAD_USER_INPUT",
        )
    ]
    for result in payload["results"]:
        assert (
            (result["enrollment"] is None) == (result["code"] is not None) == (result["message"] is not None)
        )
    shown = payload["results"][1]["enrollment"]
    assert (shown["status"], shown["attempt"], shown["dueAt"]) == ("ACTIVE", 1, due)
    assert (shown["cohort"], shown["member"]) == ({"name": "March"}, {"userId": str(cast.LEARNER.id)})
    assert payload["results"][2]["message"] == payload["results"][5]["message"]  # of Beta, or of nowhere
    assert "suspended" in payload["results"][0]["message"]
    assert payload["results"][3]["message"] == CONSTRAINTS["program_enrollments_one_open"].message
    enrolled = "select count(*) from public.program_enrollments where program_id = %s"
    assert database.run(enrolled, cast.OPEN_TO_ALL) == [(3,)]


async def test_one_person_has_one_result(api: Api, as_admin: Person, as_learner: Person) -> None:
    given = {"programId": cast.OPEN_TO_ALL}

    own = (await api.ask(as_learner, ENROLL, input=given)).data["enroll"]
    others = (await api.ask(as_admin, ENROLL, input={**given, "userId": cast.PEER.id})).data["enroll"]
    listed = (await enroll(api, as_admin, cast.TRAVELLER.id)).data["enroll"]

    assert own["enrollment"] == {"id": own["results"][0]["enrollment"]["id"]}
    assert own["results"][0]["userId"] == str(cast.LEARNER.id)
    assert others["results"][0]["userId"] == str(cast.PEER.id)
    assert [len(payload["results"]) for payload in (own, others, listed)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"userIds": []}, "BAD_USER_INPUT", "userIds"),
        ({"userIds": [uuid4() for _ in range(1001)]}, "BAD_USER_INPUT", "userIds"),
        ({"userId": cast.PEER.id}, "BAD_USER_INPUT", "userIds"),
        ({"userIds": [None]}, "BAD_USER_INPUT", "input.userIds.0"),
        ({"userIds": ["x"]}, "BAD_USER_INPUT", "input.userIds.0"),
        ({"programId": cast.OTHER_PUBLISHED}, "NOT_FOUND", None),
        ({"programId": uuid4()}, "NOT_FOUND", None),
        ({"programId": cast.DRAFT}, "FAILED_PRECONDITION", None),
        ({"programId": cast.ARCHIVED}, "FAILED_PRECONDITION", None),
        ({"cohortId": cast.COHORT}, "NOT_FOUND", "cohortId"),
        ({"cohortId": cast.OTHER_COHORT}, "NOT_FOUND", "cohortId"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "BAD_USER_INPUT", "expiresAt"),
        ({"startsAt": "2090-01-01T00:00:00Z", "dueAt": "2080-01-01T00:00:00Z"}, "BAD_USER_INPUT", "startsAt"),
    ],
)
async def test_what_is_wrong_for_all_is_an_error(
    api: Api, as_admin: Person, database: Database, given: dict[str, Any], code: str, field: str | None
) -> None:
    before = database.run("select count(*) from public.program_enrollments")

    reply = await api.ask(
        as_admin,
        ENROLL,
        input={"programId": cast.OPEN_TO_ALL, "userIds": [cast.PEER.id, uuid4()], **given},
    )

    assert (reply.code, (reply.field or "").removeprefix("input.") or None) == (
        code,
        field and field.removeprefix("input."),
    )
    assert database.run("select count(*) from public.program_enrollments") == before


@pytest.mark.parametrize("name", ["as_learner", "as_suspended", "as_visitor", "as_other_learner"])
async def test_lists_are_for_admins(api: Api, name: str, request: pytest.FixtureRequest) -> None:
    somebody = request.getfixturevalue(name)

    assert (await enroll(api, somebody, cast.LEARNER.id)).code == "FORBIDDEN"


async def test_another_communitys_admin_finds_nobody_here(api: Api, as_other_community: Person) -> None:
    ours = await enroll(api, as_other_community, cast.LEARNER.id)
    theirs = await enroll(api, as_other_community, cast.LEARNER.id, programId=cast.OTHER_PUBLISHED)

    assert ours.code == "NOT_FOUND"
    assert theirs.data["enroll"]["results"][0]["code"] == "NOT_FOUND"


async def test_a_thousand_people_at_once(api: Api, as_admin: Person, database: Database) -> None:
    people = [person for (person,) in database.run(ADD_MEMBERS, 1000, cast.ALPHA)]

    began = time.perf_counter()
    first = (await enroll(api, as_admin, *people)).data["enroll"]["results"]
    all_in = time.perf_counter() - began
    again = (await enroll(api, as_admin, *people)).data["enroll"]["results"]
    none_in = time.perf_counter() - began - all_in

    assert {result["code"] for result in first} == {None}
    assert {result["code"] for result in again} == {"CONFLICT"}
    assert max(all_in, none_in) < 4, "about half a second where nothing else runs"


def test_one_person_enrolled_from_twenty_connections_at_once(as_admin: Person, database: Database) -> None:
    enroll_one = "select public.enroll_people(jsonb_build_object('program_id', %s::text, {}))"
    alone = enroll_one.format(f"'user_id', '{cast.PEER.id}'")
    in_list = enroll_one.format(f"'user_ids', jsonb_build_array('{cast.PEER.id}', '{cast.TRAVELLER.id}')")
    start, outcomes = threading.Barrier(20), []

    def one(number: int) -> None:
        with as_admin.transaction() as connection:
            start.wait(20)
            try:
                ((told,),) = connection.execute(
                    in_list if number % 2 else alone, (cast.OPEN_TO_ALL,)
                ).fetchall()
                outcomes.append(told["results"][0].get("code") or "won")
            except psycopg.errors.UniqueViolation as error:
                outcomes.append(CONSTRAINTS[error.diag.constraint_name or ""].code)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(outcomes) == ["CONFLICT"] * 19 + ["won"]
    rows = "select attempt, status from public.program_enrollments where program_id = %s"
    assert database.run(rows, cast.OPEN_TO_ALL) == [(1, "active")] * 2
