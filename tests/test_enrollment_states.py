"""Enrolments begin and move between their states by the same rules whoever writes and by which way."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import TupleRow

from tests import cast
from tests.cast import ALPHA, Character
from tests.databases import Database
from tests.people import Person, put_on

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


@pytest.mark.parametrize("move", tuple(product(ENROLLMENT_STATES, repeat=2)), ids=" to ".join)
def test_enrolments_move_as_they_may(database: Database, as_admin: Person, move: tuple[str, str]) -> None:
    before, after = move

    with enrolled(database, before) as (connection, enrollment):
        put_on(connection, "authenticated", as_admin.claims_text)
        connection.execute("select set_config('gym.reason', 'An exam elsewhere', true)")
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
        (cast.DRAFT, cast.PEER, "The program is a draft"),
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
