"""Legacy progress: what an earlier system showed of people's courses."""

from datetime import datetime
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from resolvers.relay import Connection
from resolvers.sources import column, connection, equals, table, to_one
from schema.communities import Member
from schema.courses import Course


@table("public.legacy_batches")
@strawberry.type(description="A file of legacy progress that was imported. Seen by admins.")
class LegacyBatch:
    id: UUID = strawberry.field(description="What `undo-legacy` takes.")
    file_name: str
    imported_at: datetime = strawberry.field(description="When it was begun.")
    undone_at: datetime | None = strawberry.field(description="When it was undone, whole.")


@table("public.legacy_progress")
@strawberry.type(description="What an earlier system showed of somebody's course.")
class LegacyProgress:
    id: UUID
    course: Course | None = to_one(id="course_id")
    member: Member | None = to_one("Null to those who may not see the person.", user_id="user_id")
    attempt: int = strawberry.field(description="The attempt at the course that it counts for.")
    percent: float = strawberry.field(
        description="0 to 100, floored to three decimals. A floor: nothing less is shown in its attempt."
    )
    completed_at: datetime | None = strawberry.field(
        description="As the earlier system had it. 100 percent without a date is complete since importedAt."
    )
    data: JSON | None = column("data", "What else the line said, by the names of its columns.", long=True)
    imported_at: datetime
    batch: LegacyBatch | None = to_one("Null to those who are no admins.", id="batch_id")


@strawberry.input(description="Which legacy progress.")
class LegacyProgressFilter:
    user_id: UUID | None = equals("user_id", "uuid", "Of this person.")
    course_id: UUID | None = equals("course_id", "uuid", "In this course.")
    batch_id: UUID | None = equals("batch_id", "uuid", "From this file.")


@strawberry.type
class LegacyQuery:
    legacy_progress: Connection[LegacyProgress] = connection(
        "What earlier systems showed, the newest import first. End users find their own only.",
        order_by="imported_at desc",
        filters=LegacyProgressFilter,
    )
