"""Communities, their members, and the caller as they see themselves."""

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from resolvers.relay import Connection
from resolvers.sources import (
    changed,
    computed,
    connection,
    contains,
    from_function,
    mutation,
    one_of,
    table,
    to_many,
    to_one,
)

if TYPE_CHECKING:
    from schema.enrollments import ProgramEnrollment
    from schema.invitations import ViewerInvitation


@strawberry.enum(description="What a member may do in a community.")
class MemberRole(Enum):
    END_USER = strawberry.enum_value(
        "end_user", description="Learns: sees published programs and their own enrolments."
    )
    COMMUNITY_ADMIN = strawberry.enum_value(
        "community_admin", description="Sees and changes everything in the community."
    )


@strawberry.enum(
    description="Where a membership stands. Only active members act in the community, and see it."
)
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
    joined_at: datetime = strawberry.field(description="When the membership began; anew for who comes back.")
    suspension_reason: str | None = strawberry.field(description="Why it is suspended; null unless it is.")


@table("public.memberships")
@strawberry.type(description="One of the caller's own memberships, in this or another community.")
class Membership:
    id: UUID
    community: Community | None = to_one(
        "Null unless the membership is active: others do not see the community.", id="community_id"
    )
    display_name: str
    role: MemberRole
    status: MembershipStatus
    joined_at: datetime
    suspension_reason: str | None = strawberry.field(description="Why it is suspended; null unless it is.")


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
        "Their memberships, oldest first, without those that were left.",
        order_by="joined_at",
        function="private.viewer_memberships",
    )
    invitations: list[Annotated["ViewerInvitation", strawberry.lazy("schema.invitations")]] = to_many(
        "Open invitations to the e-mail address that they have confirmed, oldest first.",
        order_by="invited_at",
        function="private.viewer_invitations",
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


@strawberry.input(
    description="A new community. Nobody is in it yet: switch to it, then invite its first admin."
)
class CreateCommunityInput:
    slug: str = strawberry.field(
        description="1 to 63 of `a-z`, `0-9` and `-`, no hyphen first or last. It never changes."
    )
    name: str = strawberry.field(description="Not blank, at most 200 characters.")
    time_zone: str = strawberry.field(default="UTC", description="IANA name, as `Europe/Lisbon`.")


@strawberry.input(description="What is left out keeps its value.")
class UpdateCommunityInput:
    id: UUID = strawberry.field(description="The community that the caller is acting in.")
    name: str | None = strawberry.field(
        default=strawberry.UNSET, description="Not blank, at most 200 characters."
    )
    time_zone: str | None = strawberry.field(
        default=strawberry.UNSET, description="IANA name, as `Europe/Lisbon`."
    )


@strawberry.input
class SwitchCommunityInput:
    community_id: UUID


@strawberry.type
class CreateCommunityPayload:
    community: Community | None = changed()


@strawberry.type
class UpdateCommunityPayload:
    community: Community | None = changed()


@strawberry.type
class SwitchCommunityPayload:
    community: Community | None = changed("The community that the next token names.")


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


@strawberry.type
class CommunityMutation:
    create_community: CreateCommunityPayload | None = mutation(
        "public.create_community",
        CreateCommunityInput,
        "Super admins; they do not become members. Errors: FORBIDDEN, BAD_USER_INPUT, CONFLICT (the slug is taken).",
    )
    update_community: UpdateCommunityPayload | None = mutation(
        "public.update_community",
        UpdateCommunityInput,
        "Admins. Errors: FORBIDDEN, NOT_FOUND (not the one acted in), BAD_USER_INPUT.",
    )
    switch_community: SwitchCommunityPayload | None = mutation(
        "public.switch_community",
        SwitchCommunityInput,
        "From the next token on, act in another community in which the caller is an active member; super admins in "
        "any. Refresh the session for it: `supabase.auth.refreshSession()`. The token in use, and those of other "
        "devices until they refresh, go on naming the old one. Errors: NOT_FOUND.",
    )
