"""Memberships move between their states by the same rules whoever writes and by which way, and an admin stays."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product

import psycopg
import pytest
from psycopg.rows import TupleRow

from tests import cast
from tests.attempts import attempt
from tests.cast import ALPHA, Character
from tests.databases import Database
from tests.people import Person, put_on, signed_in

STATES = ("invited", "active", "suspended", "left")
MOVES = {
    ("invited", "active"),
    ("active", "suspended"),
    ("suspended", "active"),
    ("left", "active"),
    *product(("invited", "active", "suspended"), ("left",)),
}
LAST_ADMIN = "PT412: This is the last admin of the community. Make somebody else an admin first."
NO_ADMIN = "PT403: Only admins of the community may do this. Ask one of them."
CHANGE = "update public.memberships set status = %s, suspension_reason = %s where user_id = %s"
DEMOTE = "update public.memberships set role = 'end_user' where user_id = %s"
ACTIVE_ADMINS = (
    "select user_id from public.memberships "
    "where community_id = %s and role = 'community_admin' and status = 'active'"
)


@contextmanager
def peer_is(database: Database, status: str) -> Iterator[psycopg.Connection[TupleRow]]:
    """The peer in this state, until the end of the block."""
    with database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("delete from public.memberships where user_id = %s", (cast.PEER.id,))
        connection.execute(
            "insert into public.memberships (community_id, user_id, display_name, status) values (%s, %s, 'P', %s)",
            (ALPHA, cast.PEER.id, status),
        )
        yield connection


@pytest.mark.parametrize("move", tuple(product(STATES, repeat=2)), ids=" to ".join)
def test_memberships_move_as_they_may(shared_database: Database, move: tuple[str, str]) -> None:
    before, after = move

    with peer_is(shared_database, before) as connection:
        if before == after or move in MOVES:
            assert connection.execute(CHANGE, (after, None, cast.PEER.id)).rowcount == 1
        else:
            with pytest.raises(psycopg.Error, match=f"A membership cannot go from {before} to {after}."):
                connection.execute(CHANGE, (after, None, cast.PEER.id))


@pytest.mark.parametrize("before", ["invited", "left"])
def test_nobody_is_made_a_member_by_others(shared_database: Database, before: str) -> None:
    admin = signed_in(shared_database, cast.ADMIN)

    with peer_is(shared_database, before) as connection:
        put_on(connection, "authenticated", admin.claims_text)
        with pytest.raises(psycopg.Error, match="Nobody is made a member by others"):
            connection.execute(CHANGE, ("active", None, cast.PEER.id))


def test_a_suspension_has_a_reason_for_as_long_as_it_lasts(shared_database: Database) -> None:
    admin = signed_in(shared_database, cast.ADMIN)
    reason = "select suspension_reason from public.memberships where user_id = %s"

    with peer_is(shared_database, "active") as connection:
        put_on(connection, "authenticated", admin.claims_text)
        connection.execute(CHANGE, ("active", "None yet", cast.PEER.id))
        assert connection.execute(reason, (cast.PEER.id,)).fetchone() == (None,)
        connection.execute(CHANGE, ("suspended", "Spam", cast.PEER.id))
        assert connection.execute(reason, (cast.PEER.id,)).fetchone() == ("Spam",)
        connection.execute(CHANGE, ("active", "Forgiven", cast.PEER.id))
        assert connection.execute(reason, (cast.PEER.id,)).fetchone() == (None,)
        with pytest.raises(psycopg.Error, match="Say why"):
            connection.execute(CHANGE, ("suspended", None, cast.PEER.id))


def test_whoever_leaves_by_sql_takes_no_role_along(shared_database: Database) -> None:
    learner = signed_in(shared_database, cast.LEARNER)
    for change, outcome in {
        "status = 'left'": "1 rows",
        "status = 'left', role = 'community_admin'": NO_ADMIN,
        "role = 'community_admin'": NO_ADMIN,
        "status = 'suspended', suspension_reason = 'x'": (
            '42501: new row violates row-level security policy for table "memberships"'
        ),
    }.items():
        assert attempt(learner, f"update public.memberships set {change}") == outcome


@pytest.mark.parametrize("column", ["community_id", "user_id"])
def test_a_membership_keeps_its_place(shared_database: Database, column: str) -> None:
    value = cast.BETA if column == "community_id" else cast.OTHER_PEER.id
    with pytest.raises(psycopg.Error, match="keeps its community and its person"):
        shared_database.run(
            f"update public.memberships set {column} = '{value}' where user_id = '{cast.PEER.id}'"
        )


@pytest.mark.parametrize(
    "statement",
    [
        f"update public.memberships set role = 'end_user' where user_id = '{cast.ADMIN.id}'",
        f"update public.memberships set status = 'left' where user_id = '{cast.ADMIN.id}'",
        f"update public.memberships set status = 'suspended' where user_id = '{cast.ADMIN.id}'",
        "update public.memberships set role = 'end_user'",
        f"delete from public.memberships where user_id = '{cast.ADMIN.id}'",
    ],
)
@pytest.mark.parametrize("role", ["postgres", "service_role"])
def test_the_last_admin_stays_even_for_the_owner(
    shared_database: Database, statement: str, role: str
) -> None:
    with shared_database.connect() as connection:
        put_on(connection, role, "")
        with pytest.raises(psycopg.Error, match="the last admin"):
            connection.execute(statement)


def test_of_two_admins_one_statement_ends_one_at_the_most(database: Database) -> None:
    make_admins(database, cast.PEER)

    with pytest.raises(psycopg.Error, match="the last admin"):
        database.run("update public.memberships set role = 'end_user' where community_id = %s", ALPHA)


def test_a_person_and_a_community_can_always_be_deleted(database: Database) -> None:
    database.run("delete from auth.users where id = %s", cast.ADMIN.id)
    assert database.run(ACTIVE_ADMINS, ALPHA) == []

    database.run("delete from public.communities where id = %s", cast.BETA)
    assert database.run("select id from public.memberships where community_id = %s", cast.BETA) == []


@pytest.mark.parametrize("first", ["demotes the other", "leaves"])
def test_two_admins_at_the_same_moment(database: Database, first: str) -> None:
    """The second waits for the first, and then sees what it did, its own role included."""
    make_admins(database, cast.PEER)
    ada, piet = signed_in(database, cast.ADMIN), signed_in(database, cast.PEER)
    statement, whom, expected = {
        "demotes the other": (DEMOTE, cast.PEER.id, "PT403: Only admins of the community"),
        "leaves": (
            "update public.memberships set status = 'left' where user_id = %s",
            cast.ADMIN.id,
            LAST_ADMIN,
        ),
    }[first]

    with ThreadPoolExecutor(1) as pool, ada.transaction() as connection:
        assert connection.execute(statement, (whom,)).rowcount == 1
        target = cast.ADMIN.id if first == "demotes the other" else cast.PEER.id
        second = pool.submit(attempt, piet, DEMOTE, target)
        wait_for_a_lock(database)
        connection.commit()
        outcome = second.result(timeout=10)

    assert outcome.startswith(expected)
    assert len(database.run(ACTIVE_ADMINS, ALPHA)) == 1


@pytest.mark.parametrize("again", range(3))
def test_of_many_admins_who_all_leave_one_stays(database: Database, again: int) -> None:
    admins = (cast.ADMIN, cast.LEARNER, cast.PEER, cast.TRAVELLER, cast.NEWCOMER)
    make_admins(database, *admins)
    leave = "select public.leave_community('{}')"

    def leaving(character: Character) -> str:
        acting = signed_in(database, character).claiming(app_metadata={"community_id": str(ALPHA)})
        try:
            acting.sql(leave)
        except psycopg.Error as error:
            return f"{error.sqlstate}: {error.diag.message_primary}"
        return "left"

    with ThreadPoolExecutor(len(admins)) as pool:
        outcomes = sorted(pool.map(leaving, admins))

    assert outcomes == [LAST_ADMIN, *["left"] * (len(admins) - 1)], again
    assert len(database.run(ACTIVE_ADMINS, ALPHA)) == 1


def make_admins(database: Database, *people: Character) -> None:
    for person in people:
        database.run(
            "insert into public.memberships (community_id, user_id, display_name, role) "
            "values (%s, %s, %s, 'community_admin') "
            "on conflict (community_id, user_id) do update set role = 'community_admin'",
            *(ALPHA, person.id, person.name),
        )


def wait_for_a_lock(database: Database, seconds: float = 10) -> None:
    """Until somebody in this database waits for somebody else."""
    waiting = (
        "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    deadline = time.monotonic() + seconds
    while not database.run_as("supabase_admin", waiting):
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)


def test_a_role_that_ended_while_waiting_ends_nobody_elses(database: Database, as_admin: Person) -> None:
    """With a third admin the rule of the last one would not stop it."""
    make_admins(database, cast.PEER, cast.LEARNER)

    with ThreadPoolExecutor(1) as pool, as_admin.transaction() as connection:
        connection.execute(DEMOTE, (cast.PEER.id,))
        second = pool.submit(attempt, signed_in(database, cast.PEER), DEMOTE, cast.ADMIN.id)
        wait_for_a_lock(database)
        connection.commit()
        outcome = second.result(timeout=10)

    assert outcome.startswith("PT403")
    assert {user for (user,) in database.run(ACTIVE_ADMINS, ALPHA)} == {cast.ADMIN.id, cast.LEARNER.id}
