"""Versions of programs: what learners get who enrol while one is current, and keep."""

from datetime import datetime

import strawberry
from strawberry.scalars import JSON

from resolvers.sources import column, table, to_many, to_one
from schema.communities import Member
from schema.course_assignments import CourseGroup, ProgramCourseAssignment


@table("public.program_versions")
@strawberry.type(
    description="What a program consists of at one time. From publishing on, each change makes a new version, and none "
    "changes that was ever current."
)
class ProgramVersion:
    version: int = strawberry.field(description="Counts the versions of the program, from 1.")
    created_at: datetime
    created_by: Member | None = to_one(
        "Shown to admins, while there is a membership, also one that was left.", user_id="created_by"
    )
    published_at: datetime | None = strawberry.field(
        description="When it became current; null while the program is a draft."
    )
    completion_criteria: JSON | None = column(
        "completion_criteria",
        "When the program is complete, as docs/schemas/criteria.schema.json says; null: with every required course and "
        "every group.",
        long=True,
    )
    course_assignments: list[ProgramCourseAssignment] = to_many(
        "The courses in their order.", order_by="sequence_order", program_id="program_id", version="version"
    )
    groups: list[CourseGroup] = to_many(
        "The groups by name.", order_by="name", program_id="program_id", version="version"
    )
