"""Documents about what programs consist of, and short words for the courses and programs in them."""

from typing import Any
from uuid import UUID

from tests import cast
from tests.api import Api, Reply
from tests.people import Person

ASSIGN = """mutation ($input: AssignCoursesInput!) { assignCourses(input: $input) { program { id version updatedAt
    courseAssignments { id required group courseVersion course { id } prerequisites { course { id } } }
    courseGroups { name atLeast courseAssignments { course { id } } } } } }"""
VERSIONS = """query ($id: UUID!) { program(id: $id) { version status versions { version publishedAt completionCriteria
    groups { name atLeast } courseAssignments { courseVersion course { id } prerequisites { course { id } } } } } }"""
CLONE = """mutation ($input: CloneProgramInput!) { cloneProgram(input: $input) { program {
    id title status version courseAssignments { courseVersion course { id } prerequisites { course { id } } }
    courseGroups { name atLeast } versions { completionCriteria } } } }"""
MOVE = """mutation ($input: MoveEnrollmentsInput!) { moveEnrollments(input: $input) { moved decided remaining
    fromVersion toVersion program { id } differences { kind group before after course { id } } } }"""
PREVIEW = """query ($program: UUID!, $from: Int!, $to: Int, $ids: [UUID!]) {
    previewMove(programId: $program, fromVersion: $from, toVersion: $to, enrollmentIds: $ids) {
    program { id } fromVersion toVersion pending active paused completed withdrawn expired
    differences { kind group before after course { id } } } }"""


def lifecycle(name: str) -> str:
    return f"mutation ($id: UUID!) {{ {name}(input: {{id: $id}}) {{ program {{ id status version }} }} }}"


def course(course_id: UUID, *prerequisites: UUID, **more: Any) -> dict[str, Any]:
    """A course as `assignCourses` takes it."""
    return {"courseId": course_id, **({"prerequisites": prerequisites} if prerequisites else {}), **more}


async def assign(api: Api, person: Person, program: UUID, *courses: dict[str, Any], **more: Any) -> Reply:
    return await api.ask(person, ASSIGN, input={"programId": program, "courses": courses, **more})


async def course_ids(api: Api, person: Person, program: UUID) -> dict[int, list[str]]:
    """The courses of each version that this person sees, by version."""
    versions = (await api.ask(person, VERSIONS, id=program)).data["program"]["versions"]
    return {v["version"]: [a["course"]["id"] for a in v["courseAssignments"]] for v in versions}


EVERY_MUTATION: dict[str, dict[str, Any]] = {
    ASSIGN: {"programId": cast.PUBLISHED, "courses": []},
    CLONE: {"id": cast.PUBLISHED},
    MOVE: {"programId": cast.RENEWED, "fromVersion": 1, "mode": "CARRY_OVER", "reason": "Because"},
}
