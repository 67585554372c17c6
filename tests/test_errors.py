"""The error table: the same in the code, in the documentation and in the database's catalog."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from resolvers.errors import CONSTRAINTS, LONGEST_MESSAGE, RAISED, SQLSTATES, Code, Refusal, face_of
from tests import cast
from tests.api import Api
from tests.databases import Database
from tests.people import Person

DOCUMENT = (Path(__file__).parent.parent / "docs" / "errors.md").read_text()
SQL = "".join(path.read_text() for path in (Path(__file__).parent.parent / "sql").glob("*.sql"))

# Constraints that no client can break, and why.
UNREACHABLE = {
    "written by the platform's own people, or from an invitation, which was checked": {
        "memberships_display_name_not_blank",
        "memberships_display_name_length",
        "memberships_joined_at_sane",
        "super_admins_pkey",
        "super_admins_user_exists",
        "super_admins_reason_not_blank",
        "super_admins_ends_after_it_begins",
    },
    "what is in a course comes by its import, which checks it first": {
        "course_versions_one_unpublished",
        *(
            name
            for name in re.findall(r"constraint (\w+)", SQL)
            if name.startswith(("courses_", "course_versions_", "blocks_", "block_identities_"))
            and name not in CONSTRAINTS
        ),
    },
    "columns that clients have no grant on": {
        "communities_pkey",
        "memberships_pkey",
        "memberships_one_per_person",
        "memberships_community_exists",
        "memberships_user_exists",
        "invitations_pkey",
        "invitations_community_exists",
        "invitations_inviter_exists",
        "active_communities_pkey",
        "active_communities_user_exists",
        "active_communities_community_exists",
    },
    "who is invited already is invited again": {"invitations_one_per_address"},
    "roles, which GraphQL checks first": {"memberships_role_known", "invitations_role_known"},
    "columns of programs and enrolments that clients have no grant on": {
        "programs_pkey",
        "programs_community_exists",
        "programs_creator_exists",
        "program_course_assignments_pkey",
        "program_course_assignments_community_exists",
        "program_course_assignments_course_version_exists",
        "program_versions_community_exists",
        "program_versions_creator_exists",
        "program_enrollments_version_exists",
        "enrollment_moves_pkey",
        "program_enrollments_pkey",
        "program_enrollments_attempt_positive",
        "program_enrollments_enrolled_at_sane",
        "cohorts_pkey",
        "cohorts_program_unique",
    },
    "the audit log, which only triggers and the sealing write": {
        name for name in re.findall(r"constraint (\w+)", SQL) if name.startswith("audit_")
    },
    "progress, which functions write that look at everything first": {
        name
        for name in [*re.findall(r"constraint (\w+)", SQL), "completion_overrides_one_held"]
        if name.startswith(
            (
                "progress_",
                "block_completions_",
                "completion_",
                "course_attempts_",
                "course_progress_",
                "program_progress_",
            )
        )
        and name not in CONSTRAINTS
    },
    "statements, which one function writes that looks at everything first": {
        name for name in re.findall(r"constraint (\w+)", SQL) if name.startswith("xapi_statements_")
    },
    "sessions, which functions write that look at everything first": {
        name
        for name in [*re.findall(r"constraint (\w+)", SQL), "learning_sessions_one_open"]
        if name.startswith("learning_sessions_")
    },
    "what only the worker writes": {
        name for name in re.findall(r"constraint (\w+)", SQL) if name.startswith("job_runs_")
    },
    "what tells of changes, which only triggers write": {"outbox_pkey", "outbox_marks_pkey"},
    "what only the platform imports": {
        name
        for name in [*re.findall(r"constraint (\w+)", SQL), "legacy_batches_one_a_file"]
        if name.startswith("legacy_")
    },
    "what a version asks for, which is written from its checked criteria": {
        name for name in re.findall(r"constraint (\w+)", SQL) if name.startswith("program_requirements_")
    },
    "constraint triggers, which speak for themselves": {
        "program_versions_finish",
        "programs_close_imported_version",
    },
    "states, which the triggers refuse first": {
        "memberships_status_known",
        "programs_status_known",
        "programs_published_at_known",
        "programs_archived_at_known",
        "programs_version_exists",
        "program_versions_version_positive",
        "program_enrollments_status_known",
        "program_enrollments_completed_at_known",
        "program_enrollments_withdrawn_at_known",
    },
}


def in_catalog(database: Database) -> set[str]:
    """Constraints, and the unique indexes that are rules without being constraints."""
    rows = database.run(
        """
        select c.conname::text from pg_constraint as c
        join pg_namespace as n on n.oid = c.connamespace
        where n.nspname in ('public', 'private') and c.contype <> 'n'
        union
        select i.indexrelid::regclass::text from pg_index as i
        join pg_class as t on t.oid = i.indrelid join pg_namespace as n on n.oid = t.relnamespace
        where n.nspname in ('public', 'private') and i.indisunique
        """
    )
    return {name.split(".")[-1] for (name,) in rows}


def test_a_constraint_has_a_face_or_a_reason_to_have_none(shared_database: Database) -> None:
    reasoned = set().union(*UNREACHABLE.values())

    assert in_catalog(shared_database) == set(CONSTRAINTS) | reasoned
    assert not set(CONSTRAINTS) & reasoned


def test_the_documentation_lists_the_codes() -> None:
    table = DOCUMENT.split("## Broken constraints")[0]

    assert re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE) == list(get_args(Code))


def test_the_documentation_lists_the_constraints() -> None:
    documented = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (?:`(\w+)`)? ?\|$", DOCUMENT, re.MULTILINE)

    assert {name: (code, field or None) for name, code, field in documented} == {
        name: (face.code, face.field) for name, face in CONSTRAINTS.items()
    }


def test_the_sql_raises_only_codes_that_have_a_name() -> None:
    raised = {f"PT{status}" for status in re.findall(r"private\.refuse\(\s*'(\d{3})'", SQL)}

    assert raised
    assert raised <= set(RAISED)


def test_our_own_words_are_shown_and_postgres_words_are_not() -> None:
    ours = face_of(Refusal(0, "PT412", "Restore it first.", None, None), signed_in=True)
    theirs = face_of(Refusal(0, "42P01", 'relation "secret" does not exist', None, None), signed_in=True)

    assert (ours.code, ours.message) == ("FAILED_PRECONDITION", "Restore it first.")
    assert theirs.code == "INTERNAL"
    assert "secret" not in theirs.message
    assert theirs.extensions["requestId"]


@pytest.mark.parametrize("sqlstate", SQLSTATES)
def test_every_known_refusal_has_words_of_ours(sqlstate: str) -> None:
    error = face_of(Refusal(0, sqlstate, "words of Postgres", None, None), signed_in=True)

    assert "Postgres" not in error.message
    assert error.code == SQLSTATES[sqlstate].code


def test_a_missing_right_means_sign_in_first_to_those_who_have_not() -> None:
    refusal = Refusal(0, "42501", "permission denied for table programs", None, None)

    assert face_of(refusal, signed_in=False).code == "UNAUTHENTICATED"
    assert face_of(refusal, signed_in=True).code == "FORBIDDEN"


CREATE = "mutation ($input: CreateProgramInput!) { createProgram(input: $input) { program { id } } }"
ASSIGN = "mutation ($i: AssignCoursesInput!) { assignCourses(input: $i) { program { id } } }"
PROGRAM = "query ($id: UUID!) { program(id: $id) { id } }"
STATES = "query ($s: [ProgramStatus!]) { programs(filter: {status: $s}) { totalCount } }"


@pytest.mark.parametrize(
    ("document", "variables", "field", "words"),
    [
        (CREATE, {}, "input", "to be provided"),
        (CREATE, {"input": None}, "input", "not to be null."),
        (CREATE, {"input": {}}, "title", "found: {}."),
        (CREATE, {"input": {"title": None}}, "title", "not to be null."),
        (CREATE, {"input": "x"}, "input", 'found: "x".'),
        (
            CREATE,
            {"input": {"a": None, "b": True, "title": "x"}},
            "input",
            '{"a": null, "b": true, "title": "x"}',
        ),
        (CREATE, {"input": {"title": {"a": {"b": {"c": {}}}}}}, "title", '{"a": {"b": "…"}}'),
        (PROGRAM, {}, "id", "to be provided"),
        (PROGRAM, {"id": {"userId": None}}, "id", 'found: {"userId": null}.'),
        (CREATE, {"input": {"title": ["\ud800 é"]}}, "title", 'value: ["\\ud800 é"]'),
        (CREATE, {"input": {"title": "x", "half \ud800": 1}}, "input", "'half \\ud800'"),
        (STATES, {"s": ["DRAFT", None]}, "s.1", "not to be null."),
        (
            ASSIGN,
            {"i": {"programId": cast.DRAFT, "courses": [{"courseId": cast.COURSE}, {"required": True}]}},
            *("courses.1.courseId", 'found: {"required": true}.'),
        ),
        ("mutation { createProgram(input: {}) { program { id } } }", {}, "title", "required field 'title'"),
        (
            "mutation { createProgram(input: {title: null}) { program { id } } }",
            {},
            "title",
            "not to be null.",
        ),
        ("mutation { createProgram { program { id } } }", {}, "input", "is required"),
        (
            f'mutation {{ assignCourses(input: {{programId: "{cast.DRAFT}", courses: [{{required: true}}]}}) '
            "{ program { id } } }",
            *({}, "courses.0.courseId", "found: { required: true }."),
        ),
        ('{ programs(first: "x") { totalCount } }', {}, "first", 'value: "x"'),
        (
            "mutation ($t: String) { createProgram(input: {title: $t}) { program { id } } }",
            *({}, "t", "in position expecting"),
        ),
        ("{ programs { nope } }", {}, None, "nope"),
    ],
)
async def test_what_is_wrong_with_the_input_has_its_place_and_no_python(
    api: Api, as_admin: Person, document: str, variables: dict[str, Any], field: str | None, words: str
) -> None:
    reply = await api.ask(as_admin, document, **variables)

    error = reply.json["errors"][0]
    assert (error["extensions"]["code"], error["extensions"].get("field")) == ("BAD_USER_INPUT", field)
    assert words in error["message"]
    assert not re.search("None|True|False|'userId'", error["message"])


async def test_values_of_any_length_make_no_long_message(api: Api, as_admin: Person) -> None:
    many = {str(n): [None] * 99 for n in range(99)}

    reply = await api.ask(as_admin, CREATE, input={"title": "x", "more": many})

    assert all(len(error["message"]) <= LONGEST_MESSAGE for error in reply.json["errors"])
    assert "None" not in str(reply.json["errors"][0])
