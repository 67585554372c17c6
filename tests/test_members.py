"""Members: the roles and states that admins give them, leaving, and who may do what."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from tests import cast
from tests.api import Api, Reply
from tests.cast import ALPHA, BETA, Character
from tests.databases import Database
from tests.people import Person, signed_in

MEMBER = "member { userId role status suspensionReason }"
SHAPES = {
    "changeMemberRole": MEMBER,
    "suspendMember": MEMBER,
    "reinstateMember": MEMBER,
    "removeMember": MEMBER,
    "leaveCommunity": "leftCommunityId",
}
ADMIN_ACTS: Mapping[str, dict[str, Any]] = {
    "changeMemberRole": {"role": "COMMUNITY_ADMIN"},
    "suspendMember": {"reason": "Spam"},
    "reinstateMember": {},
    "removeMember": {},
}
STATES = ("active", "suspended", "left", "invited")
ALL_MEMBERSHIPS = "select * from public.memberships order by community_id, id"


async def act(api: Api, person: Person, name: str, given: dict[str, Any]) -> Reply:
    kind = name[0].upper() + name[1:]
    document = f"mutation ($input: {kind}Input!) {{ {name}(input: $input) {{ {SHAPES[name]} }} }}"
    return await api.ask(person, document, input=given)


def arrange(database: Database, person: Character, status: str, role: str = "end_user") -> None:
    """Past the rules: whatever they are in Alpha, they become this."""
    database.run("delete from public.memberships where community_id = %s and user_id = %s", ALPHA, person.id)
    database.run(
        "insert into public.memberships (community_id, user_id, display_name, status, role) "
        "values (%s, %s, %s, %s, %s)",
        *(ALPHA, person.id, person.name, status, role),
    )


@pytest.mark.parametrize("name", SHAPES)
async def test_signed_out_nobody_changes_a_membership(api: Api, as_anon: Person, name: str) -> None:
    given = {"userId": cast.PEER.id, **ADMIN_ACTS[name]} if name in ADMIN_ACTS else {}

    assert (await act(api, as_anon, name, given)).code == "UNAUTHENTICATED"


@pytest.mark.parametrize("name", ADMIN_ACTS)
@pytest.mark.parametrize("who", ["learner", "traveller", "suspended", "visitor", "other_learner"])
async def test_who_is_no_admin_learns_nothing_and_changes_nothing(
    api: Api, database: Database, request: pytest.FixtureRequest, who: str, name: str
) -> None:
    person, before = request.getfixturevalue(f"as_{who}"), database.run(ALL_MEMBERSHIPS)
    whom = [cast.PEER.id, cast.SUSPENDED.id, cast.LEARNER.id, cast.OTHER_PEER.id, uuid4()]

    replies = [await act(api, person, name, {"userId": one, **ADMIN_ACTS[name]}) for one in whom]

    assert {reply.code for reply in replies} == {"FORBIDDEN"}
    assert len({reply.error["message"] for reply in replies}) == 1
    assert database.run(ALL_MEMBERSHIPS) == before


@pytest.mark.parametrize("name", ADMIN_ACTS)
async def test_another_communitys_admin_finds_nobody(
    api: Api, database: Database, as_other_community: Person, name: str
) -> None:
    before = database.run(ALL_MEMBERSHIPS)
    ((membership,),) = database.run("select id from public.memberships where user_id = %s", cast.PEER.id)

    for whom in ({"id": membership}, {"userId": cast.PEER.id}, {"id": uuid4()}, {"userId": uuid4()}):
        reply = await act(api, as_other_community, name, {**whom, **ADMIN_ACTS[name]})

        assert (reply.code, reply.error["message"]) == (
            "NOT_FOUND",
            "There is no member with this id in your community.",
        )
    assert database.run(ALL_MEMBERSHIPS) == before


@pytest.mark.parametrize("who", ["admin", "super_admin"])
async def test_admins_lead_a_member_through_all_of_it(
    api: Api, request: pytest.FixtureRequest, who: str
) -> None:
    person, peer = request.getfixturevalue(f"as_{who}"), {"userId": cast.PEER.id}

    async def after(name: str, **given: Any) -> tuple[Any, ...]:
        reply = await act(api, person, name, {**peer, **given})
        member = reply.data[name]["member"]
        assert member["userId"] == str(cast.PEER.id)
        return member["role"], member["status"], member["suspensionReason"]

    assert await after("changeMemberRole", role="COMMUNITY_ADMIN") == ("COMMUNITY_ADMIN", "ACTIVE", None)
    assert await after("suspendMember", reason="Spam") == ("COMMUNITY_ADMIN", "SUSPENDED", "Spam")
    assert await after("changeMemberRole", role="END_USER") == ("END_USER", "SUSPENDED", "Spam")
    assert await after("reinstateMember") == ("END_USER", "ACTIVE", None)
    assert await after("removeMember") == ("END_USER", "LEFT", None)


# By mutation: the states from which it goes, and what it says of the others.
GOES_FROM = {
    "suspendMember": (("active",), "This membership is {}; only one that is active can be suspended."),
    "reinstateMember": (
        ("suspended",),
        "This membership is {}; only one that is suspended can be reinstated.",
    ),
    "removeMember": (
        ("active", "suspended", "invited"),
        "This membership is {}; only one that is invited or active or suspended can be removed.",
    ),
    "changeMemberRole": (
        ("active", "suspended", "invited"),
        "This person has {}. Invite them again, in the role that they shall have.",
    ),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", GOES_FROM)
async def test_what_a_state_does_not_allow_is_refused(
    api: Api, database: Database, as_admin: Person, name: str, state: str
) -> None:
    arrange(database, cast.PEER, state)
    before = database.run(ALL_MEMBERSHIPS)
    allowed, message = GOES_FROM[name]

    reply = await act(api, as_admin, name, {"userId": cast.PEER.id, **ADMIN_ACTS[name]})

    if state in allowed:
        assert reply.data[name]["member"] is not None
    else:
        assert (reply.code, reply.error["message"]) == ("FAILED_PRECONDITION", message.format(state))
        assert database.run(ALL_MEMBERSHIPS) == before


@pytest.mark.parametrize(
    ("name", "given", "field"),
    [
        ("suspendMember", {"reason": " \u200b"}, "reason"),
        ("suspendMember", {"reason": "x" * 501}, "reason"),
        ("suspendMember", {"reason": None}, "reason"),
        ("suspendMember", {}, "reason"),
        ("changeMemberRole", {"role": "SUPER_ADMIN"}, "role"),
        ("changeMemberRole", {"role": "END_USER", "status": "LEFT"}, "input"),
        ("removeMember", {"id": cast.PEER.id}, "id"),  # beside userId
    ],
)
async def test_bad_input_names_the_field_and_changes_nothing(
    api: Api, database: Database, as_admin: Person, name: str, given: dict[str, Any], field: str | None
) -> None:
    before = database.run(ALL_MEMBERSHIPS)

    reply = await act(api, as_admin, name, {"userId": cast.PEER.id, **given})

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", field)
    assert database.run(ALL_MEMBERSHIPS) == before


async def test_a_member_must_be_named(api: Api, as_admin: Person) -> None:
    reply = await act(api, as_admin, "removeMember", {})

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", "id")


async def test_leaving_is_for_oneself_and_enrolments_stay(
    api: Api, database: Database, as_learner: Person
) -> None:
    enrolments = "select * from public.program_enrollments order by id"
    before = database.run(enrolments)

    left = await act(api, as_learner, "leaveCommunity", {})
    again = await act(api, as_learner, "leaveCommunity", {})

    assert left.data == {"leaveCommunity": {"leftCommunityId": str(ALPHA)}}
    assert again.code == "FORBIDDEN"
    assert database.run("select status from public.memberships where user_id = %s", cast.LEARNER.id) == [
        ("left",)
    ]
    assert database.run(enrolments) == before


async def test_only_the_community_acted_in_is_left(
    api: Api, database: Database, as_traveller: Person
) -> None:
    by_mistake = await act(api, as_traveller, "leaveCommunity", {"communityId": BETA})
    on_purpose = await act(api, as_traveller, "leaveCommunity", {"communityId": ALPHA})

    assert by_mistake.code == "NOT_FOUND"
    assert on_purpose.data == {"leaveCommunity": {"leftCommunityId": str(ALPHA)}}
    states = database.run(
        "select community_id, status from public.memberships where user_id = %s", cast.TRAVELLER.id
    )
    assert dict(states) == {ALPHA: "left", BETA: "active"}


@pytest.mark.parametrize("who", ["suspended", "visitor"])
async def test_who_is_in_no_community_leaves_none(api: Api, request: pytest.FixtureRequest, who: str) -> None:
    assert (await act(api, request.getfixturevalue(f"as_{who}"), "leaveCommunity", {})).code == "FORBIDDEN"


async def test_super_admins_are_no_members_to_leave(api: Api, as_super_admin: Person) -> None:
    assert (await act(api, as_super_admin, "leaveCommunity", {})).code == "FAILED_PRECONDITION"


@pytest.mark.parametrize("who", ["admin", "super_admin"])
@pytest.mark.parametrize("name", ["changeMemberRole", "suspendMember", "removeMember", "leaveCommunity"])
async def test_the_last_active_admin_stays(
    api: Api, database: Database, request: pytest.FixtureRequest, who: str, name: str
) -> None:
    arrange(database, cast.PEER, "suspended", "community_admin")  # does not count
    before = database.run(ALL_MEMBERSHIPS)
    person = request.getfixturevalue("as_admin" if name == "leaveCommunity" else f"as_{who}")
    given = {**ADMIN_ACTS.get(name, {}), **({} if name == "leaveCommunity" else {"userId": cast.ADMIN.id})}

    reply = await act(api, person, name, {**given, **({"role": "END_USER"} if "role" in given else {})})

    assert (reply.code, reply.error["message"]) == (
        "FAILED_PRECONDITION",
        "This is the last admin of the community. Make somebody else an admin first.",
    )
    assert database.run(ALL_MEMBERSHIPS) == before


async def test_with_another_admin_they_may_go(api: Api, as_admin: Person) -> None:
    await act(api, as_admin, "changeMemberRole", {"userId": cast.PEER.id, "role": "COMMUNITY_ADMIN"})

    reply = await act(api, as_admin, "changeMemberRole", {"userId": cast.ADMIN.id, "role": "END_USER"})

    assert reply.data["changeMemberRole"]["member"]["role"] == "END_USER"
    refused = await act(api, as_admin, "changeMemberRole", {"userId": cast.PEER.id, "role": "END_USER"})
    assert refused.code == "FORBIDDEN"


async def test_who_is_suspended_reads_why_and_sees_nothing_else(api: Api, as_admin: Person) -> None:
    await act(api, as_admin, "suspendMember", {"userId": cast.LEARNER.id, "reason": "Spam"})
    seen = "{ viewer { memberships { status suspensionReason } } members { totalCount } programs { totalCount } }"

    data = (await api.ask(signed_in(as_admin.database, cast.LEARNER), seen)).data

    assert data["viewer"]["memberships"] == [{"status": "SUSPENDED", "suspensionReason": "Spam"}]
    assert (data["members"]["totalCount"], data["programs"]["totalCount"]) == (0, 0)


async def test_why_somebody_was_suspended_is_in_the_audit_log_and_with_nothing_else(
    api: Api, as_admin: Person, database: Database
) -> None:
    await act(api, as_admin, "suspendMember", {"userId": cast.PEER.id, "reason": "Spam"})
    await api.ask(
        as_admin,
        f"""mutation {{
            a: suspendMember(input: {{userId: "{cast.TRAVELLER.id}", reason: "Again"}}) {{ {MEMBER} }}
            b: reinstateMember(input: {{userId: "{cast.PEER.id}"}}) {{ {MEMBER} }} }}""",
    )
    too_long = await act(api, as_admin, "suspendMember", {"userId": cast.PEER.id, "reason": "x" * 2000})

    written = database.run(
        "select action, reason from public.audit_entries where object_type = 'membership' and reason is not null "
        "or action = 'membership.active' order by occurred_at"
    )
    assert written == [
        ("membership.suspended", "Spam"),
        ("membership.suspended", "Again"),
        ("membership.active", None),
    ]
    assert (too_long.code, too_long.field) == ("BAD_USER_INPUT", "reason")
    assert "500" in too_long.error["message"]
