"""What admins change in an enrolment: its state, its dates, with a reason; what others try; and what is overdue."""

import threading
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests import cast
from tests.api import Api
from tests.cast import ALPHA
from tests.databases import Database
from tests.people import Person, put_on

UPDATE = """mutation ($input: UpdateEnrollmentInput!) { updateEnrollment(input: $input) { enrollment {
    id status startsAt dueAt expiresAt originalDueAt completedAt isOverdue } } }"""
ENROLL = """mutation ($input: EnrollInput!) { enroll(input: $input) { enrollment {
    id status attempt startsAt dueAt expiresAt } } }"""
WITHDRAW = "mutation ($id: UUID!) { withdrawEnrollment(input: {id: $id}) { enrollment { status } } }"
LIST = """query ($filter: EnrollmentFilter) { enrollments(filter: $filter) { totalCount nodes {
    id isOverdue } } }"""
IN_PROGRAM = """query ($id: UUID!, $filter: EnrollmentFilter) { program(id: $id) {
    enrollments(filter: $filter) { totalCount nodes { id } } } }"""

PAST = "2020-01-01T00:00:00.000000Z"
SOON, LATER, LAST = (f"209{n}-01-01T00:00:00.000000Z" for n in (0, 1, 2))


async def update(api: Api, person: Person, **given: Any) -> Any:
    return await api.ask(person, UPDATE, input={"id": cast.ENROLLMENT, **given})


async def test_an_admin_pauses_resumes_and_completes(api: Api, as_admin: Person) -> None:
    seen = []
    for given in (
        {"status": "PAUSED"},
        {"status": "ACTIVE"},
        {"status": "COMPLETED", "reason": "An exam elsewhere"},
    ):
        reply = await update(api, as_admin, **given)
        seen.append(reply.data["updateEnrollment"]["enrollment"])

    assert [enrollment["status"] for enrollment in seen] == ["PAUSED", "ACTIVE", "COMPLETED"]
    assert [enrollment["completedAt"] is not None for enrollment in seen] == [False, False, True]


@pytest.mark.parametrize("reason", [None, "", " \n\u200b"])
async def test_completing_needs_a_reason(
    api: Api, as_admin: Person, database: Database, reason: str | None
) -> None:
    reply = await update(api, as_admin, status="COMPLETED", reason=reason)

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", "reason")
    assert database.run("select status from public.program_enrollments where id = %s", cast.ENROLLMENT) == [
        ("active",)
    ]


async def test_a_reason_is_short_and_does_not_last(api: Api, as_admin: Person) -> None:
    too_long = await update(api, as_admin, dueAt=SOON, reason="x" * 1001)
    long = await update(api, as_admin, dueAt=SOON, reason="x" * 1000)
    both = await api.ask(
        as_admin,
        f"""mutation {{
            first: updateEnrollment(input: {{id: "{cast.ENROLLMENT}", status: PAUSED, reason: "Ill"}}) {{
                enrollment {{ id }} }}
            second: updateEnrollment(input: {{id: "{cast.ENROLLMENT}", status: COMPLETED}}) {{
                enrollment {{ id }} }} }}""",
    )

    assert (too_long.code, too_long.field) == ("BAD_USER_INPUT", "reason")
    assert long.data["updateEnrollment"]["enrollment"]["dueAt"] == SOON
    assert (both.code, both.field, both.error["path"]) == ("BAD_USER_INPUT", "reason", ["second"])


