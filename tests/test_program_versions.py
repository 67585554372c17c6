"""Versions of programs: made by changes, kept by those who are enrolled, and never changed by anybody."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from jobs.oulad import import_oulad
from local.cluster import Cluster
from local.migrate import MIGRATIONS
from tests import cast
from tests.api import Api
from tests.attempts import attempt, refusal
from tests.course_documents import block
from tests.databases import Database, fresh_database
from tests.oulad_folders import write_folder
from tests.oulad_learners import learners
from tests.people import Person
from tests.structures import VERSIONS, assign, course, course_ids, lifecycle

ONE, TWO = cast.COURSE, cast.SECOND_COURSE
MINE = """query ($id: UUID!) { program(id: $id) { version viewerEnrollment { programVersion
    courseAssignments { courseVersion course { id } } } } }"""
ENROLL = """mutation ($id: UUID!) { enroll(input: {programId: $id}) { enrollment { programVersion
    courseAssignments { course { id } } } } }"""
RESTORE = f"update public.programs set status = 'published' where id = '{cast.RENEWED}'"
# A new version of a course, as whoever publishes one does it.
NEXT_COURSE_VERSION = """
insert into public.course_versions (community_id, course_id, version, published, published_at)
select community_id, id, version + 1, true, now() from public.courses where id = any (%s);
"""
PUBLISH_COURSES = "update public.courses set version = version + 1 where id = any (%s)"


def publish_again(database: Database, *courses: UUID) -> None:
    with database.connect() as connection:
        connection.execute(NEXT_COURSE_VERSION, (list(courses),))
        connection.execute(PUBLISH_COURSES, (list(courses),))


def pins(database: Database, program: UUID) -> list[tuple[int, dict[str, int | None]]]:
    """The versions of the courses in each version of a program."""
    rows = database.run(
        """
        select v.version,
            coalesce(jsonb_object_agg(a.course_id, a.course_version) filter (where a.id is not null), '{}')
        from public.program_versions as v
        left join public.program_course_assignments as a using (community_id, program_id, version)
        where v.program_id = %s group by v.version order by v.version
        """,
        program,
    )
    return [(version, courses) for version, courses in rows]


async def test_enrolled_learners_keep_their_version_and_new_ones_get_the_current(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    before = (await api.ask(as_learner, MINE, id=cast.PUBLISHED)).data["program"]["viewerEnrollment"]

    await assign(api, as_admin, cast.PUBLISHED, course(TWO))
    seen = (await api.ask(as_learner, MINE, id=cast.PUBLISHED)).data["program"]
    await assign(api, as_admin, cast.OPEN_TO_ALL, course(ONE))
    joined = (await api.ask(as_learner, ENROLL, id=cast.OPEN_TO_ALL)).data["enroll"]["enrollment"]

    assert seen == {"version": 2, "viewerEnrollment": before}
    assert before["programVersion"] == 1
    assert [a["course"]["id"] for a in before["courseAssignments"]] == [str(ONE), str(TWO)]
    assert joined == {"programVersion": 2, "courseAssignments": [{"course": {"id": str(ONE)}}]}


async def test_nobody_chooses_a_version_when_enrolling(database: Database) -> None:
    """Not even the platform: whoever inserts, the trigger says which."""
    database.run(RESTORE)
    (row,) = database.run(
        "insert into public.program_enrollments (community_id, program_id, user_id, program_version) "
        "values (%s, %s, %s, 1) returning program_version",
        *(cast.ALPHA, cast.RENEWED, cast.LEARNER.id),
    )

    assert row == (2,)


async def test_publishing_pins_the_courses_and_drafts_follow(
    api: Api, as_admin: Person, database: Database
) -> None:
    publish_again(database, TWO)
    assert pins(database, cast.DRAFT) == [(1, {str(TWO): None})]

    published = (await api.ask(as_admin, lifecycle("publishProgram"), id=cast.DRAFT)).data["publishProgram"]

    assert published["program"] == {"id": str(cast.DRAFT), "status": "PUBLISHED", "version": 1}
    assert pins(database, cast.DRAFT) == [(1, {str(TWO): 2})]


async def test_a_program_is_published_when_its_courses_are(api: Api, as_admin: Person) -> None:
    refused = await api.ask(as_admin, lifecycle("publishProgram"), id=cast.UNFINISHED)
    publish = "mutation ($id: UUID!) { publishCourse(input: {id: $id}) { course { status } } }"
    assert (await api.ask(as_admin, publish, id=cast.DRAFT_COURSE)).data
    published = await api.ask(as_admin, lifecycle("publishProgram"), id=cast.UNFINISHED)

    assert refused.code == "FAILED_PRECONDITION"
    assert 'The course "Last steps" is a draft. Publish it first' in refused.error["message"]
    assert published.data["publishProgram"]["program"]["status"] == "PUBLISHED"


async def test_a_program_without_courses_can_be_published(api: Api, as_admin: Person) -> None:
    await assign(api, as_admin, cast.DRAFT)

    assert (await api.ask(as_admin, lifecycle("publishProgram"), id=cast.DRAFT)).data


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "insert into public.program_course_groups (program_id, name, at_least) values (%s, 'Few', 2)",
            '"Few"',
        ),
        (
            """update public.program_versions set completion_criteria = '{"group": "None"}' where program_id = %s""",
            "no group of this name",
        ),
    ],
)
async def test_a_draft_that_was_left_inconsistent_is_not_published(
    api: Api, as_admin: Person, change: str, words: str
) -> None:
    as_admin.sql(change, cast.DRAFT)

    reply = await api.ask(as_admin, lifecycle("publishProgram"), id=cast.DRAFT)

    assert reply.code == "FAILED_PRECONDITION"
    assert words in reply.error["message"]


def test_a_new_version_of_a_course_takes_the_published_programs_along(database: Database) -> None:
    untouched = [cast.DRAFT, cast.ARCHIVED_UNSEEN, cast.OTHER_PUBLISHED, cast.OPEN_TO_ALL]
    database.run(RESTORE)
    before = [pins(database, program) for program in untouched]

    publish_again(database, ONE, TWO)

    assert pins(database, cast.PUBLISHED) == [
        (1, {str(ONE): 1, str(TWO): 1}),
        (2, {str(ONE): 2, str(TWO): 2}),
    ]
    assert pins(database, cast.RENEWED)[-1] == (3, {str(TWO): 2})
    assert [pins(database, program) for program in untouched] == before
    copied = (
        "select version, name, at_least from public.program_course_groups where program_id = %s order by 1"
    )
    assert database.run(copied, cast.PUBLISHED) == [(1, "Core", 1), (2, "Core", 1)]
    copied = "select version, prerequisite_id from public.program_course_prerequisites where program_id = %s order by 1"
    assert database.run(copied, cast.PUBLISHED) == [(1, ONE), (2, ONE)]


def test_other_changes_of_a_course_make_no_version(database: Database) -> None:
    database.run("update public.courses set title = 'New', updated_at = now()")

    assert [version for version, _ in pins(database, cast.PUBLISHED)] == [1]


async def test_a_restored_program_catches_up_with_its_courses(
    api: Api, as_admin: Person, database: Database
) -> None:
    publish_again(database, ONE)

    reply = await api.ask(as_admin, lifecycle("restoreProgram"), id=cast.ARCHIVED_UNSEEN)

    assert reply.data["restoreProgram"]["program"]["version"] == 2
    assert pins(database, cast.ARCHIVED_UNSEEN) == [(1, {str(ONE): 1}), (2, {str(ONE): 2})]


async def test_a_course_and_the_programs_that_take_it_up_do_not_miss_each_other(
    api: Api, as_admin: Person, database: Database
) -> None:
    """The admin's list waits for the course that is just being published, or the other way round."""
    async with await psycopg.AsyncConnection.connect(database.dsn()) as connection:
        await connection.execute(NEXT_COURSE_VERSION, ([ONE],))
        await connection.execute(PUBLISH_COURSES, ([ONE],))
        assigning = asyncio.create_task(assign(api, as_admin, cast.OPEN_TO_ALL, course(ONE)))
        await asyncio.sleep(0.3)
        assert not assigning.done()
        await connection.commit()
        assert "errors" not in (await assigning).json

    assert pins(database, cast.OPEN_TO_ALL)[-1] == (2, {str(ONE): 2})


