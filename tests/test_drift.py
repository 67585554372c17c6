"""Today's truth (`sql/`, `policies/`) and history (`supabase/migrations/`) make one and the same database."""

from collections.abc import Iterator

import pytest

from local.cluster import Cluster
from local.migrate import migrate
from tests.catalog import RULES
from tests.databases import Database, fresh_database, running_cluster
from tests.reviewed import apply, order, policy_files
from tests.snapshots import difference, dump, grants, policies, roles


@pytest.fixture(scope="module")
def migrated(cluster: Cluster) -> Iterator[Database]:
    with fresh_database(cluster) as database:
        migrate(database.dsn())
        yield database


@pytest.fixture(scope="module")
def reviewed() -> Iterator[Database]:
    """On a server of its own: roles belong to the server, and the migrations would have made them."""
    with running_cluster() as cluster, fresh_database(cluster) as database:
        apply(database, order())
        yield database


def test_migrations_make_the_reviewed_database(migrated: Database, reviewed: Database) -> None:
    assert difference(dump(reviewed), dump(migrated)) == ""


def test_migrations_make_the_reviewed_roles(migrated: Database, reviewed: Database) -> None:
    assert difference(_named(roles(reviewed), reviewed), _named(roles(migrated), migrated)) == ""


def test_clients_make_nothing_not_even_temporary(migrated: Database) -> None:
    """Asked here because a clone of a database does not get the grants on it."""
    assert migrated.run(RULES["clients make nothing"]) == []


def test_tables_are_closed_before_their_policies_come(cluster: Cluster) -> None:
    """Between two migrations time passes, and the second one may fail."""
    with fresh_database(cluster) as database:
        apply(database, [path for path in order() if path not in policy_files()])

        open_tables = (
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' "
        )
        assert database.run(open_tables + "and not relrowsecurity") == []


def test_policy_files_can_be_applied_again(reviewed: Database) -> None:
    once = dump(reviewed)

    apply(reviewed, policy_files())

    assert difference(once, dump(reviewed)) == ""


@pytest.mark.parametrize("default_grants", [True, False], ids=["old defaults", "new defaults"])
@pytest.mark.parametrize("alias", [True, False], ids=["auth open", "auth closed"])
def test_the_platform_decides_nothing(
    cluster: Cluster, migrated: Database, default_grants: bool, alias: bool
) -> None:
    """Whatever it grants by default, and whether it has `auth.get_community_id()` or not."""
    with fresh_database(cluster, default_grants=default_grants) as database:
        if not alias:
            database.run_as("supabase_admin", "drop function auth.get_community_id()")
        migrate(database.dsn())

        assert difference(grants(migrated), grants(database)) == ""
        assert difference(_by_private_name(policies(migrated)), _by_private_name(policies(database))) == ""


def test_one_altered_policy_shows(database: Database) -> None:
    before = dump(database)

    database.run("alter policy admins_delete_drafts on public.programs using (true)")

    changed = [line for line in difference(before, dump(database)).splitlines() if line.startswith("+")]
    assert changed == [
        "+++ ",
        "+CREATE POLICY admins_delete_drafts ON public.programs FOR DELETE TO authenticated USING (true);",
    ]


def test_one_more_grant_shows(database: Database) -> None:
    before = grants(database)

    database.run("grant execute on function public.enroll(jsonb) to anon")

    assert "+function enroll(jsonb): EXECUTE to anon" in difference(before, grants(database))


def test_one_more_membership_shows() -> None:
    with running_cluster() as cluster, fresh_database(cluster) as database:
        migrate(database.dsn())
        before = roles(database)

        database.run("grant service_role to gym_api")

        assert "+gym_api is a member of service_role" in difference(before, roles(database))


def _by_private_name(lines: list[str]) -> list[str]:
    return [line.replace("auth.get_community_id()", "private.get_community_id()") for line in lines]


def _named(lines: list[str], database: Database) -> list[str]:
    return [line.replace(database.name, "database") for line in lines]