async def test_the_audit_log_can_read_the_reason(as_admin: Person) -> None:
    with as_admin.transaction() as connection:
        told = connection.execute(
            "select private.note_reason('Ill'), current_setting('gym.reason')"
        ).fetchall()

    assert told[0][1] == "Ill"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("active", "PENDING", "An enrolment cannot go from active to pending."),
        ("active", "ACTIVE", "The enrolment is active already."),
        ("paused", "PAUSED", "The enrolment is paused already."),
        ("completed", "ACTIVE", "An enrolment cannot go from completed to active."),
        ("completed", "COMPLETED", "The enrolment is completed already."),
        ("withdrawn", "ACTIVE", "An enrolment cannot go from withdrawn to active."),
        ("expired", "ACTIVE", "An enrolment cannot go from expired to active."),
    ],
)
async def test_a_refused_transition_says_the_state(
    api: Api, as_admin: Person, database: Database, before: str, after: str, message: str
) -> None:
    database.run(
        "update public.program_enrollments set status = %s where id = %s and status <> %s",
        before,
        cast.ENROLLMENT,
        before,
    )

    reply = await update(api, as_admin, status=after, reason="Because")

    assert (reply.code, reply.error["message"]) == ("FAILED_PRECONDITION", message)


async def test_the_first_due_date_is_kept(api: Api, as_admin: Person) -> None:
    seen = [
        (await update(api, as_admin, dueAt=date, reason="Ill")).data["updateEnrollment"]["enrollment"]
        for date in (SOON, LATER, LAST, None, SOON)
    ]

    assert [e["dueAt"] for e in seen] == [SOON, LATER, LAST, None, SOON]
    assert [e["originalDueAt"] for e in seen] == [None, SOON, SOON, SOON, SOON]


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"dueAt": LATER, "expiresAt": SOON}, "BAD_USER_INPUT", "dueAt"),
        ({"expiresAt": PAST}, "BAD_USER_INPUT", "expiresAt"),
        ({"startsAt": SOON}, "FAILED_PRECONDITION", None),
        ({"startsAt": PAST}, "FAILED_PRECONDITION", None),
        ({"dueAt": "0001-01-01T00:00:00Z"}, "BAD_USER_INPUT", "dueAt"),
        ({"expiresAt": "9999-12-31T12:00:00Z"}, "BAD_USER_INPUT", "expiresAt"),
        ({"status": None}, "BAD_USER_INPUT", "status"),
        ({"cohortId": cast.OTHER_COHORT}, "NOT_FOUND", "cohortId"),
        ({"cohortId": cast.OPEN_COHORT}, "NOT_FOUND", "cohortId"),
        ({"cohortId": uuid4()}, "NOT_FOUND", "cohortId"),
        ({"id": cast.OTHER_ENROLLMENT, "dueAt": SOON}, "NOT_FOUND", None),
        ({"id": uuid4(), "dueAt": SOON}, "NOT_FOUND", None),
        ({"id": cast.COMPLETED_ENROLLMENT, "dueAt": SOON}, "FAILED_PRECONDITION", None),
    ],
)
async def test_a_bad_change_changes_nothing(
    api: Api, as_admin: Person, database: Database, given: dict[str, Any], code: str, field: str | None
) -> None:
    everything = "select * from public.program_enrollments order by id"
    before = database.run(everything)

    reply = await update(api, as_admin, **given)

    assert (reply.code, reply.field) == (code, field)
    assert database.run(everything) == before


