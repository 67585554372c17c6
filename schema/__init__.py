"""What a client can ask: the domains' parts put together into one schema."""

from functools import cache

import strawberry
from strawberry.schema.config import StrawberryConfig

from resolvers.model import Model, build
from schema.audit import AuditQuery
from schema.cohorts import CohortMutation, CohortQuery
from schema.communities import CommunityMutation, CommunityQuery
from schema.courses import CourseMutation, CourseQuery
from schema.enrollment_moves import EnrollmentMoveMutation, EnrollmentMoveQuery
from schema.enrollments import EnrollmentMutation, EnrollmentQuery, EnrollmentSubscription
from schema.invitations import InvitationMutation, InvitationQuery
from schema.jobs import JobQuery
from schema.legacy import LegacyQuery
from schema.members import MemberMutation
from schema.program_structure import ProgramStructureMutation
from schema.programs import ProgramMutation, ProgramQuery
from schema.progress import ProgressMutation, ProgressQuery, ProgressSubscription
from schema.scalars import SCALARS
from schema.sessions import SessionMutation, SessionQuery


@strawberry.type
class Query(
    CommunityQuery,
    InvitationQuery,
    ProgramQuery,
    CourseQuery,
    CohortQuery,
    EnrollmentQuery,
    EnrollmentMoveQuery,
    ProgressQuery,
    SessionQuery,
    LegacyQuery,
    AuditQuery,
    JobQuery,
):
    """Root of everything that reads."""


@strawberry.type
class Mutation(
    CommunityMutation,
    MemberMutation,
    InvitationMutation,
    ProgramMutation,
    ProgramStructureMutation,
    CourseMutation,
    CohortMutation,
    EnrollmentMutation,
    EnrollmentMoveMutation,
    ProgressMutation,
    SessionMutation,
):
    """Root of everything that writes. The fields of one operation take place together or not at all."""


@strawberry.type
class Subscription(ProgressSubscription, EnrollmentSubscription):
    """Root of what is told as it happens, by WebSocket (graphql-transport-ws) or as text/event-stream (graphql-sse)."""


@cache
def strawberry_schema() -> strawberry.Schema:
    return strawberry.Schema(Query, Mutation, Subscription, config=StrawberryConfig(scalar_map=SCALARS))


@cache
def model() -> Model:
    """The schema as the compiler sees it."""
    return build(strawberry_schema())
