"""One row of each kind that the rules tell apart, and how one like it would be made and changed."""

from dataclasses import dataclass

from tests.cast import (
    ADMIN,
    ALPHA,
    ARCHIVED,
    ARCHIVED_ASSIGNMENT,
    ARCHIVED_UNSEEN,
    ASSIGNMENT,
    BETA,
    BLOCKS,
    COHORT,
    COMPLETED_ENROLLMENT,
    COURSE,
    DRAFT,
    DRAFT_ASSIGNMENT,
    DRAFT_BLOCK,
    DRAFT_COURSE,
    EMPTY_COHORT,
    ENROLLMENT,
    LEARNER,
    OPEN_TO_ALL,
    OTHER_PEER,
    PEER,
    PEER_ENROLLMENT,
    PUBLISHED,
    SECOND_COURSE,
    SUPER_ADMIN,
)


@dataclass(frozen=True)
class Record:
    """`where` finds the row; `insert` and `change` are what somebody would write in those statements."""

    table: str
    row: str
    where: str
    insert: str
    change: str


def _communities() -> list[Record]:
    insert = "(slug, name) values ('gamma', 'Gamma')"
    return [
        Record("public.communities", row, f"id = '{community}'", insert, "name = 'New'")
        for row, community in (("Alpha", ALPHA), ("Beta", BETA))
    ]


def _memberships() -> list[Record]:
    insert = f"(community_id, user_id, display_name) values ('{ALPHA}', '{OTHER_PEER.id}', 'New')"
    return [
        Record(
            "public.memberships",
            row,
            f"community_id = '{ALPHA}' and user_id = '{person.id}'",
            insert,
            "role = 'community_admin'",
        )
        for row, person in (("the learner's", LEARNER), ("a peer's", PEER))
    ]


def _super_admins() -> list[Record]:
    insert = f"(user_id, reason) values ('{ADMIN.id}', 'wants to')"
    return [
        Record("private.super_admins", "any", f"user_id = '{SUPER_ADMIN.id}'", insert, "reason = 'New'"),
    ]


def _courses() -> list[Record]:
    return [
        Record(
            "public.courses",
            row,
            f"id = '{course}'",
            f"(title, status) values ('New', '{row}')",
            "title = 'New'",
        )
        for row, course in (("draft", DRAFT_COURSE), ("published", COURSE))
    ]


def _course_versions() -> list[Record]:
    columns = "(course_id, version, published, published_at)"
    return [
        Record(
            "public.course_versions",
            "unpublished",
            f"course_id = '{DRAFT_COURSE}'",
            f"{columns} values ('{DRAFT_COURSE}', 2, false, null)",
            "published = true, published_at = now()",
        ),
        Record(
            "public.course_versions",
            "published",
            f"course_id = '{COURSE}'",
            f"{columns} values ('{COURSE}', 2, true, now())",
            "created_at = now()",
        ),
    ]


def _blocks() -> list[Record]:
    columns = "(course_id, version, published, kind, title, position)"
    return [
        Record(
            "public.blocks",
            f"of {'a published' if published else 'an unpublished'} version",
            f"community_id = '{ALPHA}' and id = '{block}'",
            f"{columns} values ('{course}', 1, {published}, 'page', 'New', 9)",
            "title = 'New'",
        )
        for published, course, block in ((False, DRAFT_COURSE, DRAFT_BLOCK), (True, COURSE, BLOCKS[1]))
    ]


def _programs() -> list[Record]:
    archived = "(title, status, published_at, archived_at) values ('New', 'archived', now(), now())"
    published = "(title, status, published_at) values ('New', 'published', now())"
    return [
        Record("public.programs", row, f"id = '{program}'", insert, change)
        for row, program, insert, change in (
            ("draft", DRAFT, "(title) values ('New')", "status = 'published'"),
            ("published", PUBLISHED, published, "status = 'archived'"),
            ("archived, the learner was in it", ARCHIVED, archived, "status = 'published'"),
            ("archived, the learner was not", ARCHIVED_UNSEEN, archived, "status = 'published'"),
        )
    ]


def _program_course_assignments() -> list[Record]:
    return [
        Record(
            "public.program_course_assignments",
            f"of {state} program",
            f"id = '{assignment}'",
            f"(program_id, course_id, sequence_order) values ('{program}', '{course}', 9)",
            "required = false",
        )
        for state, program, assignment, course in (
            ("a draft", DRAFT, DRAFT_ASSIGNMENT, COURSE),
            ("a published", PUBLISHED, ASSIGNMENT, DRAFT_COURSE),
            ("an archived", ARCHIVED_UNSEEN, ARCHIVED_ASSIGNMENT, SECOND_COURSE),
        )
    ]


def _program_enrollments() -> list[Record]:
    open_one = "(program_id, user_id) values ('{}', '{}')"
    completed = f"(program_id, status, completed_at) values ('{OPEN_TO_ALL}', 'completed', now())"
    return [
        Record("public.program_enrollments", row, f"id = '{enrollment}'", insert, "status = 'withdrawn'")
        for row, enrollment, insert in (
            ("the learner's, open", ENROLLMENT, open_one.format(OPEN_TO_ALL, LEARNER.id)),
            ("the learner's, completed", COMPLETED_ENROLLMENT, completed),
            ("a peer's, open", PEER_ENROLLMENT, open_one.format(OPEN_TO_ALL, PEER.id)),
        )
    ]


def _cohorts() -> list[Record]:
    return [
        Record(
            "public.cohorts",
            row,
            f"id = '{cohort}'",
            f"(program_id, name) values ('{PUBLISHED}', 'New')",
            "name = 'New'",
        )
        for row, cohort in (("the learner's", COHORT), ("nobody's", EMPTY_COHORT))
    ]


RECORDS = (
    *_communities(),
    *_memberships(),
    *_super_admins(),
    *_courses(),
    *_course_versions(),
    *_blocks(),
    *_programs(),
    *_program_course_assignments(),
    *_program_enrollments(),
    *_cohorts(),
)