async def test_a_start_to_come_makes_it_pending_and_can_be_moved(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    given = {"programId": cast.OPEN_TO_ALL, "userId": cast.LEARNER.id, "startsAt": SOON, "expiresAt": LAST}
    pending = (await api.ask(as_admin, ENROLL, input=given)).data["enroll"]["enrollment"]
    moved = (await update(api, as_admin, id=pending["id"], startsAt=LATER)).data["updateEnrollment"]
    begun = (await update(api, as_admin, id=pending["id"], startsAt=PAST)).data["updateEnrollment"]
    seen = (await api.ask(as_learner, LIST, filter={"programId": cast.OPEN_TO_ALL})).data["enrollments"]

    assert (pending["status"], pending["startsAt"], pending["expiresAt"]) == ("PENDING", SOON, LAST)
    assert (moved["enrollment"]["status"], moved["enrollment"]["startsAt"]) == ("PENDING", LATER)
    assert (begun["enrollment"]["status"], begun["enrollment"]["startsAt"]) == ("ACTIVE", PAST)
    assert seen["totalCount"] == 1


@pytest.mark.parametrize("name", ["as_learner", "as_suspended", "as_visitor", "as_other_community"])
@pytest.mark.parametrize(
    "given",
    [
        {"status": "PAUSED"},
        {"status": "WITHDRAWN"},
        {"status": "COMPLETED", "reason": "I know it all"},
        {"dueAt": LAST},
        {"expiresAt": None},
        {"cohortId": None},
        {},
    ],
    ids=str,
)
async def test_others_change_nothing(
    api: Api, database: Database, name: str, given: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    everything = "select * from public.program_enrollments order by id"
    before = database.run(everything)

    known = await update(api, request.getfixturevalue(name), **given)
    unknown = await update(api, request.getfixturevalue(name), **{**given, "id": uuid4()})

    assert known.code == ("NOT_FOUND" if name == "as_other_community" else "FORBIDDEN")
    assert known.error == unknown.error
    assert database.run(everything) == before


def test_completed_at_never_moves_whoever_writes(database: Database) -> None:
    for change in ("completed_at = now() + interval '1 day'", "completed_at = null, status = 'active'"):
        with pytest.raises(psycopg.Error, match="completedAt never moves once it is set"):
            database.run(
                f"update public.program_enrollments set {change} where id = %s", cast.COMPLETED_ENROLLMENT
            )


async def test_overdue_is_open_and_past_the_due_date(api: Api, as_admin: Person, database: Database) -> None:
    due = "update public.program_enrollments set due_at = %s where id = %s"
    for date, enrollment in (
        (PAST, cast.ENROLLMENT),
        (PAST, cast.TRAVELLER_ENROLLMENT),
        (SOON, cast.PEER_ENROLLMENT),
    ):
        database.run(due, date, enrollment)
    await update(api, as_admin, id=cast.TRAVELLER_ENROLLMENT, status="WITHDRAWN")

    async def found(**wanted: Any) -> set[UUID]:
        everywhere = (await api.ask(as_admin, LIST, filter=wanted)).data["enrollments"]
        inside = (await api.ask(as_admin, IN_PROGRAM, id=cast.PUBLISHED, filter=wanted)).data["program"]
        assert all(node["isOverdue"] == (UUID(node["id"]) == cast.ENROLLMENT) for node in everywhere["nodes"])
        ids = {UUID(node["id"]) for node in everywhere["nodes"]}
        assert {UUID(node["id"]) for node in inside["enrollments"]["nodes"]} == ids - {
            *(cast.COMPLETED_ENROLLMENT, cast.KEPT_ENROLLMENT)
        }
        return ids

    everybody = await found()
    assert await found(overdue=True) == {cast.ENROLLMENT}
    assert await found(overdue=False) == everybody - {cast.ENROLLMENT}
    assert await found(overdue=None) == everybody
    assert await found(dueBefore=SOON) == {cast.ENROLLMENT}
    assert await found(dueBefore=LATER) == {cast.ENROLLMENT, cast.PEER_ENROLLMENT}
    assert await found(dueBefore=LATER, overdue=False) == {cast.PEER_ENROLLMENT}
    assert await found(cohortId=cast.COHORT) == {cast.ENROLLMENT}
    assert await found(cohortId=cast.OTHER_COHORT) == set()


async def test_whoever_had_dates_does_not_get_rid_of_them_by_leaving(
    api: Api, as_learner: Person, as_admin: Person
) -> None:
    await update(api, as_admin, expiresAt=LAST)
    await api.ask(as_learner, WITHDRAW, id=cast.ENROLLMENT)

    by_learner = await api.ask(as_learner, ENROLL, input={"programId": cast.PUBLISHED})
    by_admin = await api.ask(as_admin, ENROLL, input={"programId": cast.PUBLISHED, "userId": cast.LEARNER.id})

    assert by_learner.code == "FAILED_PRECONDITION"
    assert "Ask an admin" in by_learner.error["message"]
    assert by_admin.data["enroll"]["enrollment"]["attempt"] == 2


async def test_what_has_expired_and_was_not_yet_ended_is_no_open_enrolment(
    api: Api, as_learner: Person, as_admin: Person, database: Database
) -> None:
    lapse = "update public.program_enrollments set expires_at = now() - interval '1 minute' where id = %s"
    database.run(lapse, cast.ENROLLMENT)

    resumed = await update(api, as_admin, status="PAUSED")
    resumed = await update(api, as_admin, status="ACTIVE")
    by_learner = await api.ask(as_learner, ENROLL, input={"programId": cast.PUBLISHED})
    given = {"programId": cast.PUBLISHED, "userId": cast.LEARNER.id}
    by_admin = (await api.ask(as_admin, ENROLL, input=given)).data["enroll"]["enrollment"]

    assert (resumed.code, by_learner.code) == ("FAILED_PRECONDITION", "FAILED_PRECONDITION")
    assert (by_admin["status"], by_admin["attempt"]) == ("ACTIVE", 2)
    attempts = "select status from public.program_enrollments where program_id = %s and user_id = %s order by attempt"
    assert database.run(attempts, cast.PUBLISHED, cast.LEARNER.id) == [("expired",), ("active",)]


def test_the_clock_ends_and_begins_in_all_communities_so_many_at_a_time(database: Database) -> None:
    begin = """
        insert into public.program_enrollments (community_id, program_id, user_id, status, starts_at, expires_at)
        values (%s, %s, %s, %s, now() - interval '2 days', now() + %s::interval)
    """
    for community, program, person, status, rest in (
        (ALPHA, cast.OPEN_TO_ALL, cast.LEARNER, "pending", "-1 hour"),
        (ALPHA, cast.OPEN_TO_ALL, cast.PEER, "pending", "1 hour"),
        (ALPHA, cast.OPEN_TO_ALL, cast.TRAVELLER, "paused", "-1 hour"),
        (cast.BETA, cast.OTHER_PUBLISHED, cast.OTHER_PEER, "active", "-1 hour"),
    ):
        database.run(begin, community, program, person.id, status, rest)

    counts = [
        database.run_as("gym_worker", "select private.advance_enrollments(%s, %s)", community, most)[0][0]
        for community, most in ((ALPHA, 0), (ALPHA, 2), (ALPHA, 2), (ALPHA, 2), (cast.BETA, 2))
    ]

    assert counts == [0, 2, 1, 0, 1]
    states = "select distinct user_id, status from public.program_enrollments where starts_at < now()"
    assert set(database.run(states)) == {
        (cast.LEARNER.id, "expired"),
        (cast.PEER.id, "active"),
        (cast.TRAVELLER.id, "expired"),
        (cast.OTHER_PEER.id, "expired"),
    }


def test_the_clock_goes_past_what_somebody_is_changing(database: Database) -> None:
    database.run(
        "update public.program_enrollments set expires_at = now() - interval '1 hour' where id = any(%s)",
        [cast.ENROLLMENT, cast.PEER_ENROLLMENT],
    )
    with database.connect() as connection:
        connection.execute(
            "select from public.program_enrollments where id = %s for update", (cast.ENROLLMENT,)
        )
        first = database.run_as("gym_worker", "select private.advance_enrollments(%s, 10)", ALPHA)
    second = database.run_as("gym_worker", "select private.advance_enrollments(%s, 10)", ALPHA)

    assert (first, second) == ([(1,)], [(1,)])


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("paused", "paused", "The enrolment is paused already."),
        ("completed", "paused", "An enrolment cannot go from completed to paused."),
        ("withdrawn", "completed", "An enrolment cannot go from withdrawn to completed."),
    ],
)
def test_of_two_admins_at_once_the_second_sees_what_the_first_did(
    as_admin: Person, as_super_admin: Person, first: str, second: str, message: str
) -> None:
    change = "select public.update_enrollment(jsonb_build_object('id', %s::text, 'status', %s::text, 'reason', 'So'))"
    told: list[psycopg.Error] = []

    def second_admin() -> None:
        with as_super_admin.transaction() as connection:
            try:
                connection.execute(change, (cast.ENROLLMENT, second))
            except psycopg.Error as error:
                told.append(error)

    with as_admin.transaction() as connection:
        connection.execute(change, (cast.ENROLLMENT, first))
        waiting = threading.Thread(target=second_admin)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
    waiting.join(5)

    assert [(error.sqlstate, error.diag.message_primary) for error in told] == [("PT412", message)]