CHANGES = {
    "insert into public.program_course_assignments (program_id, course_id, sequence_order) "
    f"values ('{cast.OPEN_TO_ALL}', '{ONE}', 9)": "PT412",
    f"update public.program_course_assignments set required = false where program_id = '{cast.PUBLISHED}'": "PT412",
    f"delete from public.program_course_assignments where program_id = '{cast.PUBLISHED}'": "PT412",
    f"insert into public.program_course_groups (program_id, name) values ('{cast.PUBLISHED}', 'New')": "PT412",
    f"update public.program_course_groups set at_least = 2 where program_id = '{cast.PUBLISHED}'": "PT412",
    f"delete from public.program_course_prerequisites where program_id = '{cast.PUBLISHED}'": "PT412",
    f"insert into public.program_versions (program_id, version) values ('{cast.PUBLISHED}', 3)": "PT412",
    f"insert into public.program_versions (program_id, version) values ('{cast.PUBLISHED}', 0)": "PT412",
    f"insert into public.program_versions (program_id, version) values ('{cast.DRAFT}', 2)": "PT412",
    f"insert into public.program_versions (program_id, version) values ('{cast.ARCHIVED}', 2)": "PT412",
    f"update public.programs set version = 2 where id = '{cast.PUBLISHED}'": "PT412",
    f"update public.programs set version = 2 where id = '{cast.DRAFT}'": "PT412",
    f"{RESTORE}; update public.programs set version = 1 where id = '{cast.RENEWED}'": "PT412",
    f"update public.program_course_assignments set course_version = 1 where program_id = '{cast.DRAFT}'": "42501",
    f"update public.program_enrollments set program_version = 1 where program_id = '{cast.PUBLISHED}'": "42501",
}


