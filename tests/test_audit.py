"""The audit log: every change is in it, whoever makes it and by which way, and nobody changes what is in it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from structlog.contextvars import bound_contextvars

from resolvers.endpoint import GraphQLEndpoint
from resolvers.identity import Identity
from tests import cast
from tests.api import Api, identity_of
from tests.cast import ALPHA, BETA
from tests.databases import Database
from tests.people import Person, signed_in

LOG = """query ($filter: AuditFilter, $first: Int, $after: String) {
    auditLog(filter: $filter, first: $first, after: $after) {
    totalCount pageInfo { hasNextPage endCursor } nodes {
        id occurredAt actorId actor { userId displayName } actingAs action objectType objectId objectKey before after
        changed reason requestId sealed } } }"""
UPDATE = "mutation ($input: UpdateProgramInput!) { updateProgram(input: $input) { program { id } } }"
ENROLL = "mutation ($input: EnrollInput!) { enroll(input: $input) { enrollment { id } } }"

# Tables that nobody administers: what is in them is a log of its own, or derived.
LOGS_OF_THEIR_OWN = {
    "public.audit_entries": "is this log",
    "private.audit_salts": "is part of it",
    "private.audit_seals": "is part of it",
    "private.audit_heads": "is part of it",
    "public.progress_events": "is the log of what learners do, append-only",
    "public.block_completions": "follows from the events and from completion_overrides, which is recorded",
    "public.course_progress": "follows from these",
    "public.program_progress": "follows from these",
    "public.learning_sessions": "is the log of when people were there",
    "public.job_runs": "is the log of the worker",
    "public.legacy_progress": "is what files say, of whose batches each is recorded",
    "public.xapi_statements": "is the log of what other programs say, append-only",
    "private.progress_queue": "is a list of what the worker has to do",
    "public.program_requirements": "is the criteria of a version, which is recorded, spelt out",
}


def entries(database: Database, condition: str = "true", *parameters: Any) -> list[dict[str, Any]]:
    """The newest first."""
    query = f"select to_jsonb(e) from public.audit_entries as e where {condition} order by occurred_at desc, id desc"
    return [entry for (entry,) in database.run(query, *parameters)]


def since(database: Database, before: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {entry["id"] for entry in before}
    return [entry for entry in entries(database) if entry["id"] not in known]


async def test_signed_out_is_told_to_sign_in(api: Api, as_anon: Person) -> None:
    assert (await api.ask(as_anon, LOG)).code == "UNAUTHENTICATED"


async def test_learners_find_nothing_admins_their_own_community(
    api: Api, as_learner: Person, as_suspended: Person, as_admin: Person, as_other_community: Person
) -> None:
    seen = {
        person: (await api.ask(person_, LOG, first=100)).data["auditLog"]
        for person, person_ in (("learner", as_learner), ("suspended", as_suspended), ("admin", as_admin))
    }
    elsewhere = (await api.ask(as_other_community, LOG, first=100)).data["auditLog"]

    assert (seen["learner"]["totalCount"], seen["suspended"]["totalCount"]) == (0, 0)
    assert seen["admin"]["totalCount"] == len(seen["admin"]["nodes"]) > 0
    ids = {node["objectId"] for node in seen["admin"]["nodes"]}
    assert {str(cast.DRAFT), str(ALPHA)} <= ids
    assert not ids & {str(BETA), str(cast.OTHER_DRAFT)}
    assert {str(BETA), str(cast.OTHER_DRAFT)} <= {node["objectId"] for node in elsewhere["nodes"]}


async def test_a_change_says_who_what_when_and_by_which_request(api: Api, as_admin: Person) -> None:
    with bound_contextvars(request_id="the-request"):
        await api.ask(as_admin, UPDATE, input={"id": cast.DRAFT, "title": "Late autumn", "durationWeeks": 6})

    node = (await api.ask(as_admin, LOG, first=1)).data["auditLog"]["nodes"][0]
    assert node.pop("id")
    assert node.pop("occurredAt")
    assert node == {
        "actorId": str(cast.ADMIN.id),
        "actor": {"userId": str(cast.ADMIN.id), "displayName": "Ada"},
        "actingAs": "COMMUNITY_ADMIN",
        "action": "program.updated",
        "objectType": "program",
        "objectId": str(cast.DRAFT),
        "objectKey": None,
        "before": {"title": "Autumn", "duration_weeks": None},
        "after": {"title": "Late autumn", "duration_weeks": 6},
        "changed": ["title", "duration_weeks"],
        "reason": None,
        "requestId": "the-request",
        "sealed": False,
    }


async def test_the_request_id_is_that_of_the_response(database: Database, api: Api, as_admin: Person) -> None:
    class Verifier:
        async def identify(self, authorization: Sequence[str]) -> Identity:
            del authorization
            return identity_of(as_admin)

    endpoint = GraphQLEndpoint(
        api.engine, Verifier(), max_body_bytes=10_000, body_timeout_seconds=5, page=None
    )
    transport = httpx.ASGITransport(app=endpoint)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        change = {"query": UPDATE, "variables": {"input": {"id": str(cast.DRAFT), "title": "By HTTP"}}}
        response = await client.post("/graphql", json=change)

    assert response.json()["data"]["updateProgram"]["program"] == {"id": str(cast.DRAFT)}
    assert entries(database)[0]["request_id"] == response.headers["x-request-id"]


def test_what_changes_nothing_is_not_recorded(database: Database, as_admin: Person) -> None:
    before = entries(database)

    as_admin.sql("update public.programs set title = title, status = status")
    as_admin.sql("update public.programs set title = 'x' where false")

    assert since(database, before) == []


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


def test_actions_are_called_by_what_became_of_the_thing(database: Database, as_admin: Person) -> None:
    before = entries(database)

    ((program,),) = as_admin.sql('select public.create_program(\'{"title": "New"}\')')
    for step in ("publish", "archive", "restore"):
        as_admin.sql(f"select public.{step}_program(%s)", f'{{"id": "{program}"}}')
    as_admin.sql("select public.delete_program(%s)", f'{{"id": "{cast.DRAFT}"}}')

    programs = [entry for entry in since(database, before) if entry["object_type"] == "program"]
    assert [entry["action"] for entry in reversed(programs)] == [
        *("program.created", "program.published", "program.archived", "program.published", "program.deleted")
    ]
    assert (programs[-1]["before"], programs[-1]["after"]["title"]) == (None, "New")
    assert (programs[0]["before"]["title"], programs[0]["after"]) == ("Autumn", None)


def test_each_row_of_an_update_has_its_own_before_and_after(database: Database) -> None:
    before = entries(database)

    database.run(
        "update public.programs set title = title || ' of ' || id where community_id = %s and status <> 'archived'",
        ALPHA,
    )

    found = since(database, before)
    assert len(found) >= 3
    for entry in found:
        assert entry["after"]["title"] == f"{entry['before']['title']} of {entry['object_id']}"


NOTES = """
create table public.notes (
    community_id uuid, id uuid, n integer, status text, email text, updated_at timestamptz default now(),
    primary key (community_id, id, n)
);
select private.record_changes_of('public.notes');
"""
NOTE_CHANGES = (
    "update public.notes set status = 'open', email = 'a@b.test'",
    "update public.notes set updated_at = '2026-01-01 12:00+02'",
    "update public.notes set status = null, updated_at = '2026-01-02'",
    "update public.notes set n = n + 1, email = 'c@d.test'",
    "delete from public.notes",
)


def test_a_row_is_recorded_alike_whether_alone_or_among_others(database: Database) -> None:
    """What one row takes goes another way than what several take. A column that is called as an alias is none."""
    database.run(NOTES)
    row = "('{}', '{}', 1, 'new', 'x@y.test', '2026-01-01')"
    first, second = row.format(ALPHA, cast.DRAFT), row.format(ALPHA, cast.PUBLISHED)

    def recorded(*rows: str) -> list[list[dict[str, Any]]]:
        """Of the first row, by statement."""
        found = []
        for change in (f"insert into public.notes values {', '.join(rows)}", *NOTE_CHANGES):
            before = entries(database)
            database.run(change)
            ours = [entry for entry in since(database, before) if entry["object_id"] == str(cast.DRAFT)]
            own = [{**entry, "id": None, "xid": None, "occurred_at": None} for entry in ours]
            found.append(sorted(own, key=lambda entry: str(entry["action"])))
        return found

    alone, among_others = recorded(first), recorded(first, second)

    assert [[entry["action"] for entry in of_statement] for of_statement in alone] == [
        *(["note.created"], ["note.open"], [], ["note.updated"]),
        ["note.created", "note.deleted"],  # its key has changed
        ["note.deleted"],
    ]
    assert alone == among_others


def test_rows_of_one_statement_share_a_moment_and_have_ids_of_their_own(database: Database) -> None:
    before = entries(database)

    database.run("update public.programs set title = title || '!' where status <> 'archived'")

    found = since(database, before)
    assert len({entry["community_id"] for entry in found}) > 1
    assert len({entry["occurred_at"] for entry in found}) == 1
    assert len({entry["id"] for entry in found}) == len(found)


def test_one_statement_in_two_communities_is_by_an_admin_in_one(database: Database, as_admin: Person) -> None:
    before = entries(database)

    with database.connect() as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", [as_admin.claims_text])
        connection.execute("update public.programs set title = title || '!' where status <> 'archived'")

    found = {(entry["community_id"], entry["acting_as"]) for entry in since(database, before)}
    assert found == {(str(ALPHA), "community_admin"), (str(BETA), "end_user")}


def test_by_rest_the_request_is_named_by_its_header(database: Database, as_admin: Person) -> None:
    with as_admin.transaction() as connection:
        connection.execute("""select set_config('request.headers', '{"x-request-id": "rest-7"}', true)""")
        connection.execute("update public.programs set title = 'By REST' where id = %s", [cast.DRAFT])

    assert entries(database)[0]["request_id"] == "rest-7"


def test_an_act_that_has_a_reason_keeps_it(database: Database, as_admin: Person) -> None:
    with as_admin.transaction() as connection:
        connection.execute("select set_config('gym.reason', 'a request of the board', true)")
        connection.execute("update public.programs set title = 'For a reason' where id = %s", [cast.DRAFT])
    as_admin.sql("update public.programs set title = 'For none' where id = %s", cast.DRAFT)

    none, reason = entries(database)[:2]
    assert (reason["reason"], none["reason"]) == ("a request of the board", None)


def test_what_goes_with_a_community_is_recorded_and_stays(database: Database) -> None:
    counts = {
        table: database.run(f"select count(*) from public.{table} where community_id = %s", ALPHA)[0][0]
        for table in ("memberships", "courses", "blocks", "programs", "program_enrollments")
    }
    before = entries(database)

    database.run("delete from public.communities where id = %s", ALPHA)

    deleted = [entry["action"] for entry in since(database, before) if entry["community_id"] == str(ALPHA)]
    assert deleted.count("community.deleted") == 1
    for table, count in counts.items():
        assert deleted.count(f"{table.removesuffix('s')}.deleted") == count > 0
    assert {entry["id"] for entry in before} <= {entry["id"] for entry in entries(database)}


def test_who_acted_stays_when_the_person_is_deleted(database: Database, as_admin: Person) -> None:
    as_admin.sql("update public.programs set title = 'Ada was here' where id = %s", cast.DRAFT)

    database.run_as("supabase_auth_admin", "delete from auth.users where id = %s", cast.ADMIN.id)

    renamed, ended = "after ->> 'title' = 'Ada was here'", "action = 'membership.deleted'"
    assert [entry["actor_id"] for entry in entries(database, renamed)] == [str(cast.ADMIN.id)]
    assert [entry["acting_as"] for entry in entries(database, ended)] == ["system"]


def test_super_admins_come_and_go_in_the_platforms_own_log(
    database: Database, as_super_admin: Person
) -> None:
    database.run("delete from private.super_admins")

    entry = entries(database)[0]
    assert (entry["action"], UUID(entry["community_id"]).int) == ("super_admin.deleted", 0)
    assert as_super_admin.sql("select from public.audit_entries where object_type = 'super_admin'") == []


def test_names_are_digests_that_only_their_community_can_compare(database: Database) -> None:
    toni = "object_type = 'membership' and after ->> 'user_id' = %s"
    rename = "update public.memberships set display_name = %s where user_id = %s"
    database.run(rename, "Quirinius", cast.PEER.id)
    database.run(rename, "Quirinius", cast.LEARNER.id)

    first, second = (entry["after"]["display_name"] for entry in entries(database)[:2])
    in_alpha, in_beta = (
        entry["after"]["display_name"] for entry in entries(database, toni, str(cast.TRAVELLER.id))
    )
    database.run("delete from private.audit_salts where community_id = %s", ALPHA)
    database.run(rename, "Somebody", cast.PEER.id)
    database.run(rename, "Quirinius", cast.PEER.id)

    assert first == second
    assert first.startswith("sha256:")
    assert in_alpha != in_beta
    assert entries(database)[0]["after"]["display_name"] not in (first, in_alpha)
    for name in ("Quirinius", "Toni", "Somebody"):
        assert database.run("select from public.audit_entries as e where e::text like %s", f"%{name}%") == []


@pytest.mark.parametrize("role", ["postgres", "service_role", "authenticated"])
@pytest.mark.parametrize("table", ["public.audit_entries", "private.audit_seals", "private.audit_heads"])
@pytest.mark.parametrize(
    "statement", ["update {} set community_id = community_id", "delete from {}", "truncate {}"]
)
def test_nobody_changes_the_log(
    database: Database, as_admin: Person, role: str, table: str, statement: str
) -> None:
    with database.connect() as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", [as_admin.claims_text])
        connection.execute(f"set local role {role}")
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(statement.format(table))

    assert refused.value.sqlstate == ("PT403" if role == "postgres" else "42501")


@pytest.mark.parametrize("role", ["service_role", "authenticated"])
def test_nobody_writes_it_by_hand(database: Database, as_admin: Person, role: str) -> None:
    with database.connect() as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", [as_admin.claims_text])
        connection.execute(f"set local role {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(
                "insert into public.audit_entries (community_id, acting_as, action, object_type, object_id)"
                " values (%s, 'system', 'x', 'x', %s)",
                [ALPHA, ALPHA],
            )


def test_nothing_disappears_by_truncation(database: Database) -> None:
    with pytest.raises(psycopg.Error, match="not truncated") as refused:
        database.run("truncate public.programs cascade")

    assert refused.value.sqlstate == "PT403"


_RECORDED = """
select format('%s.%s', n.nspname, c.relname), array(
    select split_part(t.tgname, '_audit_', 2) from pg_trigger as t
    where t.tgrelid = c.oid and t.tgname like '%%\\_audit\\_%%' and t.tgenabled = 'O' order by 1
)
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where n.nspname in ('public', 'private') and c.relkind in ('r', 'p') and not c.relispartition
"""


def unrecorded(database: Database) -> set[str]:
    return {
        table
        for table, events in database.run(_RECORDED)
        if [event for event in events if event != "append_only"] != ["delete", "insert", "truncate", "update"]
    }


def test_every_table_is_recorded(database: Database) -> None:
    """A table that comes later says `select private.record_changes_of(…)`, or stands in the list with a reason."""
    assert unrecorded(database) == set(LOGS_OF_THEIR_OWN)


def test_a_new_table_that_is_not_recorded_shows_until_it_is(database: Database) -> None:
    database.run(
        "create table public.notes (community_id uuid, id uuid, text text, primary key (community_id, id))"
    )
    shown = unrecorded(database)

    database.run("select private.record_changes_of('public.notes')")
    database.run("insert into public.notes values (%s, %s, 'x')", ALPHA, cast.DRAFT)

    assert shown - set(LOGS_OF_THEIR_OWN) == {"public.notes"}
    assert unrecorded(database) == set(LOGS_OF_THEIR_OWN)
    assert entries(database)[0]["action"] == "note.created"


def test_keys_and_personal_columns_are_as_the_tables_have_them_now(database: Database) -> None:
    """A migration that changes them says `record_changes_of` again."""
    triggers = (
        "select tgrelid::regclass::text, pg_get_triggerdef(oid) from pg_trigger"
        " where tgname like '%\\_audit\\_%'"
    )
    before = sorted(database.run(triggers))

    for table in {table for table, _ in before} - {
        name.removeprefix("public.") for name in LOGS_OF_THEIR_OWN
    }:
        database.run("select private.record_changes_of(%s::regclass)", table)

    assert sorted(database.run(triggers)) == before


def test_a_column_is_personal_when_its_comment_says_so(database: Database) -> None:
    database.run(
        """
        create table public.notes (community_id uuid, id uuid, who text, email text, primary key (community_id, id));
        comment on column public.notes.who is 'Personal data: whoever it is about.';
        select private.record_changes_of('public.notes');
        """
    )
    database.run("insert into public.notes values (%s, %s, 'Ada', 'a@b.test')", ALPHA, cast.DRAFT)

    after = entries(database)[0]["after"]
    assert {name for name, text in after.items() if text.startswith("sha256:")} == {"who", "email"}


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({"actorId": str(cast.ADMIN.id)}, {"by Ada"}),
        ({"actorId": str(cast.LEARNER.id)}, set()),
        ({"action": "program.published"}, set()),
        ({"action": "course.updated"}, {"a course"}),
        ({"objectType": "program"}, {"by Ada", "by Sue"}),
        ({"objectId": str(cast.COURSE)}, {"a course"}),
        ({"requestId": "of Sue"}, {"by Sue"}),
        ({"from": "2020-01-01T00:00:00Z"}, {"by Ada", "by Sue", "a course"}),
        ({"from": "2099-01-01T00:00:00Z"}, set()),
        ({"until": "2020-01-01T00:00:00Z"}, set()),
        ({"objectType": "program", "actorId": str(cast.SUPER_ADMIN.id)}, {"by Sue"}),
    ],
)
async def test_filters_find_exactly_what_they_say(
    database: Database,
    api: Api,
    as_admin: Person,
    as_super_admin: Person,
    condition: dict[str, str],
    found: set[str],
) -> None:
    await api.ask(as_admin, UPDATE, input={"id": cast.DRAFT, "title": "by Ada"})
    with bound_contextvars(request_id="of Sue"):
        await api.ask(as_super_admin, UPDATE, input={"id": cast.DRAFT, "title": "by Sue"})
    database.run("update public.courses set title = 'a course' where id = %s", cast.COURSE)

    nodes = (await api.ask(as_admin, LOG, filter=condition, first=100)).data["auditLog"]["nodes"]

    titles = {
        n["after"]["title"] for n in nodes if n["action"].endswith(".updated") and "title" in n["after"]
    }
    assert titles == found


async def test_pages_are_newest_first_and_complete(api: Api, as_admin: Person) -> None:
    whole = (await api.ask(as_admin, LOG, first=100)).data["auditLog"]["nodes"]

    paged: list[Any] = []
    after = None
    while True:
        page = (await api.ask(as_admin, LOG, first=7, after=after)).data["auditLog"]
        paged += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break

    assert paged == whole
    times = [node["occurredAt"] for node in whole]
    assert times == sorted(times, reverse=True)


async def test_a_refused_mutation_leaves_no_entry(database: Database, api: Api, as_learner: Person) -> None:
    before = entries(database)

    await api.ask(as_learner, UPDATE, input={"id": cast.PUBLISHED, "title": "Mine"})
    await api.ask(as_learner, ENROLL, input={"programId": cast.PUBLISHED})

    assert since(database, before) == []


SWITCH = "select public.switch_community(%s)"


def test_where_somebody_chooses_to_act_is_in_no_communitys_log(
    database: Database, as_traveller: Person, as_admin: Person
) -> None:
    before = entries(database)

    for community in (ALPHA, BETA):
        as_traveller.sql(SWITCH, f'{{"community_id": "{community}"}}')
    as_admin.sql(SWITCH, f'{{"community_id": "{ALPHA}"}}')
    theirs = "user_id = any (%s)"
    both = [cast.TRAVELLER.id, cast.ADMIN.id]
    database.run(f"update private.active_communities set community_id = '{BETA}' where {theirs}", both)
    as_traveller.sql(SWITCH, f'{{"community_id": "{ALPHA}"}}')
    as_traveller.sql("select public.leave_community('{}')")
    database.run(f"delete from private.active_communities where {theirs}", both)

    found = [entry for entry in since(database, before) if entry["object_type"] == "active_community"]
    assert {entry["community_id"] for entry in found} == {"00000000-0000-0000-0000-000000000000"}
    assert Counter(entry["action"] for entry in found) == {
        # Two have chosen for the first time, another one then, and the platform has for one of them.
        "active_community.created": 2,
        "active_community.updated": 3,
        "active_community.deleted": 2,
    }
    assert {entry["object_key"] for entry in found} == {None}


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
