"""Programs: who sees which, and the life that admins lead them through."""

from uuid import UUID, uuid4

import pytest

from tests import cast
from tests.api import Api
from tests.databases import Database
from tests.people import Person

PROGRAMS = "{ programs(orderBy: {field: TITLE}) { totalCount nodes { id status } } }"
PROGRAM = (
    "query ($id: UUID!) { program(id: $id) { id title status createdBy { displayName } stats { enrolled } } }"
)
CREATE = """mutation ($input: CreateProgramInput!) { createProgram(input: $input) {
    program { id title description durationWeeks status createdAt publishedAt createdBy { userId } } } }"""
UPDATE = """mutation ($input: UpdateProgramInput!) { updateProgram(input: $input) {
    program { id title description durationWeeks status } } }"""
ASSIGN = """mutation ($input: AssignCoursesInput!) { assignCourses(input: $input) { program { courseAssignments {
    id sequenceOrder required group course { id } } } } }"""


def lifecycle(name: str) -> str:
    return f"mutation ($id: UUID!) {{ {name}(input: {{id: $id}}) {{ program {{ id status archivedAt }} }} }}"


async def test_signed_out_is_told_to_sign_in(api: Api, as_anon: Person) -> None:
    reply = await api.ask(as_anon, PROGRAMS)

    assert reply.code == "UNAUTHENTICATED"
    assert reply.json["data"] is None


async def test_learners_see_published_programs_and_those_they_are_in(api: Api, as_learner: Person) -> None:
    programs = (await api.ask(as_learner, PROGRAMS)).data["programs"]

    ids = {UUID(node["id"]) for node in programs["nodes"]}
    assert {cast.PUBLISHED, cast.OPEN_TO_ALL, cast.ARCHIVED} <= ids
    assert not ids & {cast.DRAFT, cast.ARCHIVED_UNSEEN, cast.OTHER_PUBLISHED, cast.OTHER_DRAFT}
    assert programs["totalCount"] == len(ids)


async def test_admins_see_all_programs_of_their_community_and_none_of_another(
    api: Api, as_admin: Person
) -> None:
    nodes = (await api.ask(as_admin, PROGRAMS)).data["programs"]["nodes"]

    ids = {UUID(node["id"]) for node in nodes}
    assert {cast.DRAFT, cast.PUBLISHED, cast.ARCHIVED, cast.ARCHIVED_UNSEEN} <= ids
    assert not ids & {cast.OTHER_PUBLISHED, cast.OTHER_DRAFT}


@pytest.mark.parametrize("unseen", [cast.OTHER_PUBLISHED, cast.OTHER_DRAFT, uuid4()])
async def test_a_program_of_another_community_is_null_like_one_that_does_not_exist(
    api: Api, as_admin: Person, unseen: UUID
) -> None:
    assert (await api.ask(as_admin, PROGRAM, id=unseen)).body == b'{"data":{"program":null}}'


async def test_numbers_about_others_are_for_admins(api: Api, as_learner: Person, as_admin: Person) -> None:
    seen_by_learner = (await api.ask(as_learner, PROGRAM, id=cast.PUBLISHED)).data["program"]
    seen_by_admin = (await api.ask(as_admin, PROGRAM, id=cast.PUBLISHED)).data["program"]

    assert seen_by_learner["stats"] is None
    assert seen_by_admin["stats"]["enrolled"] >= 2


async def test_a_program_begins_as_a_draft_and_the_payload_shows_it(api: Api, as_admin: Person) -> None:
    given = {"title": 'Quotes " and \\ and Ünïcödé \n', "description": None, "durationWeeks": 12}

    program = (await api.ask(as_admin, CREATE, input=given)).data["createProgram"]["program"]

    assert {key: program[key] for key in given} == given
    assert program["status"] == "DRAFT"
    assert program["publishedAt"] is None
    assert program["createdBy"] == {"userId": str(cast.ADMIN.id)}


@pytest.mark.parametrize(
    "name", ["as_learner", "as_traveller", "as_suspended", "as_visitor", "as_other_learner"]
)
async def test_only_admins_create_programs(api: Api, name: str, request: pytest.FixtureRequest) -> None:
    reply = await api.ask(request.getfixturevalue(name), CREATE, input={"title": "Mine"})

    assert reply.code == "FORBIDDEN"
    assert reply.json["data"] == {"createProgram": None}


