"""Nobody sees past the community that they act in, whatever their token claims."""

import json
from typing import Any

import psycopg
import pytest

from tests import cast
from tests.cast import ALPHA, BETA
from tests.databases import Database
from tests.people import Person, put_on, signed_in
from tests.seen import SEEN, TENANT_TABLES, communities_seen

ADMIN, NOBODY = str(cast.ADMIN.id), "9f0e3b8a-4c55-4a0e-8c39-6f1f6a3f2d10"
MINE = {"community_id": str(ALPHA)}
ODD_METADATA: tuple[Any, ...] = (None, [], [str(ALPHA)], "", str(ALPHA), 7, {}, {"community": str(ALPHA)})
ODD_COMMUNITIES: tuple[Any, ...] = (
    None,
    "",
    "x",
    7,
    [str(ALPHA)],
    MINE,
    f"{ALPHA}'",
    f" {ALPHA}",
    f"{ALPHA}\n",
)
ODD_CLAIMS = (
    *("", "{}", "[]", "null", '""', "7"),
    *(json.dumps({"sub": ADMIN, "app_metadata": metadata}) for metadata in ODD_METADATA),
    *(json.dumps({"sub": ADMIN, "app_metadata": {"community_id": odd}}) for odd in ODD_COMMUNITIES),
    *(json.dumps({"sub": sub, "app_metadata": MINE}) for sub in (None, NOBODY)),
    json.dumps({"app_metadata": MINE}),
    json.dumps({"sub": ADMIN, "user_metadata": MINE}),
)


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


def test_signed_out_nothing_may_be_asked(as_anon: Person) -> None:
    for table in (*TENANT_TABLES, "communities"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            as_anon.sql(f"select from public.{table}")


@pytest.mark.parametrize("table", TENANT_TABLES)
def test_each_sees_their_own_community(as_admin: Person, as_other_community: Person, table: str) -> None:
    query = f"select distinct community_id from public.{table}"

    assert as_admin.sql(query) == [(ALPHA,)]
    assert as_other_community.sql(query) == [(BETA,)]


def test_a_claimed_community_needs_a_membership(as_learner: Person, as_admin: Person) -> None:
    for person in (as_learner, as_admin):
        assert communities_seen(person.claiming(app_metadata={"community_id": str(BETA)})) == set()


def test_suspended_members_see_nothing(as_suspended: Person) -> None:
    assert communities_seen(as_suspended) == set()
    assert as_suspended.sql("select from public.communities") == []


def test_super_admins_act_in_one_community(as_super_admin: Person) -> None:
    assert communities_seen(as_super_admin) == {ALPHA}
    assert communities_seen(as_super_admin.claiming(app_metadata={"community_id": str(BETA)})) == {BETA}


def test_people_in_two_communities_act_in_one(as_traveller: Person) -> None:
    elsewhere = as_traveller.claiming(app_metadata={"community_id": str(BETA)})
    nowhere = as_traveller.claiming(app_metadata={})

    assert communities_seen(as_traveller) == {ALPHA}
    assert communities_seen(elsewhere) == {BETA}
    assert communities_seen(nowhere) == set()


@pytest.mark.parametrize("place", ["app_metadata", "user_metadata"])
def test_roles_in_a_token_are_not_believed(as_learner: Person, place: str) -> None:
    claims = {"community_id": str(ALPHA), "role": "community_admin", "is_super_admin": True}
    pretender = as_learner.claiming(**{"app_metadata": {"community_id": str(ALPHA)}, place: claims})

    seen = pretender.sql(
        "select user_id from public.memberships union all select user_id from public.program_enrollments"
    )

    assert {user for (user,) in seen} == {cast.LEARNER.id}
    assert pretender.sql("select from private.viewer() where role <> 'end_user' or is_super_admin") == []


@pytest.mark.parametrize("claims", ODD_CLAIMS)
def test_odd_claims_show_nothing(shared_database: Database, claims: str) -> None:
    with shared_database.connect("gym_api") as connection:
        put_on(connection, "authenticated", claims)

        assert connection.execute(SEEN).fetchall() == []


@pytest.mark.parametrize(
    "claims", ["{", "x", json.dumps({"sub": ""}), json.dumps({"sub": "x"}), json.dumps({"sub": [ADMIN]})]
)
def test_broken_claims_stop_the_query(shared_database: Database, claims: str) -> None:
    with shared_database.connect("gym_api") as connection:
        put_on(connection, "authenticated", claims)

        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            connection.execute(SEEN)


def test_stale_claims_of_a_pooled_connection_lose(shared_database: Database) -> None:
    """`auth.uid()` believes the old settings first, so whoever puts on an identity must blank them."""
    with shared_database.connect("gym_api") as connection:
        connection.execute("select set_config('request.jwt.claim.sub', %s, false)", (ADMIN,))
        connection.execute("select set_config('request.jwt.claim', %s, false)", ('{"is_anonymous": true}',))
        connection.commit()
        put_on(connection, "authenticated", signed_in(shared_database, cast.LEARNER).claims_text)

        assert connection.execute("select id, role from private.viewer()").fetchall() == [
            (cast.LEARNER.id, "end_user")
        ]


def test_functions_over_rows_do_not_trust_the_row(as_admin: Person) -> None:
    """A client may pass any row to them, one that it made up too."""
    stats = "select enrolled from private.program_stats(jsonb_populate_record(null::public.programs, %s))"
    email = "select private.member_email(jsonb_populate_record(null::public.memberships, %s))"
    program = json.dumps({"id": str(cast.OTHER_PUBLISHED), "community_id": str(BETA)})
    member = json.dumps({"user_id": str(cast.OTHER_LEARNER.id), "community_id": str(ALPHA)})

    assert as_admin.sql(stats, program) == []
    assert as_admin.sql(email, member) == [(None,)]


def test_addresses_are_for_admins_and_their_owners(as_learner: Person, as_admin: Person) -> None:
    email = "select private.member_email(jsonb_populate_record(null::public.memberships, %s))"
    learner, peer = (json.dumps({"user_id": str(person.id)}) for person in (cast.LEARNER, cast.PEER))

    assert as_learner.sql(email, learner) == [(cast.LEARNER.email,)]
    assert as_learner.sql(email, peer) == [(None,)]
    assert as_admin.sql(email, peer) == [(cast.PEER.email,)]
