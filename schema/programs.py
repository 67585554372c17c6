"""Programs: paths of courses, and the life that admins lead them through."""

from datetime import datetime
from enum import Enum
from uuid import UUID

import strawberry

from resolvers.relay import Connection, OrderDirection
from resolvers.sources import (
    by_id,
    changed,
    changed_id,
    column,
    computed_row,
    connection,
    contains,
    mutation,
    one_of,
    table,
    to_many,
    to_one,
)
from schema.cohorts import Cohort
from schema.communities import Member
from schema.course_assignments import CourseGroup, ProgramCourseAssignment
from schema.enrollments import EnrollmentFilter, ProgramEnrollment
from schema.program_versions import ProgramVersion
from schema.progress import ProgramProgress


@strawberry.enum(description="draft, then published, then archived and back to published.")
class ProgramStatus(Enum):
    DRAFT = strawberry.enum_value("draft", description="Seen by admins only; can be deleted.")
    PUBLISHED = strawberry.enum_value("published", description="Seen by all members, who can be enrolled.")
    ARCHIVED = strawberry.enum_value(
        "archived",
        description="Seen by admins and by those who were enrolled. Closed: nobody is enrolled any more, there are no "
        "new cohorts, and title, description, duration and courses stay as they are. Who is enrolled goes on.",
    )


@table("private.program_stats")
@strawberry.type(description="Counts over all enrolments of a program, each attempt counted.")
class ProgramStats:
    enrolled: int = strawberry.field(description="Enrolments in any state.")
    active: int = strawberry.field(description="Enrolments that are active now.")
    completed: int = strawberry.field(description="Enrolments that were completed.")
    completion_rate: float | None = strawberry.field(
        description="completed / enrolled, 0 to 1; null when nobody is enrolled."
    )
    average_percent: float | None = strawberry.field(
        description="Mean percent of all enrolments, 0 to 100; null when nobody is enrolled."
    )


@table("public.programs")
@strawberry.type(description="A path of courses with a beginning and an end.")
class Program:
    id: UUID
    title: str
    description: str | None = column("description", long=True)
    duration_weeks: int | None = strawberry.field(description="Planned length in weeks, 1 to 520.")
    status: ProgramStatus
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None = strawberry.field(description="When it was first published.")
    archived_at: datetime | None = strawberry.field(description="When it was archived; null unless it is.")
    created_by: Member | None = to_one(
        "Shown to admins, while there is a membership, also one that was left.", user_id="created_by"
    )
    version: int = strawberry.field(description="The version that new learners get, from 1.")
    course_assignments: list[ProgramCourseAssignment] = to_many(
        "The courses of the current version in their order.",
        order_by="sequence_order",
        program_id="id",
        version="version",
    )
    course_groups: list[CourseGroup] = to_many(
        "The groups of the current version by name.", order_by="name", program_id="id", version="version"
    )
    versions: list[ProgramVersion] = to_many(
        "All versions, the newest first.", order_by="version desc", program_id="id"
    )
    enrollments: Connection[ProgramEnrollment] = connection(
        "Enrolments, newest first. End users find their own only.",
        order_by="enrolled_at desc",
        filters=EnrollmentFilter,
        program_id="id",
    )
    viewer_enrollment: ProgramEnrollment | None = to_one(
        "The caller's latest enrolment.",
        program_id="id",
        where="{row}.user_id = (select auth.uid())",
        latest_by="attempt",
    )
    viewer_progress: ProgramProgress | None = to_one(
        "How far the caller is, in their latest enrolment.",
        program_id="id",
        where="{row}.user_id = (select auth.uid())",
        latest_by="enrollment_attempt",
    )
    stats: ProgramStats | None = computed_row("private.program_stats", "For admins; null to others.")
    cohorts: list[Cohort] = to_many(
        "By name. End users find those they are or were in.", order_by="name", program_id="id"
    )


@strawberry.input(description="Which programs.")
class ProgramFilter:
    status: list[ProgramStatus] | None = one_of("status", "One of these states.")
    search: str | None = contains("title", "Part of the title, at most 100 characters.")


