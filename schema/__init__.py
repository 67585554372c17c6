"""What a client can ask: the domains' parts put together into one schema."""

from functools import cache

import strawberry
from strawberry.schema.config import StrawberryConfig

from resolvers.model import Model, build
from schema.cohorts import CohortMutation, CohortQuery
from schema.communities import CommunityQuery
from schema.courses import CourseQuery
from schema.enrollments import EnrollmentMutation, EnrollmentQuery
from schema.programs import ProgramMutation, ProgramQuery
from schema.scalars import SCALARS


@strawberry.type
class Query(CommunityQuery, ProgramQuery, CourseQuery, EnrollmentQuery, CohortQuery):
    """Root of everything that reads."""


@strawberry.type
class Mutation(ProgramMutation, EnrollmentMutation, CohortMutation):
    """Root of everything that writes. The fields of one operation take place together or not at all."""


@cache
def strawberry_schema() -> strawberry.Schema:
    return strawberry.Schema(Query, Mutation, config=StrawberryConfig(scalar_map=SCALARS))


@cache
def model() -> Model:
    """The schema as the compiler sees it."""
    return build(strawberry_schema())
