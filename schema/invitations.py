"""Invitations: e-mail addresses that may join a community, with or without an account."""

from datetime import datetime
from uuid import UUID

import strawberry

from resolvers.relay import Connection
from resolvers.sources import changed, changed_id, connection, mutation, table, to_one
from schema.communities import Community, Member, MemberRole


@table("public.invitations")
@strawberry.type(
    description="An open invitation, as admins of the community see it; gone once it is accepted, declined or revoked."
)
class Invitation:
    id: UUID
    email: str = strawberry.field(description="In lower case.")
    display_name: str = strawberry.field(description="Name that the member will have.")
    role: MemberRole = strawberry.field(description="Role that the member will have.")
    invited_by: Member | None = to_one("Null when no member has invited them.", user_id="invited_by")
    invited_at: datetime
    expires_at: datetime = strawberry.field(
        description="14 days after `invitedAt`; from then on it is not accepted."
    )


@table("private.viewer_invitations", tenant=False)
@strawberry.type(description="An invitation to the caller, which they can accept or decline.")
class ViewerInvitation:
    id: UUID
    community_name: str
    display_name: str = strawberry.field(description="Name that they will have there.")
    role: MemberRole = strawberry.field(description="Role that they will have there.")
    invited_at: datetime
    expires_at: datetime


@strawberry.input(description="Whom to invite. Who is invited already is invited again, for another 14 days.")
class InviteMemberInput:
    email: str = strawberry.field(
        description="At most 254 characters; upper and lower case are alike. Whether somebody has an account with it "
        "is not told."
    )
    display_name: str = strawberry.field(description="Not blank, at most 200 characters.")
    role: MemberRole = MemberRole.END_USER


@strawberry.input
class RevokeInvitationInput:
    id: UUID


@strawberry.input
class AcceptInvitationInput:
    id: UUID


@strawberry.input
class DeclineInvitationInput:
    id: UUID


@strawberry.type
class InviteMemberPayload:
    invitation: Invitation | None = changed()


@strawberry.type
class RevokeInvitationPayload:
    revoked_invitation_id: UUID = changed_id("The id that the invitation had.")


@strawberry.type
class AcceptInvitationPayload:
    community: Community | None = changed("The community that the caller is a member of now.")


@strawberry.type
class DeclineInvitationPayload:
    declined_invitation_id: UUID = changed_id("The id that the invitation had.")


@strawberry.type
class InvitationQuery:
    invitations: Connection[Invitation] = connection(
        "Invitations of the community that are neither accepted nor declined, newest first. For admins; others find "
        "none, and their own at `viewer`.",
        order_by="invited_at desc",
    )


@strawberry.type
class InvitationMutation:
    invite_member: InviteMemberPayload | None = mutation(
        "public.invite_member",
        InviteMemberInput,
        "Admins. No e-mail is sent: tell the person to sign in with this address. Errors: FORBIDDEN, BAD_USER_INPUT, "
        "CONFLICT (an active member already), FAILED_PRECONDITION (suspended here: reinstate them).",
    )
    revoke_invitation: RevokeInvitationPayload | None = mutation(
        "public.revoke_invitation", RevokeInvitationInput, "Admins. Errors: FORBIDDEN, NOT_FOUND."
    )
    accept_invitation: AcceptInvitationPayload | None = mutation(
        "public.accept_invitation",
        AcceptInvitationInput,
        "Who has confirmed the e-mail address. To act in the community, switch to it with `switchCommunity`. Errors: "
        "NOT_FOUND, CONFLICT (a member already), FAILED_PRECONDITION (address not confirmed, invitation expired, or "
        "suspended there).",
    )
    decline_invitation: DeclineInvitationPayload | None = mutation(
        "public.decline_invitation",
        DeclineInvitationInput,
        "Who has confirmed the e-mail address. Errors: NOT_FOUND, FAILED_PRECONDITION (address not confirmed).",
    )
