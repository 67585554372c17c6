"""What Supabase's sign-in service puts into a new token: the community it acts in, and the role there."""

from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests import cast
from tests.attempts import NO_PRIVILEGE, refusal
from tests.cast import ALPHA, BETA, Character
from tests.databases import Database
from tests.people import Person

CALL = "select private.custom_access_token_hook(%s)"


def issued(database: Database, character: Character, wanted: Any = None, **claims: Any) -> dict[str, Any]:
    """The event as the service gets it back; `wanted` is the community that the user's app_metadata names."""
    metadata = {"provider": "email", **({} if wanted is None else {"community_id": str(wanted)})}
    event = {
        "user_id": str(character.id),
        "authentication_method": "password",
        "claims": {"app_metadata": metadata, "is_anonymous": character.is_anonymous, **claims},
    }
    ((answer,),) = database.run_as("supabase_auth_admin", CALL, Jsonb(event))
    assert isinstance(answer, dict)
    return answer


def acting(
    database: Database, character: Character, wanted: Any = None, **claims: Any
) -> tuple[Any, Any, Any]:
    metadata = issued(database, character, wanted, **claims)["claims"]["app_metadata"]
    return metadata["community_id"], metadata["role"], metadata["is_super_admin"]


@pytest.mark.parametrize("who", ["anon", "learner", "admin", "super_admin"])
def test_clients_cannot_call_it(request: pytest.FixtureRequest, who: str) -> None:
    person: Person = request.getfixturevalue(f"as_{who}")

    assert refusal(person, CALL, Jsonb({"user_id": str(cast.ADMIN.id), "claims": {}})) == NO_PRIVILEGE


def test_all_other_claims_are_kept(shared_database: Database) -> None:
    claims = {
        "iss": "https://project.example/auth/v1",
        "aud": "authenticated",
        "exp": 1,
        "iat": 0,
        "sub": str(cast.LEARNER.id),
        "email": "lena@cast.test",
        "phone": "",
        "role": "authenticated",
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": 0}],
        "session_id": "5e551011-0000-4000-8000-000000000000",
        "is_anonymous": False,
        "user_metadata": {"community_id": str(BETA)},
    }

    answer = issued(shared_database, cast.LEARNER, **claims)

    added = {"community_id": str(ALPHA), "role": "end_user", "is_super_admin": False}
    assert answer["claims"] == {**claims, "app_metadata": {"provider": "email", **added}}
    assert answer["authentication_method"] == "password"


@pytest.mark.parametrize(
    ("character", "wanted", "community", "role"),
    [
        (cast.LEARNER, None, ALPHA, "end_user"),
        (cast.ADMIN, None, ALPHA, "community_admin"),
        (cast.ADMIN, BETA, ALPHA, "community_admin"),
        (cast.ADMIN, "nonsense", ALPHA, "community_admin"),
        (cast.TRAVELLER, ALPHA, ALPHA, "end_user"),
        (cast.TRAVELLER, BETA, BETA, "end_user"),
        (cast.OTHER_ADMIN, ALPHA, BETA, "community_admin"),
        (cast.SUSPENDED, ALPHA, None, None),
        (cast.VISITOR, ALPHA, None, None),
    ],
)
def test_the_community_is_one_of_the_persons_own(
    shared_database: Database, character: Character, wanted: Any, community: Any, role: str | None
) -> None:
    expected = (community and str(community), role, False)

    assert acting(shared_database, character, wanted) == expected


def test_without_a_wish_it_is_the_first_one_joined(database: Database) -> None:
    later = "update public.memberships set joined_at = now() + interval '1 day' where community_id = %s"
    database.run(later, ALPHA)
    assert acting(database, cast.TRAVELLER)[0] == str(BETA)

    database.run("update public.memberships set status = 'left' where user_id = %s", cast.TRAVELLER.id)
    assert acting(database, cast.TRAVELLER, BETA) == (None, None, False)


