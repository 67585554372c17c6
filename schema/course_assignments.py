"""The courses of a program: their order, their groups and what comes before what."""

from uuid import UUID

import strawberry

from resolvers.sources import column, table, to_many, to_one
from schema.courses import Course

# The courses that one has to come after, in the same version.
_PREREQUISITES = (
    "{row}.course_id = any (array(select {row}_1.prerequisite_id from public.program_course_prerequisites as {row}_1"
    " where {row}_1.community_id = {owner}.community_id and {row}_1.program_id = {owner}.program_id"
    " and {row}_1.version = {owner}.version and {row}_1.course_id = {owner}.course_id))"
)


@table("public.program_course_assignments")
@strawberry.type(description="A course's place in a version of a program.")
class ProgramCourseAssignment:
    id: UUID
    sequence_order: int = strawberry.field(description="Place in the program, from 1.")
    required: bool = strawberry.field(
        description="Whether the program is complete only with it. Says nothing of a course in a group."
    )
    group: str | None = column("group_name", "Courses of one group stand for each other.")
    course: Course | None = to_one("Null when the caller may not see it, as a draft.", id="course_id")
    course_version: int | None = strawberry.field(
        description="The version of the course that learners of this version get, from 1; null in drafts, "
        "which follow the course."
    )
    prerequisites: list["ProgramCourseAssignment"] = to_many(
        "The courses that have to be done before this one, in their order.",
        order_by="sequence_order",
        program_id="program_id",
        version="version",
        where=_PREREQUISITES,
    )


@table("public.program_course_groups")
@strawberry.type(description="Courses that stand for each other: the group is complete with some of them.")
class CourseGroup:
    name: str
    at_least: int = strawberry.field(description="How many of its courses make it complete, from 1.")
    course_assignments: list[ProgramCourseAssignment] = to_many(
        "Its courses in their order.",
        order_by="sequence_order",
        program_id="program_id",
        version="version",
        group_name="name",
    )