@pytest.mark.parametrize(("statement", "code"), CHANGES.items())
def test_admins_who_write_sql_meet_the_same_rules(as_admin: Person, statement: str, code: str) -> None:
    assert refusal(as_admin, statement) == code


@pytest.mark.parametrize(
    "statement",
    [
        'update public.program_versions set completion_criteria = \'{"group": "x"}\' where program_id = %s',
        "update public.program_versions set published_at = null where program_id = %s",
        "delete from public.program_versions where program_id = %s",
        "update public.program_course_assignments set course_version = null where program_id = %s",
        "update public.program_course_prerequisites set prerequisite_id = course_id where program_id = %s",
    ],
)
def test_not_even_the_owner_changes_what_was_current(database: Database, statement: str) -> None:
    with database.connect() as connection, pytest.raises(psycopg.Error) as error:
        connection.execute(statement, (cast.PUBLISHED,))

    assert error.value.sqlstate == "PT412"


def test_an_admin_builds_a_version_by_sql_in_one_transaction(as_admin: Person, database: Database) -> None:
    begin = "insert into public.program_versions (program_id, version) values (%s, 2)"
    fill = (
        "insert into public.program_course_assignments (program_id, version, course_id, sequence_order, group_name) "
        "values (%s, 2, %s, 1, 'Only')"
    )

    with as_admin.transaction() as connection:
        connection.execute(begin, (cast.PUBLISHED,))
        with pytest.raises(psycopg.Error, match="begun and not made current"):
            connection.execute("set constraints all immediate")  # as the commit does
    with as_admin.transaction() as connection:
        connection.execute(begin, (cast.PUBLISHED,))
        connection.execute(fill, (cast.PUBLISHED, ONE))
        connection.execute("update public.programs set version = 2 where id = %s", (cast.PUBLISHED,))

    assert pins(database, cast.PUBLISHED)[-1] == (2, {str(ONE): 1})
    groups = (
        "select version, name, at_least from public.program_course_groups where program_id = %s order by 1"
    )
    assert database.run(groups, cast.PUBLISHED) == [(1, "Core", 1), (2, "Only", 1)]
    assert refusal(as_admin, fill, cast.PUBLISHED, TWO) == "PT412"


