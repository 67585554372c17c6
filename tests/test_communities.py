"""Communities, members and the viewer."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests import cast
from tests.api import Api
from tests.databases import Database
from tests.people import Person
from tests.switching import seen_before_and_after

VIEWER = """{ viewer { id email displayName role isSuperAdmin community { id name } memberships { role
    community { name } } enrollments { totalCount nodes { program { title } } } } }"""
CREATE = """mutation ($input: CreateCommunityInput!) { createCommunity(input: $input) {
    community { id slug name timeZone } } }"""
UPDATE = """mutation ($input: UpdateCommunityInput!) { updateCommunity(input: $input) {
    community { name timeZone } } }"""
SWITCH = "mutation ($input: SwitchCommunityInput!) { switchCommunity(input: $input) { community { id } } }"
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


async def test_signed_out_nobody_makes_changes_or_switches(api: Api, as_anon: Person) -> None:
    for document, given in (
        (CREATE, {"slug": "gamma", "name": "Gamma"}),
        (UPDATE, {"id": cast.ALPHA, "name": "New"}),
        (SWITCH, {"communityId": cast.ALPHA}),
    ):
        assert (await api.ask(as_anon, document, input=given)).code == "UNAUTHENTICATED"


@pytest.mark.parametrize("who", ["learner", "admin", "suspended", "visitor", "other_community"])
async def test_only_super_admins_make_communities(
    api: Api, database: Database, request: pytest.FixtureRequest, who: str
) -> None:
    for slug in ("gamma", "alpha"):  # and nobody learns which slugs are taken
        reply = await api.ask(
            request.getfixturevalue(f"as_{who}"), CREATE, input={"slug": slug, "name": "Gamma"}
        )
        assert (reply.code, reply.error["message"]) == (
            "FORBIDDEN",
            "Only super admins of the platform make communities. Ask one of them.",
        )
    assert database.run("select count(*) from public.communities") == [(2,)]


async def test_a_grant_that_has_ended_makes_no_communities(
    api: Api, database: Database, as_super_admin: Person
) -> None:
    database.run("update private.super_admins set granted_at = '2020-01-01', expires_at = '2020-01-02'")

    reply = await api.ask(as_super_admin, CREATE, input={"slug": "gamma", "name": "Gamma"})

    assert reply.code == "FORBIDDEN"


async def test_a_super_admin_makes_a_community_and_is_no_member_of_it(
    api: Api, database: Database, as_super_admin: Person
) -> None:
    nowhere = as_super_admin.claiming(app_metadata={})
    given = {"slug": "gamma", "name": "Gamma", "timeZone": "Asia/Tokyo"}

    made = (await api.ask(nowhere, CREATE, input=given)).data["createCommunity"]["community"]
    switched = (await api.ask(nowhere, SWITCH, input={"communityId": made["id"]})).data

    assert {key: made[key] for key in given} == given
    assert switched["switchCommunity"]["community"] == {"id": made["id"]}
    assert database.run("select id from public.memberships where community_id = %s", made["id"]) == []
    there = as_super_admin.claiming(app_metadata={"community_id": made["id"]})
    invited = 'mutation { inviteMember(input: {email: "a@b.c", displayName: "A"}) { __typename } }'
    assert (await api.ask(there, invited)).data
    assert (await api.ask(there, "{ members { totalCount } }")).data["members"]["totalCount"] == 0


BAD_COMMUNITIES: list[tuple[dict[str, Any], str]] = [
    *(({"slug": slug}, "slug") for slug in ("", "-a", "a-", "Gamma", "a b", "a_b", "ä", "x" * 64)),
    ({"name": " \u200b"}, "name"),
    ({"name": "x" * 201}, "name"),
    *(
        ({"timeZone": zone}, "timeZone")
        for zone in ("", "Mars/Base", "utc", "UTC+5", "XYZ5", "posix/UTC", "localtime", "' or true", "+01:00")
    ),
]


@pytest.mark.parametrize(("given", "field"), BAD_COMMUNITIES)
async def test_a_bad_community_is_refused_and_the_field_named(
    api: Api, database: Database, as_super_admin: Person, given: dict[str, Any], field: str
) -> None:
    reply = await api.ask(as_super_admin, CREATE, input={"slug": "gamma", "name": "Gamma", **given})

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", field)
    assert database.run("select count(*) from public.communities") == [(2,)]


async def test_a_slug_is_given_once(api: Api, as_super_admin: Person) -> None:
    reply = await api.ask(as_super_admin, CREATE, input={"slug": "beta", "name": "Gamma"})

    assert (reply.code, reply.field) == ("CONFLICT", "slug")


@pytest.mark.parametrize("who", ["admin", "super_admin"])
async def test_admins_change_the_community_that_they_act_in(
    api: Api, request: pytest.FixtureRequest, who: str
) -> None:
    person = request.getfixturevalue(f"as_{who}")

    named = (await api.ask(person, UPDATE, input={"id": cast.ALPHA, "name": "New"})).data
    moved = (await api.ask(person, UPDATE, input={"id": cast.ALPHA, "timeZone": "Europe/Lisbon"})).data
    elsewhere = await api.ask(person, UPDATE, input={"id": cast.BETA, "name": "New"})
    nowhere = await api.ask(person, UPDATE, input={"id": uuid4(), "name": "New"})
    cleared = await api.ask(person, UPDATE, input={"id": cast.ALPHA, "name": None})
    unknown = await api.ask(person, UPDATE, input={"id": cast.ALPHA, "timeZone": "Nowhere"})

    assert named["updateCommunity"]["community"] == {"name": "New", "timeZone": "UTC"}
    assert moved["updateCommunity"]["community"] == {"name": "New", "timeZone": "Europe/Lisbon"}
    assert (elsewhere.code, elsewhere.error["message"]) == (nowhere.code, nowhere.error["message"])
    assert elsewhere.code == "NOT_FOUND"
    assert (cleared.code, cleared.field) == ("BAD_USER_INPUT", "name")
    assert (unknown.code, unknown.field) == ("BAD_USER_INPUT", "timeZone")


@pytest.mark.parametrize("who", ["learner", "suspended", "visitor"])
async def test_others_change_no_community(
    api: Api, database: Database, request: pytest.FixtureRequest, who: str
) -> None:
    person = request.getfixturevalue(f"as_{who}")

    replies = [
        await api.ask(person, UPDATE, input={"id": one, "name": "New"})
        for one in (cast.ALPHA, cast.BETA, uuid4())
    ]

    assert {reply.code for reply in replies} == {"FORBIDDEN"}
    assert database.run("select name from public.communities order by name") == [("Alpha",), ("Beta",)]


@pytest.mark.parametrize(
    ("who", "claimed", "wanted"),
    [
        ("traveller", cast.ALPHA, cast.BETA),
        ("traveller", None, cast.ALPHA),
        ("traveller", "c0ffee00-0000-4000-8000-000000000000", cast.BETA),
        ("learner", cast.BETA, cast.ALPHA),  # where they are not
        ("super_admin", cast.ALPHA, cast.BETA),
        ("super_admin", None, cast.BETA),
    ],
)
async def test_one_switches_to_ones_own_communities_wherever_one_acts(
    api: Api, database: Database, request: pytest.FixtureRequest, who: str, claimed: Any, wanted: UUID
) -> None:
    metadata = {"community_id": claimed and str(claimed)}
    person = request.getfixturevalue(f"as_{who}").claiming(app_metadata=metadata)

    switched = (await api.ask(person, SWITCH, input={"communityId": wanted})).data

    assert switched["switchCommunity"]["community"] == {"id": str(wanted)}
    chosen = "select community_id from private.active_communities where user_id = %s"
    assert database.run(chosen, person.claims["sub"]) == [(wanted,)]


@pytest.mark.parametrize(
    ("who", "wanted"),
    [
        ("learner", cast.BETA),
        ("admin", cast.BETA),
        ("suspended", cast.ALPHA),
        ("visitor", cast.ALPHA),
        ("other_community", cast.ALPHA),
        ("super_admin", uuid4()),
        ("learner", uuid4()),
    ],
)
async def test_elsewhere_is_like_nowhere(
    api: Api, database: Database, request: pytest.FixtureRequest, who: str, wanted: UUID
) -> None:
    before = database.run("select * from private.active_communities")

    reply = await api.ask(request.getfixturevalue(f"as_{who}"), SWITCH, input={"communityId": wanted})

    # Super admins need no membership.
    where = "." if who == "super_admin" else " in which you are an active member."
    assert (reply.code, reply.error["message"]) == (
        "NOT_FOUND",
        f"There is no community with this id{where}",
    )
    assert database.run("select * from private.active_communities") == before


async def test_with_the_next_token_one_acts_in_the_other_community(
    database: Database, tmp_path: Path
) -> None:
    before, still, after = await seen_before_and_after(database, tmp_path)

    assert before[0] == still[0] == "Alpha"
    assert before == still
    assert after == ("Beta", {str(cast.OTHER_PUBLISHED)})


TOUCHED = {
    "communities": "name",
    "memberships": "display_name",
    "courses": "title",
    "programs": "title",
    "program_enrollments": "due_at",
    "cohorts": "name",
}


@pytest.mark.parametrize(("table", "column"), TOUCHED.items())
def test_an_update_that_changes_nothing_leaves_the_time_of_the_last_change(
    database: Database, table: str, column: str
) -> None:
    other = "now() + interval '9 days'" if column == "due_at" else f"{column} || '!'"
    times = (
        f"select updated_at from public.{table} where status not in ('completed', 'withdrawn', 'archived')"
    )
    if table in ("communities", "cohorts"):
        times = f"select updated_at from public.{table}"
    before = database.run(times)

    database.run(f"update public.{table} set {column} = {column}")
    same = database.run(times)
    database.run(
        f"update public.{table} set {column} = {other} where {times.partition(' where ')[2] or 'true'}"
    )

    assert same == before != []
    assert not set(before) & set(database.run(times))


def test_every_time_of_the_last_change_is_kept_so(database: Database) -> None:
    columns = database.run(
        "select table_name::text from information_schema.columns where column_name = 'updated_at' "
        "and table_schema = 'public' and table_name not like '%_progress'"
    )

    assert {name for (name,) in columns} == set(TOUCHED)
