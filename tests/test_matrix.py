"""`policies/README.md` says who may do what to every table; the database must do exactly that."""

import pytest

from tests import cast, matrix, probes
from tests.databases import Database
from tests.people import put_on, signed_in
from tests.records import RECORDS, Record


def test_every_table_is_protected(shared_database: Database) -> None:
    assert matrix.unprotected(shared_database) == []


def test_grants_and_policies_are_as_written(shared_database: Database) -> None:
    assert matrix.differences(matrix.written_grants(), matrix.granted(shared_database)) == []


def test_everybody_reaches_what_is_written(shared_database: Database) -> None:
    assert matrix.differences(matrix.written_reach(), probes.reached(shared_database)) == []


def test_every_table_is_probed(shared_database: Database) -> None:
    tables = {table for table, _, _ in matrix.granted(shared_database)}

    assert probes.probed_tables() == tables


@pytest.mark.parametrize("command", matrix.COMMANDS)
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: f"{record.table} {record.row}")
def test_probes_would_succeed_without_policies(
    shared_database: Database, record: Record, command: str
) -> None:
    """Else a mistake in a probe would pass for a refusal. What the rules refuse to everybody is listed."""
    with shared_database.connect() as connection:
        put_on(connection, "postgres", signed_in(shared_database, cast.ADMIN).claims_text)

        succeeded = probes.succeeds(connection, probes.statement(record, command))

    assert succeeded != ((record.table, record.row, command) in REFUSED_TO_ALL)


REFUSED_TO_ALL = {
    ("public.courses", "draft", "delete"),  # it is in a program, as the next one is
    ("public.courses", "published", "delete"),
    ("public.course_versions", "published", "update"),
    ("public.course_versions", "published", "delete"),
    ("public.block_identities", "of a published course", "delete"),
    ("public.blocks", "of a published version", "insert"),
    ("public.blocks", "of a published version", "update"),
    ("public.blocks", "of a published version", "delete"),
    ("public.programs", "published", "delete"),
    ("public.programs", "archived, the learner was in it", "delete"),
    ("public.programs", "archived, the learner was not", "delete"),
    ("public.program_course_assignments", "of a published program", "insert"),
    ("public.program_course_assignments", "of a published program", "update"),
    ("public.program_course_assignments", "of a published program", "delete"),
    ("public.program_versions", "of a draft program", "insert"),
    ("public.program_versions", "of a published program", "update"),
    ("public.program_versions", "of a published program", "delete"),
    ("public.program_course_groups", "of a published program", "insert"),
    ("public.program_course_groups", "of a published program", "update"),
    ("public.program_course_groups", "of a published program", "delete"),
    ("public.program_course_prerequisites", "of a published program", "insert"),
    ("public.program_course_prerequisites", "of a published program", "update"),
    ("public.program_course_prerequisites", "of a published program", "delete"),
    ("public.enrollment_moves", "any", "update"),
    ("public.enrollment_moves", "any", "delete"),
    ("public.program_course_assignments", "of an archived program", "insert"),
    ("public.program_course_assignments", "of an archived program", "update"),
    ("public.program_course_assignments", "of an archived program", "delete"),
    ("public.program_enrollments", "the learner's, completed", "update"),
    ("public.audit_entries", "any", "update"),  # append-only, as the next ones are
    ("public.audit_entries", "any", "delete"),
    ("private.audit_seals", "any", "select"),  # nothing is sealed
    ("private.audit_seals", "any", "update"),
    ("private.audit_seals", "any", "delete"),
    ("private.audit_heads", "any", "select"),
    ("private.audit_heads", "any", "update"),
    ("private.audit_heads", "any", "delete"),
    ("public.cohorts", "the learner's", "delete"),  # there are enrolments in it
    ("public.program_progress", "the learner's", "insert"),  # each enrolment has its row
    ("public.program_progress", "a peer's", "insert"),
    ("public.progress_events", "the learner's", "update"),  # append-only, as the next ones are
    ("public.progress_events", "the learner's", "delete"),
    ("public.progress_events", "a peer's", "update"),
    ("public.progress_events", "a peer's", "delete"),
    ("public.xapi_statements", "the learner's", "update"),
    ("public.xapi_statements", "the learner's", "delete"),
    ("public.xapi_statements", "a peer's", "update"),
    ("public.xapi_statements", "a peer's", "delete"),
}


BREAKAGES = {
    "a policy is dropped": "drop policy members_see_programs_admins_all on public.programs",
    "a policy is widened": "alter policy members_see_courses_admins_drafts_too on public.courses using (true)",
    "a policy is narrowed": "alter policy admins_delete_drafts on public.programs using (false)",
    "a column is granted": "grant update (joined_at) on public.memberships to authenticated",
    "a table is granted": "grant delete on public.courses to anon",
    "the wall is dropped": "drop policy client_isolation_courses on public.courses",
    "the wall is widened": "alter policy client_isolation_blocks on public.blocks using (true)",
    "policies are disabled": "alter table public.programs disable row level security",
    "the owner is exempt": "alter table public.blocks no force row level security",
    "a table comes without rules": "create table public.notes (id uuid, community_id uuid)",
    "a private table comes without rules": "create table private.notes (id uuid)",
    "a view comes": "create view public.everybody as select * from public.memberships",
}


@pytest.mark.parametrize("statement", BREAKAGES.values(), ids=BREAKAGES.keys())
def test_whatever_breaks_the_rules_is_noticed(database: Database, statement: str) -> None:
    database.run(statement)

    assert complaints(database) != []


def test_complaints_name_the_table_and_the_person(database: Database) -> None:
    database.run(
        "alter policy learners_see_their_enrollments_admins_all on public.program_enrollments using (true)"
    )

    assert complaints(database) == [
        "public.program_enrollments, a peer's, open, learner: README says '–', the database 'select'"  # noqa: RUF001
    ]


def complaints(database: Database) -> list[str]:
    return [
        *matrix.unprotected(database),
        *matrix.differences(matrix.written_grants(), matrix.granted(database)),
        *matrix.differences(matrix.written_reach(), probes.reached(database)),
    ]
