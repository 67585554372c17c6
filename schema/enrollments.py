"""Enrolments: a person's way through a program."""

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from resolvers.relay import Connection
from resolvers.sources import (
    changed,
    changed_rows,
    computed,
    condition,
    connection,
    equals,
    flag,
    mutation,
    one_of,
    table,
    to_many,
    to_one,
    told,
)
from schema.communities import Member
from schema.course_assignments import ProgramCourseAssignment
from schema.enrollment_moves import EnrollmentMove
from schema.progress import ProgramProgress

if TYPE_CHECKING:
    from schema.cohorts import Cohort
    from schema.programs import Program


@strawberry.enum(description="pending, then active or paused, then for good completed, withdrawn or expired.")
class EnrollmentStatus(Enum):
    PENDING = strawberry.enum_value("pending", description="Has not begun: its start is still to come.")
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    WITHDRAWN = strawberry.enum_value("withdrawn", description="The person left, or was taken out.")
    EXPIRED = strawberry.enum_value("expired", description="Its expiry has come, or an admin ended it.")


@table("public.program_enrollments")
@strawberry.type(description="One attempt of one person at one program.")
class ProgramEnrollment:
    id: UUID
    program: Annotated["Program", strawberry.lazy("schema.programs")] | None = to_one(id="program_id")
    member: Member | None = to_one("Null to those who may not see the person.", user_id="user_id")
    status: EnrollmentStatus
    attempt: int = strawberry.field(description="Counts the person's enrolments in this program, from 1.")
    enrolled_at: datetime
    due_at: datetime | None = strawberry.field(
        description="By when it is to be completed; it goes on after that."
    )
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
    cohort: Annotated["Cohort", strawberry.lazy("schema.cohorts")] | None = to_one(
        "The group that the person goes through the program with.", id="cohort_id"
    )
    starts_at: datetime | None = strawberry.field(description="When it becomes active; null: at once.")
    expires_at: datetime | None = strawberry.field(
        description="When it ends by itself, whether completed or not. The status follows within a minute or so; "
        "neither progress nor an admin completes it meanwhile."
    )
    original_due_at: datetime | None = strawberry.field(
        description="The first due date, once it was moved; null before."
    )
    is_overdue: bool = computed("private.is_overdue", "Open, and past its due date.")
    progress: ProgramProgress | None = to_one("How far it is.", enrollment_id="id")


# As the index program_enrollments_open_due_idx has it.
_OPEN_DUE_AT = "(case when {row}.status in ('pending', 'active', 'paused') then {row}.due_at end)"


@strawberry.input(description="Which enrolments.")
class EnrollmentFilter:
    status: list[EnrollmentStatus] | None = one_of("status", "One of these states.")
    program_id: UUID | None = equals("program_id", "uuid", "In this program.")
    user_id: UUID | None = equals("user_id", "uuid", "Of this person.")
    cohort_id: UUID | None = equals("cohort_id", "uuid", "In this cohort.")
    overdue: bool | None = flag(
        f"{_OPEN_DUE_AT} is not null and {_OPEN_DUE_AT} < now()",
        "True: open and past its due date. False: all others.",
    )
    # Bounded below too, for the planner takes a range for a narrow one where it does not know the value.
    due_before: datetime | None = condition(
        f"{_OPEN_DUE_AT} > '-infinity' and {_OPEN_DUE_AT} < {{value}}",
        "timestamptz",
        "Open, and due before this moment.",
    )


@strawberry.input(description="Who is enrolled in which program.")
class EnrollInput:
    program_id: UUID
    user_id: UUID | None = strawberry.field(
        default=strawberry.UNSET, description="A member, when an admin enrols them. Default: the caller."
    )
    due_at: datetime | None = strawberry.field(default=strawberry.UNSET, description="For admins to set.")
    user_ids: list[UUID] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Instead of userId, 1 to 1,000 members at once, for admins. Those who cannot be enrolled do not "
        "hinder the others: see results.",
    )
    cohort_id: UUID | None = strawberry.field(
        default=strawberry.UNSET,
        description="A cohort of the program, for admins to set. Dates that are not given are the cohort's.",
    )
    starts_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="For admins to set. In the future: PENDING until then."
    )
    expires_at: datetime | None = strawberry.field(
        default=strawberry.UNSET,
        description="For admins to set; in the future. startsAt, dueAt and expiresAt are in this order.",
    )


