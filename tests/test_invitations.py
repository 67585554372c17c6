"""Invitations: who sends, sees and answers them, and that they tell nobody who has an account."""

import json
import re
from typing import Any
from uuid import uuid4

import pytest

from tests import cast
from tests.api import Api, Reply
from tests.cast import ALPHA, BETA
from tests.databases import Database
from tests.people import Person, signed_in

INVITE = """mutation ($input: InviteMemberInput!) { inviteMember(input: $input) { invitation {
    id email displayName role invitedAt expiresAt invitedBy { userId } } } }"""
REVOKE = "mutation ($id: UUID!) { revokeInvitation(input: {id: $id}) { revokedInvitationId } }"
ACCEPT = "mutation ($id: UUID!) { acceptInvitation(input: {id: $id}) { community { id name } } }"
DECLINE = "mutation ($id: UUID!) { declineInvitation(input: {id: $id}) { declinedInvitationId } }"
INVITATIONS = "{ invitations { totalCount nodes { id email displayName role invitedBy { displayName } } } }"
OWN = """{ viewer { invitations { id communityName displayName role } memberships { role status displayName
    community { name } } } }"""
ALL_INVITATIONS = "select * from public.invitations order by community_id, id"
OF_NORA = "select status, role, display_name from public.memberships where user_id = %s"

STRANGER = "nobody-has-this@cast.test"


@pytest.fixture
def as_newcomer(database: Database) -> Person:
    """Invited to Alpha, a member of nothing; her token names no community."""
    return signed_in(database, cast.NEWCOMER)


async def invite(api: Api, person: Person, email: str | None, name: str = "New", **given: Any) -> Reply:
    return await api.ask(person, INVITE, input={"email": email, "displayName": name, **given})


async def own_invitations(api: Api, person: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.ask(person, OWN)).data["viewer"]["invitations"]
    return found


async def test_signed_out_nobody_invites_or_answers(api: Api, as_anon: Person) -> None:
    assert (await invite(api, as_anon, STRANGER)).code == "UNAUTHENTICATED"
    for document in (REVOKE, ACCEPT, DECLINE):
        assert (await api.ask(as_anon, document, id=cast.INVITATION)).code == "UNAUTHENTICATED"


@pytest.mark.parametrize("who", ["learner", "traveller", "suspended", "visitor", "newcomer"])
async def test_who_is_no_admin_neither_invites_nor_learns_who_is_there(
    api: Api, database: Database, request: pytest.FixtureRequest, who: str
) -> None:
    person, before = request.getfixturevalue(f"as_{who}"), database.run(ALL_INVITATIONS)
    emails = [STRANGER, cast.PEER.email, cast.SUSPENDED.email, cast.NEWCOMER.email, cast.OTHER_PEER.email]

    refused = [await invite(api, person, email) for email in emails]
    revoked = [await api.ask(person, REVOKE, id=one) for one in (cast.INVITATION, uuid4())]

    for replies in (refused, revoked):
        assert {reply.code for reply in replies} == {"FORBIDDEN"}
        assert len({reply.error["message"] for reply in replies}) == 1
    assert (await api.ask(person, INVITATIONS)).data["invitations"] == {"totalCount": 0, "nodes": []}
    assert database.run(ALL_INVITATIONS) == before


@pytest.mark.parametrize("email", [STRANGER, cast.PEER.email, cast.SUSPENDED.email])
def test_nor_by_sql(as_learner: Person, email: str) -> None:
    """The trigger looks for the address, and comes before the policies."""
    insert = "insert into public.invitations (email, display_name) values (%s, 'New')"

    with pytest.raises(Exception, match="Only admins of the community may do this"):
        as_learner.sql(insert, email)


async def test_another_communitys_admin_reaches_none_of_ours(
    api: Api, database: Database, as_other_community: Person
) -> None:
    seen = (await api.ask(as_other_community, INVITATIONS)).data["invitations"]
    revoked = await api.ask(as_other_community, REVOKE, id=cast.INVITATION)

    assert [node["id"] for node in seen["nodes"]] == [str(cast.OTHER_INVITATION)]
    assert revoked.code == "NOT_FOUND"
    assert database.run("select id from public.invitations where id = %s", cast.INVITATION) != []


@pytest.mark.parametrize("who", ["admin", "super_admin"])
async def test_admins_invite_see_and_revoke(api: Api, request: pytest.FixtureRequest, who: str) -> None:
    person = request.getfixturevalue(f"as_{who}")

    made = (await invite(api, person, "  Somebody@Example.TEST ", "Somebody", role="COMMUNITY_ADMIN")).data
    invitation = made["inviteMember"]["invitation"]
    seen = (await api.ask(person, INVITATIONS)).data["invitations"]
    revoked = (await api.ask(person, REVOKE, id=invitation["id"])).data
    again = await api.ask(person, REVOKE, id=invitation["id"])

    assert (invitation["email"], invitation["role"]) == ("somebody@example.test", "COMMUNITY_ADMIN")
    assert invitation["invitedBy"] == (None if who == "super_admin" else {"userId": str(cast.ADMIN.id)})
    assert [node["email"] for node in seen["nodes"]] == ["somebody@example.test", cast.NEWCOMER.email]
    assert revoked == {"revokeInvitation": {"revokedInvitationId": invitation["id"]}}
    assert again.code == "NOT_FOUND"


