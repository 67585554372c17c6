"""Progress: what learners did, and where they stand with blocks, courses and programs."""

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from resolvers.relay import Connection
from resolvers.sources import (
    changed,
    changed_rows,
    column,
    computed_row,
    computed_rows,
    connection,
    equals,
    flag,
    from_function,
    mutation,
    table,
    to_one,
    watched,
)
from schema.communities import Member
from schema.courses import Block, Course

if TYPE_CHECKING:
    from schema.enrollments import ProgramEnrollment
    from schema.programs import Program


@strawberry.enum(
    description="How far somebody is. Complete is decided on whole blocks, never on a percentage."
)
class ProgressStatus(Enum):
    NOT_STARTED = "not_started"
    IN_PROGRESS = "in_progress"
    COMPLETED = strawberry.enum_value("completed", description="Stays so, whatever becomes of the content.")
    NOT_APPLICABLE = strawberry.enum_value(
        "not_applicable", description="Nothing in it is required, so there is nothing to complete."
    )


@strawberry.enum(description="What became of one event.")
class ProgressEventStatus(Enum):
    ACCEPTED = strawberry.enum_value(
        "accepted", description="Stored. Where `reason` is given, it is kept without counting now."
    )
    DUPLICATE = strawberry.enum_value("duplicate", description="It was there already, with the same content.")
    CONFLICT = strawberry.enum_value(
        "conflict", description="Another event has this id; this one is not stored."
    )
    REJECTED = strawberry.enum_value(
        "rejected", description="Not stored; `reason` says why. It may be sent again."
    )


@strawberry.enum(description="What a program asks for.")
class RequirementKind(Enum):
    COURSE = "course"
    GROUP = strawberry.enum_value("group", description="Some of the courses of a group.")
    ANY = strawberry.enum_value("any", description="One of the requirements that follow.")
    AT_LEAST = strawberry.enum_value("at_least", description="Some of the requirements that follow.")


@table("public.block_completions")
@strawberry.type(description="Where a person stands with a block, in one attempt at its course.")
class BlockCompletion:
    id: UUID
    block_id: UUID
    block: Block | None = to_one(
        "The block in the newest version that has it.",
        id="block_id",
        course_id="course_id",
        where="{row}.published",
        latest_by="version",
    )
    course: Course | None = to_one(id="course_id")
    member: Member | None = to_one("Null to those who may not see the person.", user_id="user_id")
    attempt: int = strawberry.field(description="The attempt at the course, from 1.")
    value: float = strawberry.field(
        description="What counts, 0 to 1; 1 is complete. An override where one holds, else earnedValue."
    )
    earned_value: float = strawberry.field(
        description="The greatest value of its events, 0 to 1. Does not fall."
    )
    override_value: float | None = strawberry.field(
        description="What an admin has set, 0 to 1, until it is released."
    )
    completed_at: datetime | None = strawberry.field(
        description="The earliest moment at which it was complete; null unless it is."
    )
    started_at: datetime
    score: float | None = strawberry.field(description="The best one, 0 to 100.")
    correct: bool | None = strawberry.field(description="Whether an answer was ever correct.")
    event_count: int = strawberry.field(description="How many events there were.")
    created_at: datetime


@table("private.blocks_of_progress", tenant=False)
@strawberry.type(description="How far somebody is with a block of a course.")
class BlockProgress:
    block: Block | None = to_one(id="block_id", course_id="course_id", version="version")
    status: ProgressStatus
    value: float = strawberry.field(
        description="0 to 1. Of an aggregator the mean of the required blocks in it, by weight."
    )
    score: float | None = strawberry.field(description="The best one, 0 to 100.")
    started_at: datetime | None
    completed_at: datetime | None
    overridden: bool = strawberry.field(description="Whether an admin's word holds.")


