"""Cohorts: groups of people that go through one program together."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from resolvers.relay import Connection
from resolvers.sources import changed, changed_id, connection, equals, mutation, table, to_one
from schema.enrollments import EnrollmentFilter, ProgramEnrollment

if TYPE_CHECKING:
    from schema.programs import Program

_NAME = "Not blank, at most 200 characters, once in the program."


@table("public.cohorts")
@strawberry.type(description="People who go through one program together, by the same dates.")
class Cohort:
    id: UUID
    program: Annotated["Program", strawberry.lazy("schema.programs")] | None = to_one(id="program_id")
    name: str
    starts_at: datetime | None = strawberry.field(description="When its enrolments become active.")
    due_at: datetime | None = strawberry.field(description="By when the program is to be completed.")
    expires_at: datetime | None = strawberry.field(description="When its enrolments end by themselves.")
    created_at: datetime
    updated_at: datetime
    enrollments: Connection[ProgramEnrollment] = connection(
        "Enrolments in it, newest first. End users find their own only.",
        order_by="enrolled_at desc",
        filters=EnrollmentFilter,
        cohort_id="id",
    )


@strawberry.input(description="Which cohorts.")
class CohortFilter:
    program_id: UUID | None = equals("program_id", "uuid", "Of this program.")


@strawberry.input(
    description="A new cohort. Of startsAt, dueAt and expiresAt, none is before the one named before it."
)
class CreateCohortInput:
    program_id: UUID
    name: str = strawberry.field(description=_NAME)
    starts_at: datetime | None = strawberry.UNSET
    due_at: datetime | None = strawberry.UNSET
    expires_at: datetime | None = strawberry.UNSET


@strawberry.input(
    description="What changes. What is left out stays; null clears it. A date of the cohort changes with it in its "
    "open enrolments, but for those that have another one, and for the start of those that have begun."
)
class UpdateCohortInput:
    id: UUID
    name: str | None = strawberry.field(default=strawberry.UNSET, description=_NAME)
    starts_at: datetime | None = strawberry.UNSET
    due_at: datetime | None = strawberry.UNSET
    expires_at: datetime | None = strawberry.UNSET


@strawberry.input
class DeleteCohortInput:
    id: UUID


@strawberry.type
class CreateCohortPayload:
    cohort: Cohort | None = changed()


@strawberry.type
class UpdateCohortPayload:
    cohort: Cohort | None = changed()


@strawberry.type
class DeleteCohortPayload:
    deleted_cohort_id: UUID = changed_id("The id that the cohort had.")
    cohort: Cohort | None = changed("Always null: it is gone.")


@strawberry.type
class CohortQuery:
    cohorts: Connection[Cohort] = connection(
        "Cohorts of the community, by name. End users find those they are or were in.",
        order_by="name",
        filters=CohortFilter,
    )


@strawberry.type
class CohortMutation:
    create_cohort: CreateCohortPayload | None = mutation(
        "public.create_cohort",
        CreateCohortInput,
        "Admins. Errors: FORBIDDEN, NOT_FOUND (program), BAD_USER_INPUT, CONFLICT (the name), FAILED_PRECONDITION (the "
        "program is archived).",
    )
    update_cohort: UpdateCohortPayload | None = mutation(
        "public.update_cohort",
        UpdateCohortInput,
        "Admins. Errors: FORBIDDEN, NOT_FOUND, BAD_USER_INPUT, CONFLICT (the name), FAILED_PRECONDITION (would put "
        "dates that somebody in it has of their own out of order).",
    )
    delete_cohort: DeleteCohortPayload | None = mutation(
        "public.delete_cohort",
        DeleteCohortInput,
        "Admins; only where nobody was ever enrolled in it. Errors: FORBIDDEN, NOT_FOUND, FAILED_PRECONDITION.",
    )
