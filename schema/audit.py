"""The audit log: who changed what, for admins to look up."""

from datetime import datetime
from enum import Enum
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from resolvers.relay import Connection
from resolvers.sources import at_least, before, column, computed, connection, equals, table, to_one
from schema.communities import Member


@strawberry.enum(description="As whom somebody acted.")
class ActingAs(Enum):
    END_USER = "end_user"
    COMMUNITY_ADMIN = "community_admin"
    SUPER_ADMIN = strawberry.enum_value(
        "super_admin", description="Of the platform, who is no admin of the community."
    )
    SERVICE = strawberry.enum_value("service", description="A server, under the key of `service_role`.")
    SYSTEM = strawberry.enum_value("system", description="The platform: a job, an import, SQL.")


@table("public.audit_entries")
@strawberry.type(description="One change of one thing. Never changes itself; outlives what it is about.")
class AuditEntry:
    id: UUID
    occurred_at: datetime
    actor_id: UUID | None = strawberry.field(
        description="Id of the person; null for SERVICE and SYSTEM, and of an invitation that was declined."
    )
    actor: Member | None = to_one(
        "The person, while there is a membership, also one that was left.", user_id="actor_id"
    )
    acting_as: ActingAs = strawberry.field(description="What they were in the community at that moment.")
    action: str = strawberry.field(
        description="The type of the object and what became of it, like `program.created`, `program.updated`, "
        "`program.deleted`; where its status changed, the new one: `program.published`."
    )
    object_type: str = strawberry.field(description="Like `program` or `program_enrollment`.")
    object_id: UUID
    object_key: JSON | None = strawberry.field(
        description="What else names the object, like the version of a course; null when its id suffices."
    )
    before: JSON | None = column(
        "before",
        "Columns as they were: all of what was deleted, of an update those that changed, null for what was "
        "created. Names and addresses of people are digests, equal for equal values of the community.",
        long=True,
    )
    after: JSON | None = column("after", "Columns as they are since, like `before`.", long=True)
    changed: list[str] = strawberry.field(description="Names of the columns that an update changed.")
    reason: str | None = strawberry.field(description="Why, where the act asks for a reason.")
    request_id: str | None = strawberry.field(
        description="The header `x-request-id` of the response to the request that did it."
    )
    sealed: bool = computed(
        "private.audit_entry_is_sealed", "Whether it is in the community's hash chain by now."
    )


@strawberry.input(description="Which entries.")
class AuditFilter:
    actor_id: UUID | None = equals("actor_id", "uuid", "By this person.")
    action: str | None = equals("action", "text", "This action, like `program.published`.")
    object_type: str | None = equals("object_type", "text", "About objects of this type, like `program`.")
    object_id: UUID | None = equals("object_id", "uuid", "About this object.")
    from_: datetime | None = at_least("occurred_at", "timestamptz", "At this time or later.", name="from")
    until: datetime | None = before("occurred_at", "timestamptz", "Before this time.")
    request_id: str | None = equals("request_id", "text", "Of this request.")


@strawberry.type
class AuditQuery:
    audit_log: Connection[AuditEntry] = connection(
        "What was changed in the community, newest first. For admins; empty to others.",
        order_by="occurred_at desc",
        filters=AuditFilter,
    )
