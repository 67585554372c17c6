"""When enrolments complete, what a further one begins with, and what becomes of progress when a version moves."""

import asyncio

import pytest

from tests import cast
from tests.api import Api
from tests.course_documents import block
from tests.databases import Database
from tests.people import Person
from tests.progressing import (
    RECORD,
    course_progress,
    enroll,
    event,
    offer,
    program_progress,
    record,
    teach,
)

ENROLL = "mutation ($id: UUID!) { enroll(input: {programId: $id}) { enrollment { id } } }"
UPDATE = """mutation ($input: UpdateEnrollmentInput!) { updateEnrollment(input: $input) {
    enrollment { status completedAt progress { percent status } } } }"""
MOVE = """mutation ($input: MoveEnrollmentsInput!) { moveEnrollments(input: $input) { moved } }"""
AUDIT = """query ($id: UUID!) { auditLog(filter: {objectId: $id}) {
    nodes { action actor { userId } actingAs reason } } }"""
STATS = "query ($id: UUID!) { program(id: $id) { stats { enrolled completed averagePercent } } }"


def advance(database: Database) -> int:
    """What the worker does with the queue; how many there were."""
    done = 0
    while database.run_as("gym_worker", "select private.advance_progress(%s)", cast.ALPHA) == [(True,)]:
        done += 1
    return done


@pytest.fixture
async def course(api: Api, as_admin: Person) -> str:
    return await teach(api, as_admin, block(1), block(2))


@pytest.fixture
async def program(api: Api, as_admin: Person, course: str) -> str:
    return await offer(api, as_admin, course)


async def test_completing_is_in_the_audit_log(
    api: Api, as_admin: Person, as_learner: Person, program: str
) -> None:
    enrollment = await enroll(api, as_learner, program)

    await record(api, as_learner, event(1), event(2))

    (completed, created) = (await api.ask(as_admin, AUDIT, id=enrollment)).data["auditLog"]["nodes"]
    assert completed == {
        "action": "program_enrollment.completed",
        "actor": {"userId": str(cast.LEARNER.id)},
        "actingAs": "END_USER",
        "reason": "What the program asks for is done.",
    }
    assert created["reason"] is None


async def test_an_admin_who_records_completes_without_a_reason_of_their_own(
    api: Api, as_admin: Person, as_learner: Person, program: str
) -> None:
    await enroll(api, as_learner, program)

    await record(api, as_admin, *(event(n, userId=cast.LEARNER.id) for n in (1, 2)))

    assert (await program_progress(api, as_learner, program))["status"] == "COMPLETED"


async def test_what_was_done_before_enrolling_counts(
    api: Api, as_learner: Person, as_admin: Person, course: str, program: str
) -> None:
    await record(api, as_learner, event(1))
    await enroll(api, as_learner, program)
    halfway = await program_progress(api, as_learner, program)
    await record(api, as_learner, event(2))
    other = await offer(api, as_admin, course)
    await enroll(api, as_learner, other)

    assert (halfway["percent"], halfway["status"]) == (50, "IN_PROGRESS")
    assert (await program_progress(api, as_learner, other))["status"] == "COMPLETED"


async def test_a_paused_enrolment_completes_when_it_goes_on(
    api: Api, as_admin: Person, as_learner: Person, program: str
) -> None:
    enrollment = await enroll(api, as_learner, program)
    await api.ask(as_admin, UPDATE, input={"id": enrollment, "status": "PAUSED"})
    await record(api, as_learner, event(1), event(2))
    paused = await program_progress(api, as_learner, program)

    resumed = await api.ask(as_admin, UPDATE, input={"id": enrollment, "status": "ACTIVE"})

    assert (paused["status"], paused["percent"]) == ("IN_PROGRESS", 99)
    assert resumed.data["updateEnrollment"]["enrollment"]["status"] == "COMPLETED"


async def test_an_ended_enrolment_stays_as_it_was(
    api: Api, as_admin: Person, as_learner: Person, course: str, program: str
) -> None:
    """What is done afterwards is kept: it belongs to the person and the course."""
    enrollment = await enroll(api, as_learner, program)
    await record(api, as_learner, event(1))
    await api.ask(as_admin, UPDATE, input={"id": enrollment, "status": "EXPIRED"})

    await record(api, as_learner, event(2))

    assert (await program_progress(api, as_learner, program))["percent"] == 50
    assert (await course_progress(api, as_learner, course))["status"] == "COMPLETED"


async def test_an_admins_word_completes_at_100_percent(
    api: Api, as_admin: Person, as_learner: Person, program: str
) -> None:
    enrollment = await enroll(api, as_learner, program)

    told = await api.ask(
        as_admin, UPDATE, input={"id": enrollment, "status": "COMPLETED", "reason": "By interview"}
    )

    progress = told.data["updateEnrollment"]["enrollment"]["progress"]
    assert progress == {"percent": 100, "status": "COMPLETED"}