@table("private.course_progress_state", tenant=False)
@strawberry.type(
    description="Where somebody stands with a course: in the version that counts for them, in their current attempt."
)
class CourseProgress:
    course: Course | None = to_one(id="course_id")
    member: Member | None = to_one("Null to those who may not see the person.", user_id="user_id")
    version: int = strawberry.field(
        description="The version of the course: of their open enrolment, else the one they began, else the current one."
    )
    attempt: int = strawberry.field(description="From 1; a reset begins the next one.")
    status: ProgressStatus
    done_required: int = strawberry.field(description="How many required blocks are complete.")
    total_required: int = strawberry.field(
        description="How many blocks are required: completable ones, each by its own `required`."
    )
    earned: float = strawberry.field(description="Weight times value, added up over the required blocks.")
    possible: float = strawberry.field(description="The weights of the required blocks, added up.")
    percent: float = strawberry.field(
        description="100 * earned / possible or legacyPercent, whichever is more, floored to a whole number; 100 only "
        "when the course is complete."
    )
    legacy_percent: float | None = strawberry.field(
        description="What an earlier system showed, 0 to 100, as far as it was imported: percent is no less. It does "
        "not show in earned and doneRequired."
    )
    started_at: datetime | None = strawberry.field(description="Null where only legacy progress is known.")
    completed_at: datetime | None = strawberry.field(description="Never moves once set.")
    next_block: Block | None = computed_row(
        "private.next_block", "The first required block in reading order that is not complete."
    )
    blocks: list[BlockProgress] = computed_rows("private.blocks_of_progress", "All blocks in reading order.")


@table("private.missing_requirements", tenant=False)
@strawberry.type(
    description="Something that a program still asks for. What follows an ANY, an AT_LEAST or a GROUP is what it "
    "consists of."
)
class Requirement:
    kind: RequirementKind
    description: str = strawberry.field(description="A sentence for people, in English.")
    course: Course | None = to_one("Of a COURSE.", id="course_id")
    group: str | None = column("group_name", "The name of a GROUP.")
    needed: int = strawberry.field(description="How many of its parts make it met; 1 of a COURSE.")
    done: int = strawberry.field(description="How many of them are; 0 of a COURSE.")
    percent: float = strawberry.field(description="How far it is, 0 to 99, floored.")


@table("public.program_progress")
@strawberry.type(description="Where somebody stands with a program, in their latest enrolment.")
class ProgramProgress:
    program: Annotated["Program", strawberry.lazy("schema.programs")] | None = to_one(id="program_id")
    member: Member | None = to_one("Null to those who may not see the person.", user_id="user_id")
    enrollment: Annotated["ProgramEnrollment", strawberry.lazy("schema.enrollments")] | None = to_one(
        id="enrollment_id"
    )
    status: ProgressStatus
    percent: float = strawberry.field(
        description="Mean share of what is asked for, floored to a whole number; of a group or `atLeast` its best "
        "parts count, as many as it asks for. 100 only when the enrolment is completed."
    )
    completed_at: datetime | None = strawberry.field(description="Never moves once set.")
    updated_at: datetime = strawberry.field(description="When its status or percent last changed.")
    courses: list[CourseProgress] = computed_rows(
        "private.courses_of_progress", "The courses of the enrolment's version in their order."
    )
    missing: list[Requirement] = computed_rows(
        "private.missing_requirements", "Why it is not complete yet, in reading order; empty when it is."
    )


@table("private.progress_results", tenant=False)
@strawberry.type(description="What became of one event.")
class ProgressEventResult:
    event_id: UUID
    status: ProgressEventStatus
    reason: str | None = strawberry.field(description="Why it was not stored, or does not count now.")


@strawberry.input(description="Which completions.")
class BlockCompletionFilter:
    user_id: UUID | None = equals("user_id", "uuid", "Of this person.")
    course_id: UUID | None = equals("course_id", "uuid", "In this course.")
    block_id: UUID | None = equals("block_id", "uuid", "Of this block.")
    attempt: int | None = equals("attempt", "integer", "Of this attempt.")
    completed: bool | None = flag("{row}.value = 1", "True: complete. False: begun only.")


@strawberry.input(description="Something that a learner did with a block.")
class ProgressEventInput:
    event_id: UUID = strawberry.field(
        description="Made by the client, once for the event: sent again, it is not counted again."
    )
    block_id: UUID
    value: float | None = strawberry.field(
        default=1.0,
        description="How much of the block is done, 0 to 1; floored to six decimals. 1 is complete.",
    )
    occurred_at: datetime = strawberry.field(
        description="When it happened by the client's clock. It counts as no earlier than a day before the enrolment, "
        "and no later than five minutes after its receipt."
    )
    score: float | None = strawberry.field(default=strawberry.UNSET, description="0 to 100.")
    correct: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Of an answer, whether it was."
    )
    data: JSON | None = strawberry.field(
        default=strawberry.UNSET, description="Whatever else the client keeps, at most 8 KiB."
    )
    attempt: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="The attempt at the course, from 1. Default: the one that was current at occurredAt.",
    )
    user_id: UUID | None = strawberry.field(
        default=strawberry.UNSET, description="Whose it is, when an admin records it. Default: the caller."
    )


