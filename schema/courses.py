"""Courses and the blocks that they consist of."""

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from resolvers.relay import Connection, OrderDirection
from resolvers.sources import (
    by_id,
    changed,
    changed_id,
    column,
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
    from schema.progress import BlockCompletion


@strawberry.enum(description="draft, then published, then archived and back to published.")
class CourseStatus(Enum):
    DRAFT = strawberry.enum_value("draft", description="Seen by admins only; can be deleted.")
    PUBLISHED = strawberry.enum_value("published", description="Seen by all members in its current version.")
    ARCHIVED = strawberry.enum_value("archived", description="Still seen, but closed to changes.")


@strawberry.enum(description="How a block becomes complete.")
class CompletionMode(Enum):
    COMPLETABLE = strawberry.enum_value("completable", description="Learners complete it.")
    AGGREGATOR = strawberry.enum_value(
        "aggregator", description="Complete when what is in it is; only these have blocks in them."
    )
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
        description="Share in the course's score relative to other blocks, over 0, up to 100,000."
    )
    required: bool = strawberry.field(description="Whether the course is complete only with it.")
    completion_mode: CompletionMode
    viewer_completion: Annotated["BlockCompletion", strawberry.lazy("schema.progress")] | None = to_one(
        "The caller's own, in their current attempt; null before they did something.",
        block_id="id",
        course_id="course_id",
        where="{row}.user_id = (select auth.uid()) and not exists (select from public.course_attempts as {row}_1"
        " where {row}_1.community_id = {row}.community_id and {row}_1.user_id = {row}.user_id"
        " and {row}_1.course_id = {row}.course_id and {row}_1.attempt > {row}.attempt)",
        latest_by="attempt",
    )


@table("public.course_versions")
@strawberry.type(description="One state of a course's blocks; it does not change once published.")
class CourseVersion:
    id: UUID
    version: int = strawberry.field(description="Counts the versions of the course, from 1.")
    published: bool = strawberry.field(description="Unpublished, it is seen by admins only.")
    published_at: datetime | None
    created_at: datetime
    tree_hash: str | None = strawberry.field(
        description="Of a published version: 64 hexadecimal digits, the same for the same blocks."
    )
    block_count: int = computed("private.block_count", "How many blocks it has, at most 5,000.")
    blocks: list[Block] = to_many(
        "The blocks in reading order.", order_by="position", course_id="course_id", version="version"
    )


