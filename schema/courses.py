"""Courses and the blocks that they consist of."""

from datetime import datetime
from enum import Enum
from uuid import UUID

import strawberry

from resolvers.relay import Connection, OrderDirection
from resolvers.sources import by_id, column, connection, contains, one_of, table, to_many


@strawberry.enum(description="Drafts are seen by admins only.")
class CourseStatus(Enum):
    DRAFT = "draft"
    PUBLISHED = "published"
    ARCHIVED = "archived"


@strawberry.enum(description="How a block becomes complete.")
class CompletionMode(Enum):
    COMPLETABLE = strawberry.enum_value("completable", description="Learners complete it.")
    AGGREGATOR = strawberry.enum_value("aggregator", description="Complete when what is in it is.")
    EXCLUDED = strawberry.enum_value("excluded", description="Never counts.")


@table("public.blocks")
@strawberry.type(
    description="A piece of a course: chapter, page, video, quiz. It keeps its id across versions."
)
class Block:
    id: UUID
    parent_id: UUID | None = strawberry.field(description="The block that this one is in; null at the top.")
    kind: str = strawberry.field(description="What it is, in lower case: `chapter`, `video`, `quiz`, ...")
    title: str
    position: int = strawberry.field(description="Place in the reading order of the course, from 1.")
    weight: float = strawberry.field(
        description="Share in the course's score relative to other blocks, over 0."
    )
    required: bool = strawberry.field(description="Whether the course is complete only with it.")
    completion_mode: CompletionMode


@table("public.courses")
@strawberry.type(description="A course in its current version.")
class Course:
    id: UUID
    title: str
    description: str | None = column("description", long=True)
    status: CourseStatus
    version: int = strawberry.field(description="The version that new learners get, from 1.")
    created_at: datetime
    updated_at: datetime
    blocks: list[Block] = to_many(
        "The blocks of the current version in reading order.",
        order_by="position",
        course_id="id",
        version="version",
    )


@strawberry.input(description="Which courses.")
class CourseFilter:
    status: list[CourseStatus] | None = one_of("status", "One of these states.")
    search: str | None = contains("title", "Part of the title, at most 100 characters.")


@strawberry.enum(description="What courses are ordered by; equal ones by id.")
class CourseOrderField(Enum):
    TITLE = "title"
    CREATED_AT = "created_at"


@strawberry.input(description="The order of courses.")
class CourseOrder:
    field: CourseOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.type
class CourseQuery:
    courses: Connection[Course] = connection(
        "Courses of the community.", order_by="title asc", filters=CourseFilter, orders=CourseOrder
    )
    course: Course | None = by_id(UUID, "One course; null when there is none that the caller may see.")
