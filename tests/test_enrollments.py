"""Enrolments: joining and leaving programs."""

import asyncio
from uuid import UUID, uuid4

import pytest

from tests import cast
from tests.api import Api, api_of
from tests.databases import Database
from tests.people import Person

ENROLL = """mutation ($input: EnrollInput!) { enroll(input: $input) { enrollment {
    id status attempt enrolledAt dueAt completedAt program { id } member { userId } } } }"""
WITHDRAW = """mutation ($id: UUID!) { withdrawEnrollment(input: {id: $id}) { enrollment {
    id status withdrawnAt member { userId } } } }"""
ENROLLMENTS = """query ($filter: EnrollmentFilter) { enrollments(filter: $filter) { totalCount nodes {
    id status attempt program { id title } member { userId displayName } } } }"""


async def test_signed_out_sees_and_does_nothing(api: Api, as_anon: Person) -> None:
    assert (await api.ask(as_anon, ENROLLMENTS)).code == "UNAUTHENTICATED"
    assert (await api.ask(as_anon, ENROLL, input={"programId": cast.OPEN_TO_ALL})).code == "UNAUTHENTICATED"


async def test_learners_see_their_own_enrolments_admins_all_of_the_community(
    api: Api, as_learner: Person, as_admin: Person
) -> None:
    own = (await api.ask(as_learner, ENROLLMENTS)).data["enrollments"]
    everybodys = (await api.ask(as_admin, ENROLLMENTS)).data["enrollments"]

    assert {node["member"]["userId"] for node in own["nodes"]} == {str(cast.LEARNER.id)}
    ids = {UUID(node["id"]) for node in everybodys["nodes"]}
    assert {cast.ENROLLMENT, cast.PEER_ENROLLMENT, cast.PEER_WITHDRAWN} <= ids
    assert not ids & {cast.OTHER_ENROLLMENT, cast.TRAVELLER_ELSEWHERE}


async def test_enrolments_are_filtered_by_program_person_and_state(api: Api, as_admin: Person) -> None:
    wanted = {"programId": cast.PUBLISHED, "userId": cast.PEER.id, "status": ["ACTIVE"]}

    found = (await api.ask(as_admin, ENROLLMENTS, filter=wanted)).data["enrollments"]

    assert [UUID(node["id"]) for node in found["nodes"]] == [cast.PEER_ENROLLMENT]
    assert found["nodes"][0]["attempt"] == 2


async def test_a_learner_enrols_and_withdraws_and_enrols_again(api: Api, as_learner: Person) -> None:
    first = (await api.ask(as_learner, ENROLL, input={"programId": cast.OPEN_TO_ALL})).data["enroll"][
        "enrollment"
    ]
    twice = await api.ask(as_learner, ENROLL, input={"programId": cast.OPEN_TO_ALL})
    left = (await api.ask(as_learner, WITHDRAW, id=first["id"])).data["withdrawEnrollment"]["enrollment"]
    again = (await api.ask(as_learner, ENROLL, input={"programId": cast.OPEN_TO_ALL})).data["enroll"][
        "enrollment"
    ]

    assert (first["status"], first["attempt"]) == ("ACTIVE", 1)
    assert first["member"] == {"userId": str(cast.LEARNER.id)}
    assert twice.code == "CONFLICT"
    assert left["status"] == "WITHDRAWN"
    assert left["withdrawnAt"] is not None
    assert (again["status"], again["attempt"]) == ("ACTIVE", 2)


