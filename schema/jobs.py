"""What runs when nobody is asking, as admins see it."""

from datetime import datetime
from enum import Enum
from uuid import UUID

import strawberry

from resolvers.relay import Connection
from resolvers.sources import connection, one_of, table


@strawberry.enum(description="How a run of a job ended.")
class JobRunStatus(Enum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = strawberry.enum_value("failed", description="It is tried again, each time later.")
    DEAD = strawberry.enum_value(
        "dead",
        description="It was tried as often as it is tried. Its task rests for an hour, then begins anew.",
    )


@table("public.job_runs")
@strawberry.type(description="One try of a job about the community.")
class JobRun:
    id: UUID
    task: str = strawberry.field(
        description="What it does: `advance_enrollments` begins and ends enrolments by their dates, `advance_progress` "
        "looks at progress again after a move, `end_idle_sessions` ends learning sessions that fell silent, "
        "`seal_audit_log` seals the audit log."
    )
    status: JobRunStatus
    attempt: int = strawberry.field(description="The how many-th try of the job, from 1.")
    started_at: datetime
    finished_at: datetime | None
    did: int | None = strawberry.field(description="How many things it did; null unless it succeeded.")
    error: str | None = strawberry.field(description="What kind of error ended it.")


@strawberry.input(description="Which runs.")
class JobRunFilter:
    status: list[JobRunStatus] | None = one_of("status", "One of these.")


@strawberry.type
class JobQuery:
    job_runs: Connection[JobRun] = connection(
        "Runs of jobs about the community in the last 30 days, the newest first. For admins; empty to others.",
        order_by="started_at desc",
        filters=JobRunFilter,
    )
