"""Courses and their blocks."""

from uuid import uuid4

import pytest

from tests import cast
from tests.api import Api
from tests.people import Person

COURSES = "query ($filter: CourseFilter) { courses(filter: $filter) { totalCount nodes { title status } } }"
COURSE = """query ($id: UUID!) { course(id: $id) { title version blocks {
    id parentId kind title position weight required completionMode } } }"""


async def test_signed_out_is_told_to_sign_in(api: Api, as_anon: Person) -> None:
    assert (await api.ask(as_anon, COURSES)).code == "UNAUTHENTICATED"


async def test_drafts_are_for_admins(api: Api, as_learner: Person, as_admin: Person) -> None:
    async def titles(person: Person) -> list[str]:
        return [node["title"] for node in (await api.ask(person, COURSES)).data["courses"]["nodes"]]

    assert await titles(as_learner) == ["First steps", "Next steps"]
    assert await titles(as_admin) == ["First steps", "Last steps", "Next steps"]


async def test_courses_are_found_by_title_and_state(api: Api, as_admin: Person) -> None:
    wanted = {"search": "STEPS", "status": ["DRAFT"]}

    assert (await api.ask(as_admin, COURSES, filter=wanted)).data["courses"] == {
        "totalCount": 1,
        "nodes": [{"title": "Last steps", "status": "DRAFT"}],
    }


async def test_blocks_come_in_reading_order_with_their_parents(api: Api, as_learner: Person) -> None:
    chapter, page, quiz = map(str, cast.BLOCKS)

    course = (await api.ask(as_learner, COURSE, id=cast.COURSE)).data["course"]

    assert [(b["id"], b["parentId"], b["position"]) for b in course["blocks"]] == [
        (chapter, None, 1),
        (page, chapter, 2),
        (quiz, chapter, 3),
    ]
    assert course["blocks"][0]["weight"] == 1.0
    assert course["blocks"][0]["completionMode"] == "AGGREGATOR"


@pytest.mark.parametrize("unseen", [cast.DRAFT_COURSE, cast.OTHER_COURSE, cast.OTHER_DRAFT_COURSE, uuid4()])
async def test_a_course_that_is_not_for_the_caller_is_null(
    api: Api, as_learner: Person, unseen: object
) -> None:
    assert (await api.ask(as_learner, COURSE, id=unseen)).data == {"course": None}


async def test_a_draft_inside_a_program_is_null_not_an_error(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    query = "query ($id: UUID!) { program(id: $id) { courseAssignments { sequenceOrder course { title } } } }"

    by_admin = (await api.ask(as_admin, query, id=cast.DRAFT)).data["program"]
    by_learner = (await api.ask(as_learner, query, id=cast.PUBLISHED)).data["program"]

    assert by_admin["courseAssignments"] == [{"sequenceOrder": 1, "course": {"title": "Last steps"}}]
    assert [a["course"]["title"] for a in by_learner["courseAssignments"]] == ["First steps", "Next steps"]
