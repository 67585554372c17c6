"""What no event may do: complete by an attempt that is over, in a version that was left, or by its order."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import cast
from tests.api import Api
from tests.course_documents import block
from tests.databases import Database
from tests.people import Person
from tests.progressing import (
    COMPLETIONS,
    OVERRIDE,
    RESET,
    act,
    course_progress,
    enroll,
    event,
    offer,
    program_progress,
    record,
    statuses,
    teach,
)

LENA = str(cast.LEARNER.id)
MOVE = """mutation ($input: MoveEnrollmentsInput!) { moveEnrollments(input: $input) { moved } }"""
EXTEND = (
    """mutation ($input: UpdateEnrollmentInput!) { updateEnrollment(input: $input) { enrollment { id } } }"""
)
EARLIER = (datetime.now(UTC) - timedelta(minutes=30)).isoformat()


def advance(database: Database) -> None:
    while database.run_as("gym_worker", "select private.advance_progress(%s)", cast.ALPHA) == [(True,)]:
        pass


def recount(database: Database) -> int:
    return int(database.run("select private.recompute_progress(%s, %s)", cast.ALPHA, cast.LEARNER.id)[0][0])


async def test_an_attempt_that_is_over_completes_no_further_enrolment(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    course = await teach(api, as_admin, block(1), block(2))
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)
    await record(api, as_learner, event(1), event(2))
    await teach(api, as_admin, block(1), block(2), block(3, required=False), course_id=course)
    await enroll(api, as_learner, program)

    await record(api, as_learner, event(1, 0, attempt=1))

    progress = await program_progress(api, as_learner, program)
    assert (progress["status"], progress["percent"]) == ("NOT_STARTED", 0)
    assert progress["enrollment"]["status"] == "ACTIVE"


async def test_a_late_event_of_before_a_reset_completes_no_other_program(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    course = await teach(api, as_admin, block(1), block(2))
    await record(api, as_learner, event(1), event(2))
    await act(api, as_admin, RESET, userId=LENA, courseId=course, reason="Again")
    await teach(api, as_admin, block(1), block(2), block(3, required=False), course_id=course)
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)

    await record(api, as_learner, event(1, 0.1, occurredAt=EARLIER))

    assert (await program_progress(api, as_learner, program))["enrollment"]["status"] == "ACTIVE"


@pytest.mark.parametrize("mode", ["CARRY_OVER", "REQUIRE_NEW"])
async def test_what_becomes_complete_in_the_old_version_after_a_move_is_not_carried(
    api: Api, database: Database, as_admin: Person, as_learner: Person, mode: str
) -> None:
    course = await teach(api, as_admin, block(1), block(2))
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)
    await record(api, as_learner, event(1))
    await teach(api, as_admin, block(1), block(2), block(3), course_id=course)
    moved = {"programId": program, "fromVersion": 1, "mode": mode, "reason": "Newer"}
    assert (await api.ask(as_admin, MOVE, input=moved)).data
    advance(database)

    await record(api, as_learner, event(2))
    advance(database)

    progress = await course_progress(api, as_learner, course)
    assert (progress["version"], progress["status"], progress["doneRequired"]) == (2, "IN_PROGRESS", 2)
    assert (await program_progress(api, as_learner, program))["enrollment"]["status"] == "ACTIVE"


async def test_who_is_moved_while_the_last_event_comes_in_is_judged_by_the_new_version(
    api: Api, database: Database, as_admin: Person, as_learner: Person
) -> None:
    for number in range(100, 180, 10):
        course = await teach(api, as_admin, block(number))
        program = await offer(api, as_admin, course)
        await enroll(api, as_learner, program)
        await teach(api, as_admin, block(number), block(number + 1), course_id=course)
        move = {"programId": program, "fromVersion": 1, "mode": "REQUIRE_NEW", "reason": "Newer"}

        moved, _ = await asyncio.gather(
            api.ask(as_admin, MOVE, input=move), record(api, as_learner, event(number))
        )
        advance(database)

        progress = await program_progress(api, as_learner, program)
        if progress["enrollment"]["programVersion"] == 2:
            assert progress["enrollment"]["status"] == "ACTIVE"
        else:
            assert moved.data["moveEnrollments"]["moved"] == 0


async def test_an_extension_in_time_completes_what_is_done(
    api: Api, database: Database, as_admin: Person, as_learner: Person
) -> None:
    course = await teach(api, as_admin, block(1))
    program = await offer(api, as_admin, course)
    enrollment = await enroll(api, as_learner, program)
    database.run(
        "update public.program_enrollments set expires_at = now() - interval '1 second' where id = %s",
        enrollment,
    )
    await record(api, as_learner, event(1))
    lapsed = await program_progress(api, as_learner, program)

    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    await api.ask(as_admin, EXTEND, input={"id": enrollment, "expiresAt": later})
    advance(database)

    assert (lapsed["status"], lapsed["percent"]) == ("IN_PROGRESS", 99)
    assert (await program_progress(api, as_learner, program))["status"] == "COMPLETED"


@pytest.mark.parametrize("told", [[False, None], [None, False], [True, None, False], [None, None]])
async def test_whether_an_answer_was_right_does_not_depend_on_the_order(
    api: Api, database: Database, as_admin: Person, as_learner: Person, told: list[bool | None]
) -> None:
    course = await teach(api, as_admin, block(1))
    for correct in told:
        await record(api, as_learner, event(1, 0.5, correct=correct))

    reply = await api.ask(as_learner, COMPLETIONS, filter={"courseId": course})

    (completion,) = reply.data["blockCompletions"]["nodes"]
    said = [correct for correct in told if correct is not None]
    assert completion["correct"] == (any(said) if said else None)
    assert recount(database) == 0


async def test_an_override_of_what_a_fast_clock_has_begun_is_counted_alike(
    api: Api, database: Database, as_admin: Person, as_learner: Person
) -> None:
    await teach(api, as_admin, block(1), block(2))
    ahead = (datetime.now(UTC) + timedelta(seconds=290)).isoformat()
    await record(api, as_learner, event(1, 0.5, occurredAt=ahead))

    given: dict[str, Any] = {"userId": LENA, "reason": "By hand"}
    await act(api, as_admin, OVERRIDE, blockId=event(1)["blockId"], **given)

    assert recount(database) == 0


async def test_what_is_stored_is_a_duplicate_whatever_became_of_its_block(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    course = await teach(api, as_admin, block(1), block(2))
    sent = event(1)
    await record(api, as_learner, sent)
    chapter = {**block(1), "completionMode": "aggregator"}
    await teach(api, as_admin, chapter, block(2, 1), course_id=course)
    await enroll(api, as_learner, await offer(api, as_admin, course))

    again = await record(api, as_learner, sent)
    other = await record(api, as_learner, event(1))

    assert statuses(again) + statuses(other) == ["DUPLICATE", "REJECTED"]


async def test_a_course_with_nothing_to_do_is_no_part_of_a_program(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    empty, course = (
        await teach(api, as_admin, block(1, required=False)),
        await teach(api, as_admin, block(2), block(3)),
    )
    both = await offer(api, as_admin, empty, course)
    any_of = [{"course": empty}, {"course": course}]
    either = await offer(api, as_admin, empty, course, completionCriteria={"any": any_of})
    for program in (both, either):
        await enroll(api, as_learner, program)
    begun = [(await program_progress(api, as_learner, p))["percent"] for p in (both, either)]

    await record(api, as_learner, event(2))

    assert begun == [0, 0]
    for program in (both, either):
        progress = await program_progress(api, as_learner, program)
        assert (progress["percent"], progress["status"]) == (50, "IN_PROGRESS")
        assert [m["course"]["id"] for m in progress["missing"] if m["kind"] == "COURSE"] == [course]


def test_a_number_that_is_short_to_store_and_long_to_write_is_refused(
    database: Database, as_learner: Person
) -> None:
    """By SQL, as a REST client could: GraphQL refuses such numbers first."""
    call = """select r ->> 'reason' from jsonb_array_elements(public.record_progress(jsonb_build_object('events',
        jsonb_build_array(jsonb_build_object('event_id', gen_random_uuid(), 'block_id', %s::text, 'occurred_at', now(),
        'data', %s::jsonb)))) -> 'results') as r"""

    for numbers in ("[1e131000]", "[1e-16000]", '{"deep": [[-1e131000]]}'):
        ((reason,),) = as_learner.sql(call, str(cast.BLOCKS[1]), numbers)
        assert "too large or too small" in reason
    assert as_learner.sql(call, str(cast.BLOCKS[1]), '[1e300, -1e-300, 0, "1e131000"]') == [(None,)]
    assert recount(database) == 0
