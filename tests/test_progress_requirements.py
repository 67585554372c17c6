"""What a program asks for, and how much of it is done: any criteria, compared with an evaluation in plain Python."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from tests import cast
from tests.api import Api
from tests.course_documents import block, block_id
from tests.databases import Database
from tests.people import Person, put_on
from tests.progressing import enroll, event, offer, program_progress, record, teach

GROUPS = {"Languages": ((1, 2), 1), "Electives": ((3, 4, 5), 2)}  # courses by number, and how many of them
COURSES = range(6)
Node = dict[str, Any]


@pytest.fixture
async def courses(api: Api, as_admin: Person) -> list[str]:
    """Six courses of three blocks each; block 10 * n + k is the k-th one of course n."""
    return [
        await teach(api, as_admin, *(block(10 * n + k) for k in (1, 2, 3)), title=f"Course {n}")
        for n in COURSES
    ]


leaves = st.one_of(
    st.sampled_from(COURSES).map(lambda number: {"course": number}),
    st.sampled_from(list(GROUPS)).map(lambda name: {"group": name}),
)


def _of(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    lists = st.lists(inner, min_size=1, max_size=4)
    return st.one_of(
        lists.map(lambda parts: {"all": parts}),
        lists.map(lambda parts: {"any": parts}),
        lists.flatmap(lambda parts: st.integers(1, len(parts)).map(lambda n: {"atLeast": n, "of": parts})),
    )


criteria = st.one_of(st.none(), st.recursive(leaves, _of, max_leaves=8))


def default_criteria() -> Node:
    """Every required course that is in no group, and every group."""
    return {"all": [{"course": 0}, {"group": "Languages"}, {"group": "Electives"}]}


def evaluated(node: Node, shares: dict[int, Decimal]) -> tuple[bool, Decimal]:
    """Whether it is met, and how much of it is done."""
    match node:
        case {"course": number}:
            return shares[number] == 1, shares[number]
        case {"group": name}:
            numbers, needed = GROUPS[name]
            parts = [evaluated({"course": n}, shares) for n in numbers]
        case {"all": inner}:
            parts, needed = [evaluated(n, shares) for n in inner], len(inner)
        case {"any": inner}:
            parts, needed = [evaluated(n, shares) for n in inner], 1
        case {"atLeast": needed, "of": inner}:
            parts = [evaluated(n, shares) for n in inner]
        case _:
            raise AssertionError(node)
    best = sorted(parts, reverse=True)[:needed]
    return sum(met for met, _ in parts) >= needed, sum((share for _, share in best), Decimal(0)) / needed


def with_ids(node: Any, ids: list[str]) -> Any:
    if isinstance(node, list):
        return [with_ids(part, ids) for part in node]
    if isinstance(node, dict):
        return {key: ids[value] if key == "course" else with_ids(value, ids) for key, value in node.items()}
    return node


def assigned(ids: list[str]) -> list[dict[str, Any]]:
    groups = {number: name for name, (numbers, _) in GROUPS.items() for number in numbers}
    return [{"course_id": ids[n], "group": groups.get(n)} for n in COURSES]


def program_asking_for(connection: psycopg.Connection[TupleRow], wanted: Node | None, ids: list[str]) -> UUID:
    """A published program with all courses, made by whoever the connection is."""
    structure = {
        "courses": assigned(ids),
        "groups": [{"name": name, "at_least": needed} for name, (_, needed) in GROUPS.items()],
        "completion_criteria": with_ids(wanted, ids),
    }
    row = connection.execute("select public.create_program(%s)", [Jsonb({"title": "Any"})]).fetchone()
    assert row is not None
    program: UUID = row[0]
    given_ = Jsonb({"program_id": str(program), **structure})
    connection.execute("select public.assign_courses(%s)", [given_])
    connection.execute("select public.publish_program(%s)", [Jsonb({"id": str(program)})])
    return program


def done_events(done: list[int]) -> list[dict[str, str]]:
    """What completes the first so many blocks of each course."""
    return [
        {
            "event_id": block_id(10 * n + k),
            "block_id": block_id(10 * n + k),
            "occurred_at": "2026-11-20T09:00:00Z",
        }
        for n in COURSES
        for k in range(1, done[n] + 1)
    ]


def expected(wanted: Node | None, done: list[int]) -> tuple[str, int]:
    """The status of the enrolment and how far it is."""
    shares = {n: Decimal(done[n]) / 3 for n in COURSES}
    met, share = evaluated(wanted or default_criteria(), shares)
    return ("completed", 100) if met else ("active", min(99, int(share * 100 + Decimal("1e-12"))))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(criteria, st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_any_criteria_are_met_as_they_say(
    database: Database,
    as_admin: Person,
    as_learner: Person,
    courses: list[str],
    wanted: Node | None,
    done: list[int],
) -> None:
    events = done_events(done)
    with database.connect() as connection, connection.transaction(force_rollback=True):

        def ask(statement: str, *values: Any) -> Any:
            row = connection.execute(statement, values).fetchone()
            assert row is not None
            return row

        put_on(connection, "authenticated", as_admin.claims_text)
        program = program_asking_for(connection, wanted, courses)
        put_on(connection, "authenticated", as_learner.claims_text)
        (enrollment,) = ask("select public.enroll(%s)", Jsonb({"program_id": str(program)}))
        if events:
            ask("select public.record_progress(%s)", Jsonb({"events": events}))
        status, percent = ask(
            "select e.status, p.percent from public.program_enrollments as e "
            "left join public.program_progress as p on p.enrollment_id = e.id where e.id = %s",
            enrollment,
        )
        missing = connection.execute(
            "select m.* from private.program_progress(%s) as p, private.missing_requirements(p) as m",
            [Jsonb({"program_id": str(program)})],
        ).fetchall()

    assert (status, percent) == expected(wanted, done)
    assert (missing == []) == (status == "completed")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(criteria, min_size=3, max_size=3),
    st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=2, max_size=2),
)
def test_many_enrolments_at_once_are_each_what_they_are_alone(
    database: Database,
    as_admin: Person,
    courses: list[str],
    wanted: list[Node | None],
    done: list[list[int]],
) -> None:
    """Two people in three programs, all that they did in one list."""
    people = [str(cast.LEARNER.id), str(cast.PEER.id)]
    events = [
        {**event, "user_id": person}
        for person, theirs in zip(people, done, strict=True)
        for event in done_events(theirs)
    ]
    with database.connect() as connection, connection.transaction(force_rollback=True):
        put_on(connection, "authenticated", as_admin.claims_text)
        programs = [program_asking_for(connection, node, courses) for node in wanted]
        for program in programs:
            for person in people:
                given_ = Jsonb({"program_id": str(program), "user_id": person})
                connection.execute("select public.enroll(%s)", [given_])
        if events:
            connection.execute("select public.record_progress(%s)", [Jsonb({"events": events})])
        found = {
            (program, str(person)): (status, percent)
            for program, person, status, percent in connection.execute(
                """select e.program_id, e.user_id, e.status, p.percent from public.program_enrollments as e
                join public.program_progress as p on p.enrollment_id = e.id where e.program_id = any(%s)""",
                [programs],
            )
        }

    assert found == {
        (program, person): expected(node, theirs)
        for program, node in zip(programs, wanted, strict=True)
        for person, theirs in zip(people, done, strict=True)
    }


async def test_a_course_in_a_group_counts_through_its_group(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    """`required` is true by default; "one of these two" would otherwise ask for both."""
    ids = [await teach(api, as_admin, block(n)) for n in (1, 2)]
    program = await offer(api, as_admin, *({"courseId": c, "group": "Either"} for c in ids))
    await enroll(api, as_learner, program)

    begun = await program_progress(api, as_learner, program)
    await record(api, as_learner, event(2))
    done = await program_progress(api, as_learner, program)

    assert begun["missing"][0]["description"] == (
        'Complete at least 1 of the courses in the group "Either": 0 so far.'
    )
    assert [m["kind"] for m in begun["missing"]] == ["GROUP", "COURSE", "COURSE"]
    assert (done["status"], done["percent"]) == ("COMPLETED", 100)


async def test_electives_and_courses_without_required_blocks_ask_for_nothing(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    course = await teach(api, as_admin, block(1))
    empty = await teach(api, as_admin, block(2, required=False))
    elective = await teach(api, as_admin, block(3))
    program = await offer(api, as_admin, course, empty, {"courseId": elective, "required": False})
    await enroll(api, as_learner, program)

    await record(api, as_learner, event(1))

    done = await program_progress(api, as_learner, program)
    assert (done["status"], done["percent"]) == ("COMPLETED", 100)
    assert [c["status"] for c in done["courses"]] == ["COMPLETED", "NOT_APPLICABLE", "NOT_STARTED"]


async def test_a_program_that_asks_for_nothing_is_never_complete(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    empty = await teach(api, as_admin, block(1, required=False))
    only_empty = await offer(api, as_admin, empty)
    nothing = await offer(api, as_admin)
    for program in (only_empty, nothing):
        await enroll(api, as_learner, program)

    await record(api, as_learner, event(1))

    assert (await program_progress(api, as_learner, only_empty))["enrollment"]["status"] == "ACTIVE"
    assert (await program_progress(api, as_learner, nothing))["status"] == "NOT_APPLICABLE"


def test_who_is_enrolled_while_the_version_is_made_has_something_to_do(database: Database) -> None:
    """An import makes a program and its enrolments in one transaction, and the version is closed at its end."""
    states = database.run("select status from public.program_progress where program_id = %s", cast.PUBLISHED)

    assert states
    assert ("not_applicable",) not in states


def test_what_versions_before_asked_for_is_written_down(database: Database) -> None:
    """As the migration finds them: closed before there was a table for it."""
    written = database.run("select * from public.program_requirements order by program_id, version, node")
    database.run("delete from public.program_requirements")

    database.run(
        "select private.write_requirements(v) from public.program_versions as v where published_at is not null"
    )

    assert (
        database.run("select * from public.program_requirements order by program_id, version, node")
        == written
    )
    assert {cast.PUBLISHED, cast.RENEWED} <= {row[1] for row in written}