async def test_learners_see_versions_of_what_they_see(
    api: Api, as_admin: Person, as_learner: Person, as_other_community: Person
) -> None:
    as_admin.sql(RESTORE)
    seen = (await api.ask(as_learner, VERSIONS, id=cast.RENEWED)).data["program"]

    assert [version["version"] for version in seen["versions"]] == [2, 1]
    for person, program in ((as_learner, cast.DRAFT), (as_other_community, cast.RENEWED)):
        assert (await api.ask(person, VERSIONS, id=program)).data == {"program": None}
        assert (
            attempt(person, "select from public.program_versions where program_id = %s", program) == "0 rows"
        )


async def test_a_deleted_draft_takes_its_version_along(
    api: Api, as_admin: Person, database: Database
) -> None:
    delete = "mutation ($id: UUID!) { deleteProgram(input: {id: $id}) { deletedProgramId } }"

    assert (await api.ask(as_admin, delete, id=cast.UNFINISHED)).data
    assert pins(database, cast.UNFINISHED) == []


async def test_a_version_of_hundreds_of_programs_is_made_at_once(database: Database) -> None:
    database.run(
        """
        with made as (
            insert into public.programs (community_id, title, status, published_at)
            select %s, 'Program ' || n, 'published', now() from generate_series(1, 500) as n returning community_id, id
        )
        insert into public.program_course_assignments (community_id, program_id, course_id, sequence_order)
        select community_id, id, %s, 1 from made
        """,
        *(cast.ALPHA, ONE),
    )

    publish_again(database, ONE)

    versions = "select version, count(*) from public.programs where title like 'Program %' group by 1"
    assert database.run(versions) == [(2, 500)]


def test_a_course_that_an_import_adds_is_a_new_version(database: Database, tmp_path: Path) -> None:
    first = {**learners("2013B,1,0,"), "courses": ["ZZ9,2013B,240"]}
    import_oulad(database.dsn(), write_folder(tmp_path / "first", **first))

    totals = import_oulad(
        database.dsn(), write_folder(tmp_path / "more", **learners("2013B,1,0,", "2013J,2,0,"))
    )
    again = import_oulad(
        database.dsn(), write_folder(tmp_path / "again", **learners("2013B,1,0,", "2013J,2,0,"))
    )

    ((program, version),) = database.run("select id, version from public.programs where title = 'Module ZZ9'")
    assert version == 2
    assert [len(courses) for _, courses in pins(database, program)] == [1, 2]
    assert totals.notes == ["programs got a new version, with courses that are new: 1"]
    assert not any(again.created.values())


async def test_update_program_can_expect_what_was_read(api: Api, as_admin: Person) -> None:
    update = "mutation ($input: UpdateProgramInput!) { updateProgram(input: $input) { program { updatedAt title } } }"
    read = (await api.ask(as_admin, update, input={"id": cast.DRAFT})).data["updateProgram"]["program"][
        "updatedAt"
    ]

    async def rename(program: UUID, title: str) -> str:
        reply = await api.ask(
            as_admin, update, input={"id": program, "title": title, "expectedUpdatedAt": read}
        )
        return reply.code if "errors" in reply.json else "done"

    both = await asyncio.gather(rename(cast.DRAFT, "A"), rename(cast.DRAFT, "B"))

    assert sorted(both) == ["CONFLICT", "done"]
    assert await rename(cast.ARCHIVED, "C") == "FAILED_PRECONDITION"
    assert await rename(uuid4(), "D") == "NOT_FOUND"


