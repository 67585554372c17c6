"""`gym_api`, the server's login role, has no rights of its own, can become few, and leaves nothing behind."""

import psycopg
import pytest

from tests import cast
from tests.attempts import NO_PRIVILEGE, refusal
from tests.databases import Database
from tests.people import Person, put_on, signed_in

STRONGER_ROLES = (
    "postgres",
    "service_role",
    "supabase_admin",
    "supabase_auth_admin",
    "authenticator",
    "gym_worker",
)
ESCALATIONS = (
    "set session authorization postgres",
    "create table public.mine (id int)",
    "create table private.mine (id int)",
    "create schema mine",
    "create role mine",
    "alter role gym_api bypassrls",
    "grant service_role to gym_api",
    "alter table public.programs disable row level security",
    "alter function private.is_super_admin() security invoker",
    "truncate public.programs",
    "copy public.programs to program 'true'",
    "select pg_read_file('postgresql.conf')",
    "select encrypted_password from auth.users",
    "select * from private.super_admins",
    "insert into private.super_admins (user_id, reason) values (auth.uid(), 'wants to')",
    "select private.custom_access_token_hook('{}')",
)


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.mark.parametrize("role", ["gym_api", "gym_worker"])
@pytest.mark.parametrize(
    "query",
    [
        "select from public.programs",
        "select from public.communities",
        "select from private.super_admins",
        "select from auth.users",
        "select public.enroll('{}')",
        "select private.viewer()",
    ],
)
def test_login_roles_reach_nothing_by_themselves(database: Database, role: str, query: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.run_as(role, query)


@pytest.mark.parametrize("role", STRONGER_ROLES)
def test_no_stronger_role_can_be_put_on(database: Database, role: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.run_as("gym_api", "select set_config('role', %s, true)", role)


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role", "postgres", "gym_api"])
def test_the_worker_puts_on_nothing(database: Database, role: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.run_as("gym_worker", "select set_config('role', %s, true)", role)


@pytest.mark.parametrize("role", STRONGER_ROLES)
def test_no_stronger_role_follows_a_weak_one(as_admin: Person, role: str) -> None:
    with as_admin.transaction() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select set_config('role', %s, true)", (role,))


@pytest.mark.parametrize("statement", ESCALATIONS)
def test_signed_in_people_cannot_escalate(as_admin: Person, statement: str) -> None:
    assert refusal(as_admin, statement) == NO_PRIVILEGE


def test_resetting_the_role_gives_nothing(as_admin: Person) -> None:
    with as_admin.transaction() as connection:
        connection.execute("reset role")
        assert connection.execute("select current_user").fetchone() == ("gym_api",)

        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select from public.programs")


def test_a_temporary_type_cannot_take_the_place_of_a_real_one(as_learner: Person) -> None:
    """Its check would run inside the definer functions, with their owner's rights."""
    hijack = "create domain pg_temp.uuid as pg_catalog.uuid check (pg_temp.steal(value))"

    assert refusal(as_learner, "create function pg_temp.steal(uuid) returns bool return true") == NO_PRIVILEGE
    assert refusal(as_learner, hijack) == NO_PRIVILEGE


def test_nothing_is_left_when_the_transaction_ends(database: Database) -> None:
    with database.connect("gym_api") as connection:
        put_on(connection, "authenticated", signed_in(database, cast.ADMIN).claims_text)
        connection.commit()

        left = connection.execute("select current_user, current_setting('request.jwt.claims')").fetchone()

    assert left == ("gym_api", "")


def test_a_cached_plan_answers_the_next_person_for_themselves(database: Database) -> None:
    """Postgres plans a statement anew five times, then may keep a plan: seven of one, then another."""
    query = "select community_id, title from public.programs where status = %s order by title"
    with database.connect("gym_api") as connection:
        answers = []
        for person in (*[cast.ADMIN] * 7, cast.OTHER_ADMIN, cast.ADMIN):
            put_on(connection, "authenticated", signed_in(database, person).claims_text)
            answers.append(connection.execute(query, ("published",), prepare=True).fetchall())
            connection.commit()

    alphas, beta = [(cast.ALPHA, "Spring"), (cast.ALPHA, "Summer")], [(cast.BETA, "Summer")]
    assert answers == [alphas] * 7 + [beta, alphas]
