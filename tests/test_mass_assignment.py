"""Clients write the columns that are meant for them, and no other: not even an admin, not even in their own rows."""

import pytest

from tests import cast
from tests.attempts import NO_PRIVILEGE, attempt_on, refusal
from tests.databases import Database
from tests.people import Person

INSERTED = {
    "communities": {"slug", "name", "time_zone"},
    "invitations": {"email", "display_name", "role"},
    "programs": {"title", "description", "duration_weeks"},
    "program_course_assignments": {
        *("program_id", "course_id", "sequence_order", "required", "group_name", "version"),
    },
    "program_versions": {"program_id", "version", "completion_criteria"},
    "program_course_groups": {"program_id", "version", "name", "at_least"},
    "program_course_prerequisites": {"program_id", "version", "course_id", "prerequisite_id"},
    "enrollment_moves": {"community_id", "enrollment_id", "from_version", "to_version", "mode", "reason"},
    "program_enrollments": {"program_id", "user_id", "due_at", "cohort_id", "starts_at", "expires_at"},
    "cohorts": {"program_id", "name", "starts_at", "due_at", "expires_at"},
}
UPDATED = {
    "communities": {"name", "time_zone"},
    "memberships": {"role", "status", "suspension_reason"},
    "invitations": {"display_name", "role"},
    "programs": {"title", "description", "duration_weeks", "status", "version"},
    "program_course_assignments": {"sequence_order", "required", "group_name"},
    "program_versions": {"completion_criteria"},
    "program_course_groups": {"at_least"},
    "program_enrollments": {"status", "due_at", "cohort_id", "starts_at", "expires_at"},
    "cohorts": {"name", "starts_at", "due_at", "expires_at"},
}
REFUSED = "42501: permission denied for table {}"
# Those that the database computes are written by nobody.
COLUMNS = """
select table_name, column_name from information_schema.columns
where table_schema = 'public' and is_generated = 'NEVER'
order by 1, 2
"""


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.fixture(params=["learner", "admin", "super_admin"])
def person(request: pytest.FixtureRequest) -> Person:
    who: Person = request.getfixturevalue(f"as_{request.param}")
    return who


def test_no_other_column_can_be_inserted(database: Database, person: Person) -> None:
    with person.transaction() as connection:
        for table, column in database.run(COLUMNS):
            outcome = attempt_on(connection, f"insert into public.{table} ({column}) values (null)")

            # What is granted goes on to a rule or a policy; what is not, never gets there.
            if column not in INSERTED.get(table, set()):
                assert outcome == REFUSED.format(table)


def test_no_other_column_can_be_updated(database: Database, person: Person) -> None:
    with person.transaction() as connection:
        for table, column in database.run(COLUMNS):
            change = f"update public.{table} set {column} = {column} where false"

            allowed = column in UPDATED.get(table, set())
            assert attempt_on(connection, change) == ("0 rows" if allowed else REFUSED.format(table))


@pytest.mark.parametrize(
    "statement",
    [
        "update public.memberships set display_name = 'Somebody else' where user_id = auth.uid()",
        "update public.memberships set joined_at = '2000-01-01'",
        f"insert into public.memberships (user_id, display_name) values ('{cast.NEWCOMER.id}', 'New')",
        "update public.invitations set expires_at = '2099-01-01'",
        f"insert into public.invitations (email, display_name, invited_by) values ('x@y.z', 'X', '{cast.PEER.id}')",
        f"insert into private.active_communities (user_id, community_id) values ('{cast.ADMIN.id}', '{cast.BETA}')",
        f"update public.communities set slug = 'ours' where id = '{cast.ALPHA}'",
        f"update public.program_enrollments set attempt = 9, status = 'withdrawn' where id = '{cast.ENROLLMENT}'",
        f"update public.program_enrollments set completed_at = now() where id = '{cast.ENROLLMENT}'",
        f"update public.program_enrollments set user_id = '{cast.PEER.id}' where id = '{cast.ENROLLMENT}'",
        f"insert into public.program_enrollments (program_id, status) values ('{cast.OPEN_TO_ALL}', 'completed')",
        f"insert into public.program_enrollments (program_id, attempt) values ('{cast.OPEN_TO_ALL}', 7)",
        f"insert into public.programs (title, community_id) values ('Ours', '{cast.BETA}')",
        f"insert into public.programs (title, created_by) values ('Not mine', '{cast.PEER.id}')",
        "insert into public.programs (title, status, published_at) values ('At once', 'published', now())",
        f"update public.programs set community_id = '{cast.BETA}'",
        "update public.programs set published_at = '2000-01-01'",
        "insert into public.communities (id, slug, name) values (gen_random_uuid(), 'mine', 'Mine')",
    ],
)
def test_the_favourites_are_refused(person: Person, statement: str) -> None:
    assert refusal(person, statement) == NO_PRIVILEGE


@pytest.mark.parametrize("status", ["active", "paused", "completed", "expired"])
def test_learners_do_not_choose_their_status(as_learner: Person, status: str) -> None:
    change = "update public.program_enrollments set status = %s where id = %s"

    assert refusal(as_learner, change, status, cast.ENROLLMENT) == NO_PRIVILEGE


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("starts_at", "2020-01-01"),
        ("due_at", "2099-01-01"),
        ("expires_at", "2099-01-01"),
        ("cohort_id", str(cast.EMPTY_COHORT)),
    ],
)
def test_learners_do_not_set_their_own_dates(as_learner: Person, column: str, value: str) -> None:
    change = f"update public.program_enrollments set status = 'withdrawn', {column} = %s where id = %s"
    begin = f"insert into public.program_enrollments (program_id, {column}) values (%s, %s)"

    assert refusal(as_learner, change, value, cast.ENROLLMENT) == "PT403"
    at_once = refusal(as_learner, begin, cast.OPEN_TO_ALL, value)
    assert at_once == ("PT403" if column == "cohort_id" else NO_PRIVILEGE)
