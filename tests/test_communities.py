"""Communities, members and the viewer."""

import pytest

from tests import cast
from tests.api import Api
from tests.people import Person

VIEWER = """{ viewer { id email displayName role isSuperAdmin community { id name } memberships { role
    community { name } } enrollments { totalCount nodes { program { title } } } } }"""
MEMBERS = """query ($filter: MemberFilter) { members(filter: $filter) { totalCount nodes {
    userId displayName email role status } } }"""


async def test_the_viewer_is_null_when_signed_out(api: Api, as_anon: Person) -> None:
    assert (await api.ask(as_anon, VIEWER)).data == {"viewer": None}


async def test_the_viewer_sees_who_they_are_and_where(api: Api, as_learner: Person) -> None:
    viewer = (await api.ask(as_learner, VIEWER)).data["viewer"]

    assert viewer["id"] == str(cast.LEARNER.id)
    assert viewer["email"] == cast.LEARNER.email
    assert (viewer["role"], viewer["isSuperAdmin"]) == ("END_USER", False)
    assert viewer["community"] == {"id": str(cast.ALPHA), "name": "Alpha"}
    assert viewer["memberships"] == [{"role": "END_USER", "community": {"name": "Alpha"}}]


async def test_a_member_of_two_communities_acts_in_the_one_that_the_token_names(
    api: Api, as_traveller: Person
) -> None:
    elsewhere = as_traveller.claiming(app_metadata={"community_id": str(cast.BETA)})

    here = (await api.ask(as_traveller, VIEWER)).data["viewer"]
    there = (await api.ask(elsewhere, VIEWER)).data["viewer"]

    assert (here["community"]["name"], there["community"]["name"]) == ("Alpha", "Beta")
    for viewer in (here, there):
        assert {m["community"]["name"] for m in viewer["memberships"]} == {"Alpha", "Beta"}
        assert viewer["enrollments"]["totalCount"] == 1


@pytest.mark.parametrize("name", ["as_suspended", "as_visitor", "as_learner"])
async def test_who_is_no_active_member_acts_nowhere(
    api: Api, name: str, request: pytest.FixtureRequest
) -> None:
    person: Person = request.getfixturevalue(name)
    if name == "as_learner":
        person = person.claiming(app_metadata={"community_id": str(cast.BETA)})

    viewer = (await api.ask(person, "{ viewer { id role community { id } } programs { totalCount } }")).data

    assert viewer["programs"] == {"totalCount": 0}
    assert (viewer["viewer"] or {}).get("community") is None


async def test_end_users_see_themselves_admins_their_community(
    api: Api, as_learner: Person, as_admin: Person, as_other_community: Person
) -> None:
    async def names(person: Person) -> set[str]:
        return {node["displayName"] for node in (await api.ask(person, MEMBERS)).data["members"]["nodes"]}

    assert await names(as_learner) == {"Lena"}
    assert await names(as_admin) == {"Ada", "Lena", "Piet", "Sami", "Toni"}
    assert await names(as_other_community) == {"Bert", "Olga", "Omar", "Toni"}


async def test_members_are_found_by_name_role_and_state(api: Api, as_admin: Person) -> None:
    async def names(**wanted: object) -> list[str]:
        members = (await api.ask(as_admin, MEMBERS, filter=wanted)).data["members"]
        assert members["totalCount"] == len(members["nodes"])
        return [node["displayName"] for node in members["nodes"]]

    assert await names(search="LE") == ["Lena"]
    assert await names(search="%") == []
    assert await names(search="_") == []
    assert await names(role=["COMMUNITY_ADMIN"]) == ["Ada"]
    assert await names(status=["SUSPENDED"], role=["END_USER"]) == ["Sami"]
    assert await names(status=[]) == []


async def test_addresses_are_for_admins_and_oneself(api: Api, as_learner: Person, as_admin: Person) -> None:
    own = (await api.ask(as_learner, MEMBERS)).data["members"]["nodes"]
    all_of_them = (await api.ask(as_admin, MEMBERS)).data["members"]["nodes"]

    assert [node["email"] for node in own] == [cast.LEARNER.email]
    assert {node["email"] for node in all_of_them} >= {cast.LEARNER.email, cast.PEER.email}


async def test_communities_are_ones_own_and_for_super_admins_all(
    api: Api, as_learner: Person, as_traveller: Person, as_super_admin: Person
) -> None:
    async def names(person: Person) -> set[str]:
        nodes = (await api.ask(person, "{ communities { nodes { name } } }")).data["communities"]["nodes"]
        return {node["name"] for node in nodes}

    assert await names(as_learner) == {"Alpha"}
    assert await names(as_traveller) == {"Alpha", "Beta"}
    assert await names(as_super_admin) == {"Alpha", "Beta"}