async def test_inviting_does_not_tell_who_has_an_account(
    api: Api, database: Database, as_admin: Person
) -> None:
    """Somebody with an account, one not confirmed, one of another community, one who has left, and nobody."""
    database.run(
        "insert into auth.users (instance_id, id, email) values (%s, %s, 'new@cast.test')", *NEW_USER
    )
    database.run("update public.memberships set status = 'left' where user_id = %s", cast.LEARNER.id)
    database.run("delete from public.invitations")

    replies = []
    for email in (cast.NEWCOMER.email, "new@cast.test", cast.OTHER_PEER.email, cast.LEARNER.email, STRANGER):
        made = await invite(api, as_admin, email)
        seen = await api.ask(as_admin, INVITATIONS)
        again = await invite(api, as_admin, email)
        replies.append([masked(reply, str(email)) for reply in (made, seen, again)])
        database.run("delete from public.invitations")

    assert len({json.dumps(reply) for reply in replies}) == 1


NEW_USER = ("00000000-0000-0000-0000-000000000000", uuid4())


def masked(reply: Reply, email: str) -> str:
    """Without what differs between any two invitations."""
    text = reply.body.decode().replace(email, "E")
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|20\d\d-[0-9T:.Z-]+", "X", text)


@pytest.mark.parametrize(
    ("email", "code", "message"),
    [
        (cast.PEER.email, "CONFLICT", "This person is a member already."),
        ("PIET@cast.test", "CONFLICT", "This person is a member already."),
        (cast.ADMIN.email, "CONFLICT", "This person is a member already."),
        (
            cast.SUSPENDED.email,
            "FAILED_PRECONDITION",
            "This person is suspended in your community. Reinstate them instead.",
        ),
    ],
)
async def test_who_is_there_is_not_invited(
    api: Api, database: Database, as_admin: Person, email: str, code: str, message: str
) -> None:
    before = database.run(ALL_INVITATIONS)

    reply = await invite(api, as_admin, email)

    assert (reply.code, reply.field, reply.error["message"]) == (code, "email", message)
    assert database.run(ALL_INVITATIONS) == before


@pytest.mark.parametrize(
    ("given", "field"),
    [
        *(({"email": email}, "email") for email in ("", "x", "@", "x@", "@y", "a@b@c", "a b@c.d", "a\n@b.c")),
        ({"email": f"{'x' * 250}@y.zz"}, "email"),
        ({"email": None}, "email"),
        ({"displayName": " \u200b"}, "displayName"),
        ({"displayName": "x" * 201}, "displayName"),
        ({"role": "SUPER_ADMIN"}, "role"),
        ({"expiresAt": "2099-01-01T00:00:00Z"}, "input"),
    ],
)
async def test_a_bad_invitation_is_refused_and_the_field_named(
    api: Api, database: Database, as_admin: Person, given: dict[str, Any], field: str | None
) -> None:
    before = database.run(ALL_INVITATIONS)

    reply = await api.ask(as_admin, INVITE, input={"email": STRANGER, "displayName": "New", **given})

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", field)
    assert database.run(ALL_INVITATIONS) == before


async def test_inviting_again_renews(api: Api, database: Database, as_admin: Person) -> None:
    expire(database)

    reply = await invite(api, as_admin, cast.NEWCOMER.email, "Nora N.", role="COMMUNITY_ADMIN")

    invitation = reply.data["inviteMember"]["invitation"]
    assert (invitation["id"], invitation["displayName"]) == (str(cast.INVITATION), "Nora N.")
    fresh = (
        "select expires_at - invited_at = interval '14 days' and invited_at > now() - interval '1 minute' "
    )
    assert database.run(fresh + "from public.invitations where id = %s", cast.INVITATION) == [(True,)]


async def test_who_accepts_is_a_member_with_that_role_and_acts_there_with_the_next_token(
    api: Api, database: Database, as_newcomer: Person
) -> None:
    database.run("update public.invitations set role = 'community_admin' where id = %s", cast.INVITATION)
    (invitation,) = await own_invitations(api, as_newcomer)
    assert invitation == {
        "id": str(cast.INVITATION),
        "communityName": "Alpha",
        "displayName": "Nora",
        "role": "COMMUNITY_ADMIN",
    }

    accepted = (await api.ask(as_newcomer, ACCEPT, id=invitation["id"])).data
    viewer = (await api.ask(as_newcomer, OWN)).data["viewer"]
    twice = await api.ask(as_newcomer, ACCEPT, id=invitation["id"])

    assert accepted == {"acceptInvitation": {"community": {"id": str(ALPHA), "name": "Alpha"}}}
    assert viewer["invitations"] == []
    assert viewer["memberships"] == [
        {
            "role": "COMMUNITY_ADMIN",
            "status": "ACTIVE",
            "displayName": "Nora",
            "community": {"name": "Alpha"},
        }
    ]
    assert twice.code == "NOT_FOUND"
    acting = as_newcomer.claiming(app_metadata={"community_id": str(ALPHA)})
    assert (await api.ask(acting, "{ members { totalCount } }")).data["members"]["totalCount"] == 6


