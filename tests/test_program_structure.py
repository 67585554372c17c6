"""assignCourses and cloneProgram: what a program consists of, changed as a whole or not at all."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests import cast
from tests.api import Api
from tests.databases import Database
from tests.people import Person
from tests.structures import ASSIGN, CLONE, EVERY_MUTATION, VERSIONS, assign, course, course_ids

ONE, TWO, THREE = cast.COURSE, cast.SECOND_COURSE, cast.DRAFT_COURSE
EVERYTHING = """
select to_jsonb(a) from public.program_course_assignments as a
union all select to_jsonb(g) from public.program_course_groups as g
union all select to_jsonb(q) from public.program_course_prerequisites as q
union all select to_jsonb(v) from public.program_versions as v order by 1
"""


@pytest.mark.parametrize("name", ["as_learner", "as_suspended", "as_visitor", "as_other_community"])
@pytest.mark.parametrize("mutation", EVERY_MUTATION)
async def test_others_than_admins_are_refused_and_learn_nothing(
    api: Api, database: Database, name: str, mutation: str, request: pytest.FixtureRequest
) -> None:
    person, before = request.getfixturevalue(name), database.run(EVERYTHING)

    real = await api.ask(person, mutation, input=EVERY_MUTATION[mutation])
    key = "id" if "id" in EVERY_MUTATION[mutation] else "programId"
    unreal = await api.ask(person, mutation, input={**EVERY_MUTATION[mutation], key: uuid4()})

    assert real.code == ("NOT_FOUND" if name == "as_other_community" else "FORBIDDEN")
    assert real.body == unreal.body
    assert database.run(EVERYTHING) == before


async def test_prerequisites_and_groups_are_shown_with_their_courses(api: Api, as_admin: Person) -> None:
    reply = await assign(
        api,
        as_admin,
        cast.DRAFT,
        course(ONE, group="Core"),
        course(TWO, ONE, group="Core"),
        course(THREE, TWO, ONE, group="More", required=False),
        groups=[{"name": "Core", "atLeast": 2}],
    )

    program = reply.data["assignCourses"]["program"]
    assert [[p["course"]["id"] for p in a["prerequisites"]] for a in program["courseAssignments"]] == [
        [],
        [str(ONE)],
        [str(ONE), str(TWO)],
    ]
    assert [
        (g["name"], g["atLeast"], [a["course"]["id"] for a in g["courseAssignments"]])
        for g in program["courseGroups"]
    ] == [("Core", 2, [str(ONE), str(TWO)]), ("More", 1, [str(THREE)])]
    assert program["version"] == 1


@pytest.mark.parametrize(
    ("courses", "more", "code", "field", "words"),
    [
        ([course(ONE, ONE)], {}, "BAD_USER_INPUT", "courses", '"First steps" after "First steps"'),
        (
            [course(ONE, TWO), course(TWO, THREE), course(THREE, ONE)],
            {},
            *(
                "BAD_USER_INPUT",
                "courses",
                '"First steps" after "Next steps" after "Last steps" after "First steps"',
            ),
        ),
        (
            [course(ONE), course(TWO, ONE, THREE)],
            {},
            "BAD_USER_INPUT",
            "courses.1.prerequisites.1",
            "same list",
        ),
        ([course(ONE, cast.OTHER_COURSE)], {}, "BAD_USER_INPUT", "courses.0.prerequisites.0", "same list"),
        ([course(ONE), course(cast.OTHER_COURSE)], {}, "NOT_FOUND", "courses.1.courseId", "no course"),
        ([course(ONE, group="\u200b")], {}, "BAD_USER_INPUT", "courses.0.group", "is blank"),
        (
            [course(ONE), course(TWO, group="x" * 101)],
            *({}, "BAD_USER_INPUT", "courses.1.group", "longer than 100"),
        ),
        (
            [course(ONE), course(TWO), course(ONE), course(TWO)],
            *({}, "BAD_USER_INPUT", "courses.2.courseId", "only once"),
        ),
        (
            [course(ONE, group="A")],
            {"groups": [{"name": "A", "atLeast": 2}]},
            *("BAD_USER_INPUT", "groups.0.atLeast", "1 course and cannot ask for at least 2. Ask for 1."),
        ),
        (
            [course(ONE, group="A")],
            {"groups": [{"name": "A", "atLeast": 0}]},
            *("BAD_USER_INPUT", "groups.0.atLeast", "at least 0"),
        ),
        (
            [course(ONE, group="A")],
            {"groups": [{"name": "A"}, {"name": "a"}]},
            *("BAD_USER_INPUT", "groups.1.name", 'No course is in group "a"'),
        ),
        (
            [course(ONE, group="A")],
            {"groups": [{"name": "A"}, {"name": "A"}]},
            *("BAD_USER_INPUT", "groups.1.name", "twice"),
        ),
        ([course(ONE)], {"expectedVersion": 2}, "CONFLICT", "expectedVersion", "at version 1 now"),
        (
            [course(ONE)],
            {"expectedUpdatedAt": "2026-01-01T00:00:00Z"},
            *("CONFLICT", "expectedUpdatedAt", "Read it again"),
        ),
    ],
)
@pytest.mark.parametrize("program", [cast.DRAFT, cast.PUBLISHED])
async def test_a_structure_with_a_mistake_changes_nothing(
    api: Api,
    as_admin: Person,
    database: Database,
    program: UUID,
    courses: list[dict[str, Any]],
    more: dict[str, Any],
    code: str,
    field: str,
    words: str,
) -> None:
    before = database.run(EVERYTHING)

    reply = await assign(api, as_admin, program, *courses, **more)

    assert (reply.code, reply.field) == (code, field)
    assert words in reply.error["message"]
    assert database.run(EVERYTHING) == before


async def test_what_changes_nothing_makes_no_version(api: Api, as_admin: Person, database: Database) -> None:
    same = [course(ONE), course(TWO, ONE, group="Core")]
    before = database.run(EVERYTHING)

    reply = await assign(api, as_admin, cast.PUBLISHED, *same, groups=[{"name": "Core", "atLeast": 1}])

    assert reply.data["assignCourses"]["program"]["version"] == 1
    assert database.run(EVERYTHING) == before


async def test_each_change_of_a_published_program_is_a_version_and_none_changes_later(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    await assign(api, as_admin, cast.PUBLISHED, course(TWO), course(ONE))
    await assign(api, as_admin, cast.PUBLISHED, course(TWO), completionCriteria={"course": str(TWO)})
    await assign(api, as_admin, cast.PUBLISHED, completionCriteria=None)

    assert await course_ids(api, as_learner, cast.PUBLISHED) == {
        4: [],
        3: [str(TWO)],
        2: [str(TWO), str(ONE)],
        1: [str(ONE), str(TWO)],
    }


async def test_criteria_of_courses_that_leave_are_refused(api: Api, as_admin: Person) -> None:
    await assign(api, as_admin, cast.PUBLISHED, course(TWO), completionCriteria={"course": str(TWO)})

    reply = await assign(api, as_admin, cast.PUBLISHED, course(ONE))

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", "completionCriteria.course")


async def test_a_published_program_takes_published_courses_only(api: Api, as_admin: Person) -> None:
    reply = await assign(api, as_admin, cast.PUBLISHED, course(THREE))

    assert reply.code == "FAILED_PRECONDITION"
    assert '"Last steps" is a draft' in reply.error["message"]


async def test_of_two_admins_with_the_same_version_in_mind_one_is_told(
    api: Api, as_admin: Person, as_super_admin: Person
) -> None:
    """At once, on connections of their own; the second one waits, and then finds another version."""
    lists = ([course(ONE)], [course(TWO)])

    replies = await asyncio.gather(
        *(
            assign(api, person, cast.PUBLISHED, *courses, expectedVersion=1)
            for person, courses in zip((as_admin, as_super_admin), lists, strict=True)
        )
    )

    (refused,) = [reply for reply in replies if "errors" in reply.json]
    assert refused.code == "CONFLICT"
    assert "at version 2 now" in refused.error["message"]
    assert sorted(await course_ids(api, as_admin, cast.PUBLISHED)) == [1, 2]


async def test_admins_who_expect_nothing_follow_each_other(api: Api, as_admin: Person) -> None:
    orders = [[ONE, TWO], [TWO, ONE], [ONE], [TWO]] * 3

    replies = await asyncio.gather(
        *(assign(api, as_admin, cast.OPEN_TO_ALL, *map(course, order)) for order in orders)
    )

    versions = await course_ids(api, as_admin, cast.OPEN_TO_ALL)
    assert not [reply.json for reply in replies if "errors" in reply.json]
    assert sorted(versions) == list(range(1, len(versions) + 1))
    assert all(versions[n] != versions[n + 1] for n in range(1, len(versions)))


async def test_a_draft_tells_of_a_change_by_its_time(api: Api, as_admin: Person) -> None:
    read = (await assign(api, as_admin, cast.DRAFT, course(ONE))).data["assignCourses"]["program"][
        "updatedAt"
    ]

    first = await assign(api, as_admin, cast.DRAFT, course(TWO), expectedUpdatedAt=read)
    second = await assign(api, as_admin, cast.DRAFT, course(ONE), expectedUpdatedAt=read)

    assert first.data["assignCourses"]["program"]["updatedAt"] > read
    assert second.code == "CONFLICT"


@pytest.mark.parametrize("original", [cast.UNFINISHED, cast.PUBLISHED, cast.ARCHIVED_UNSEEN, cast.RENEWED])
async def test_a_clone_is_a_draft_with_the_current_structure(
    api: Api, as_admin: Person, original: UUID
) -> None:
    clone = (await api.ask(as_admin, CLONE, input={"id": original, "title": "Again"})).data["cloneProgram"][
        "program"
    ]
    current = (await api.ask(as_admin, VERSIONS, id=original)).data["program"]["versions"][0]

    assert (clone["title"], clone["status"], clone["version"]) == ("Again", "DRAFT", 1)
    assert clone["courseGroups"] == current["groups"]
    assert clone["courseAssignments"] == [{**a, "courseVersion": None} for a in current["courseAssignments"]]


async def test_a_clone_has_the_title_of_the_original_and_its_criteria(api: Api, as_admin: Person) -> None:
    await assign(api, as_admin, cast.PUBLISHED, course(ONE), completionCriteria={"course": str(ONE)})

    clone = (await api.ask(as_admin, CLONE, input={"id": cast.PUBLISHED})).data["cloneProgram"]["program"]

    assert clone["title"] == "Summer"
    assert clone["versions"] == [{"completionCriteria": {"course": str(ONE)}}]
    refused = await api.ask(as_admin, CLONE, input={"id": cast.PUBLISHED, "title": " "})
    assert (refused.code, refused.field) == ("BAD_USER_INPUT", "title")


async def test_a_list_of_two_hundred_courses_is_assigned(
    api: Api, as_admin: Person, database: Database
) -> None:
    made = database.run(
        """
        with made as (
            insert into public.courses (community_id, title, status)
            select %s, 'Course ' || n, 'published' from generate_series(1, 200) as n returning community_id, id
        )
        insert into public.course_versions (community_id, course_id, version, published, published_at)
        select community_id, id, 1, true, now() from made returning course_id
        """,
        cast.ALPHA,
    )
    ids = [row[0] for row in made]
    courses = [course(c, *ids[max(0, n - 10) : n]) for n, c in enumerate(ids)]

    reply = await api.ask(
        as_admin,
        ASSIGN.replace("prerequisites { course { id } }", ""),
        input={"programId": cast.PUBLISHED, "courses": courses},
    )

    assert len(reply.data["assignCourses"]["program"]["courseAssignments"]) == 200


async def test_a_draft_has_changed_when_its_courses_have(api: Api, as_admin: Person) -> None:
    """Its version stays the same, so that this is what two admins notice each other by."""

    async def assigned(*courses: dict[str, Any]) -> str:
        reply = await assign(api, as_admin, cast.DRAFT, *courses)
        return str(reply.data["assignCourses"]["program"]["updatedAt"])

    times = [await assigned(course(ONE)), await assigned(course(ONE)), await assigned(course(TWO))]

    assert times[0] == times[1] < times[2]