async def test_who_comes_back_goes_on_and_who_had_completed_begins_anew(
    api: Api, as_admin: Person, as_learner: Person, as_peer: Person, program: str
) -> None:
    left = await enroll(api, as_learner, program)
    await record(api, as_learner, event(1))
    await api.ask(as_admin, UPDATE, input={"id": left, "status": "WITHDRAWN"})
    await enroll(api, as_learner, program)
    await enroll(api, as_peer, program)
    first = (await record(api, as_peer, event(1), event(2)))["courses"][0]

    await enroll(api, as_peer, program)

    going_on = await program_progress(api, as_learner, program)
    anew = await program_progress(api, as_peer, program)
    assert (going_on["percent"], going_on["enrollment"]["attempt"]) == (50, 2)
    assert (anew["status"], anew["percent"], anew["enrollment"]["attempt"]) == ("NOT_STARTED", 0, 2)
    again = (await record(api, as_peer, event(1), event(2)))["courses"][0]
    assert (first["attempt"], again["attempt"], again["status"]) == (1, 2, "COMPLETED")
    assert (await program_progress(api, as_peer, program))["status"] == "COMPLETED"


async def test_beginning_anew_leaves_what_another_program_counts(
    api: Api, as_admin: Person, as_learner: Person, course: str, program: str
) -> None:
    second = await teach(api, as_admin, block(11))
    other = await offer(api, as_admin, course, second)
    await enroll(api, as_learner, other)
    await enroll(api, as_learner, program)
    await record(api, as_learner, event(1), event(2))

    await enroll(api, as_learner, program)

    assert (await program_progress(api, as_learner, other))["percent"] == 50
    assert (await course_progress(api, as_learner, course))["attempt"] == 1


@pytest.mark.parametrize(
    ("mode", "course_status", "percent"),
    [("KEEP", "COMPLETED", 50), ("CARRY_OVER", "COMPLETED", 50), ("REQUIRE_NEW", "IN_PROGRESS", 33)],
)
async def test_a_move_does_what_it_says(
    api: Api,
    database: Database,
    as_admin: Person,
    as_learner: Person,
    mode: str,
    course_status: str,
    percent: int,
) -> None:
    course = await teach(api, as_admin, block(1), block(2))
    second = await teach(api, as_admin, block(11))
    program = await offer(api, as_admin, course, second)
    await enroll(api, as_learner, program)
    before = (await record(api, as_learner, event(1), event(2)))["courses"][0]
    await teach(api, as_admin, block(1), block(2), block(3), course_id=course)

    moved = {"programId": program, "fromVersion": 1, "mode": mode, "reason": "A better one"}
    assert (await api.ask(as_admin, MOVE, input=moved)).data
    advance(database)

    after = (await program_progress(api, as_learner, program))["courses"][0]
    going = await program_progress(api, as_learner, program)
    assert after["status"] == course_status
    assert going["percent"] == percent
    if course_status == "COMPLETED":
        assert after["completedAt"] == before["completedAt"]
        assert after["percent"] == 100


async def test_stats_count_how_far_people_are(
    api: Api, as_admin: Person, as_learner: Person, as_peer: Person, as_traveller: Person, program: str
) -> None:
    for somebody in (as_learner, as_peer, as_traveller):
        await enroll(api, somebody, program)
    await record(api, as_learner, event(1))
    await record(api, as_peer, event(1), event(2))

    stats = (await api.ask(as_admin, STATS, id=program)).data["program"]["stats"]

    assert stats == {"enrolled": 3, "completed": 1, "averagePercent": 50.0}
    assert (await api.ask(as_learner, STATS, id=program)).data["program"]["stats"] is None


async def test_completed_at_never_moves(
    api: Api, database: Database, as_learner: Person, course: str, program: str
) -> None:
    """Not even for an event that came late and says it happened earlier."""
    await enroll(api, as_learner, program)
    await record(api, as_learner, event(1), event(2))
    done = await program_progress(api, as_learner, program)

    await record(
        api,
        as_learner,
        event(1, occurredAt="2026-01-01T00:00:00Z"),
        event(2, occurredAt="2026-01-01T00:00:00Z"),
    )

    again = await program_progress(api, as_learner, program)
    assert again["completedAt"] == done["completedAt"]
    assert [c["completedAt"] for c in again["courses"]] == [c["completedAt"] for c in done["courses"]]
    moments = database.run(
        "select completed_at < now() from public.block_completions where course_id = %s", course
    )
    assert moments == [(True,), (True,)]


async def test_whoever_changes_an_enrolment_right_now_is_not_waited_for(
    api: Api, database: Database, as_learner: Person, program: str
) -> None:
    """An admin who has changed it may be waiting for the learner: the worker completes it then."""
    enrollment = await enroll(api, as_learner, program)
    advance(database)
    with database.connect() as connection:
        connection.execute(
            "update public.program_enrollments set due_at = now() where id = %s", (enrollment,)
        )

        payload = await record(api, as_learner, event(1), event(2))

        assert payload["courses"][0]["status"] == "COMPLETED"
    assert (await program_progress(api, as_learner, program))["enrollment"]["status"] == "ACTIVE"

    assert advance(database) == 1

    assert (await program_progress(api, as_learner, program))["enrollment"]["status"] == "COMPLETED"


async def test_enrolling_and_recording_at_once_miss_nothing(
    api: Api, database: Database, as_admin: Person, as_learner: Person
) -> None:
    for number in range(100, 160, 10):
        course = await teach(api, as_admin, block(number), block(number + 1))
        program = await offer(api, as_admin, course)

        enrolled, recorded = await asyncio.gather(
            api.ask(as_learner, ENROLL, id=program),
            api.ask(as_learner, RECORD, events=[event(number), event(number + 1)]),
        )

        assert enrolled.data
        assert recorded.data
        advance(database)
        assert (await program_progress(api, as_learner, program))["status"] == "COMPLETED"
