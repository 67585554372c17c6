"""Enrolments: a person's way through a program."""

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from resolvers.relay import Connection
from resolvers.sources import changed, connection, equals, mutation, one_of, table, to_many, to_one
from schema.communities import Member
from schema.course_assignments import ProgramCourseAssignment
from schema.enrollment_moves import EnrollmentMove

if TYPE_CHECKING:
    from schema.programs import Program


@strawberry.enum(description="pending, then active or paused, then for good completed, withdrawn or expired.")
class EnrollmentStatus(Enum):
    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@table("public.program_enrollments")
@strawberry.type(description="One attempt of one person at one program.")
class ProgramEnrollment:
    id: UUID
    program: Annotated["Program", strawberry.lazy("schema.programs")] | None = to_one(id="program_id")
    member: Member | None = to_one("Null to those who may not see the person.", user_id="user_id")
    status: EnrollmentStatus
    attempt: int = strawberry.field(description="Counts the person's enrolments in this program, from 1.")
    enrolled_at: datetime
    due_at: datetime | None
    completed_at: datetime | None = strawberry.field(description="Never moves once set.")
    withdrawn_at: datetime | None
    program_version: int = strawberry.field(
        description="The version of the program that this attempt is about; moves by `moveEnrollments` only."
    )
    course_assignments: list[ProgramCourseAssignment] = to_many(
        "The courses of that version in their order.",
        order_by="sequence_order",
        program_id="program_id",
        version="program_version",
    )
    moves: list[EnrollmentMove] = to_many(
        "Decisions about which version it is in, the latest first. For admins.",
        order_by="moved_at desc",
        enrollment_id="id",
    )


@strawberry.input(description="Which enrolments.")
class EnrollmentFilter:
    status: list[EnrollmentStatus] | None = one_of("status", "One of these states.")
    program_id: UUID | None = equals("program_id", "uuid", "In this program.")
    user_id: UUID | None = equals("user_id", "uuid", "Of this person.")


@strawberry.input(description="Who is enrolled in which program.")
class EnrollInput:
    program_id: UUID
    user_id: UUID | None = strawberry.field(
        default=strawberry.UNSET, description="A member, when an admin enrols them. Default: the caller."
    )
    due_at: datetime | None = strawberry.field(default=strawberry.UNSET, description="For admins to set.")


@strawberry.input
class WithdrawEnrollmentInput:
    id: UUID


@strawberry.type
class EnrollPayload:
    enrollment: ProgramEnrollment | None = changed()


@strawberry.type
class WithdrawEnrollmentPayload:
    enrollment: ProgramEnrollment | None = changed()


@strawberry.type
class EnrollmentQuery:
    enrollments: Connection[ProgramEnrollment] = connection(
        "Enrolments in the community, newest first. End users find their own only.",
        order_by="enrolled_at desc",
        filters=EnrollmentFilter,
    )


@strawberry.type
class EnrollmentMutation:
    enroll: EnrollPayload | None = mutation(
        "public.enroll",
        EnrollInput,
        "Members themselves, admins anybody. Errors: FORBIDDEN, NOT_FOUND, CONFLICT (an open enrolment), "
        "FAILED_PRECONDITION (not published, not an active member).",
    )
    withdraw_enrollment: WithdrawEnrollmentPayload | None = mutation(
        "public.withdraw_enrollment",
        WithdrawEnrollmentInput,
        "One's own, admins anybody's. Errors: NOT_FOUND, FAILED_PRECONDITION (ended already).",
    )
