"""Courses: who sees which, and the life that admins lead them through, from import to archive."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests import cast
from tests.api import Api
from tests.course_documents import Document, block, block_id, course, section
from tests.databases import Database
from tests.people import Person

COURSES = "query ($filter: CourseFilter) { courses(filter: $filter) { totalCount nodes { title status } } }"
IMPORT = """mutation ($input: ImportCourseInput!) { importCourse(input: $input) {
    course { id title description status version versions { version published } }
    version { id version published publishedAt treeHash blockCount blocks { id parentId position weight } } } }"""
EXPORT = "query ($id: UUID!, $version: Int) { exportCourse(id: $id, version: $version) }"
UPDATE = """mutation ($input: UpdateCourseInput!) { updateCourse(input: $input) {
    course { title description } } }"""
VERSIONS = "query ($id: UUID!) { course(id: $id) { version versions { version blockCount } } }"
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

    by_admin = (await api.ask(as_admin, query, id=cast.UNFINISHED)).data["program"]
    by_learner = (await api.ask(as_learner, query, id=cast.PUBLISHED)).data["program"]

    assert by_admin["courseAssignments"][:1] == [{"sequenceOrder": 1, "course": {"title": "Last steps"}}]
    assert [a["course"]["title"] for a in by_learner["courseAssignments"]] == ["First steps", "Next steps"]


WRITTEN = course(section(1), block(2, 1, weight=2.5), block(3), description="About it")


def lifecycle(name: str) -> str:
    part = "course { status version }" + (" version { version }" if name == "publishCourse" else "")
    return f"mutation ($id: UUID!) {{ {name}(input: {{id: $id}}) {{ {part} }} }}"


async def imported(api: Api, person: Person, document: Document, **more: Any) -> dict[str, Any]:
    reply = await api.ask(person, IMPORT, input={"course": document, **more})
    payload: dict[str, Any] = reply.data["importCourse"]
    return payload


async def test_an_import_makes_a_draft_with_one_version(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    payload = await imported(api, as_admin, WRITTEN)

    made, version = payload["course"], payload["version"]
    assert (made["title"], made["description"], made["status"]) == ("Imported", "About it", "DRAFT")
    assert made["versions"] == [{"version": 1, "published": False}]
    assert (version["published"], version["publishedAt"], version["treeHash"]) == (False, None, None)
    assert version["blockCount"] == 3
    assert version["blocks"] == [
        {"id": block_id(1), "parentId": None, "position": 1, "weight": 1},
        {"id": block_id(2), "parentId": block_id(1), "position": 2, "weight": 2.5},
        {"id": block_id(3), "parentId": None, "position": 3, "weight": 1},
    ]
    assert (await api.ask(as_learner, COURSE, id=made["id"])).data == {"course": None}


async def test_learners_keep_seeing_the_current_version_until_the_next_is_published(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    first = await imported(api, as_admin, WRITTEN, publish=True)
    course_id = first["course"]["id"]
    next_one = course(block(3), block(4))
    second = await imported(api, as_admin, next_one, courseId=course_id)

    async def seen(person: Person) -> Any:
        return (await api.ask(person, VERSIONS, id=course_id)).data["course"]

    assert (first["course"]["status"], first["version"]["published"]) == ("PUBLISHED", True)
    assert first["version"]["treeHash"]
    assert (second["version"]["version"], second["version"]["published"]) == (2, False)
    assert await seen(as_learner) == {"version": 1, "versions": [{"version": 1, "blockCount": 3}]}
    assert [v["version"] for v in (await seen(as_admin))["versions"]] == [2, 1]

    published = await api.ask(as_admin, lifecycle("publishCourse"), id=course_id)
    assert published.data["publishCourse"] == {
        "course": {"status": "PUBLISHED", "version": 2},
        "version": {"version": 2},
    }
    assert [v["version"] for v in (await seen(as_learner))["versions"]] == [2, 1]
    assert (await api.ask(as_learner, EXPORT, id=course_id, version=1)).data["exportCourse"]["blocks"] == (
        WRITTEN["blocks"]
    )


async def test_an_import_replaces_what_is_not_published(api: Api, as_admin: Person) -> None:
    draft = await imported(api, as_admin, WRITTEN)
    course_id = draft["course"]["id"]

    again = await imported(api, as_admin, course(block(7), title="Better"), courseId=course_id)

    assert again["course"]["versions"] == [{"version": 1, "published": False}]
    assert (again["course"]["title"], again["course"]["description"]) == ("Better", None)
    assert [b["id"] for b in again["version"]["blocks"]] == [block_id(7)]


async def test_the_same_file_again_makes_no_version(api: Api, as_admin: Person) -> None:
    first = await imported(api, as_admin, WRITTEN, publish=True)
    course_id = first["course"]["id"]

    again = await imported(api, as_admin, WRITTEN, courseId=course_id, publish=True)
    await imported(api, as_admin, WRITTEN, courseId=course_id)

    assert again == first
    assert (await api.ask(as_admin, lifecycle("publishCourse"), id=course_id)).code == "FAILED_PRECONDITION"


async def test_an_export_is_for_those_who_see_the_version(
    api: Api, as_admin: Person, as_learner: Person, as_other_community: Person
) -> None:
    made = await imported(api, as_admin, WRITTEN, publish=True)
    course_id = made["course"]["id"]
    await imported(api, as_admin, course(block(5)), courseId=course_id)

    async def blocks(person: Person, version: int | None) -> int | None:
        found = (await api.ask(person, EXPORT, id=course_id, version=version)).data["exportCourse"]
        return found and len(found["blocks"])

    assert [await blocks(as_admin, version) for version in (None, 1, 2, 3)] == [3, 3, 1, None]
    assert [await blocks(as_learner, version) for version in (None, 1, 2, 3)] == [3, 3, None, None]
    assert [await blocks(as_other_community, version) for version in (None, 1, 2, 3)] == [None] * 4
    assert (await api.ask(as_learner, EXPORT, id=cast.DRAFT_COURSE)).data == {"exportCourse": None}


async def test_an_export_can_be_imported_over_graphql(api: Api, as_admin: Person) -> None:
    made = await imported(api, as_admin, WRITTEN, publish=True)
    exported = (await api.ask(as_admin, EXPORT, id=made["course"]["id"])).data["exportCourse"]

    again = await imported(api, as_admin, exported, courseId=made["course"]["id"], publish=True)

    assert exported == WRITTEN
    assert list(exported) == ["format", "title", "description", "blocks"]
    assert again["version"] == made["version"]


async def test_an_import_with_a_mistake_changes_nothing(
    api: Api, as_admin: Person, database: Database
) -> None:
    everything = """
        select (select json_agg(c order by id) from public.courses as c)::text,
            (select json_agg(v order by id) from public.course_versions as v)::text,
            (select json_agg(b order by id, course_id, version) from public.blocks as b)::text,
            (select json_agg(i order by id) from public.block_identities as i)::text
    """
    before = database.run(everything)

    for more in ({}, {"courseId": cast.COURSE}):
        orphan = {"course": course(block(1), block(2, 3)), "publish": True, **more}
        reply = await api.ask(as_admin, IMPORT, input=orphan)
        assert (reply.code, reply.field) == ("BAD_USER_INPUT", "course.blocks.1.parentId")
        assert "Block 2" in reply.error["message"]
        taken = {"course": course(block(1), block(2, id=str(cast.DRAFT_BLOCK))), **more}
        reply = await api.ask(as_admin, IMPORT, input=taken)
        assert (reply.code, reply.field) == ("CONFLICT", "course.blocks.1.id")

    assert database.run(everything) == before


MUTATIONS: dict[str, dict[str, Any]] = {
    "importCourse": {"course": course(), "courseId": None},
    "updateCourse": {"title": "Mine", "id": None},
    **{
        name: {"id": None}
        for name in (
            *("publishCourse", "archiveCourse", "restoreCourse"),
            *("deleteCourse", "discardCourseVersion"),
        )
    },
}


@pytest.mark.parametrize("name", MUTATIONS)
async def test_courses_are_written_by_their_communitys_admins(
    api: Api, database: Database, request: pytest.FixtureRequest, name: str
) -> None:
    document = f"mutation ($input: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $input) {{ course {{ id }} }} }}"
    before = database.run("select * from public.courses order by id")

    async def code(who: str, course_id: UUID) -> str:
        given = {key: str(course_id) if value is None else value for key, value in MUTATIONS[name].items()}
        return (await api.ask(request.getfixturevalue(who), document, input=given)).code

    assert await code("as_anon", cast.COURSE) == "UNAUTHENTICATED"
    for course_id in (cast.COURSE, cast.DRAFT_COURSE, cast.OTHER_COURSE, uuid4()):
        for who in ("as_learner", "as_suspended", "as_visitor", "as_other_learner"):
            assert await code(who, course_id) == "FORBIDDEN"
    for course_id in (cast.COURSE, cast.DRAFT_COURSE, uuid4()):
        assert await code("as_other_community", course_id) == "NOT_FOUND"
    assert database.run("select * from public.courses order by id") == before


async def test_only_admins_make_courses(api: Api, as_learner: Person, as_super_admin: Person) -> None:
    assert (await api.ask(as_learner, IMPORT, input={"course": course()})).code == "FORBIDDEN"
    # Whoever may not import is not told what is wrong with it.
    assert (await api.ask(as_learner, IMPORT, input={"course": 5})).code == "FORBIDDEN"
    assert (await imported(api, as_super_admin, course()))["course"]["status"] == "DRAFT"


async def test_an_update_changes_what_it_names(api: Api, as_admin: Person) -> None:
    await api.ask(as_admin, UPDATE, input={"id": cast.COURSE, "description": "Old"})
    kept = await api.ask(as_admin, UPDATE, input={"id": cast.COURSE, "title": "New"})
    cleared = await api.ask(as_admin, UPDATE, input={"id": cast.COURSE, "description": None})

    assert kept.data["updateCourse"]["course"] == {"title": "New", "description": "Old"}
    assert cleared.data["updateCourse"]["course"] == {"title": "New", "description": None}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"title": " "}, "title"),
        ({"title": None}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"description": "x" * 10_001}, "description"),
    ],
)
async def test_a_bad_update_is_refused_and_the_field_named(
    api: Api, as_admin: Person, given: dict[str, Any], field: str
) -> None:
    reply = await api.ask(as_admin, UPDATE, input={"id": cast.COURSE, **given})

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", field)


async def test_an_archived_course_is_restored_before_it_changes(api: Api, as_admin: Person) -> None:
    archived = await api.ask(as_admin, lifecycle("archiveCourse"), id=cast.COURSE)
    assert archived.data["archiveCourse"]["course"]["status"] == "ARCHIVED"

    for document, given in (
        (IMPORT, {"course": course(), "courseId": cast.COURSE}),
        (UPDATE, {"id": cast.COURSE, "title": "New"}),
    ):
        reply = await api.ask(as_admin, document, input=given)
        assert reply.code == "FAILED_PRECONDITION"
        assert "Restore it" in reply.error["message"]
    for name in ("publishCourse", "archiveCourse", "deleteCourse"):
        assert (await api.ask(as_admin, lifecycle(name), id=cast.COURSE)).code == "FAILED_PRECONDITION"

    restored = await api.ask(as_admin, lifecycle("restoreCourse"), id=cast.COURSE)
    assert restored.data["restoreCourse"]["course"]["status"] == "PUBLISHED"
    await imported(api, as_admin, course(), courseId=cast.COURSE)


# What a course's state does not allow, and the words that say what to do instead.
REFUSED = [
    ("publishCourse", cast.COURSE, "no unpublished version. Import its next one first"),
    ("archiveCourse", cast.DRAFT_COURSE, "only from published can it become archived"),
    ("restoreCourse", cast.COURSE, "only from archived can it become published"),
    ("restoreCourse", cast.DRAFT_COURSE, "only from archived can it become published"),
    (
        "deleteCourse",
        cast.COURSE,
        "Only drafts can be deleted; this course is published. Archive it instead.",
    ),
    ("deleteCourse", cast.DRAFT_COURSE, 'in the program "Next year". Take it out of its programs'),
    ("discardCourseVersion", cast.COURSE, "has no unpublished version"),
    ("discardCourseVersion", cast.DRAFT_COURSE, "Import another content, or delete the course"),
]


@pytest.mark.parametrize(("name", "course_id", "said"), REFUSED)
async def test_what_a_state_does_not_allow_is_refused(
    api: Api, as_admin: Person, name: str, course_id: UUID, said: str
) -> None:
    reply = await api.ask(as_admin, lifecycle(name), id=course_id)

    assert reply.code == "FAILED_PRECONDITION"
    assert said in reply.error["message"]


async def test_drafts_that_no_program_has_can_be_deleted(api: Api, as_admin: Person) -> None:
    course_id = (await imported(api, as_admin, WRITTEN))["course"]["id"]
    delete = "mutation ($id: UUID!) { deleteCourse(input: {id: $id}) { deletedCourseId course { id } } }"

    deleted = await api.ask(as_admin, delete, id=course_id)

    assert deleted.data["deleteCourse"] == {"deletedCourseId": course_id, "course": None}
    assert (await imported(api, as_admin, WRITTEN))["course"]["id"] != course_id


async def test_an_unpublished_version_can_be_discarded(api: Api, as_admin: Person) -> None:
    await imported(api, as_admin, course(), courseId=cast.COURSE)

    reply = await api.ask(as_admin, lifecycle("discardCourseVersion"), id=cast.COURSE)

    assert reply.data["discardCourseVersion"]["course"] == {"status": "PUBLISHED", "version": 1}
    versions = (await api.ask(as_admin, VERSIONS, id=cast.COURSE)).data["course"]["versions"]
    assert versions == [{"version": 1, "blockCount": 3}]


def traces(database: Database) -> list[Any]:
    """All that an import could leave: versions with their rows' own places, blocks, the log, times of change."""
    return database.run(
        """
        select (select json_agg((v.ctid, v.xmin, v.id) order by id) from public.course_versions as v)::text,
            (select json_agg((b.ctid, b.xmin) order by id, version) from public.blocks as b)::text,
            (select json_agg((c.ctid, c.xmin, c.updated_at) order by id) from public.courses as c)::text,
            (select count(*) from public.audit_entries)
        """
    )


