"""Courses, groups and prerequisites of programs: the rules that the database holds, whoever writes."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import cast
from tests.api import Api
from tests.attempts import attempt
from tests.databases import Database
from tests.people import Person
from tests.structures import ASSIGN, assign, course

ONE, TWO, THREE = cast.COURSE, cast.SECOND_COURSE, cast.DRAFT_COURSE


async def test_signed_out_is_told_to_sign_in(api: Api, as_anon: Person) -> None:
    assert (
        await api.ask(as_anon, ASSIGN, input={"programId": cast.DRAFT, "courses": []})
    ).code == "UNAUTHENTICATED"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(edges=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=6))
async def test_prerequisites_are_taken_exactly_when_there_is_an_order(
    api: Api, as_admin: Person, edges: set[tuple[int, int]]
) -> None:
    ids = (ONE, TWO, THREE)
    courses = [course(ids[n], *(ids[before] for after, before in edges if after == n)) for n in range(3)]

    reply = await assign(api, as_admin, cast.DRAFT, *courses)

    closure = set(edges)
    for _ in ids:
        closure |= {(a, d) for a, b in closure for c, d in closure if b == c}
    assert ("errors" in reply.json) == any((n, n) in closure for n in range(3))


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        # In UNFINISHED, the first course comes after the unpublished one.
        (
            (THREE, ONE),
            'PT400: Courses wait for each other: "First steps" after "Last steps" after "First steps". ',
        ),
        ((TWO, TWO), 'PT400: Courses wait for each other: "Next steps" after "Next steps". '),
        ((TWO, ONE), "1 rows"),
        ((TWO, cast.OTHER_COURSE), "23503: "),
    ],
)
def test_admins_who_write_prerequisites_by_sql_meet_the_same_rules(
    as_admin: Person, values: tuple[object, object], outcome: str
) -> None:
    columns = "program_id, course_id, prerequisite_id"
    insert = f"insert into public.program_course_prerequisites ({columns}) values (%s, %s, %s)"

    assert attempt(as_admin, insert, cast.UNFINISHED, *values).startswith(outcome)


def test_a_long_circle_is_found_among_many_prerequisites(database: Database, as_admin: Person) -> None:
    """Twenty layers of ten courses, each after all of the layer before: too many ways to walk them one by one."""
    fill = """
        with made as (
            insert into public.courses (community_id, title) select %(alpha)s, 'Course ' || n
            from generate_series(0, 196) as n returning community_id, id, title
        ),
        versions as (
            insert into public.course_versions (community_id, course_id, version) select community_id, id, 1 from made
        )
        insert into public.program_course_assignments (community_id, program_id, course_id, sequence_order)
        select community_id, %(program)s, id, 4 + substr(title, 8)::integer from made
    """
    link = """
        insert into public.program_course_prerequisites (program_id, course_id, prerequisite_id)
        select a.program_id, a.course_id, b.course_id
        from public.program_course_assignments as a
        join public.program_course_assignments as b on b.program_id = a.program_id
            and (b.sequence_order - 4) / 10 = (a.sequence_order - 4) / 10 - 1
        where a.program_id = %s and a.sequence_order >= 4 and b.sequence_order >= 4
    """
    back = """
        insert into public.program_course_prerequisites (program_id, course_id, prerequisite_id)
        select a.program_id, a.course_id, b.course_id
        from public.program_course_assignments as a
        join public.program_course_assignments as b on b.program_id = a.program_id and b.sequence_order = 200
        where a.program_id = %s and a.sequence_order = 4
    """
    with database.connect() as connection:
        connection.execute(fill, {"alpha": cast.ALPHA, "program": cast.UNFINISHED})
    as_admin.sql(link, cast.UNFINISHED)

    outcome = attempt(as_admin, back, cast.UNFINISHED)

    assert outcome.startswith("PT400: Courses wait for each other: ")
    assert outcome.count(" after ") == 20


def test_what_is_in_a_program_stays_in_it(database: Database) -> None:
    change = "update public.program_course_assignments set program_id = %s where program_id = %s"
    with database.connect() as connection, pytest.raises(Exception, match="stays in its program"):
        connection.execute(change, (cast.UNFINISHED, cast.DRAFT))


def test_groups_of_nobody_and_courses_of_nobody_go_with_the_draft(database: Database) -> None:
    database.run("delete from public.programs where id = %s", cast.UNFINISHED)

    for table in ("assignments", "groups", "prerequisites"):
        left = f"select from public.program_course_{table} where program_id = %s"
        assert database.run(left, cast.UNFINISHED) == []
