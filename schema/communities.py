"""Communities, their members, and the caller as they see themselves."""

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from resolvers.relay import Connection
from resolvers.sources import (
    computed,
    connection,
    contains,
    from_function,
    one_of,
    table,
    to_many,
    to_one,
)

if TYPE_CHECKING:
    from schema.enrollments import ProgramEnrollment


@strawberry.enum(description="What a member may do in a community.")
class MemberRole(Enum):
    END_USER = strawberry.enum_value(
        "end_user", description="Learns: sees published programs and their own enrolments."
    )
    COMMUNITY_ADMIN = strawberry.enum_value(
        "community_admin", description="Sees and changes everything in the community."
    )


@strawberry.enum(description="Where a membership stands. Only active members act and see anything.")
class MembershipStatus(Enum):
    INVITED = "invited"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    LEFT = "left"


@table("public.communities", tenant=False)
@strawberry.type(
    description="A tenant: every program, course and enrolment belongs to exactly one community."
)
class Community:
    id: UUID
    slug: str = strawberry.field(description="Short name for addresses; unique on the platform.")
    name: str
    time_zone: str = strawberry.field(description="IANA name; days and weeks begin by it.")
    created_at: datetime


@table("public.memberships")
@strawberry.type(
    description="A person in the community. End users see themselves only; admins see everybody."
)
class Member:
    id: UUID = strawberry.field(description="Id of the membership.")
    user_id: UUID = strawberry.field(description="Id of the person, the `sub` of their tokens.")
    display_name: str
    email: str | None = computed("private.member_email", "Shown to admins and to the person themselves.")
    role: MemberRole
    status: MembershipStatus
    joined_at: datetime


@table("public.memberships")
@strawberry.type(description="One of the caller's own memberships, in this or another community.")
class Membership:
    id: UUID
    community: Community | None = to_one(id="community_id")
    display_name: str
    role: MemberRole
    status: MembershipStatus
    joined_at: datetime


@table("private.viewer")
@strawberry.type(description="The caller.")
class Viewer:
    id: UUID = strawberry.field(description="Id of the person, the `sub` of the token.")
    email: str | None
    display_name: str | None = strawberry.field(description="Name in the community they are acting in.")
    role: MemberRole | None = strawberry.field(description="Role in the community they are acting in.")
    is_super_admin: bool = strawberry.field(
        description="Whether they may act in any community, one at a time."
    )
    community: Community | None = to_one(
        "The community that they are acting in: the token's, while the membership is active.",
        id="community_id",
    )
    memberships: list[Membership] = to_many(
        "All of their memberships, oldest first.", order_by="joined_at", function="private.viewer_memberships"
    )
    enrollments: Connection[Annotated["ProgramEnrollment", strawberry.lazy("schema.enrollments")]] = (
        connection(
            "Their enrolments in this community, newest first.", order_by="enrolled_at desc", user_id="id"
        )
    )


@strawberry.input(description="Which members.")
class MemberFilter:
    role: list[MemberRole] | None = one_of("role", "One of these roles.")
    status: list[MembershipStatus] | None = one_of("status", "One of these states.")
    search: str | None = contains("display_name", "Part of the display name, at most 100 characters.")


@strawberry.type
class CommunityQuery:
    viewer: Viewer | None = from_function("private.viewer", "The caller; null when signed out.")
    communities: Connection[Community] = connection(
        "The communities that the caller belongs to; for super admins, all of them.",
        order_by="created_at asc",
    )
    members: Connection[Member] = connection(
        "Members of the community. End users find themselves only.",
        order_by="display_name asc",
        filters=MemberFilter,
    )