@pytest.mark.parametrize("publish", [True, False])
async def test_the_same_blocks_again_write_nothing(
    api: Api, as_admin: Person, database: Database, publish: bool
) -> None:
    published = await imported(api, as_admin, WRITTEN, publish=True)
    draft = await imported(api, as_admin, course(section(11), block(12, 11)))
    before = traces(database)
    written_otherwise = course(
        section(1), block(2, 1, weight=2.50, required=True), block(3, parentId=None), description="About it"
    )

    again = [
        await imported(api, as_admin, document, courseId=published["course"]["id"], publish=publish)
        for document in (WRITTEN, written_otherwise)
    ]
    draft_again = await imported(
        api, as_admin, course(section(11), block(12, 11)), courseId=draft["course"]["id"]
    )

    assert traces(database) == before
    assert [one["version"] for one in again] == [published["version"]] * 2
    assert draft_again == draft


@pytest.mark.parametrize("publish", [True, False])
async def test_the_blocks_of_the_current_version_drop_the_unpublished_one(
    api: Api, as_admin: Person, publish: bool
) -> None:
    first = await imported(api, as_admin, WRITTEN, publish=True)
    course_id = first["course"]["id"]
    await imported(api, as_admin, course(block(5)), courseId=course_id)

    again = await imported(api, as_admin, {**WRITTEN, "title": "New"}, courseId=course_id, publish=publish)

    assert again["version"] == first["version"]
    assert again["course"]["title"] == "New"
    assert again["course"]["versions"] == [{"version": 1, "published": True}]


async def test_the_blocks_of_the_unpublished_version_leave_it_and_can_publish_it(
    api: Api, as_admin: Person
) -> None:
    course_id = (await imported(api, as_admin, WRITTEN, publish=True))["course"]["id"]
    following = await imported(api, as_admin, course(block(5)), courseId=course_id)

    again = await imported(api, as_admin, course(block(5)), courseId=course_id)
    published = await imported(api, as_admin, course(block(5)), courseId=course_id, publish=True)

    assert again["version"] == following["version"]
    assert (published["version"]["id"], published["version"]["published"]) == (
        following["version"]["id"],
        True,
    )
