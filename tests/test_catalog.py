"""Rules for every object in the database, checked against its catalog, so that they hold for what comes later too."""

import re

import pytest

from tests.catalog import DEFINER_FUNCTIONS, RULES
from tests.databases import Database
from tests.reviewed import ROOT

# What breaks a rule and was looked at. Whoever adds a line here says why in it.
REVIEWED = {
    "every table belongs to a community": {
        "communities",  # is the list of them
        "super_admins",  # belongs to the platform
        "outbox_marks",  # is about transactions
    },
    "community_id is never null": {"outbox"},  # where a person changes in all communities
    "an index begins with community_id": {"outbox"},
    "indexes of tenant tables begin with community_id": {
        "private.outbox_pkey",  # read by the server, of all communities, by transactions
        "private.outbox_xid_idx",  # the same
        "private.active_communities_pkey",  # a person has one choice over all communities
        "invitations_email_idx",  # finds the invitations of a person
        "invitations_invited_by_idx",  # is what deleting a person needs
        "memberships_user_id_idx",  # finds the communities of a person, and is what deleting a person needs
        "programs_created_by_idx",  # is what deleting a person needs
        "program_versions_created_by_idx",  # the same
    },
    "references are indexed": {
        "courses_version_exists",  # the primary key leads to the one course
        "blocks_version_exists",  # the primary key leads to the one version
        "blocks_parent_exists",  # the index has all blocks that have a parent
        "blocks_identity_exists",  # the primary key leads to the one course, and only that takes identities with it
        "programs_version_exists",  # the primary key leads to the one program
        # The index of a program's enrolments leads to them; a version goes only with its program. One more index that
        # begins so, and the planner would take it for what leads to one person.
        "program_enrollments_version_exists",
        "program_enrollments_cohort_exists",  # a cohort is of one program; of few, so without those in none
    },
    # The wall is for every role, so that each may be stopped by it; these are its questions, all about the caller.
    "signed out, one may only ask who one is": {
        "private.get_community_id()",
        "private.claimed_community_id()",
        "private.signed_in_user_id()",
        "private.is_super_admin()",
        "private.is_community_admin()",
        "private.viewer_community_ids()",
        "private.viewer()",
        "private.viewer_memberships()",
        "private.refuse(text,text,text)",  # only ever raises an error
    },
    "definer functions that a signed-in client may call": {
        "private.get_community_id()",
        "private.is_super_admin()",
        "private.is_community_admin()",
        "private.viewer()",
        "private.viewer_community_ids()",
        "private.viewer_memberships()",
        "private.viewer_program_ids()",
        # Each asks for the right to write courses first: clients have no grant to write them.
        "import_course(jsonb)",
        "update_course(jsonb)",
        "publish_course(jsonb)",
        "archive_course(jsonb)",
        "restore_course(jsonb)",
        "delete_course(jsonb)",
        "discard_course_version(jsonb)",
        "private.touch_program(uuid)",  # asks whether an admin does, and writes a time, in their community only
        # Each asks first whether the caller may see this person's progress.
        "private.course_progress(jsonb)",
        "private.courses_of_progress(program_progress)",
        "private.missing_requirements(program_progress)",
        "private.next_block(private.course_progress_state)",
        "private.blocks_of_progress(private.course_progress_state)",
        # Each looks first whose progress the caller may write: nobody has a grant to write it.
        "record_progress(jsonb)",
        "override_completion(jsonb)",
        "reset_progress(jsonb)",
        # Looks first whose statements the caller may send: nobody has a grant to write them.
        "private.store_statements(jsonb,uuid)",
        # Each looks at the caller's own sessions only: nobody has a grant to write them.
        "start_session(jsonb)",
        "heartbeat_session(jsonb)",
        "end_session(jsonb)",
        "private.engagement(learning_sessions)",  # asks first whether the caller may see this person's progress
        "private.viewer_invitations()",  # to the caller's own confirmed address
        "accept_invitation(jsonb)",  # to the caller's own confirmed address, as the next one
        "decline_invitation(jsonb)",
        "switch_community(jsonb)",  # writes the caller's own choice, among what is open to them
        "private.audit_entry_is_sealed(audit_entries)",  # answers to admins about their own community only
        "private.viewer_cohort_ids()",
        "private.program_stats(programs)",  # answers to admins about their own community only
        "private.member_email(memberships)",  # answers to the person and their admins only
    },
    "our roles act as few, and nobody as them": {"gym_api as anon", "gym_api as authenticated"},
}

BREAKAGES = {
    "every table belongs to a community": "create table public.notes (id uuid)",
    "community_id is never null": "create table public.notes (community_id uuid)",
    "indexes of tenant tables begin with community_id": "create unique index on public.programs (id)",
    "an index begins with community_id": "create table public.notes (community_id uuid)",
    "references between tenant tables carry community_id": (
        "alter table public.programs add unique (id); alter table public.program_enrollments "
        "add constraint program_enrollments_loose foreign key (program_id) references public.programs (id)"
    ),
    "references are indexed": "drop index public.programs_created_by_idx",
    "constraints are named after their table": "alter table public.programs add constraint title_ok check (true)",
    "policies ask their questions once a query": (
        "create policy loose on public.programs to authenticated using (private.is_super_admin())"
    ),
    "rules say whom they are for": "create policy loose on public.programs using (true)",
    "grants are for reading and writing rows": "grant truncate on public.programs to service_role",
    "partitions and views are no side doors": (
        "create view public.everybody as select * from public.memberships; grant select on public.everybody to anon"
    ),
    "clients make nothing": "grant create on schema public to authenticated",
    "functions that read settings are stable": "alter function private.get_community_id() immutable",
    "functions have an empty search path": "alter function private.viewer() reset all",
    "functions are for nobody unless granted": (
        "create function public.loose() returns int language sql return 1; "
        "grant execute on function public.loose() to public"
    ),
    "signed out, one may only ask who one is": "grant execute on function public.enroll(jsonb) to anon",
    "definer functions that a signed-in client may call": (
        "alter function public.create_program(jsonb) security definer"
    ),
    "our roles act as few, and nobody as them": "grant service_role to gym_api",
    "our roles have no attributes": "alter role gym_api inherit",
}


@pytest.mark.parametrize("rule", RULES)
def test_rule_holds(shared_database: Database, rule: str) -> None:
    found = {str(name) for (name,) in shared_database.run(RULES[rule])}

    assert found == REVIEWED.get(rule, set())


@pytest.mark.parametrize("rule", RULES)
def test_breaking_the_rule_shows(shared_database: Database, rule: str) -> None:
    with shared_database.connect() as connection:
        connection.execute(BREAKAGES[rule])
        found = {str(name) for (name,) in connection.execute(RULES[rule])}
        connection.rollback()

    assert found - REVIEWED.get(rule, set()) != set()


def test_every_definer_function_gives_its_reason(shared_database: Database) -> None:
    source = "\n".join(path.read_text() for path in sorted((ROOT / "sql").glob("*.sql")))
    explained = re.findall(
        r"^create function ([\w.]+)\((?:(?!\ncreate function ).)*?\nsecurity definer -- \S",
        source,
        re.M | re.S,
    )

    functions = {name for (name,) in shared_database.run(DEFINER_FUNCTIONS)}

    assert functions - set(explained) == set()