def test_servers_are_held_to_the_rules_too(database: Database) -> None:
    change = "update public.program_enrollments set status = 'paused', cohort_id = %s where id = %s"
    with database.connect() as connection:
        put_on(connection, "service_role", '{"role": "service_role"}')
        connection.execute(change, (cast.EMPTY_COHORT, cast.ENROLLMENT))
        back = "update public.program_enrollments set status = 'pending' where id = %s"
        with pytest.raises(psycopg.Error, match="cannot go from paused to pending"):
            connection.execute(back, (cast.ENROLLMENT,))


LAPSED = f"update public.program_enrollments set expires_at = '{PAST}' where id = '{cast.ENROLLMENT}'"


@pytest.mark.parametrize("status", ["PAUSED", "COMPLETED"])
async def test_what_has_lapsed_is_not_changed_before_it_has_a_later_expiry(
    api: Api, as_admin: Person, database: Database, status: str
) -> None:
    database.run(LAPSED)

    refused = await update(api, as_admin, status=status, reason="Late")
    extended = await update(api, as_admin, status=status, expiresAt=LAST, reason="Late")

    assert (refused.code, refused.error["message"]) == (
        *("FAILED_PRECONDITION", "The expiry of this enrolment has passed. Give it a later expiresAt first."),
    )
    assert extended.data["updateEnrollment"]["enrollment"]["status"] == status


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"startsAt": LATER, "dueAt": SOON}, "startsAt"),
        ({"startsAt": SOON, "dueAt": LAST, "expiresAt": LATER}, "dueAt"),
        ({"startsAt": LATER, "expiresAt": SOON}, "startsAt"),
    ],
)
async def test_of_dates_out_of_order_the_first_is_named(
    api: Api, as_admin: Person, given: dict[str, Any], field: str
) -> None:
    reply = await api.ask(
        as_admin, ENROLL, input={"programId": cast.OPEN_TO_ALL, "userId": cast.PEER.id, **given}
    )

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", field)


@pytest.mark.parametrize("field", ["dueAt", "expiresAt"])
async def test_of_dates_out_of_order_the_one_that_was_given_is_named(
    api: Api, as_admin: Person, field: str
) -> None:
    others = {"dueAt": ("expiresAt", LATER, LAST), "expiresAt": ("dueAt", LATER, SOON)}
    other, there, wrong = others[field]
    await update(api, as_admin, dueAt=None, expiresAt=None)
    await update(api, as_admin, **{other: there})

    reply = await update(api, as_admin, **{field: wrong})

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", field)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"dueAt": SOON}, "dueAt"),
        ({"expiresAt": SOON, "startsAt": SOON}, "startsAt"),
        ({"cohortId": cast.OPEN_COHORT}, "cohortId"),
    ],
)
async def test_a_learner_is_told_what_is_for_admins_to_set(
    api: Api, as_learner: Person, given: dict[str, Any], field: str
) -> None:
    reply = await api.ask(as_learner, ENROLL, input={"programId": cast.OPEN_TO_ALL, **given})

    assert (reply.code, reply.field) == ("FORBIDDEN", field)
    assert reply.error["message"].startswith(f"{field} is for admins of the community to set.")