@strawberry.enum(description="What programs are ordered by; equal ones by id.")
class ProgramOrderField(Enum):
    TITLE = "title"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


@strawberry.input(description="The order of programs.")
class ProgramOrder:
    field: ProgramOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.input(description="A new program; it begins as a draft.")
class CreateProgramInput:
    title: str = strawberry.field(description="Not blank, at most 200 characters.")
    description: str | None = strawberry.field(
        default=strawberry.UNSET, description="At most 10,000 characters."
    )
    duration_weeks: int | None = strawberry.field(default=strawberry.UNSET, description="1 to 520.")


@strawberry.input(description="What changes. What is left out stays; null clears it.")
class UpdateProgramInput:
    id: UUID
    title: str | None = strawberry.field(
        default=strawberry.UNSET, description="Not blank, at most 200 characters."
    )
    description: str | None = strawberry.field(
        default=strawberry.UNSET, description="At most 10,000 characters."
    )
    duration_weeks: int | None = strawberry.field(default=strawberry.UNSET, description="1 to 520.")
    expected_updated_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="Changes nothing unless the program was last changed then."
    )


@strawberry.input
class PublishProgramInput:
    id: UUID


@strawberry.input
class ArchiveProgramInput:
    id: UUID


@strawberry.input
class RestoreProgramInput:
    id: UUID


@strawberry.input
class DeleteProgramInput:
    id: UUID


@strawberry.type
class CreateProgramPayload:
    program: Program | None = changed()


@strawberry.type
class UpdateProgramPayload:
    program: Program | None = changed()


@strawberry.type
class PublishProgramPayload:
    program: Program | None = changed()


@strawberry.type
class ArchiveProgramPayload:
    program: Program | None = changed()


@strawberry.type
class RestoreProgramPayload:
    program: Program | None = changed()


@strawberry.type
class DeleteProgramPayload:
    deleted_program_id: UUID = changed_id("The id that the program had.")
    program: Program | None = changed("Always null: it is gone.")


@strawberry.type
class ProgramQuery:
    programs: Connection[Program] = connection(
        "Programs of the community: published ones and those one is enrolled in; for admins, all.",
        order_by="created_at desc",
        filters=ProgramFilter,
        orders=ProgramOrder,
    )
    program: Program | None = by_id(UUID, "One program; null when there is none that the caller may see.")


@strawberry.type
class ProgramMutation:
    create_program: CreateProgramPayload | None = mutation(
        "public.create_program", CreateProgramInput, "Admins. Errors: FORBIDDEN, BAD_USER_INPUT."
    )
    update_program: UpdateProgramPayload | None = mutation(
        "public.update_program",
        UpdateProgramInput,
        "Admins. Errors: FORBIDDEN, NOT_FOUND, BAD_USER_INPUT, CONFLICT (changed since it was read), "
        "FAILED_PRECONDITION (archived).",
    )
    publish_program: PublishProgramPayload | None = mutation(
        "public.publish_program",
        PublishProgramInput,
        "Admins; drafts only, whose courses are all published. Pins them to their current versions. Errors: FORBIDDEN, "
        "NOT_FOUND, FAILED_PRECONDITION.",
    )
    archive_program: ArchiveProgramPayload | None = mutation(
        "public.archive_program",
        ArchiveProgramInput,
        "Admins; published programs only. Errors: FORBIDDEN, NOT_FOUND, FAILED_PRECONDITION.",
    )
    restore_program: RestoreProgramPayload | None = mutation(
        "public.restore_program",
        RestoreProgramInput,
        "Admins; archived programs only, which are published again. Errors: FORBIDDEN, NOT_FOUND, FAILED_PRECONDITION.",
    )
    delete_program: DeleteProgramPayload | None = mutation(
        "public.delete_program",
        DeleteProgramInput,
        "Admins; drafts only. Errors: FORBIDDEN, NOT_FOUND, FAILED_PRECONDITION.",
    )
