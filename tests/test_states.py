"""Programs and enrolments move between their states by the same rules whoever writes, and by which way."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from tests import cast
from tests.attempts import attempt, refusal
from tests.cast import ALPHA, Character
from tests.databases import Database
from tests.people import Person, put_on

PROGRAM_STATES = {"draft": cast.DRAFT, "published": cast.PUBLISHED, "archived": cast.ARCHIVED}
PROGRAM_MOVES = {("draft", "published"), ("published", "archived"), ("archived", "published")}

ENROLLMENT_STATES = ("pending", "active", "paused", "completed", "withdrawn", "expired")
OPEN = ("pending", "active", "paused")
ENROLLMENT_MOVES = {
    ("pending", "active"),
    ("active", "paused"),
    ("paused", "active"),
    *product(("active", "paused"), ("completed",)),
    *product(OPEN, ("withdrawn", "expired")),
}


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.mark.parametrize("move", tuple(product(PROGRAM_STATES, repeat=2)), ids=" to ".join)
def test_programs_move_as_they_may(as_admin: Person, move: tuple[str, str]) -> None:
    before, after = move
    change = "update public.programs set status = %s where id = %s"

    outcome = attempt(as_admin, change, after, PROGRAM_STATES[before])

    if before == after or move in PROGRAM_MOVES:
        assert outcome == "1 rows"
    else:
        assert outcome == f"PT412: A program cannot go from {before} to {after}."


def test_the_clock_of_a_program_is_the_databases(as_admin: Person) -> None:
    with as_admin.transaction() as connection, connection.transaction(force_rollback=True):
        change = (
            "update public.programs set status = %s where id = %s returning published_at, archived_at, now()"
        )
        published, archived, now = connection.execute(change, ("published", cast.DRAFT)).fetchone() or ()
        assert (published, archived) == (now, None)

        published, archived, now = connection.execute(change, ("archived", cast.DRAFT)).fetchone() or ()
        assert (published, archived) == (now, now)

        published, archived, now = connection.execute(change, ("published", cast.DRAFT)).fetchone() or ()
        assert (published, archived) == (now, None)


@pytest.mark.parametrize("column", ["title", "description", "duration_weeks"])
def test_archived_programs_do_not_change(as_admin: Person, database: Database, column: str) -> None:
    value = "5" if column == "duration_weeks" else "'New'"
    change = f"update public.programs set {column} = {value} where id = '{cast.ARCHIVED}'"

    with database.connect() as connection, pytest.raises(psycopg.Error, match="Restore it"):
        connection.execute(change)
    assert refusal(as_admin, change) == "PT412"


@pytest.mark.parametrize("program", [cast.PUBLISHED, cast.ARCHIVED])
def test_only_drafts_are_deleted(as_admin: Person, database: Database, program: object) -> None:
    delete = "delete from public.programs where id = %s"

    assert attempt(as_admin, delete, program) == "0 rows"
    assert (
        refusal(as_admin, "select public.delete_program(jsonb_build_object('id', %s::text))", program)
        == "PT412"
    )
    with database.connect() as connection, pytest.raises(psycopg.Error, match="Only drafts can be deleted"):
        connection.execute(delete, (program,))
    assert attempt(as_admin, delete, cast.DRAFT) == "1 rows"


def test_a_community_is_deleted_whole(database: Database) -> None:
    with database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("delete from public.communities where id = %s", (ALPHA,))

        left = connection.execute("select distinct community_id from public.blocks").fetchall()
        assert left == [(cast.BETA,)]


def test_a_person_is_deleted_with_their_enrolments_and_not_with_their_programs(database: Database) -> None:
    with database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("update public.programs set created_by = %s", (cast.LEARNER.id,))
        connection.execute("delete from auth.users where id = %s", (cast.LEARNER.id,))

        assert connection.execute("select count(*) from public.programs").fetchone() == (7,)
        mine = "select from public.program_enrollments where user_id = %s"
        assert connection.execute(mine, (cast.LEARNER.id,)).fetchall() == []


@pytest.mark.parametrize("move", tuple(product(ENROLLMENT_STATES, repeat=2)), ids=" to ".join)
def test_enrolments_move_as_they_may(database: Database, as_admin: Person, move: tuple[str, str]) -> None:
    before, after = move

    with enrolled(database, before) as (connection, enrollment):
        put_on(connection, "authenticated", as_admin.claims_text)
        change = "update public.program_enrollments set status = %s where id = %s returning status"
        if before == after or move in ENROLLMENT_MOVES:
            assert connection.execute(change, (after, enrollment)).fetchone() == (after,)
        else:
            with pytest.raises(psycopg.Error, match=f"An enrolment cannot go from {before} to {after}."):
                connection.execute(change, (after, enrollment))


@pytest.mark.parametrize("before", ENROLLMENT_STATES)
def test_learners_only_leave_what_is_open(database: Database, as_learner: Person, before: str) -> None:
    with enrolled(database, before) as (connection, enrollment):
        put_on(connection, "authenticated", as_learner.claims_text)
        change = (
            "update public.program_enrollments set status = 'withdrawn' where id = %s returning withdrawn_at"
        )
        if before in (*OPEN, "withdrawn"):
            assert connection.execute(change, (enrollment,)).rowcount == 1
        else:
            with pytest.raises(psycopg.Error, match=f"An enrolment cannot go from {before} to withdrawn."):
                connection.execute(change, (enrollment,))


def test_nobody_moves_an_enrolment_to_another_person_or_program(database: Database) -> None:
    for change in ("attempt = 9", f"user_id = '{cast.PEER.id}'", f"program_id = '{cast.OPEN_TO_ALL}'"):
        with pytest.raises(psycopg.Error, match="keeps its program, its person and its attempt"):
            database.run(f"update public.program_enrollments set {change} where id = '{cast.ENROLLMENT}'")


@pytest.mark.parametrize(
    ("program", "person", "reason"),
    [
        (cast.DRAFT, cast.PEER, "The program is draft"),
        (cast.ARCHIVED, cast.PEER, "The program is archived"),
        (cast.OPEN_TO_ALL, cast.SUSPENDED, "This membership is suspended"),
        (cast.OPEN_TO_ALL, cast.OTHER_PEER, "not a member of your community"),
        (cast.OTHER_PUBLISHED, cast.PEER, "no program with this id"),
    ],
)
def test_enrolling_keeps_its_rules_for_servers_too(
    database: Database, program: UUID, person: Character, reason: str
) -> None:
    enroll = "insert into public.program_enrollments (community_id, program_id, user_id) values (%s, %s, %s)"

    with pytest.raises(psycopg.Error, match=reason):
        database.run(enroll, ALPHA, program, person.id)


def test_one_open_enrolment_a_person_and_program(database: Database) -> None:
    enroll = "insert into public.program_enrollments (community_id, program_id, user_id) values (%s, %s, %s)"

    with pytest.raises(psycopg.errors.UniqueViolation, match="program_enrollments_one_open"):
        database.run(enroll, ALPHA, cast.PUBLISHED, cast.LEARNER.id)


@pytest.mark.parametrize("courses", [None, {"courses": None}, {"courses": {}}, {"courses": "all"}])
def test_a_list_of_courses_that_is_none_removes_nothing(
    as_admin: Person, courses: dict[str, Any] | None
) -> None:
    assign = "select public.assign_courses(%s)"

    assert refusal(as_admin, assign, Jsonb({"program_id": str(cast.PUBLISHED), **(courses or {})})) == "PT400"


def test_one_course_written_in_two_ways_is_one_course(as_admin: Person) -> None:
    courses = [{"course_id": str(cast.COURSE)}, {"course_id": str(cast.COURSE).upper()}]
    assign = "select public.assign_courses(%s)"

    outcome = attempt(as_admin, assign, Jsonb({"program_id": str(cast.DRAFT), "courses": courses}))

    assert outcome == "PT400: A course can be in a program only once."


@contextmanager
def enrolled(database: Database, status: str) -> Iterator[tuple[psycopg.Connection[TupleRow], UUID]]:
    """The learner in a program, in this state, until the end of the block."""
    insert = """
        insert into public.program_enrollments (community_id, program_id, user_id, status, completed_at, withdrawn_at)
        values (%(community)s, %(program)s, %(user)s, %(status)s,
            case when %(status)s = 'completed' then now() end, case when %(status)s = 'withdrawn' then now() end)
        returning id
    """
    values = {"community": ALPHA, "program": cast.OPEN_TO_ALL, "user": cast.LEARNER.id, "status": status}
    with database.connect() as connection, connection.transaction(force_rollback=True):
        (enrollment,) = connection.execute(insert, values).fetchone() or ()
        yield connection, enrollment
