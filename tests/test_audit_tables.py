"""Every table is recorded, or is known for why it is not."""

import psycopg
import pytest

from tests import cast
from tests.auditing import entries
from tests.cast import ALPHA
from tests.databases import Database

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
    "private.outbox": "is a list of what has changed, which goes after ten minutes",
    "private.outbox_marks": "says until when it is kept",
    "private.progress_queue": "is a list of what the worker has to do",
    "public.program_requirements": "is the criteria of a version, which is recorded, spelt out",
}


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