async def test_archiving_and_changing_at_once_leave_no_archived_program_changed(
    api: Api, as_admin: Person, database: Database
) -> None:
    update = "mutation ($input: UpdateProgramInput!) { updateProgram(input: $input) { program { status } } }"

    for turn in range(10):
        title = f"Turn {turn}"
        archived, updated, assigned = await asyncio.gather(
            api.ask(as_admin, lifecycle("archiveProgram"), id=cast.PUBLISHED),
            api.ask(as_admin, update, input={"id": cast.PUBLISHED, "title": title}),
            assign(api, as_admin, cast.PUBLISHED, course((ONE, TWO)[turn % 2])),
        )
        assert "errors" not in archived.json
        for reply in (updated, assigned):
            assert "errors" not in reply.json or reply.code == "FAILED_PRECONDITION"
        ((found,),) = database.run("select title from public.programs where id = %s", cast.PUBLISHED)
        assert (found == title) == ("errors" not in updated.json)
        await api.ask(as_admin, lifecycle("restoreProgram"), id=cast.PUBLISHED)

    versions = await course_ids(api, as_admin, cast.PUBLISHED)
    assert sorted(versions) == list(range(1, len(versions) + 1))


BEFORE_VERSIONS = f"""
insert into auth.users (id) values ('{cast.LEARNER.id}');
insert into public.communities (id, slug, name) values ('{cast.ALPHA}', 'alpha', 'Alpha');
insert into public.memberships (community_id, user_id, display_name)
values ('{cast.ALPHA}', '{cast.LEARNER.id}', 'Lena');
insert into public.courses (community_id, id, title, status, version)
values ('{cast.ALPHA}', '{ONE}', 'First steps', 'published', 3);
insert into public.course_versions (community_id, course_id, version, published)
values ('{cast.ALPHA}', '{ONE}', 3, true);
insert into public.programs (community_id, id, title, status, published_at)
values ('{cast.ALPHA}', '{cast.PUBLISHED}', 'Summer', 'published', now()),
    ('{cast.ALPHA}', '{cast.DRAFT}', 'Autumn', 'draft', null);
insert into public.program_course_assignments (community_id, program_id, course_id, sequence_order, group_name)
select community_id, id, '{ONE}', 1, 'Core' from public.programs;
insert into public.program_enrollments (community_id, program_id, user_id)
values ('{cast.ALPHA}', '{cast.PUBLISHED}', '{cast.LEARNER.id}');
update public.programs set status = 'archived' where status = 'published';
"""


def test_what_was_there_before_versions_is_version_1(cluster: Cluster) -> None:
    migrations = sorted(MIGRATIONS.glob("*.sql"))
    this = next(place for place, path in enumerate(migrations) if path.name.endswith("_program_versions.sql"))
    with fresh_database(cluster) as database:
        for path in migrations[:this]:
            with database.connect() as connection:
                connection.execute(path.read_bytes())
        database.run(BEFORE_VERSIONS)

        with database.connect() as connection:
            connection.execute(migrations[this].read_bytes())

        assert pins(database, cast.PUBLISHED) == [(1, {str(ONE): 3})]
        assert pins(database, cast.DRAFT) == [(1, {str(ONE): None})]
        groups = "select program_id, version, name, at_least from public.program_course_groups order by 1"
        assert database.run(groups) == [(cast.DRAFT, 1, "Core", 1), (cast.PUBLISHED, 1, "Core", 1)]
        assert list(database.run("select program_version from public.program_enrollments")) == [(1,)]
        closed = "select published_at = (select published_at from public.programs where id = program_id) "
        closed += "from public.program_versions where program_id = %s"
        assert database.run(closed, cast.PUBLISHED) == [(True,)]
        with database.connect() as connection, pytest.raises(psycopg.Error, match="is archived"):
            connection.execute(
                "delete from public.program_course_assignments where program_id = %s", (cast.PUBLISHED,)
            )


WRITES = {
    "versions": "insert into public.program_versions (program_id, version, completion_criteria) values (%s, 2, %s)",
    "courses": "insert into public.program_course_assignments (program_id, course_id, sequence_order, group_name) "
    f"values (%s, '{ONE}', 9, left(%s, 9))",
    "groups": "insert into public.program_course_groups (program_id, name) values (%s, left(%s, 9))",
    "prerequisites": "insert into public.program_course_prerequisites (program_id, course_id, prerequisite_id) "
    f"select %s, '{ONE}', '{TWO}' where %s <> ''",
}
HUGE = json.dumps({"all": [{"any": [{"group": "x" * 90}] * 200}] * 13})


