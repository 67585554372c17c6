"""What is shown of progress: blocks in their tree, the next one, what is missing; to whom, by how many statements."""

import asyncio

import pytest

from tests import cast
from tests.api import Api
from tests.course_documents import block, block_id, section
from tests.people import Person
from tests.progressing import (
    COURSE,
    PROGRAM,
    course_progress,
    enroll,
    event,
    offer,
    program_progress,
    record,
    teach,
)

EVERYWHERE = """query ($program: UUID!, $course: UUID!) {
    program(id: $program) { viewerProgress { percent status } viewerEnrollment { progress { percent } } }
    enrollments { nodes { progress { percent status } } }
    course(id: $course) { blocks { id viewerCompletion { value attempt } } } }"""


@pytest.fixture
async def course(api: Api, as_admin: Person) -> str:
    return await teach(
        api, as_admin,
        section(1), section(2, 1), block(3, 2, weight=3), block(4, 2), block(5, 1, required=False),
        section(6), block(7, 6, required=False), block(8), block(9, completionMode="excluded"),
    )  # fmt: skip


async def test_aggregators_are_as_far_as_what_is_required_in_them(
    api: Api, as_learner: Person, course: str
) -> None:
    await record(api, as_learner, event(3, 0.5), event(5), event(7), event(9))

    blocks = {b["block"]["id"]: b for b in (await course_progress(api, as_learner, course))["blocks"]}

    shown = {n: (blocks[block_id(n)]["status"], blocks[block_id(n)]["value"]) for n in range(1, 10)}
    assert shown == {
        1: ("IN_PROGRESS", 0.375),
        2: ("IN_PROGRESS", 0.375),
        3: ("IN_PROGRESS", 0.5),
        4: ("NOT_STARTED", 0),
        5: ("COMPLETED", 1),
        6: ("NOT_APPLICABLE", 0),
        7: ("COMPLETED", 1),
        8: ("NOT_STARTED", 0),
        9: ("NOT_APPLICABLE", 0),
    }


async def test_the_next_block_is_the_first_that_is_required_and_open(
    api: Api, as_learner: Person, course: str
) -> None:
    following = []
    for number in (4, 3, 8):
        following.append((await course_progress(api, as_learner, course))["nextBlock"])
        await record(api, as_learner, event(number))

    assert following == [{"id": block_id(n)} for n in (3, 3, 8)]
    assert (await course_progress(api, as_learner, course))["nextBlock"] is None


async def test_progress_stands_beside_what_it_is_about(
    api: Api, as_admin: Person, as_learner: Person, course: str
) -> None:
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)
    await record(api, as_learner, event(3))

    told = (await api.ask(as_learner, EVERYWHERE, program=program, course=course)).data

    assert told["program"]["viewerProgress"] == {"percent": 60, "status": "IN_PROGRESS"}
    assert told["program"]["viewerEnrollment"]["progress"]["percent"] == 60
    assert told["enrollments"]["nodes"][0]["progress"]["percent"] == 60
    completions = {b["id"]: b["viewerCompletion"] for b in told["course"]["blocks"]}
    assert completions[block_id(3)] == {"value": 1, "attempt": 1}
    assert completions[block_id(4)] is None


async def test_missing_names_alternatives_and_not_what_is_met(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    ids = [await teach(api, as_admin, block(n), title=f"Course {n}") for n in (1, 2, 3)]
    criteria = {"all": [{"course": ids[0]}, {"any": [{"course": ids[1]}, {"all": [{"course": ids[2]}]}]}]}
    program = await offer(api, as_admin, *ids, completionCriteria=criteria)
    await enroll(api, as_learner, program)
    await record(api, as_learner, event(1), event(2, 0.5))

    missing = (await program_progress(api, as_learner, program))["missing"]

    assert [(m["kind"], m["description"], m["needed"], m["done"], m["percent"]) for m in missing] == [
        ("ANY", "Do at least 1 of the following: 0 so far.", 1, 0, 50),
        ("COURSE", 'Complete the course "Course 2": 0 of its 1 required blocks are done.', 1, 0, 50),
        ("COURSE", 'Complete the course "Course 3": 0 of its 1 required blocks are done.', 1, 0, 0),
    ]


async def test_one_statement_answers(api: Api, as_admin: Person, as_learner: Person, course: str) -> None:
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)

    assert len((await api.ask(as_learner, COURSE, course=course)).statements) == 1
    assert len((await api.ask(as_learner, PROGRAM, program=program)).statements) == 1


async def test_who_is_nobody_here_and_what_is_not_there_are_null_alike(
    api: Api, as_admin: Person, as_learner: Person, course: str
) -> None:
    program = await offer(api, as_admin, course)
    nobody = "00000000-0000-4000-8000-000000000000"

    asked: list[tuple[Person, str, dict[str, object]]] = [
        (as_admin, COURSE, {"course": course, "user": cast.OTHER_LEARNER.id}),
        (as_admin, COURSE, {"course": course, "user": nobody}),
        (as_admin, COURSE, {"course": cast.OTHER_COURSE}),
        (as_admin, COURSE, {"course": nobody}),
        (as_learner, COURSE, {"course": cast.DRAFT_COURSE}),
        (as_learner, COURSE, {"course": course, "user": cast.PEER.id}),
        (as_admin, PROGRAM, {"program": program, "user": cast.OTHER_LEARNER.id}),
        (as_admin, PROGRAM, {"program": program, "user": cast.LEARNER.id}),
        (as_admin, PROGRAM, {"program": cast.OTHER_PUBLISHED, "user": cast.OTHER_LEARNER.id}),
    ]
    replies = await asyncio.gather(*(api.ask(who, document, **given) for who, document, given in asked))

    assert {value for reply in replies for value in reply.data.values()} == {None}
