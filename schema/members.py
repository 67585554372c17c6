"""What becomes of memberships: roles, suspensions, and leaving."""

from uuid import UUID

import strawberry

from resolvers.sources import changed, changed_id, mutation
from schema.communities import Member, MemberRole


@strawberry.input(description="Whose role becomes which. Name the member by `id` or by `userId`.")
class ChangeMemberRoleInput:
    id: UUID | None = strawberry.field(default=strawberry.UNSET, description="Id of the membership.")
    user_id: UUID | None = strawberry.field(default=strawberry.UNSET, description="Id of the person.")
    role: MemberRole


@strawberry.input(description="Whom to suspend, and why. Name the member by `id` or by `userId`.")
class SuspendMemberInput:
    id: UUID | None = strawberry.field(default=strawberry.UNSET, description="Id of the membership.")
    user_id: UUID | None = strawberry.field(default=strawberry.UNSET, description="Id of the person.")
    reason: str = strawberry.field(
        description="Not blank, at most 500 characters. Admins and the person may read it."
    )


@strawberry.input(description="Name the member by `id` or by `userId`.")
class ReinstateMemberInput:
    id: UUID | None = strawberry.field(default=strawberry.UNSET, description="Id of the membership.")
    user_id: UUID | None = strawberry.field(default=strawberry.UNSET, description="Id of the person.")


@strawberry.input(description="Name the member by `id` or by `userId`.")
class RemoveMemberInput:
    id: UUID | None = strawberry.field(default=strawberry.UNSET, description="Id of the membership.")
    user_id: UUID | None = strawberry.field(default=strawberry.UNSET, description="Id of the person.")


@strawberry.input
class LeaveCommunityInput:
    community_id: UUID | None = strawberry.field(
        default=strawberry.UNSET,
        description="The community that the caller is acting in, against leaving another by mistake. "
        "Default: that one.",
    )


@strawberry.type
class ChangeMemberRolePayload:
    member: Member | None = changed()


@strawberry.type
class SuspendMemberPayload:
    member: Member | None = changed()


@strawberry.type
class ReinstateMemberPayload:
    member: Member | None = changed()


@strawberry.type
class RemoveMemberPayload:
    member: Member | None = changed()


@strawberry.type
class LeaveCommunityPayload:
    left_community_id: UUID = changed_id("The community that the caller was in.")


@strawberry.type
class MemberMutation:
    change_member_role: ChangeMemberRolePayload | None = mutation(
        "public.change_member_role",
        ChangeMemberRoleInput,
        "Admins; takes effect at once. Errors: FORBIDDEN, NOT_FOUND, BAD_USER_INPUT, FAILED_PRECONDITION (the last "
        "active admin, or the person has left).",
    )
    suspend_member: SuspendMemberPayload | None = mutation(
        "public.suspend_member",
        SuspendMemberInput,
        "Admins; active members only, who see nothing any more at once. Their enrolments stay as they are. Errors: "
        "FORBIDDEN, NOT_FOUND, BAD_USER_INPUT, FAILED_PRECONDITION (not active, or the last active admin).",
    )
    reinstate_member: ReinstateMemberPayload | None = mutation(
        "public.reinstate_member",
        ReinstateMemberInput,
        "Admins; suspended members only, who have their role again. Errors: FORBIDDEN, NOT_FOUND, BAD_USER_INPUT, "
        "FAILED_PRECONDITION (not suspended).",
    )
    remove_member: RemoveMemberPayload | None = mutation(
        "public.remove_member",
        RemoveMemberInput,
        "Admins. As if the person had left: they may be invited again, and their enrolments stay as they are. Errors: "
        "FORBIDDEN, NOT_FOUND, BAD_USER_INPUT, FAILED_PRECONDITION (left already, or the last active admin).",
    )
    leave_community: LeaveCommunityPayload | None = mutation(
        "public.leave_community",
        LeaveCommunityInput,
        "Everybody, for themselves. Enrolments stay as they are, for who is invited again. Errors: FORBIDDEN, "
        "NOT_FOUND, FAILED_PRECONDITION (the last active admin, or no member).",
    )