async def test_an_admin_enrols_others_with_a_due_date(api: Api, as_admin: Person) -> None:
    given = {"programId": cast.OPEN_TO_ALL, "userId": cast.PEER.id, "dueAt": "2027-01-31T23:00:00+01:00"}

    enrollment = (await api.ask(as_admin, ENROLL, input=given)).data["enroll"]["enrollment"]

    assert enrollment["member"] == {"userId": str(cast.PEER.id)}
    assert enrollment["dueAt"] == "2027-01-31T22:00:00.000000Z"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"programId": cast.OPEN_TO_ALL, "userId": cast.PEER.id}, "FORBIDDEN"),
        ({"programId": cast.OPEN_TO_ALL, "dueAt": "2027-01-31T00:00:00Z"}, "FORBIDDEN"),
        ({"programId": cast.DRAFT}, "NOT_FOUND"),
        ({"programId": cast.ARCHIVED_UNSEEN}, "NOT_FOUND"),
        ({"programId": cast.ARCHIVED}, "FAILED_PRECONDITION"),
        ({"programId": cast.OTHER_PUBLISHED}, "NOT_FOUND"),
        ({"programId": uuid4()}, "NOT_FOUND"),
        ({"programId": "none"}, "BAD_USER_INPUT"),
        ({}, "BAD_USER_INPUT"),
    ],
)
async def test_what_a_learner_may_not_enrol_in_or_whom(
    api: Api, as_learner: Person, database: Database, given: dict[str, object], code: str
) -> None:
    before = database.run("select count(*) from public.program_enrollments")

    reply = await api.ask(as_learner, ENROLL, input=given)

    assert reply.code == code
    assert database.run("select count(*) from public.program_enrollments") == before


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"programId": cast.OPEN_TO_ALL, "userId": cast.OTHER_LEARNER.id}, "NOT_FOUND"),
        ({"programId": cast.OPEN_TO_ALL, "userId": uuid4()}, "NOT_FOUND"),
        ({"programId": cast.OPEN_TO_ALL, "userId": cast.SUSPENDED.id}, "FAILED_PRECONDITION"),
        ({"programId": cast.DRAFT, "userId": cast.PEER.id}, "FAILED_PRECONDITION"),
        ({"programId": cast.PUBLISHED, "userId": cast.PEER.id}, "CONFLICT"),
        (
            {"programId": cast.OPEN_TO_ALL, "userId": cast.PEER.id, "dueAt": "0001-01-01T00:00:00Z"},
            "BAD_USER_INPUT",
        ),
        (
            {"programId": cast.OPEN_TO_ALL, "userId": cast.PEER.id, "dueAt": "2027-02-30T00:00:00Z"},
            "BAD_USER_INPUT",
        ),
        ({"programId": cast.OPEN_TO_ALL, "userId": cast.PEER.id, "dueAt": "2027-01-31"}, "BAD_USER_INPUT"),
        ({"programId": cast.OPEN_TO_ALL, "userId": cast.PEER.id, "dueAt": "infinity"}, "BAD_USER_INPUT"),
    ],
)
async def test_what_an_admin_cannot_enrol(
    api: Api, as_admin: Person, given: dict[str, object], code: str
) -> None:
    assert (await api.ask(as_admin, ENROLL, input=given)).code == code


async def test_withdrawing_is_for_oneself_or_an_admin_and_only_once(
    api: Api, as_learner: Person, as_peer: Person, as_admin: Person, as_other_community: Person
) -> None:
    by_peer = await api.ask(as_peer, WITHDRAW, id=cast.ENROLLMENT)
    by_other = await api.ask(as_other_community, WITHDRAW, id=cast.ENROLLMENT)
    by_admin = await api.ask(as_admin, WITHDRAW, id=cast.ENROLLMENT)
    again = await api.ask(as_learner, WITHDRAW, id=cast.ENROLLMENT)
    completed = await api.ask(as_learner, WITHDRAW, id=cast.COMPLETED_ENROLLMENT)

    assert [by_peer.code, by_other.code] == ["NOT_FOUND", "NOT_FOUND"]
    assert by_admin.data["withdrawEnrollment"]["enrollment"]["status"] == "WITHDRAWN"
    assert [again.code, completed.code] == ["FAILED_PRECONDITION", "FAILED_PRECONDITION"]


async def test_the_viewers_own_enrolment_is_the_latest_attempt(api: Api, as_peer: Person) -> None:
    query = "query ($id: UUID!) { program(id: $id) { viewerEnrollment { id attempt } enrollments { totalCount } } }"

    program = (await api.ask(as_peer, query, id=cast.PUBLISHED)).data["program"]

    assert program["viewerEnrollment"] == {"id": str(cast.PEER_ENROLLMENT), "attempt": 2}
    assert program["enrollments"]["totalCount"] == 2


async def test_of_many_enrolments_at_once_one_wins(database: Database, as_learner: Person) -> None:
    async with api_of(database) as api:
        replies = await asyncio.gather(
            *(api.ask(as_learner, ENROLL, input={"programId": cast.OPEN_TO_ALL}) for _ in range(12))
        )

    outcomes = sorted("won" if "errors" not in reply.json else reply.code for reply in replies)
    assert outcomes == ["CONFLICT"] * 11 + ["won"]
    rows = database.run(
        "select attempt, status from public.program_enrollments where program_id = %s", cast.OPEN_TO_ALL
    )
    assert rows == [(1, "active")]
