"""Every change is recorded, whoever makes it and by which way, and what is none is not."""

from collections import Counter
from typing import Any
from uuid import UUID

from tests import cast
from tests.api import Api
from tests.auditing import UPDATE, entries, since
from tests.cast import ALPHA, BETA
from tests.databases import Database
from tests.people import Person

ENROLL = "mutation ($input: EnrollInput!) { enroll(input: $input) { enrollment { id } } }"
SWITCH = "select public.switch_community(%s)"


def test_what_changes_nothing_is_not_recorded(database: Database, as_admin: Person) -> None:
    before = entries(database)

    as_admin.sql("update public.programs set title = title, status = status")
    as_admin.sql("update public.programs set title = 'x' where false")

    assert since(database, before) == []


async def test_a_refused_mutation_leaves_no_entry(database: Database, api: Api, as_learner: Person) -> None:
    before = entries(database)

    await api.ask(as_learner, UPDATE, input={"id": cast.PUBLISHED, "title": "Mine"})
    await api.ask(as_learner, ENROLL, input={"programId": cast.PUBLISHED})

    assert since(database, before) == []


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


def test_super_admins_come_and_go_in_the_platforms_own_log(
    database: Database, as_super_admin: Person
) -> None:
    database.run("delete from private.super_admins")

    entry = entries(database)[0]
    assert (entry["action"], UUID(entry["community_id"]).int) == ("super_admin.deleted", 0)
    assert as_super_admin.sql("select from public.audit_entries where object_type = 'super_admin'") == []


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
