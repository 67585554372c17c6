"""Programs move between their states, and go, by the same rules whoever writes and by which way."""

from itertools import product
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests import cast
from tests.attempts import attempt, refusal
from tests.cast import ALPHA
from tests.databases import Database
from tests.people import Person

PROGRAM_STATES = {"draft": cast.DRAFT, "published": cast.PUBLISHED, "archived": cast.ARCHIVED}
PROGRAM_MOVES = {("draft", "published"), ("published", "archived"), ("archived", "published")}


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
def test_only_drafts_are_deleted(as_admin: Person, database: Database, program: UUID) -> None:
    delete = "delete from public.programs where id = %s"

    assert attempt(as_admin, delete, program) == "0 rows"
    assert (
        refusal(as_admin, "select public.delete_program(jsonb_build_object('id', %s::text))", program)
        == "PT412"
    )
    with database.connect() as connection, pytest.raises(psycopg.Error, match="Only drafts can be deleted"):
        connection.execute(delete, (program,))
    assert attempt(as_admin, delete, cast.DRAFT) == "1 rows"


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

    assert outcome == "PT400: A course can be in a program only once. Take this place out, or the one before."


def test_a_community_is_deleted_whole(database: Database) -> None:
    with database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("delete from public.communities where id = %s", (ALPHA,))

        left = connection.execute("select distinct community_id from public.blocks").fetchall()
        assert left == [(cast.BETA,)]


def test_a_person_is_deleted_with_their_enrolments_and_not_with_their_programs(database: Database) -> None:
    with database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("update public.programs set created_by = %s", (cast.LEARNER.id,))
        connection.execute("delete from auth.users where id = %s", (cast.LEARNER.id,))

        assert connection.execute("select count(*) from public.programs").fetchone() == (9,)
        mine = "select from public.program_enrollments where user_id = %s"
        assert connection.execute(mine, (cast.LEARNER.id,)).fetchall() == []
