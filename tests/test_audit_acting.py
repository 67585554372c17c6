"""Entries say who acted, as what, for what reason and by which request."""

from collections.abc import Sequence

import httpx

from resolvers.endpoint import GraphQLEndpoint
from resolvers.identity import Identity
from tests import cast
from tests.api import Api, identity_of
from tests.auditing import UPDATE, entries, since
from tests.cast import ALPHA, BETA
from tests.databases import Database
from tests.people import Person, signed_in
from tests.serving import NoStreams


async def test_the_request_id_is_that_of_the_response(database: Database, api: Api, as_admin: Person) -> None:
    class Verifier:
        async def identify(self, authorization: Sequence[str]) -> Identity:
            del authorization
            return identity_of(as_admin)

    endpoint = GraphQLEndpoint(
        api.engine, Verifier(), NoStreams(), max_body_bytes=10_000, body_timeout_seconds=5, page=None
    )
    transport = httpx.ASGITransport(app=endpoint)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        change = {"query": UPDATE, "variables": {"input": {"id": str(cast.DRAFT), "title": "By HTTP"}}}
        response = await client.post("/graphql", json=change)

    assert response.json()["data"]["updateProgram"]["program"] == {"id": str(cast.DRAFT)}
    assert entries(database)[0]["request_id"] == response.headers["x-request-id"]


def test_by_rest_the_request_is_named_by_its_header(database: Database, as_admin: Person) -> None:
    with as_admin.transaction() as connection:
        connection.execute("""select set_config('request.headers', '{"x-request-id": "rest-7"}', true)""")
        connection.execute("update public.programs set title = 'By REST' where id = %s", [cast.DRAFT])

    assert entries(database)[0]["request_id"] == "rest-7"


def test_it_says_as_whom_somebody_acted(
    database: Database, as_admin: Person, as_super_admin: Person, as_learner: Person
) -> None:
    before = entries(database)
    rename = "update public.programs set title = %s where id = %s"

    as_admin.sql(rename, "Ada's", cast.DRAFT)
    as_super_admin.sql(rename, "Sue's", cast.DRAFT)
    as_learner.sql("insert into public.program_enrollments (program_id) values (%s)", cast.OPEN_TO_ALL)
    with database.connect() as connection:
        connection.execute("set local role service_role")
        connection.execute(rename, ("The server's", cast.DRAFT))
    database.run(rename, "The platform's", cast.DRAFT)

    found = [(entry["acting_as"], entry["actor_id"]) for entry in since(database, before)]
    assert found == [
        ("system", None),
        ("service", None),
        ("end_user", str(cast.LEARNER.id)),
        ("super_admin", str(cast.SUPER_ADMIN.id)),
        ("community_admin", str(cast.ADMIN.id)),
    ]


def test_admins_who_step_down_did_so_as_admins(database: Database, as_admin: Person) -> None:
    database.run(
        "update public.memberships set role = 'community_admin' where community_id = %s and user_id = %s",
        cast.ALPHA,
        cast.PEER.id,
    )
    with database.connect() as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", [as_admin.claims_text])
        connection.execute(
            "update public.memberships set role = 'end_user' where user_id = %s", [cast.ADMIN.id]
        )
        connection.execute(
            "update public.memberships set status = 'left' where user_id = %s", [cast.ADMIN.id]
        )

    left, stepped_down = entries(database)[:2]
    assert (left["action"], left["acting_as"]) == ("membership.left", "end_user")
    assert (stepped_down["action"], stepped_down["acting_as"]) == ("membership.updated", "community_admin")


def test_one_statement_in_two_communities_is_by_an_admin_in_one(database: Database, as_admin: Person) -> None:
    before = entries(database)

    with database.connect() as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", [as_admin.claims_text])
        connection.execute("update public.programs set title = title || '!' where status <> 'archived'")

    found = {(entry["community_id"], entry["acting_as"]) for entry in since(database, before)}
    assert found == {(str(ALPHA), "community_admin"), (str(BETA), "end_user")}


def test_an_act_that_has_a_reason_keeps_it(database: Database, as_admin: Person) -> None:
    with as_admin.transaction() as connection:
        connection.execute("select set_config('gym.reason', 'a request of the board', true)")
        connection.execute("update public.programs set title = 'For a reason' where id = %s", [cast.DRAFT])
    as_admin.sql("update public.programs set title = 'For none' where id = %s", cast.DRAFT)

    none, reason = entries(database)[:2]
    assert (reason["reason"], none["reason"]) == ("a request of the board", None)


def test_who_acted_stays_when_the_person_is_deleted(database: Database, as_admin: Person) -> None:
    as_admin.sql("update public.programs set title = 'Ada was here' where id = %s", cast.DRAFT)

    database.run_as("supabase_auth_admin", "delete from auth.users where id = %s", cast.ADMIN.id)

    renamed, ended = "after ->> 'title' = 'Ada was here'", "action = 'membership.deleted'"
    assert [entry["actor_id"] for entry in entries(database, renamed)] == [str(cast.ADMIN.id)]
    assert [entry["acting_as"] for entry in entries(database, ended)] == ["system"]


def test_who_declines_is_not_named_and_who_revokes_is(database: Database, as_admin: Person) -> None:
    newcomer = signed_in(database, cast.NEWCOMER)
    before = entries(database)

    newcomer.sql("select public.decline_invitation(%s)", f'{{"id": "{cast.INVITATION}"}}')
    ((again,),) = as_admin.sql(
        "select public.invite_member(%s)", f'{{"email": "{cast.NEWCOMER.email}", "display_name": "Nora"}}'
    )
    # Whatever somebody sets by hand.
    with as_admin.transaction() as connection:
        connection.execute("select set_config('gym.declining', %s, true)", [str(again)])
        connection.execute("delete from public.invitations where id = %s", [again])
        connection.execute("update public.programs set title = 'Named' where id = %s", [cast.DRAFT])

    found = [(e["action"], e["actor_id"], e["acting_as"]) for e in reversed(since(database, before))]
    admin = (str(cast.ADMIN.id), "community_admin")
    assert found == [
        ("invitation.deleted", None, "end_user"),
        ("invitation.created", *admin),
        ("invitation.deleted", *admin),
        ("program.updated", *admin),
    ]


def test_who_accepts_is_named(database: Database) -> None:
    newcomer = signed_in(database, cast.NEWCOMER)
    before = entries(database)

    newcomer.sql("select public.accept_invitation(%s)", f'{{"id": "{cast.INVITATION}"}}')

    assert {entry["actor_id"] for entry in since(database, before)} == {str(cast.NEWCOMER.id)}
