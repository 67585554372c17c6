"""Recording progress and asking for it: the documents, and short words for courses and programs to be in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from tests.api import Api, Reply
from tests.course_documents import Document, block_id, course
from tests.people import Person

COURSE_FIELDS = """course { id } version attempt status doneRequired totalRequired earned possible percent startedAt
    completedAt"""
RECORD = f"""mutation ($events: [ProgressEventInput!]!) {{ recordProgress(input: {{events: $events}}) {{
    results {{ eventId status reason }} courses {{ {COURSE_FIELDS} member {{ userId }} }} }} }}"""
COURSE = f"""query ($course: UUID!, $user: UUID) {{ courseProgress(courseId: $course, userId: $user) {{
    {COURSE_FIELDS} nextBlock {{ id }}
    blocks {{ block {{ id }} status value score completedAt overridden }} }} }}"""
PROGRAM = f"""query ($program: UUID!, $user: UUID) {{ programProgress(programId: $program, userId: $user) {{
    status percent completedAt member {{ userId }} program {{ id }}
    enrollment {{ id status completedAt attempt programVersion }} courses {{ {COURSE_FIELDS} }}
    missing {{ kind description course {{ id }} group needed done percent }} }} }}"""
COMPLETIONS = """query ($filter: BlockCompletionFilter) { blockCompletions(filter: $filter, first: 100) {
    totalCount nodes { blockId value earnedValue overrideValue completedAt score correct eventCount attempt
    member { userId } } } }"""
OVERRIDE = f"""mutation ($input: OverrideCompletionInput!) {{ overrideCompletion(input: $input) {{
    completion {{ value earnedValue overrideValue completedAt }} courses {{ {COURSE_FIELDS} }} }} }}"""
RESET = f"""mutation ($input: ResetProgressInput!) {{ resetProgress(input: $input) {{
    courses {{ {COURSE_FIELDS} }} }} }}"""
_IMPORT = (
    """mutation ($input: ImportCourseInput!) { importCourse(input: $input) { course { id version } } }"""
)
_CREATE = """mutation { createProgram(input: {title: "Made for a test"}) { program { id } } }"""
_ASSIGN = (
    """mutation ($input: AssignCoursesInput!) { assignCourses(input: $input) { program { id version } } }"""
)
_PUBLISH = """mutation ($id: UUID!) { publishProgram(input: {id: $id}) { program { id } } }"""
_ENROLL = """mutation ($input: EnrollInput!) { enroll(input: $input) { enrollment { id } } }"""


def event(block: int | UUID | str, value: float | None = None, **more: Any) -> dict[str, Any]:
    """An event as clients send it, about a block by its number in `course_documents`, or by its id."""
    told: dict[str, Any] = {
        "eventId": str(uuid4()),
        "blockId": block_id(block) if isinstance(block, int) else str(block),
        "occurredAt": datetime.now(UTC).isoformat(),
        **more,
    }
    return told if value is None else {**told, "value": value}


async def record(api: Api, person: Person, *events: dict[str, Any]) -> Any:
    """The payload."""
    return (await api.ask(person, RECORD, events=events)).data["recordProgress"]


def statuses(payload: Any) -> list[str]:
    return [result["status"] for result in payload["results"]]


async def teach(
    api: Api, admin: Person, *blocks: Document, course_id: str | None = None, title: str = "Taught"
) -> str:
    """A published course of these blocks, or its next version."""
    given = {"course": course(*blocks, title=title), "courseId": course_id, "publish": True}
    if course_id is None:
        del given["courseId"]
    return str((await api.ask(admin, _IMPORT, input=given)).data["importCourse"]["course"]["id"])


async def offer(
    api: Api, admin: Person, *courses: str | dict[str, Any], program: str | None = None, **more: Any
) -> str:
    """A published program of these courses, or its next version."""
    if program is None:
        program = str((await api.ask(admin, _CREATE)).data["createProgram"]["program"]["id"])
        await _assign(api, admin, program, courses, more)
        assert (await api.ask(admin, _PUBLISH, id=program)).data
        return program
    await _assign(api, admin, program, courses, more)
    return program


async def _assign(
    api: Api, admin: Person, program: str, courses: Sequence[str | dict[str, Any]], more: dict[str, Any]
) -> None:
    listed = [{"courseId": c} if isinstance(c, str) else c for c in courses]
    assert (await api.ask(admin, _ASSIGN, input={"programId": program, "courses": listed, **more})).data


async def enroll(api: Api, person: Person, program: str, **more: Any) -> str:
    reply = await api.ask(person, _ENROLL, input={"programId": program, **more})
    return str(reply.data["enroll"]["enrollment"]["id"])


async def completions(api: Api, person: Person) -> dict[str, Any]:
    """What was reached, by block."""
    nodes = (await api.ask(person, COMPLETIONS)).data["blockCompletions"]["nodes"]
    return {node["blockId"]: node for node in nodes}


async def course_progress(api: Api, person: Person, course: str, **more: Any) -> Any:
    return (await api.ask(person, COURSE, course=course, **more)).data["courseProgress"]


async def program_progress(api: Api, person: Person, program: str, **more: Any) -> Any:
    return (await api.ask(person, PROGRAM, program=program, **more)).data["programProgress"]


async def act(api: Api, admin: Person, document: str, **given: Any) -> Reply:
    return await api.ask(admin, document, input=given)