@pytest.mark.parametrize("name", ["as_learner", "as_suspended", "as_visitor", "as_other_learner"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_who_is_no_admin_is_refused_before_anything_is_locked_or_looked_at(
    database: Database, request: pytest.FixtureRequest, name: str, write: str
) -> None:
    person = request.getfixturevalue(name)
    programs = (cast.DRAFT, cast.PUBLISHED, cast.ARCHIVED, cast.OTHER_PUBLISHED, uuid4())
    with database.connect() as connection:
        connection.execute("select from public.programs for update")

        seen = {attempt(person, write, program, HUGE) for program in programs}

    assert len(seen) == 1
    assert seen.pop().startswith("PT403")


async def test_huge_criteria_are_refused_at_a_glance(api: Api, as_admin: Person) -> None:
    began = time.perf_counter()
    seen = attempt(as_admin, WRITES["versions"], cast.PUBLISHED, HUGE)
    reply = await assign(api, as_admin, cast.DRAFT, course(ONE), completionCriteria=json.loads(HUGE))

    assert len(HUGE) > 240_000
    assert seen.startswith("PT400: The criteria are longer than 32 KiB.")
    assert (reply.code, reply.field) == ("BAD_USER_INPUT", "completionCriteria")
    # Looking into them takes more than a second.
    assert time.perf_counter() - began < 0.5


COURSE_MOVES = {
    "publish": ("publish_course", {"id": cast.DRAFT_COURSE}),
    "import": (
        "import_course",
        {
            "course_id": cast.COURSE,
            "course": {"format": "course/1", "title": "T", "blocks": []},
            "publish": True,
        },
    ),
    "archive": ("archive_course", {"id": cast.COURSE}),
    "restore": ("restore_course", {"id": cast.COURSE}),
}


@pytest.mark.parametrize(("function", "given"), COURSE_MOVES.values(), ids=COURSE_MOVES)
def test_courses_wait_for_programs_before_they_are_locked(
    database: Database, as_admin: Person, function: str, given: dict[str, Any]
) -> None:
    """Else each would have what the other one waits for."""
    waiting = "select from pg_locks where locktype = 'advisory' and not granted"
    with database.connect() as assigning, ThreadPoolExecutor(1) as pool:
        assigning.execute("select private.lock_program_structures(%s)", (cast.ALPHA,))
        moving = pool.submit(attempt, as_admin, f"select public.{function}(%s)", Jsonb(given, dumps=_dumps))
        while not moving.done() and not database.run(waiting):
            time.sleep(0.01)

        assigning.execute("select from public.courses for update nowait")
        assert not moving.done()
        assigning.rollback()

        assert moving.result(timeout=10) in ("1 rows", "PT412: " + _NOT_ARCHIVED)


_NOT_ARCHIVED = "The course is in state published; only from archived can it become published."


def _dumps(value: Any) -> str:
    return json.dumps(value, default=str)


def test_publishing_courses_and_assigning_them_at_once(as_admin: Person) -> None:
    publish = "select public.import_course(%s)"
    assign_both = "select public.assign_courses(%s)"

    def publishing(course_id: UUID, turn: int) -> str:
        document = {
            "format": "course/1",
            "title": f"Turn {turn}",
            "blocks": [block(100 * turn + course_id.int % 7)],
        }
        return tried(publish, {"course_id": course_id, "course": document, "publish": True})

    def assigning(turn: int) -> str:
        courses = [{"course_id": one, "required": bool(turn % 2)} for one in (ONE, TWO)]
        return tried(assign_both, {"program_id": cast.PUBLISHED, "courses": courses})

    def tried(statement: str, given: dict[str, Any]) -> str:
        try:
            as_admin.sql(statement, Jsonb(given, dumps=_dumps))
        except psycopg.Error as error:
            return error.sqlstate or ""
        return ""

    with ThreadPoolExecutor(3) as pool:
        acts = [
            act
            for turn in range(1, 9)
            for act in (
                pool.submit(publishing, ONE, turn),
                pool.submit(assigning, turn),
                pool.submit(publishing, TWO, turn + 50),
            )
        ]

    assert [act.result() for act in acts] == [""] * len(acts)
