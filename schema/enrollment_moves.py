"""Moving enrolments to a newer version of their program."""

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from resolvers.sources import (
    changed,
    changed_rows,
    changed_value,
    column,
    computed_rows,
    from_function,
    mutation,
    table,
    to_one,
)
from schema.communities import Member
from schema.courses import Course

if TYPE_CHECKING:
    from schema.programs import Program

_Program = Annotated["Program", strawberry.lazy("schema.programs")]


@strawberry.enum(description="What becomes of enrolments when their program has a newer version.")
class MoveMode(Enum):
    KEEP = strawberry.enum_value(
        "keep", description="They stay in their version; the decision is written down."
    )
    CARRY_OVER = strawberry.enum_value(
        "carry_over",
        description="They move, and what was completed stays complete although the new version has more.",
    )
    REQUIRE_NEW = strawberry.enum_value(
        "require_new", description="They move, and what is new in the version must be done."
    )


@table("public.enrollment_moves")
@strawberry.type(description="A decision about an enrolment, made when its program had a newer version.")
class EnrollmentMove:
    id: UUID
    from_version: int
    to_version: int
    mode: MoveMode
    reason: str = column("reason", long=True)
    moved_at: datetime
    moved_by: Member | None = to_one(
        "While there is a membership, also one that was left.", user_id="moved_by"
    )


@strawberry.enum(description="In what one version of a program differs from another.")
class VersionDifferenceKind(Enum):
    COURSE_ADDED = "course_added"
    COURSE_REMOVED = "course_removed"
    COURSE_CHANGED = strawberry.enum_value(
        "course_changed",
        description="Another version of the course, or other prerequisites, another group, required or not.",
    )
    GROUP_ADDED = "group_added"
    GROUP_REMOVED = "group_removed"
    GROUP_CHANGED = strawberry.enum_value(
        "group_changed", description="Asks for another number of its courses."
    )
    CRITERIA_ADDED = "criteria_added"
    CRITERIA_REMOVED = "criteria_removed"
    CRITERIA_CHANGED = "criteria_changed"


@strawberry.type
class _Difference:
    kind: VersionDifferenceKind
    course: Course | None = to_one("The course, of differences in courses.", id="course_id")
    group: str | None = column("group_name", "The name of the group, of differences in groups.")
    before: JSON | None = strawberry.field(
        description="Null when it was not there. Of a course an object with `version`, `required`, `group` and "
        "`prerequisites`, of a group how many courses it asks for, of criteria the criteria."
    )
    after: JSON | None = strawberry.field(description="The same afterwards; null when it is gone.")


@table("private.preview_differences", tenant=False)
@strawberry.type(description="One thing in which a version of a program differs from another.")
class VersionDifference(_Difference):
    pass


@table("private.preview_move", tenant=False)
@strawberry.type(
    description="What moving enrolments from one version of a program to a newer one would do. Touched are the open "
    "ones: pending, active and paused. The others are counted beside them."
)
class MovePreview:
    program: _Program | None = to_one(id="program_id")
    from_version: int
    to_version: int
    pending: int = strawberry.field(description="Enrolments in this state, which would be moved.")
    active: int = strawberry.field(description="Enrolments in this state, which would be moved.")
    paused: int = strawberry.field(description="Enrolments in this state, which would be moved.")
    completed: int = strawberry.field(description="Enrolments in this state, which stay as they are.")
    withdrawn: int = strawberry.field(description="Enrolments in this state, which stay as they are.")
    expired: int = strawberry.field(description="Enrolments in this state, which stay as they are.")
    differences: list[VersionDifference] = computed_rows(
        "private.preview_differences", "Courses in their new order, then groups by name, then criteria."
    )


@strawberry.input(description="Which enrolments of a program go to which newer version, and how.")
class MoveEnrollmentsInput:
    program_id: UUID
    from_version: int = strawberry.field(description="The version that they are in.")
    to_version: int | None = strawberry.field(
        default=strawberry.UNSET, description="A newer one. Default: the current one."
    )
    enrollment_ids: list[UUID] | None = strawberry.field(
        default=strawberry.UNSET, description="1 to 1,000 of them, all open. Default: all open ones."
    )
    mode: MoveMode
    reason: str = strawberry.field(
        description="Why, kept with each decision. Not blank, at most 1,000 characters."
    )


@strawberry.type
class MoveEnrollmentsPayload:
    program: _Program | None = changed(part="program_id")
    from_version: int = changed_value("from_version")
    to_version: int = changed_value("to_version")
    moved: int = changed_value("moved", "How many enrolments are in the newer version now; 0 for KEEP.")
    decided: int = changed_value("decided", "About how many enrolments the decision was written down.")
    remaining: int = changed_value(
        "remaining", "How many it was not yet written down about: repeat the mutation until there are none."
    )
    differences: list[VersionDifference] = changed_rows(
        "private.move_differences", "Courses in their new order, then groups by name, then criteria."
    )


@strawberry.type
class EnrollmentMoveQuery:
    preview_move: MovePreview | None = from_function(
        "private.preview_move",
        "For admins; null to others. What `moveEnrollments` would do. Errors: NOT_FOUND, BAD_USER_INPUT (versions), "
        "FAILED_PRECONDITION (an enrolment that is named is not open, or in another version).",
        program_id=(UUID, "The program."),
        from_version=(int, "The version that the enrolments are in."),
        to_version=(int | None, "A newer one. Default: the current one."),
        enrollment_ids=(list[UUID] | None, "1 to 1,000 of them, all open. Default: all open ones."),
    )


@strawberry.type
class EnrollmentMoveMutation:
    move_enrollments: MoveEnrollmentsPayload | None = mutation(
        "public.move_enrollments",
        MoveEnrollmentsInput,
        "Admins. Moves open enrolments to a newer version of their program, or writes down that they stay; 5,000 at "
        "once, those that began first, and tells how many remain. Errors: "
        "FORBIDDEN, NOT_FOUND, BAD_USER_INPUT (no such versions, no reason), FAILED_PRECONDITION (an enrolment that is "
        "named is not open, or in another version).",
    )