@strawberry.input(
    description="What an admin changes. What is left out stays; null clears a date or the cohort. An enrolment that "
    "has ended keeps its dates and its cohort."
)
class UpdateEnrollmentInput:
    id: UUID
    status: EnrollmentStatus | None = strawberry.field(
        default=strawberry.UNSET,
        description="PENDING to ACTIVE, ACTIVE to PAUSED and back; from any of them WITHDRAWN or EXPIRED, and but for "
        "PENDING COMPLETED. There is no way back from those three. A PENDING one that is made ACTIVE starts now.",
    )
    starts_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="While PENDING; ACTIVE at once when it is not in the future."
    )
    due_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="The first one is kept as originalDueAt."
    )
    expires_at: datetime | None = strawberry.field(default=strawberry.UNSET, description="In the future.")
    cohort_id: UUID | None = strawberry.field(
        default=strawberry.UNSET,
        description="Another cohort of the program: its dates replace those of the former one, but not the "
        "person's own.",
    )
    reason: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Why, for the audit log: at most 1,000 characters; must be given for COMPLETED.",
    )


@strawberry.input
class WithdrawEnrollmentInput:
    id: UUID


@table("private.enroll_results", tenant=False)
@strawberry.type(description="What became of one person of those to be enrolled.")
class EnrollResult:
    user_id: UUID
    enrollment: ProgramEnrollment | None = to_one("Null when not enrolled.", id="enrollment_id")
    code: str | None = strawberry.field(
        description="Null when enrolled, else as in errors: NOT_FOUND, CONFLICT (an open enrolment), "
        "FAILED_PRECONDITION (not an active member), BAD_USER_INPUT (in the list twice)."
    )
    message: str | None = strawberry.field(description="Null when enrolled, else why not.")


@strawberry.type
class EnrollPayload:
    enrollment: ProgramEnrollment | None = changed("Of one person; null for userIds.", part="enrollment_id")
    results: list[EnrollResult] = changed_rows(
        "private.enroll_results", "One a person, in the order of userIds."
    )


@strawberry.type
class UpdateEnrollmentPayload:
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
class EnrollmentSubscription:
    enrollment_changed: ProgramEnrollment = told(
        "Each enrolment that is made or changes, as it is then; nothing before the first change. End users hear of "
        "their own, admins of all of the community.",
        topic="enrollment",
        where="{program_id} is null or {row}.program_id = {program_id}",
        program_id=(UUID | None, "In this program only."),
    )


@strawberry.type
class EnrollmentMutation:
    enroll: EnrollPayload | None = mutation(
        "public.enroll_people",
        EnrollInput,
        "Members themselves, admins anybody, one or many; again after an enrolment has ended, as a further attempt. "
        "Members do not enrol themselves again after one that expired or had a cohort or dates. Errors: "
        "FORBIDDEN, NOT_FOUND, BAD_USER_INPUT, CONFLICT (an open enrolment), FAILED_PRECONDITION (not published, not "
        "an active member, only an admin may do it again).",
    )
    update_enrollment: UpdateEnrollmentPayload | None = mutation(
        "public.update_enrollment",
        UpdateEnrollmentInput,
        "Admins. Errors: FORBIDDEN, NOT_FOUND (enrolment, or cohort in its program), BAD_USER_INPUT (dates not in "
        "order, no reason), FAILED_PRECONDITION (the state does not allow it, or is that already, or the expiry has "
        "passed).",
    )
    withdraw_enrollment: WithdrawEnrollmentPayload | None = mutation(
        "public.withdraw_enrollment",
        WithdrawEnrollmentInput,
        "One's own, admins anybody's. Errors: NOT_FOUND, FAILED_PRECONDITION (ended already).",
    )