async def test_signed_out_cannot_create(api: Api, as_anon: Person) -> None:
    assert (await api.ask(as_anon, CREATE, input={"title": "Mine"})).code == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": " \t\n"}, "title"),
        *(
            ({"title": unseen}, "title")
            for unseen in ("\u200b", "\ufeff", "\u0001", "\u202e\u2066", "\u00a0\u3000")
        ),
        ({"title": "x" * 201}, "title"),
        ({"title": "nul \x00 inside"}, "title"),
        ({"title": 5}, "title"),
        ({"title": "x", "description": "x" * 10_001}, "description"),
        ({"title": "x", "durationWeeks": 0}, "durationWeeks"),
        ({"title": "x", "durationWeeks": 521}, "durationWeeks"),
        ({"title": "x", "durationWeeks": 2**31}, "durationWeeks"),
        ({"title": "x", "durationWeeks": 1.5}, "durationWeeks"),
        ({"title": "x", "status": "PUBLISHED"}, "input"),
        ({}, "title"),
    ],
)
async def test_a_bad_program_is_refused_and_the_field_named(
    api: Api, as_admin: Person, database: Database, given: dict[str, object], field: str | None
) -> None:
    before = database.run("select count(*) from public.programs")

    reply = await api.ask(as_admin, CREATE, input=given)

    assert reply.code == "BAD_USER_INPUT"
    assert reply.field == field
    assert database.run("select count(*) from public.programs") == before


@pytest.mark.parametrize("title", ["日本語", "עברית", "🎓", "a\u200bb", "é", "-"])
async def test_a_title_may_be_in_any_script(api: Api, as_admin: Person, title: str) -> None:
    program = (await api.ask(as_admin, CREATE, input={"title": title})).data["createProgram"]["program"]

    assert program["title"] == title


async def test_an_update_changes_what_it_names_and_clears_what_is_null(api: Api, as_admin: Person) -> None:
    await api.ask(as_admin, UPDATE, input={"id": cast.DRAFT, "description": "Old", "durationWeeks": 3})

    reply = await api.ask(as_admin, UPDATE, input={"id": cast.DRAFT, "title": "New", "description": None})

    program = reply.data["updateProgram"]["program"]
    assert (program["title"], program["description"], program["durationWeeks"]) == ("New", None, 3)


async def test_a_title_cannot_be_cleared(api: Api, as_admin: Person) -> None:
    reply = await api.ask(as_admin, UPDATE, input={"id": cast.DRAFT, "title": None})

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", "title")


async def test_an_archived_program_is_restored_before_it_is_changed(api: Api, as_admin: Person) -> None:
    refused = await api.ask(as_admin, UPDATE, input={"id": cast.ARCHIVED, "title": "New"})
    await api.ask(as_admin, lifecycle("restoreProgram"), id=cast.ARCHIVED)
    changed = await api.ask(as_admin, UPDATE, input={"id": cast.ARCHIVED, "title": "New"})

    assert refused.code == "FAILED_PRECONDITION"
    assert changed.data["updateProgram"]["program"]["title"] == "New"


MOVES = {
    ("publishProgram", cast.DRAFT): "PUBLISHED",
    ("publishProgram", cast.PUBLISHED): None,
    ("publishProgram", cast.ARCHIVED): None,
    ("archiveProgram", cast.DRAFT): None,
    ("archiveProgram", cast.PUBLISHED): "ARCHIVED",
    ("archiveProgram", cast.ARCHIVED): None,
    ("restoreProgram", cast.DRAFT): None,
    ("restoreProgram", cast.PUBLISHED): None,
    ("restoreProgram", cast.ARCHIVED): "PUBLISHED",
}


@pytest.mark.parametrize(("mutation", "program", "after"), [(*move, after) for move, after in MOVES.items()])
async def test_programs_go_from_draft_to_published_to_archived_and_back(
    api: Api, as_admin: Person, database: Database, mutation: str, program: UUID, after: str | None
) -> None:
    before = database.run("select status from public.programs where id = %s", program)

    reply = await api.ask(as_admin, lifecycle(mutation), id=program)

    if after is None:
        assert reply.code == "FAILED_PRECONDITION"
        assert database.run("select status from public.programs where id = %s", program) == before
    else:
        shown = reply.data[mutation]["program"]
        assert shown["status"] == after
        assert (shown["archivedAt"] is not None) == (after == "ARCHIVED")


@pytest.mark.parametrize("mutation", ["publishProgram", "archiveProgram", "restoreProgram", "deleteProgram"])
async def test_what_is_not_there_or_not_ours_is_not_found(
    api: Api, as_admin: Person, as_learner: Person, mutation: str
) -> None:
    for program in (cast.OTHER_DRAFT, cast.OTHER_PUBLISHED, uuid4()):
        assert (
            await api.ask(as_admin, lifecycle(mutation).replace(" archivedAt", ""), id=program)
        ).code == "NOT_FOUND"
        assert (await api.ask(as_learner, lifecycle(mutation), id=program)).code == "FORBIDDEN"