async def test_who_declines_is_not_asked_again(api: Api, database: Database, as_newcomer: Person) -> None:
    declined = (await api.ask(as_newcomer, DECLINE, id=cast.INVITATION)).data

    assert declined == {"declineInvitation": {"declinedInvitationId": str(cast.INVITATION)}}
    assert await own_invitations(api, as_newcomer) == []
    assert (await api.ask(as_newcomer, ACCEPT, id=cast.INVITATION)).code == "NOT_FOUND"
    assert database.run(OF_NORA, cast.NEWCOMER.id) == []


async def test_who_has_left_comes_back_as_they_are_invited(
    api: Api, database: Database, as_newcomer: Person
) -> None:
    database.run(
        "insert into public.memberships (community_id, user_id, display_name, status, role, joined_at) "
        "values (%s, %s, 'Old', 'left', 'community_admin', '2020-01-01')",
        *(ALPHA, cast.NEWCOMER.id),
    )

    assert (await api.ask(as_newcomer, ACCEPT, id=cast.INVITATION)).data

    assert database.run(OF_NORA, cast.NEWCOMER.id) == [("active", "end_user", "Nora")]


@pytest.mark.parametrize("document", [ACCEPT, DECLINE])
@pytest.mark.parametrize("invitation", [cast.INVITATION, cast.OTHER_INVITATION, uuid4()])
async def test_an_invitation_of_somebody_else_is_like_none(
    api: Api, as_learner: Person, document: str, invitation: Any
) -> None:
    reply = await api.ask(as_learner, document, id=invitation)

    assert (reply.code, reply.error["message"]) == (
        "NOT_FOUND",
        "There is no invitation with this id to your e-mail address.",
    )


def expire(database: Database) -> None:
    database.run("update public.invitations set expires_at = now() where id = %s", cast.INVITATION)


def unconfirm(database: Database) -> None:
    database.run("update auth.users set email_confirmed_at = null where id = %s", cast.NEWCOMER.id)


def make_member(database: Database, status: str) -> None:
    insert = "insert into public.memberships (community_id, user_id, display_name, status) values (%s, %s, 'N', %s)"
    database.run(insert, ALPHA, cast.NEWCOMER.id, status)


@pytest.mark.parametrize(
    ("arrange", "code", "message"),
    [
        (expire, "FAILED_PRECONDITION", "The invitation has expired. Ask an admin"),
        (unconfirm, "FAILED_PRECONDITION", "Confirm your e-mail address first"),
        (lambda d: make_member(d, "suspended"), "FAILED_PRECONDITION", "You are suspended in this community"),
        (lambda d: make_member(d, "active"), "CONFLICT", "You are a member of this community already"),
    ],
    ids=["expired", "unconfirmed", "suspended", "active"],
)
async def test_what_cannot_be_accepted(
    api: Api, database: Database, as_newcomer: Person, arrange: Any, code: str, message: str
) -> None:
    arrange(database)
    before = database.run(ALL_INVITATIONS), database.run(OF_NORA, cast.NEWCOMER.id)

    reply = await api.ask(as_newcomer, ACCEPT, id=cast.INVITATION)

    assert reply.code == code
    assert reply.error["message"].startswith(message)
    assert (database.run(ALL_INVITATIONS), database.run(OF_NORA, cast.NEWCOMER.id)) == before


@pytest.mark.parametrize("arrange", [expire, unconfirm])
async def test_what_cannot_be_accepted_is_not_offered(
    api: Api, database: Database, as_newcomer: Person, arrange: Any
) -> None:
    arrange(database)

    assert await own_invitations(api, as_newcomer) == []


async def test_the_address_counts_and_not_its_case_or_the_token(
    api: Api, database: Database, as_newcomer: Person, as_visitor: Person
) -> None:
    database.run("update auth.users set email = 'NORA@cast.test' where id = %s", cast.NEWCOMER.id)
    pretender = as_visitor.claiming(email=cast.NEWCOMER.email, is_anonymous=False)

    assert len(await own_invitations(api, as_newcomer)) == 1
    assert await own_invitations(api, pretender) == []
    assert (await api.ask(pretender, ACCEPT, id=cast.INVITATION)).code == "FAILED_PRECONDITION"


async def test_one_person_may_be_invited_to_several_communities(
    api: Api, as_newcomer: Person, as_other_community: Person
) -> None:
    made = await invite(api, as_other_community, cast.NEWCOMER.email)
    theirs = made.data["inviteMember"]["invitation"]["id"]

    offered = await own_invitations(api, as_newcomer)
    accepted = (await api.ask(as_newcomer, ACCEPT, id=theirs)).data

    assert [one["communityName"] for one in offered] == ["Alpha", "Beta"]
    assert accepted["acceptInvitation"]["community"]["id"] == str(BETA)
    assert [one["communityName"] for one in await own_invitations(api, as_newcomer)] == ["Alpha"]