def test_super_admins_act_where_they_ask_to_and_nowhere_else(shared_database: Database) -> None:
    assert acting(shared_database, cast.SUPER_ADMIN, BETA) == (str(BETA), "community_admin", True)
    assert acting(shared_database, cast.SUPER_ADMIN, "c0ffee00-0000-4000-8000-000000000000") == (
        None,
        None,
        True,
    )
    assert acting(shared_database, cast.SUPER_ADMIN) == (None, None, True)


def choose(database: Database, character: Character, community: UUID) -> None:
    insert = "insert into private.active_communities (user_id, community_id) values (%s, %s)"
    database.run(
        f"{insert} on conflict (user_id) do update set community_id = %s", character.id, community, community
    )


@pytest.mark.parametrize("wanted", [None, ALPHA, BETA, "nonsense"])
@pytest.mark.parametrize("chosen", [ALPHA, BETA])
def test_what_a_person_has_switched_to_comes_first(database: Database, chosen: UUID, wanted: Any) -> None:
    for character in (cast.TRAVELLER, cast.SUPER_ADMIN):
        choose(database, character, chosen)

    assert acting(database, cast.TRAVELLER, wanted) == (str(chosen), "end_user", False)
    assert acting(database, cast.SUPER_ADMIN, wanted) == (str(chosen), "community_admin", True)


def test_a_choice_that_does_not_hold_any_longer_is_none(database: Database) -> None:
    for character in (cast.TRAVELLER, cast.SUPER_ADMIN, cast.LEARNER, cast.VISITOR):
        choose(database, character, BETA)
    database.run(
        "update public.memberships set status = 'suspended' where community_id = %s and user_id = %s",
        *(BETA, cast.TRAVELLER.id),
    )
    database.run("update private.super_admins set granted_at = '2020-01-01', expires_at = '2020-01-02'")

    assert acting(database, cast.TRAVELLER, BETA) == (str(ALPHA), "end_user", False)
    assert acting(database, cast.LEARNER) == (str(ALPHA), "end_user", False)
    assert acting(database, cast.SUPER_ADMIN) == (None, None, False)
    assert acting(database, cast.VISITOR) == (None, None, False)


def test_a_super_admins_choice_gives_way_to_app_metadata_when_its_community_is_gone(
    database: Database,
) -> None:
    choose(database, cast.SUPER_ADMIN, ALPHA)
    database.run("delete from public.communities where id = %s", ALPHA)

    assert acting(database, cast.SUPER_ADMIN, BETA) == (str(BETA), "community_admin", True)


def test_a_grant_that_has_ended_is_none(database: Database) -> None:
    database.run("update private.super_admins set granted_at = '2020-01-01', expires_at = '2020-01-02'")

    assert acting(database, cast.SUPER_ADMIN, BETA) == (None, None, False)


def test_anonymous_sign_ins_are_nobody_whatever_they_are_made(database: Database) -> None:
    database.run("insert into private.super_admins (user_id, reason) values (%s, 'mistake')", cast.VISITOR.id)
    member = "insert into public.memberships (community_id, user_id, display_name) values (%s, %s, 'Visitor')"
    database.run(member, ALPHA, cast.VISITOR.id)

    assert acting(database, cast.VISITOR, ALPHA) == (None, None, False)


@pytest.mark.parametrize("metadata", [None, [], "x", 7])
def test_odd_metadata_still_makes_a_token(shared_database: Database, metadata: Any) -> None:
    """A hook that fails locks everybody out."""
    expected = (str(ALPHA), "end_user", False)

    assert acting(shared_database, cast.LEARNER, app_metadata=metadata) == expected


def test_somebody_unknown_gets_no_community(shared_database: Database) -> None:
    stranger = Character(cast.ALPHA, "Stranger", None)

    assert acting(shared_database, stranger, ALPHA) == (None, None, False)


def test_a_broken_event_is_refused(shared_database: Database) -> None:
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        shared_database.run_as("supabase_auth_admin", CALL, Jsonb({"user_id": "x", "claims": {}}))
