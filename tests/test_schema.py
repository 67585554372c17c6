"""The contract with clients, committed as text."""

import re
from pathlib import Path

import pytest
from graphql import GraphQLObjectType, GraphQLSchema, get_named_type
from graphql import parse as parse_document

from schema import strawberry_schema

pytestmark = pytest.mark.any_postgres

ROOT = Path(__file__).parent.parent


def core() -> GraphQLSchema:
    return strawberry_schema()._schema


def test_the_printed_schema_equals_the_committed_one() -> None:
    committed = (ROOT / "schema" / "schema.graphql").read_text()

    assert strawberry_schema().as_str().strip() == committed.strip(), "run `make schema` and read the diff"
    parse_document(committed)


# What the API's conventions promise of the fields that are there; a rename would break clients.
PROMISED = {
    "Query.viewer": "Viewer",
    "Query.communities": "CommunityConnection!",
    "Query.members": "MemberConnection!",
    "Query.programs": "ProgramConnection!",
    "Query.program": "Program",
    "Query.courses": "CourseConnection!",
    "Query.course": "Course",
    "Query.enrollments": "ProgramEnrollmentConnection!",
    "Query.auditLog": "AuditEntryConnection!",
    "Viewer.isSuperAdmin": "Boolean!",
    "Viewer.memberships": "[Membership!]!",
    "Program.durationWeeks": "Int",
    "Program.createdBy": "Member",
    "Program.courseAssignments": "[ProgramCourseAssignment!]!",
    "Program.enrollments": "ProgramEnrollmentConnection!",
    "Program.viewerEnrollment": "ProgramEnrollment",
    "Program.stats": "ProgramStats",
    "ProgramCourseAssignment.sequenceOrder": "Int!",
    "ProgramCourseAssignment.group": "String",
    "ProgramEnrollment.attempt": "Int!",
    "ProgramEnrollment.dueAt": "DateTime",
    "Course.version": "Int!",
    "Course.blocks": "[Block!]!",
    "Block.parentId": "UUID",
    "Course.versions": "[CourseVersion!]!",
    "Block.weight": "Float!",
    "Query.exportCourse": "JSON",
    "Mutation.importCourse": "ImportCoursePayload",
    "Mutation.createCommunity": "CreateCommunityPayload",
    "Mutation.inviteMember": "InviteMemberPayload",
    "Mutation.changeMemberRole": "ChangeMemberRolePayload",
    "Mutation.suspendMember": "SuspendMemberPayload",
    "Mutation.leaveCommunity": "LeaveCommunityPayload",
    "Mutation.switchCommunity": "SwitchCommunityPayload",
    "Mutation.createProgram": "CreateProgramPayload",
    "Mutation.assignCourses": "AssignCoursesPayload",
    "Mutation.enroll": "EnrollPayload",
    "Mutation.withdrawEnrollment": "WithdrawEnrollmentPayload",
}


@pytest.mark.parametrize(("coordinate", "promised"), PROMISED.items())
def test_the_fields_that_clients_rely_on_keep_their_types(coordinate: str, promised: str) -> None:
    owner, name = coordinate.split(".")
    graphql_type = core().type_map[owner]

    assert isinstance(graphql_type, GraphQLObjectType)
    assert str(graphql_type.fields[name].type) == promised


def object_types() -> list[GraphQLObjectType]:
    return [
        t
        for t in core().type_map.values()
        if isinstance(t, GraphQLObjectType) and not t.name.startswith("__")
    ]


def test_to_one_fields_are_nullable() -> None:
    """A row that a policy hides is null, never an error that tells that it exists."""
    # A subscription without its row is none: it ends.
    wrappers = re.compile("(Connection|Edge|Payload)$|^(Query|Mutation|Subscription|PageInfo)$")
    for owner in object_types():
        for name, field in owner.fields.items():
            target = get_named_type(field.type)
            is_row = isinstance(target, GraphQLObjectType) and not wrappers.search(target.name)
            if is_row and not wrappers.search(owner.name) and "[" not in str(field.type):
                assert not str(field.type).endswith("!"), f"{owner.name}.{name}"


def test_mutations_take_one_input_named_after_them() -> None:
    mutation = core().mutation_type
    assert mutation is not None
    for name, field in mutation.fields.items():
        stem = name[0].upper() + name[1:]
        assert {key: str(argument.type) for key, argument in field.args.items()} == {"input": f"{stem}Input!"}
        assert str(field.type) == f"{stem}Payload"


def test_lists_that_can_grow_have_a_page_size() -> None:
    for owner in object_types():
        for name, field in owner.fields.items():
            if get_named_type(field.type).name.endswith("Connection"):
                assert {"first", "after"} <= set(field.args), f"{owner.name}.{name}"


def test_root_fields_and_their_arguments_are_described() -> None:
    for root in (core().query_type, core().mutation_type):
        assert root is not None
        for name, field in root.fields.items():
            assert field.description, name
            for argument_name, argument in field.args.items():
                assert argument.description, f"{name}({argument_name}:)"
