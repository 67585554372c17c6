"""Cohorts: who goes through a program together, and the dates that they share."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests import cast
from tests.api import Api
from tests.attempts import refusal
from tests.databases import Database
from tests.people import Person

FIELDS = "id name startsAt dueAt expiresAt program { id }"
CREATE = (
    f"mutation ($input: CreateCohortInput!) {{ createCohort(input: $input) {{ cohort {{ {FIELDS} }} }} }}"
)
UPDATE = (
    f"mutation ($input: UpdateCohortInput!) {{ updateCohort(input: $input) {{ cohort {{ {FIELDS} }} }} }}"
)
DELETE = (
    "mutation ($input: DeleteCohortInput!) { deleteCohort(input: $input) { deletedCohortId cohort { id } } }"
)
COHORTS = """query ($filter: CohortFilter) { cohorts(filter: $filter) { totalCount nodes {
    id name enrollments { totalCount nodes { member { userId } } } } } }"""
ENROLL = """mutation ($input: EnrollInput!) { enroll(input: $input) { enrollment {
    id status startsAt dueAt expiresAt cohort { name } } } }"""
CHANGE = """mutation ($input: UpdateEnrollmentInput!) { updateEnrollment(input: $input) { enrollment {
    id status startsAt dueAt expiresAt originalDueAt cohort { id } } } }"""

SOON, LATER, LAST = (f"209{n}-01-01T00:00:00.000000Z" for n in (0, 1, 2))
PAST = "2020-01-01T00:00:00.000000Z"


def dates_of(shown: dict[str, Any]) -> tuple[str | None, ...]:
    return shown["startsAt"], shown["dueAt"], shown["expiresAt"]


async def enrolled(api: Api, admin: Person, person: UUID, **given: Any) -> dict[str, Any]:
    given = {"programId": cast.OPEN_TO_ALL, "userId": person, "cohortId": cast.OPEN_COHORT, **given}
    found: dict[str, Any] = (await api.ask(admin, ENROLL, input=given)).data["enroll"]["enrollment"]
    return found


async def changed(api: Api, admin: Person, **given: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await api.ask(admin, CHANGE, input=given)).data["updateEnrollment"]["enrollment"]
    return found


async def cohort_with(api: Api, admin: Person, **dates: str | None) -> None:
    reply = await api.ask(admin, UPDATE, input={"id": cast.OPEN_COHORT, **dates})
    assert reply.data


async def test_signed_out_sees_and_does_nothing(api: Api, as_anon: Person) -> None:
    assert (await api.ask(as_anon, COHORTS)).code == "UNAUTHENTICATED"
    assert (await api.ask(as_anon, DELETE, input={"id": cast.COHORT})).code == "UNAUTHENTICATED"


@pytest.mark.parametrize("name", ["as_learner", "as_suspended", "as_visitor", "as_other_community"])
async def test_cohorts_are_for_the_admins_of_their_community(
    api: Api, name: str, request: pytest.FixtureRequest
) -> None:
    somebody = request.getfixturevalue(name)
    created = await api.ask(somebody, CREATE, input={"programId": cast.PUBLISHED, "name": "Mine"})
    updated = await api.ask(somebody, UPDATE, input={"id": cast.EMPTY_COHORT, "name": "Mine"})
    deleted = await api.ask(somebody, DELETE, input={"id": cast.EMPTY_COHORT})

    expected = "NOT_FOUND" if name == "as_other_community" else "FORBIDDEN"
    assert {created.code, updated.code, deleted.code} == {expected}


async def test_learners_see_the_cohorts_they_are_in_and_not_who_else_is(
    api: Api, as_learner: Person, as_peer: Person, as_admin: Person, as_other_community: Person
) -> None:
    of_the_program = {"programId": cast.PUBLISHED}
    await changed(api, as_admin, id=cast.TRAVELLER_ENROLLMENT, cohortId=cast.COHORT)

    learners = (await api.ask(as_learner, COHORTS)).data["cohorts"]["nodes"]
    peers = (await api.ask(as_peer, COHORTS)).data["cohorts"]
    admins = (await api.ask(as_admin, COHORTS, filter=of_the_program)).data["cohorts"]["nodes"]
    others = (await api.ask(as_other_community, COHORTS)).data["cohorts"]["nodes"]

    assert [cohort["name"] for cohort in learners] == ["July"]
    assert learners[0]["enrollments"] == {
        "totalCount": 1,
        "nodes": [{"member": {"userId": str(cast.LEARNER.id)}}],
    }
    assert peers == {"totalCount": 0, "nodes": []}
    assert [(cohort["name"], cohort["enrollments"]["totalCount"]) for cohort in admins] == [
        ("August", 0),
        ("July", 2),
    ]
    assert [cohort["id"] for cohort in others] == [str(cast.OTHER_COHORT)]


async def test_a_cohort_is_created_shown_with_its_program_and_deleted(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    given = {
        "programId": cast.DRAFT,
        "name": "Early birds",
        "startsAt": SOON,
        "dueAt": LATER,
        "expiresAt": LAST,
    }
    query = "query ($id: UUID!) { program(id: $id) { cohorts { id name } } }"

    cohort = (await api.ask(as_admin, CREATE, input=given)).data["createCohort"]["cohort"]
    listed = (await api.ask(as_admin, query, id=cast.DRAFT)).data["program"]["cohorts"]
    to_learner = (await api.ask(as_learner, query, id=cast.OPEN_TO_ALL)).data["program"]["cohorts"]
    deleted = (await api.ask(as_admin, DELETE, input={"id": cohort["id"]})).data["deleteCohort"]

    assert (cohort["name"], *dates_of(cohort)) == ("Early birds", SOON, LATER, LAST)
    assert cohort["program"] == {"id": str(cast.DRAFT)}
    assert listed == [{"id": cohort["id"], "name": "Early birds"}]
    assert to_learner == []
    assert deleted == {"deletedCohortId": cohort["id"], "cohort": None}


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"name": " \u200b"}, "BAD_USER_INPUT", "name"),
        ({"name": "x" * 201}, "BAD_USER_INPUT", "name"),
        ({"name": "July"}, "CONFLICT", "name"),
        ({"programId": cast.OTHER_PUBLISHED}, "NOT_FOUND", None),
        ({"programId": uuid4()}, "NOT_FOUND", None),
        ({"startsAt": LATER, "dueAt": SOON}, "BAD_USER_INPUT", "startsAt"),
        ({"startsAt": LATER, "expiresAt": SOON}, "BAD_USER_INPUT", "startsAt"),
        ({"dueAt": LATER, "expiresAt": SOON}, "BAD_USER_INPUT", "dueAt"),
        ({"startsAt": "0001-01-01T00:00:00Z"}, "BAD_USER_INPUT", "startsAt"),
        ({"dueAt": "0001-01-01T00:00:00Z"}, "BAD_USER_INPUT", "dueAt"),
        ({"expiresAt": "9999-12-31T23:00:00Z"}, "BAD_USER_INPUT", "expiresAt"),
    ],
)
async def test_a_bad_cohort_is_refused_and_the_field_named(
    api: Api, as_admin: Person, given: dict[str, Any], code: str, field: str | None
) -> None:
    reply = await api.ask(as_admin, CREATE, input={"programId": cast.PUBLISHED, "name": "New", **given})

    assert (reply.code, reply.field) == (code, field)


async def test_the_same_name_may_come_in_another_program(api: Api, as_admin: Person) -> None:
    reply = await api.ask(as_admin, CREATE, input={"programId": cast.OPEN_TO_ALL, "name": "July"})

    assert reply.data["createCohort"]["cohort"]["name"] == "July"


async def test_a_cohort_that_somebody_was_in_stays(api: Api, as_admin: Person, database: Database) -> None:
    while_open = await api.ask(as_admin, DELETE, input={"id": cast.COHORT})
    await changed(api, as_admin, id=cast.ENROLLMENT, status="EXPIRED")
    afterwards = await api.ask(as_admin, DELETE, input={"id": cast.COHORT})

    assert [while_open.code, afterwards.code] == ["FAILED_PRECONDITION", "FAILED_PRECONDITION"]
    assert refusal(as_admin, "delete from public.cohorts where id = %s", cast.COHORT) == "PT412"
    assert database.run("select count(*) from public.cohorts where id = %s", cast.COHORT) == [(1,)]


async def test_enrolling_into_a_cohort_takes_the_dates_that_are_not_given(api: Api, as_admin: Person) -> None:
    await cohort_with(api, as_admin, startsAt=SOON, dueAt=LATER, expiresAt=LAST)

    as_all = await enrolled(api, as_admin, cast.LEARNER.id)
    with_own = await enrolled(api, as_admin, cast.PEER.id, startsAt=PAST, dueAt=SOON)

    assert (as_all["status"], *dates_of(as_all)) == ("PENDING", SOON, LATER, LAST)
    assert (with_own["status"], *dates_of(with_own)) == ("ACTIVE", PAST, SOON, LAST)
    assert as_all["cohort"] == with_own["cohort"] == {"name": "March"}


async def test_nobody_is_enrolled_in_a_cohort_of_another_program_or_one_that_is_over(
    api: Api, as_admin: Person
) -> None:
    given = {"programId": cast.OPEN_TO_ALL, "userId": cast.PEER.id}
    elsewhere = await api.ask(as_admin, ENROLL, input={**given, "cohortId": cast.COHORT})
    await cohort_with(api, as_admin, expiresAt=PAST)
    too_late = await api.ask(as_admin, ENROLL, input={**given, "cohortId": cast.OPEN_COHORT})

    assert (elsewhere.code, elsewhere.field) == ("NOT_FOUND", "cohortId")
    assert (too_late.code, too_late.field) == ("BAD_USER_INPUT", "expiresAt")


async def test_a_learner_does_not_choose_a_cohort(api: Api, as_learner: Person) -> None:
    for cohort in (cast.OPEN_COHORT, cast.COHORT, cast.OTHER_COHORT, uuid4()):
        reply = await api.ask(as_learner, ENROLL, input={"programId": cast.OPEN_TO_ALL, "cohortId": cohort})

        assert reply.code == "FORBIDDEN"


async def test_a_date_of_the_cohort_moves_for_all_but_those_with_their_own(
    api: Api, as_admin: Person, database: Database
) -> None:
    await cohort_with(api, as_admin, dueAt=SOON)
    follows = await enrolled(api, as_admin, cast.LEARNER.id)
    extended = await enrolled(api, as_admin, cast.PEER.id)
    ended = await enrolled(api, as_admin, cast.TRAVELLER.id)
    await changed(api, as_admin, id=extended["id"], dueAt=LAST)
    await changed(api, as_admin, id=ended["id"], status="WITHDRAWN")

    await cohort_with(api, as_admin, dueAt=LATER)

    years = "to_char(due_at, 'YYYY'), to_char(original_due_at, 'YYYY')"
    query = f"select {years} from public.program_enrollments where id = %s"
    assert database.run(query, follows["id"]) == [("2091", "2090")]
    assert database.run(query, extended["id"]) == [("2092", "2090")]
    assert database.run(query, ended["id"]) == [("2090", None)]


async def test_the_start_of_the_cohort_moves_for_those_who_have_not_begun(
    api: Api, as_admin: Person, database: Database
) -> None:
    await cohort_with(api, as_admin, startsAt=SOON)
    waiting = await enrolled(api, as_admin, cast.LEARNER.id)
    early = await enrolled(api, as_admin, cast.PEER.id)
    await changed(api, as_admin, id=early["id"], status="ACTIVE")
    status = "select status, starts_at = %s, starts_at <= now() from public.program_enrollments where id = %s"

    await cohort_with(api, as_admin, startsAt=LATER)
    assert database.run(status, LATER, waiting["id"]) == [("pending", True, False)]
    assert database.run(status, LATER, early["id"]) == [("active", False, True)]

    await cohort_with(api, as_admin, startsAt=PAST)
    assert database.run(status, PAST, waiting["id"]) == [("active", True, True)]


async def test_dates_that_somebodys_own_would_contradict_do_not_move(
    api: Api, as_admin: Person, database: Database
) -> None:
    await cohort_with(api, as_admin, dueAt=SOON, expiresAt=LAST)
    enrollment = await enrolled(api, as_admin, cast.LEARNER.id, dueAt=LATER)

    reply = await api.ask(as_admin, UPDATE, input={"id": cast.OPEN_COHORT, "expiresAt": SOON})

    assert reply.code == "FAILED_PRECONDITION"
    kept = "select to_char(expires_at, 'YYYY') from public."
    assert database.run(f"{kept}cohorts where id = %s", cast.OPEN_COHORT) == [("2092",)]
    assert database.run(f"{kept}program_enrollments where id = %s", enrollment["id"]) == [("2092",)]


async def test_a_cohort_does_not_end_people_by_a_mistyped_year(api: Api, as_admin: Person) -> None:
    await enrolled(api, as_admin, cast.LEARNER.id)

    reply = await api.ask(as_admin, UPDATE, input={"id": cast.OPEN_COHORT, "expiresAt": PAST})

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", "expiresAt")


async def test_who_changes_cohorts_takes_the_new_dates_but_keeps_their_own(
    api: Api, as_admin: Person
) -> None:
    await cohort_with(api, as_admin, dueAt=SOON, expiresAt=LAST)
    created = await api.ask(
        as_admin,
        CREATE,
        input={"programId": cast.OPEN_TO_ALL, "name": "April", "dueAt": LATER, "expiresAt": LATER},
    )
    april = created.data["createCohort"]["cohort"]["id"]
    follows = await enrolled(api, as_admin, cast.LEARNER.id)
    has_own = await enrolled(api, as_admin, cast.PEER.id, dueAt="2089-01-01T00:00:00Z")

    follows = await changed(api, as_admin, id=follows["id"], cohortId=april)
    has_own = await changed(api, as_admin, id=has_own["id"], cohortId=april)
    outside = await changed(api, as_admin, id=follows["id"], cohortId=None)

    assert dates_of(follows) == (None, LATER, LATER)
    assert dates_of(has_own) == (None, "2089-01-01T00:00:00.000000Z", LATER)
    assert (outside["cohort"], dates_of(outside)) == (None, (None, LATER, LATER))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"startsAt": LATER, "dueAt": SOON}, "startsAt"),
        ({"dueAt": LATER, "expiresAt": SOON}, "dueAt"),
    ],
)
async def test_of_dates_out_of_order_the_first_is_named(
    api: Api, as_admin: Person, given: dict[str, Any], field: str
) -> None:
    await cohort_with(api, as_admin, dueAt=SOON)
    created = await api.ask(as_admin, CREATE, input={"programId": cast.OPEN_TO_ALL, "name": "New", **given})
    updated = await api.ask(as_admin, UPDATE, input={"id": cast.OPEN_COHORT, "startsAt": LATER})

    assert (created.code, created.field) == ("BAD_USER_INPUT", field)
    assert (updated.code, updated.field) == ("BAD_USER_INPUT", "startsAt")


async def test_dates_that_do_not_go_with_those_of_the_cohort_say_so(api: Api, as_admin: Person) -> None:
    await cohort_with(api, as_admin, startsAt=SOON, expiresAt=LATER)
    person = {"programId": cast.OPEN_TO_ALL, "userId": cast.LEARNER.id}

    enrolled = await api.ask(as_admin, ENROLL, input={**person, "cohortId": cast.OPEN_COHORT, "dueAt": LAST})
    own = (await api.ask(as_admin, ENROLL, input={**person, "dueAt": LAST})).data["enroll"]["enrollment"]
    moved = await api.ask(as_admin, CHANGE, input={"id": own["id"], "cohortId": cast.OPEN_COHORT})

    for reply in (enrolled, moved):
        assert (reply.code, reply.field) == ("BAD_USER_INPUT", "dueAt")
        assert reply.error["message"].startswith("Together with the dates of the cohort")


async def test_an_archived_program_gets_no_cohort(api: Api, as_admin: Person) -> None:
    new = {"programId": cast.ARCHIVED, "name": "Too late"}

    reply = await api.ask(as_admin, CREATE, input=new)
    by_rest = refusal(
        as_admin, "insert into public.cohorts (program_id, name) values (%s, 'Too late')", cast.ARCHIVED
    )

    assert (reply.code, by_rest) == ("FAILED_PRECONDITION", "PT412")
    assert "Restore it" in reply.error["message"]