@table("public.courses")
@strawberry.type(description="A course in its current version.")
class Course:
    id: UUID
    title: str
    description: str | None = column("description", long=True)
    status: CourseStatus
    version: int = strawberry.field(
        description="The version that new learners get, from 1; of a draft, the one being written."
    )
    created_at: datetime
    updated_at: datetime
    blocks: list[Block] = to_many(
        "The blocks of the current version in reading order.",
        order_by="position",
        course_id="id",
        version="version",
    )
    versions: list[CourseVersion] = to_many(
        "Newest first. Learners see the published ones.", order_by="version desc", course_id="id"
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


@strawberry.input(description="A course from a file: a new one, or the next version of one.")
class ImportCourseInput:
    course: JSON = strawberry.field(
        description="The course in the format course/1: docs/course-format.md, docs/schemas/course.schema.json."
    )
    course_id: UUID | None = strawberry.field(
        default=strawberry.UNSET,
        description="The course whose next version this is; what was unpublished of it is replaced, or dropped where "
        "the current version has the same blocks already. "
        "Left out: a new course.",
    )
    publish: bool = strawberry.field(default=False, description="Whether to publish it at once.")


@strawberry.input(description="What changes. What is left out stays; null clears it.")
class UpdateCourseInput:
    id: UUID
    title: str | None = strawberry.field(
        default=strawberry.UNSET, description="Not blank, at most 200 characters."
    )
    description: str | None = strawberry.field(
        default=strawberry.UNSET, description="At most 10,000 characters."
    )


@strawberry.input
class PublishCourseInput:
    id: UUID


@strawberry.input
class ArchiveCourseInput:
    id: UUID


@strawberry.input
class RestoreCourseInput:
    id: UUID


@strawberry.input
class DeleteCourseInput:
    id: UUID


@strawberry.input
class DiscardCourseVersionInput:
    id: UUID = strawberry.field(description="The id of the course.")


@strawberry.type
class ImportCoursePayload:
    course: Course | None = changed(part="course_id")
    version: CourseVersion | None = changed(
        "The version that was made, or the one that has the same blocks already: the current one, or the unpublished.",
        part="version_id",
    )


@strawberry.type
class UpdateCoursePayload:
    course: Course | None = changed()


@strawberry.type
class PublishCoursePayload:
    course: Course | None = changed(part="course_id")
    version: CourseVersion | None = changed("The version that is current now.", part="version_id")


@strawberry.type
class ArchiveCoursePayload:
    course: Course | None = changed()


@strawberry.type
class RestoreCoursePayload:
    course: Course | None = changed()


@strawberry.type
class DeleteCoursePayload:
    deleted_course_id: UUID = changed_id("The id that the course had.")
    course: Course | None = changed("Always null: it is gone.")


@strawberry.type
class DiscardCourseVersionPayload:
    course: Course | None = changed()


@strawberry.type
class CourseQuery:
    courses: Connection[Course] = connection(
        "Courses of the community.", order_by="title asc", filters=CourseFilter, orders=CourseOrder
    )
    course: Course | None = by_id(UUID, "One course; null when there is none that the caller may see.")
    export_course: JSON | None = from_function(
        "private.export_course",
        "A course in the format course/1, which importCourse takes; null when there is none that the caller may see.",
        id=(UUID, "The id of the course."),
        version=(int | None, "Which version; default: the current one. Learners see published ones."),
    )


@strawberry.type
class CourseMutation:
    import_course: ImportCoursePayload | None = mutation(
        "public.import_course",
        ImportCourseInput,
        "Admins. Takes all of the course or, with an error that names the first mistake, nothing; its title and "
        "description apply at once. Errors: FORBIDDEN, NOT_FOUND, BAD_USER_INPUT (field: the place in the course, "
        "as `course.blocks.3.parentId`), CONFLICT (a block's id is taken by another course), "
        "FAILED_PRECONDITION (archived).",
    )
    update_course: UpdateCoursePayload | None = mutation(
        "public.update_course",
        UpdateCourseInput,
        "Admins. Errors: FORBIDDEN, NOT_FOUND, BAD_USER_INPUT, FAILED_PRECONDITION (archived).",
    )
    publish_course: PublishCoursePayload | None = mutation(
        "public.publish_course",
        PublishCourseInput,
        "Admins. Makes the unpublished version the current one; one with the same blocks as the current one is "
        "dropped. Errors: FORBIDDEN, NOT_FOUND, FAILED_PRECONDITION (nothing to publish, archived).",
    )
    archive_course: ArchiveCoursePayload | None = mutation(
        "public.archive_course",
        ArchiveCourseInput,
        "Admins; published courses only. Errors: FORBIDDEN, NOT_FOUND, FAILED_PRECONDITION.",
    )
    restore_course: RestoreCoursePayload | None = mutation(
        "public.restore_course",
        RestoreCourseInput,
        "Admins; archived courses only, which are published again. Errors: FORBIDDEN, NOT_FOUND, FAILED_PRECONDITION.",
    )
    delete_course: DeleteCoursePayload | None = mutation(
        "public.delete_course",
        DeleteCourseInput,
        "Admins; drafts that no program has. Errors: FORBIDDEN, NOT_FOUND, FAILED_PRECONDITION.",
    )
    discard_course_version: DiscardCourseVersionPayload | None = mutation(
        "public.discard_course_version",
        DiscardCourseVersionInput,
        "Admins. Drops the unpublished version of a published course. "
        "Errors: FORBIDDEN, NOT_FOUND, FAILED_PRECONDITION (there is none, a draft, archived).",
    )
