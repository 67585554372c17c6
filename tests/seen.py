"""Which communities' rows somebody gets to see, over all tables that have any."""

from uuid import UUID

from tests.people import Person

TENANT_TABLES = (
    *("memberships", "invitations", "courses", "course_versions", "block_identities", "blocks"),
    *("programs", "program_course_assignments", "program_enrollments", "cohorts"),
    *("program_versions", "program_course_groups"),
    *("progress_events", "block_completions", "completion_overrides", "course_attempts"),
    *("course_progress", "program_progress", "program_requirements", "xapi_statements"),
    *("learning_sessions", "audit_entries", "job_runs", "legacy_batches", "legacy_progress"),
)
SEEN = " union all ".join(f"select '{table}', community_id from public.{table}" for table in TENANT_TABLES)


def communities_seen(person: Person) -> set[UUID]:
    return {community for _, community in person.sql(SEEN)}