@strawberry.input
class RecordProgressInput:
    events: list[ProgressEventInput] = strawberry.field(description="1 to 500, in any order.")


@strawberry.input(description="What a block counts for, whatever the learner does, until it is released.")
class OverrideCompletionInput:
    user_id: UUID
    block_id: UUID
    value: float | None = strawberry.field(
        default=1.0, description="0 to 1; null releases the override, and what was earned counts again."
    )
    reason: str = strawberry.field(description="Why: not blank, at most 1,000 characters.")


@strawberry.input(
    description="A new attempt at a course, or at all courses of a program: name one of the two."
)
class ResetProgressInput:
    user_id: UUID
    course_id: UUID | None = strawberry.UNSET
    program_id: UUID | None = strawberry.field(
        default=strawberry.UNSET, description="A program in which the person has an open enrolment."
    )
    reason: str = strawberry.field(description="Why: not blank, at most 1,000 characters.")


@strawberry.type
class RecordProgressPayload:
    results: list[ProgressEventResult] = changed_rows(
        "private.progress_results", "One an event, in the order of the input."
    )
    courses: list[CourseProgress] = changed_rows(
        "private.courses_told", "The courses of the events that are stored, each once a person."
    )


@strawberry.type
class OverrideCompletionPayload:
    completion: BlockCompletion | None = changed(part="completion_id")
    courses: list[CourseProgress] = changed_rows("private.courses_told", "The course of the block.")


@strawberry.type
class ResetProgressPayload:
    courses: list[CourseProgress] = changed_rows(
        "private.courses_told", "The courses in which a new attempt has begun."
    )


@strawberry.type
class ProgressQuery:
    program_progress: ProgramProgress | None = from_function(
        "private.program_progress",
        "Null when the person was never enrolled in the program, or is nobody whom the caller may see.",
        program_id=(UUID, "The program."),
        user_id=(UUID | None, "Whose; for admins. Default: the caller's."),
    )
    course_progress: CourseProgress | None = from_function(
        "private.course_progress",
        "Null when there is no such course or person that the caller may see. Members may take published courses that "
        "no program of theirs has.",
        course_id=(UUID, "The course."),
        user_id=(UUID | None, "Whose; for admins. Default: the caller's."),
    )
    block_completions: Connection[BlockCompletion] = connection(
        "Completions in the community, the newest first. End users find their own only.",
        order_by="created_at desc",
        filters=BlockCompletionFilter,
    )


@strawberry.type
class ProgressSubscription:
    progress: ProgramProgress = watched(
        "private.program_progress",
        "Progress in a program: as it is, and again whenever it is different. Ends with NOT_FOUND where there is none "
        "that the caller may see, also when that becomes so.",
        topics=("learning", "enrollment", "member"),
        program_id=(UUID, "The program."),
        user_id=(UUID | None, "Whose; for admins. Default: the caller's."),
    )


@strawberry.type
class ProgressMutation:
    record_progress: RecordProgressPayload | None = mutation(
        "public.record_progress",
        RecordProgressInput,
        "One's own events; admins those of many. Each event is taken or refused for itself, and may be sent any number "
        "of times, in any order. Errors of the whole: FORBIDDEN, BAD_USER_INPUT (no events, too many).",
    )
    override_completion: OverrideCompletionPayload | None = mutation(
        "public.override_completion",
        OverrideCompletionInput,
        "Admins. Holds in the current attempt until it is released. Errors: FORBIDDEN, NOT_FOUND, BAD_USER_INPUT, "
        "FAILED_PRECONDITION (an aggregator, nothing to release).",
    )
    reset_progress: ResetProgressPayload | None = mutation(
        "public.reset_progress",
        ResetProgressInput,
        "Admins. Begins a new attempt; the old one is kept. What is completed stays completed. "
        "Errors: FORBIDDEN, NOT_FOUND, BAD_USER_INPUT, FAILED_PRECONDITION (nothing has been done).",
    )
