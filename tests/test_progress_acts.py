"""What admins do to somebody's progress: overrides that hold until they are released, and new attempts."""

from typing import Any

import pytest

from tests import cast
from tests.api import Api
from tests.course_documents import block, block_id, section
from tests.databases import Database
from tests.people import Person
from tests.progressing import (
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
LOG = """query ($type: String!) { auditLog(filter: {objectType: $type}) { nodes {
    action actingAs reason before after } } }"""


@pytest.fixture
async def course(api: Api, as_admin: Person) -> str:
    return await teach(api, as_admin, section(1), block(2, 1), block(3, 1), block(4, required=False))


def override(block: int | str, value: float | None = 1, **more: Any) -> dict[str, Any]:
    named = block_id(block) if isinstance(block, int) else block
    return {"userId": LENA, "blockId": named, "value": value, "reason": "By interview", **more}


@pytest.mark.parametrize("who", ["learner", "peer", "other_community", "suspended"])
async def test_only_admins_of_the_community_act(
    api: Api, request: pytest.FixtureRequest, course: str, who: str
) -> None:
    person: Person = request.getfixturevalue(f"as_{who}")

    overridden = await act(api, person, OVERRIDE, **override(2))
    reset = await act(api, person, RESET, userId=LENA, courseId=course, reason="Again")

    assert {overridden.code, reset.code} <= {"FORBIDDEN", "NOT_FOUND"}
    assert who == "other_community" or {overridden.code, reset.code} == {"FORBIDDEN"}


@pytest.mark.usefixtures("course")
async def test_an_override_holds_until_it_is_released(api: Api, as_admin: Person, as_learner: Person) -> None:
    await record(api, as_learner, event(2))

    lowered = await act(api, as_admin, OVERRIDE, **override(2, 0.25))
    recorded = (await record(api, as_learner, event(2), event(3)))["courses"][0]
    raised = await act(api, as_admin, OVERRIDE, **override(2, 1))
    released = await act(api, as_admin, OVERRIDE, **override(2, None))

    assert lowered.data["overrideCompletion"]["completion"] == {
        "value": 0.25, "earnedValue": 1.0, "overrideValue": 0.25, "completedAt": None,
    }  # fmt: skip
    assert lowered.data["overrideCompletion"]["courses"][0]["earned"] == 0.25
    assert (recorded["doneRequired"], recorded["earned"]) == (1, 1.25)
    assert raised.data["overrideCompletion"]["courses"][0]["status"] == "COMPLETED"
    completion = released.data["overrideCompletion"]["completion"]
    assert (completion["value"], completion["overrideValue"]) == (1.0, None)


async def test_a_block_that_nobody_has_touched_can_be_overridden(
    api: Api, as_admin: Person, as_learner: Person, course: str
) -> None:
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)

    for number in (2, 3):
        assert (await act(api, as_admin, OVERRIDE, **override(number))).data

    progress = await course_progress(api, as_learner, course)
    assert (progress["status"], progress["blocks"][1]["overridden"]) == ("COMPLETED", True)
    assert (await program_progress(api, as_learner, program))["status"] == "COMPLETED"


async def test_what_is_completed_stays_so_when_a_block_is_lowered(
    api: Api, as_admin: Person, as_learner: Person, course: str
) -> None:
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)
    done = (await record(api, as_learner, event(2), event(3)))["courses"][0]

    await act(api, as_admin, OVERRIDE, **override(2, 0))

    progress = await course_progress(api, as_learner, course)
    assert (progress["status"], progress["percent"], progress["doneRequired"]) == ("COMPLETED", 100, 1)
    assert progress["completedAt"] == done["completedAt"]
    assert (await program_progress(api, as_learner, program))["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        (override(2, 1.5), "BAD_USER_INPUT", "value"),
        (override(2, -1), "BAD_USER_INPUT", "value"),
        (override(2, reason=" \u200b"), "BAD_USER_INPUT", "reason"),
        (override(2, reason="x" * 1001), "BAD_USER_INPUT", "reason"),
        (override(1), "FAILED_PRECONDITION", "blockId"),
        (override(99), "NOT_FOUND", "blockId"),
        (override(str(cast.DRAFT_BLOCK)), "NOT_FOUND", "blockId"),
        (override(2, None), "FAILED_PRECONDITION", None),
        (override(2, userId=str(cast.SUSPENDED.id)), "NOT_FOUND", "userId"),
        (override(2, userId=str(cast.OTHER_LEARNER.id)), "NOT_FOUND", "userId"),
    ],
)
async def test_what_cannot_be_overridden(
    api: Api,
    database: Database,
    as_admin: Person,
    course: str,
    given: dict[str, Any],
    code: str,
    field: str | None,
) -> None:
    reply = await act(api, as_admin, OVERRIDE, **given)

    assert (reply.code, reply.field) == (code, field)
    assert database.run("select count(*) from public.completion_overrides where course_id = %s", course) == [
        (0,)
    ]


