"""Memberships, roles and grants count as they are now, not as they were when the token was issued."""

import pytest

from tests import cast
from tests.cast import ALPHA
from tests.databases import Database
from tests.people import Person, signed_in
from tests.seen import communities_seen


def test_anonymous_sign_ins_see_nothing_even_as_members(database: Database, as_visitor: Person) -> None:
    database.run(
        "insert into public.memberships (community_id, user_id, display_name, role) "
        "values (%s, %s, 'Visitor', 'community_admin')",
        ALPHA,
        cast.VISITOR.id,
    )

    assert communities_seen(as_visitor) == set()
    assert as_visitor.sql("select from public.communities") == []


@pytest.fixture
def another_admin(database: Database) -> None:
    """The last one could not go."""
    database.run(
        "update public.memberships set role = 'community_admin' where community_id = %s and user_id = %s",
        ALPHA,
        cast.PEER.id,
    )


@pytest.mark.usefixtures("another_admin")
@pytest.mark.parametrize("status", ["suspended", "left"])
def test_a_membership_ends_at_once_and_not_with_the_token(
    database: Database, as_admin: Person, status: str
) -> None:
    assert communities_seen(as_admin) == {ALPHA}

    database.run("update public.memberships set status = %s where user_id = %s", status, cast.ADMIN.id)

    assert communities_seen(as_admin) == set()


def test_who_is_only_invited_sees_nothing(database: Database) -> None:
    database.run(
        "insert into public.memberships (community_id, user_id, display_name, role, status) "
        "values (%s, %s, 'Nora', 'community_admin', 'invited')",
        ALPHA,
        cast.NEWCOMER.id,
    )
    newcomer = signed_in(database, cast.NEWCOMER).claiming(app_metadata={"community_id": str(ALPHA)})

    assert communities_seen(newcomer) == set()


@pytest.mark.usefixtures("another_admin")
def test_a_role_ends_at_once_too(database: Database, as_admin: Person) -> None:
    database.run("update public.memberships set role = 'end_user' where user_id = %s", cast.ADMIN.id)

    assert as_admin.sql("select from public.programs where status = 'draft'") == []


def test_a_grant_of_the_platform_ends_too(database: Database, as_super_admin: Person) -> None:
    assert communities_seen(as_super_admin) == {ALPHA}

    database.run("update private.super_admins set granted_at = '2020-01-01', expires_at = '2020-01-02'")

    assert communities_seen(as_super_admin) == set()
