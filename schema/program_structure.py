"""How admins change what programs consist of: all of it at once."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from resolvers.sources import changed, mutation

if TYPE_CHECKING:
    from schema.programs import Program

_Program = Annotated["Program", strawberry.lazy("schema.programs")]


@strawberry.input(description="A course in a program; its place in the list is its order.")
class CourseAssignmentInput:
    course_id: UUID
    required: bool = strawberry.field(
        default=True,
        description="Whether the program is complete only with it. Says nothing of a course in a group, which counts "
        "through its group.",
    )
    group: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Name of a group of courses that stand for each other, up to 100 characters.",
    )
    prerequisites: list[UUID] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Ids of courses of the same list that have to be done before this one, wherever they stand in it; "
        "no cycles.",
    )


@strawberry.input(description="How many of a group's courses make it complete.")
class CourseGroupInput:
    name: str = strawberry.field(description="The name that courses of the list give as their group.")
    at_least: int = strawberry.field(
        default=1, description="From 1 to as many as name it. 1 for groups that are not in this list."
    )


@strawberry.input(
    description="The whole ordered list of a program's courses; those left out leave the program."
)
class AssignCoursesInput:
    program_id: UUID
    courses: list[CourseAssignmentInput] = strawberry.field(description="At most 200, each course once.")
    groups: list[CourseGroupInput] | None = strawberry.field(
        default=strawberry.UNSET, description="Groups that ask for another number than 1, or all of them."
    )
    completion_criteria: JSON | None = strawberry.field(
        default=strawberry.UNSET,
        description="When the program is complete, as docs/schemas/criteria.schema.json says. Left out, it stays; null "
        "clears it, which means every required course and every group.",
    )
    expected_version: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="Changes nothing unless the program is at this version. Drafts stay at 1: see `expectedUpdatedAt`.",
    )
    expected_updated_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="Changes nothing unless the program was last changed then."
    )


@strawberry.input(description="A new draft that consists of what another program's new learners get.")
class CloneProgramInput:
    id: UUID
    title: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Not blank, at most 200 characters. Default: the title of the original.",
    )


@strawberry.type
class AssignCoursesPayload:
    program: _Program | None = changed()


@strawberry.type
class CloneProgramPayload:
    program: _Program | None = changed("The new draft.")


@strawberry.type
class ProgramStructureMutation:
    assign_courses: AssignCoursesPayload | None = mutation(
        "public.assign_courses",
        AssignCoursesInput,
        "Admins. Replaces the list: in a draft in place, in a published program as a new version, which new learners "
        "get while those enrolled keep theirs. What changes nothing makes no version. Errors: FORBIDDEN, NOT_FOUND, "
        "BAD_USER_INPUT, CONFLICT (changed since it was read), FAILED_PRECONDITION (archived; a course that is not "
        "published, in a published program).",
    )
    clone_program: CloneProgramPayload | None = mutation(
        "public.clone_program",
        CloneProgramInput,
        "Admins; programs in any state. Errors: FORBIDDEN, NOT_FOUND, BAD_USER_INPUT.",
    )