async def test_drafts_can_be_deleted_and_nothing_else(api: Api, as_admin: Person, database: Database) -> None:
    delete = "mutation ($id: UUID!) { deleteProgram(input: {id: $id}) { deletedProgramId program { id } } }"

    deleted = await api.ask(as_admin, delete, id=cast.DRAFT)
    kept = await api.ask(as_admin, delete, id=cast.PUBLISHED)

    assert deleted.data["deleteProgram"] == {"deletedProgramId": str(cast.DRAFT), "program": None}
    assert kept.code == "FAILED_PRECONDITION"
    assert database.run("select count(*) from public.programs where id = %s", cast.DRAFT) == [(0,)]
    assert database.run("select count(*) from public.programs where id = %s", cast.PUBLISHED) == [(1,)]


async def test_assigning_replaces_the_whole_list_and_keeps_the_ids_of_what_stays(
    api: Api, as_admin: Person
) -> None:
    async def assign(*courses: dict[str, object]) -> list[dict[str, object]]:
        reply = await api.ask(as_admin, ASSIGN, input={"programId": cast.DRAFT, "courses": list(courses)})
        found: list[dict[str, object]] = reply.data["assignCourses"]["program"]["courseAssignments"]
        return found

    one, two = str(cast.COURSE), str(cast.SECOND_COURSE)
    first = await assign({"courseId": one}, {"courseId": two, "required": False, "group": "Electives"})
    swapped = await assign({"courseId": two}, {"courseId": one})
    fewer = await assign({"courseId": two})

    assert [(a["sequenceOrder"], a["required"], a["group"]) for a in first] == [
        (1, True, None),
        (2, False, "Electives"),
    ]
    assert [a["id"] for a in swapped] == [first[1]["id"], first[0]["id"]]
    assert [(a["sequenceOrder"], a["required"], a["group"]) for a in swapped] == [
        (1, True, None),
        (2, True, None),
    ]
    assert [a["id"] for a in fewer] == [first[1]["id"]]
    assert await assign() == []


@pytest.mark.parametrize(
    ("program", "courses", "code"),
    [
        (cast.DRAFT, [cast.COURSE, cast.COURSE], "BAD_USER_INPUT"),
        (cast.DRAFT, [cast.COURSE, uuid4()], "NOT_FOUND"),
        (cast.DRAFT, [cast.OTHER_COURSE], "NOT_FOUND"),
        (cast.OTHER_DRAFT, [cast.COURSE], "NOT_FOUND"),
        (cast.ARCHIVED, [cast.COURSE], "FAILED_PRECONDITION"),
        (cast.DRAFT, [uuid4() for _ in range(201)], "BAD_USER_INPUT"),
    ],
)
async def test_a_list_with_something_wrong_in_it_changes_nothing(
    api: Api, as_admin: Person, database: Database, program: UUID, courses: list[UUID], code: str
) -> None:
    everything = "select * from public.program_course_assignments order by id"
    before = database.run(everything)

    reply = await api.ask(
        as_admin,
        ASSIGN,
        input={"programId": program, "courses": [{"courseId": course} for course in courses]},
    )

    assert reply.code == code
    assert database.run(everything) == before


async def test_the_fields_of_one_operation_take_place_together_or_not_at_all(
    api: Api, as_admin: Person, database: Database
) -> None:
    both = f"""mutation {{
        first: createProgram(input: {{title: "Together"}}) {{ program {{ id }} }}
        second: archiveProgram(input: {{id: "{cast.DRAFT}"}}) {{ program {{ id }} }} }}"""

    reply = await api.ask(as_admin, both)

    assert reply.code == "FAILED_PRECONDITION"
    assert reply.error["path"] == ["second"]
    assert reply.json["data"] == {"first": None, "second": None}
    assert database.run("select count(*) from public.programs where title = 'Together'") == [(0,)]


async def test_a_super_admin_acts_in_one_community_at_a_time(api: Api, as_super_admin: Person) -> None:
    here = (await api.ask(as_super_admin, PROGRAM, id=cast.DRAFT)).data["program"]
    elsewhere = (await api.ask(as_super_admin, PROGRAM, id=cast.OTHER_DRAFT)).data["program"]
    there = as_super_admin.claiming(app_metadata={"community_id": str(cast.BETA)})

    assert here is not None
    assert elsewhere is None
    assert (await api.ask(there, PROGRAM, id=cast.OTHER_DRAFT)).data["program"] is not None