async def test_acts_are_in_the_audit_log_with_their_reason(
    api: Api, as_admin: Person, as_learner: Person, course: str
) -> None:
    await record(api, as_learner, event(2))
    await act(api, as_admin, OVERRIDE, **override(2, 0.5))
    await act(api, as_admin, OVERRIDE, **override(2, None, reason="A mistake"))
    await act(api, as_admin, RESET, userId=LENA, courseId=course, reason="Begin again")

    released, made, *_ = (await api.ask(as_admin, LOG, type="completion_override")).data["auditLog"]["nodes"]
    opened, *_ = (await api.ask(as_admin, LOG, type="course_attempt")).data["auditLog"]["nodes"]
    assert (made["action"], made["reason"], made["after"]["value"]) == (
        "completion_override.created", "By interview", 0.5,
    )  # fmt: skip
    assert (released["action"], released["reason"]) == ("completion_override.updated", "A mistake")
    assert (opened["action"], opened["reason"]) == ("course_attempt.created", "Begin again")
    assert {made["actingAs"], released["actingAs"], opened["actingAs"]} == {"COMMUNITY_ADMIN"}


async def test_a_reset_begins_a_new_attempt_and_keeps_the_old(
    api: Api, database: Database, as_admin: Person, as_learner: Person, course: str
) -> None:
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)
    await record(api, as_learner, event(2, score=80))

    told = (await act(api, as_admin, RESET, userId=LENA, courseId=course, reason="Again")).data[
        "resetProgress"
    ]

    (begun,) = told["courses"]
    assert (begun["attempt"], begun["status"], begun["earned"]) == (2, "NOT_STARTED", 0)
    assert (await program_progress(api, as_learner, program))["percent"] == 0
    assert database.run(
        "select attempt, earned from public.course_progress where course_id = %s order by 1", course
    ) == [(1, 1), (2, 0)]
    assert (await record(api, as_learner, event(3)))["courses"][0]["attempt"] == 2


async def test_what_happened_before_a_reset_and_comes_after_it_is_of_the_old_attempt(
    api: Api, as_admin: Person, as_learner: Person, course: str
) -> None:
    """A device that was offline; and one that says itself which attempt it means."""
    before = event(3)
    await record(api, as_learner, event(2))
    await act(api, as_admin, RESET, userId=LENA, courseId=course, reason="Again")

    late = await record(api, as_learner, before)
    named = await record(
        api, as_learner, event(3, 0.5, attempt=1), event(3, 0.5, attempt=2), event(3, attempt=3)
    )

    assert late["courses"][0]["earned"] == 0
    assert statuses(named) == ["ACCEPTED", "ACCEPTED", "REJECTED"]
    assert (named["courses"][0]["attempt"], named["courses"][0]["earned"]) == (2, 0.5)


async def test_a_whole_program_can_be_reset(
    api: Api, as_admin: Person, as_learner: Person, course: str
) -> None:
    second = await teach(api, as_admin, block(11))
    untouched = await teach(api, as_admin, block(21))
    program = await offer(api, as_admin, course, second, untouched)
    await enroll(api, as_learner, program)
    await record(api, as_learner, event(2), event(11))

    told = await act(api, as_admin, RESET, userId=LENA, programId=program, reason="Again")

    assert {c["course"]["id"] for c in told.data["resetProgress"]["courses"]} == {course, second}
    assert (await program_progress(api, as_learner, program))["status"] == "NOT_STARTED"


async def test_what_cannot_be_reset(api: Api, as_admin: Person, course: str) -> None:
    async def refused(**given: Any) -> tuple[str, str | None]:
        reply = await act(api, as_admin, RESET, **{"userId": LENA, "reason": "Again", **given})
        return reply.code, reply.field

    assert await refused() == ("BAD_USER_INPUT", "courseId")
    assert await refused(courseId=course, programId=cast.PUBLISHED) == ("BAD_USER_INPUT", "courseId")
    assert await refused(courseId=course) == ("FAILED_PRECONDITION", None)
    assert await refused(courseId=cast.OTHER_COURSE) == ("NOT_FOUND", "courseId")
    assert await refused(programId=cast.OTHER_PUBLISHED) == ("NOT_FOUND", "programId")
    assert await refused(programId=cast.OPEN_TO_ALL) == ("NOT_FOUND", "programId")
    assert await refused(courseId=course, reason="") == ("BAD_USER_INPUT", "reason")
    assert await refused(courseId=course, userId=str(cast.OTHER_LEARNER.id)) == ("NOT_FOUND", "userId")
