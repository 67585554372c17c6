"""Learning sessions: when somebody was at it, for how long a page was in front of them, and an estimate of how."""

from datetime import datetime
from enum import Enum
from uuid import UUID

import strawberry

from resolvers.relay import Connection
from resolvers.sources import (
    at_least,
    before,
    changed,
    changed_value,
    column,
    computed,
    computed_row,
    computed_rows,
    connection,
    equals,
    flag,
    mutation,
    table,
    to_one,
)
from schema.communities import Member


@strawberry.enum(description="Whether there is enough of a session to estimate anything by.")
class EngagementEvidence(Enum):
    ENOUGH = strawberry.enum_value("enough", description="At least 180 active seconds and 6 heartbeats.")
    NOT_ENOUGH = strawberry.enum_value("not_enough", description="Less than that: there is no score.")


@strawberry.enum(description="What an engagement score is made of.")
class EngagementComponentKind(Enum):
    ACTIVE_SHARE = strawberry.enum_value(
        "active_share", description="Active seconds among all seconds of the session."
    )
    STEADINESS = strawberry.enum_value(
        "steadiness",
        description="The share of the active seconds that lie in stretches of at least 3 minutes without a break of "
        "over a minute.",
    )
    RECORDED = strawberry.enum_value(
        "recorded",
        description="Progress events that count within the session: one in five active minutes makes 1, and more "
        "is no more.",
    )


@table("private.engagement_components", tenant=False)
@strawberry.type(description="One part of an engagement score.")
class EngagementComponent:
    kind: EngagementComponentKind
    value: float = strawberry.field(description="0 to 1, with three decimals.")
    weight: float = strawberry.field(description="How much it counts, 0 to 1. All together are 1.")


@table("private.session_engagement", tenant=False)
@strawberry.type(
    description="An estimate of how engaged somebody was: an explained index that nobody has validated, no fact about "
    "them. It grants and takes nothing. docs/sessions.md explains it with an example."
)
class Engagement:
    score: int | None = strawberry.field(
        description="0 to 100: 100 times the sum of value times weight of its components, rounded, 0.5 up. Null where "
        "the evidence is not enough."
    )
    evidence: EngagementEvidence
    formula_version: str = strawberry.field(
        description='Of the formula, now "1". Scores of different versions cannot be compared.'
    )
    components: list[EngagementComponent] = computed_rows(
        "private.engagement_components", "What the score is made of; empty where there is none."
    )


@table("public.learning_sessions")
@strawberry.type(
    description="Time that a person spent learning, on one device or several. A person has one session at a time; it "
    "ends by endSession, or with 30 minutes in which nothing came, or after 12 hours."
)
class LearningSession:
    id: UUID
    member: Member | None = to_one("Null to those who may not see the person.", user_id="user_id")
    content_id: UUID | None = column(
        "content_id",
        "What it was about: the block or course that every tab of it named. Where they named different blocks of a "
        "course, the course; else null.",
    )
    started_at: datetime = strawberry.field(description="By the server's clock, as all of these times are.")
    ended_at: datetime | None = computed(
        "private.session_ended_at",
        "Null while it goes on. When nothing came for 30 minutes, it ended when the last heartbeat came.",
    )
    active_seconds: int = strawberry.field(
        description="Seconds in which a page was visible, 0 to 43200: never more than have passed. What several tabs "
        "or devices claim at once counts once."
    )
    engagement_score: int | None = computed(
        "private.engagement_score", "An estimate, 0 to 100, as in `engagement`. Null without enough evidence."
    )
    engagement: Engagement | None = computed_row(
        "private.engagement",
        "The estimate with what it is made of; of an open session, of what there is so far. Never null to who sees the "
        "session.",
    )


@strawberry.input(description="Which sessions.")
class SessionFilter:
    user_id: UUID | None = equals("user_id", "uuid", "Of this person.")
    content_id: UUID | None = equals("content_id", "uuid", "With this contentId.")
    from_: datetime | None = at_least("started_at", "timestamptz", "Begun then or later.", name="from")
    until: datetime | None = before("started_at", "timestamptz", "Begun before then.")
    open: bool | None = flag(
        "({row}.ended_at is null and {row}.last_seen_at > pg_catalog.now() - interval '30 minutes')",
        "True: going on. False: with an endedAt.",
    )


@strawberry.input
class StartSessionInput:
    content_id: UUID | None = strawberry.field(
        default=strawberry.UNSET, description="What it is about: a block or a course that the caller may see."
    )


@strawberry.input(
    description="That a page is there. Send one every 15 to 30 seconds while it is visible, and one when it stops "
    "being so. Of each counter of a tab the first one counts; sent again it changes nothing. In whatever order "
    "heartbeats with elapsedSeconds come, the active seconds are the same."
)
class HeartbeatSessionInput:
    id: UUID = strawberry.field(description="The session.")
    tab: int | None = strawberry.field(
        default=1, description="Which of its tabs: the number that startSession gave, 1 to 500."
    )
    counter: int = strawberry.field(
        description="1 to 1,000,000: counts the heartbeats of the tab, a number of its own for each."
    )
    visible_seconds: float = strawberry.field(
        description="For how many of the seconds before it the page was visible without a break, at most since the "
        "heartbeat before. 0 or more; counts as 60 at the most, and as no more than have passed."
    )
    elapsed_seconds: float | None = strawberry.field(
        default=strawberry.UNSET,
        description="How many seconds passed between the answer of startSession and the making of this heartbeat, by "
        "a clock of the client that nobody sets. 0 or more; counts as no more than have passed. Default: made "
        "now. With it, one that was kept while offline counts for when it was made.",
    )


@strawberry.input
class EndSessionInput:
    id: UUID = strawberry.field(description="The session.")


@strawberry.type
class StartSessionPayload:
    session: LearningSession | None = changed(part="session_id")
    tab: int = changed_value(
        "tab",
        "The number of this tab in the session, for its heartbeats: 1 when it is new, more when it was open.",
    )


@strawberry.type
class HeartbeatSessionPayload:
    session: LearningSession | None = changed()


@strawberry.type
class EndSessionPayload:
    session: LearningSession | None = changed()


@strawberry.type
class SessionQuery:
    learning_sessions: Connection[LearningSession] = connection(
        "Sessions in the community, the newest first. End users find their own only.",
        order_by="started_at desc",
        filters=SessionFilter,
    )


@strawberry.type
class SessionMutation:
    start_session: StartSessionPayload | None = mutation(
        "public.start_session",
        StartSessionInput,
        "Begins a session of the caller, or joins the open one with a further tab. Errors: FORBIDDEN (no active "
        "member), NOT_FOUND (the content).",
    )
    heartbeat_session: HeartbeatSessionPayload | None = mutation(
        "public.heartbeat_session",
        HeartbeatSessionInput,
        "Takes a heartbeat into a session of the caller. Errors: FORBIDDEN, NOT_FOUND, BAD_USER_INPUT, "
        "FAILED_PRECONDITION (it has ended, start a new one; or more than one heartbeat in five seconds).",
    )
    end_session: EndSessionPayload | None = mutation(
        "public.end_session",
        EndSessionInput,
        "Ends a session of the caller, for all of its tabs; one that has ended stays as it is. Errors: FORBIDDEN, "
        "NOT_FOUND.",
    )
