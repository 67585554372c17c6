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
    DROPPED_BLOCK,
    EMPTY_COHORT,
    ENROLLMENT,
    INVITATION,
    KEPT_ENROLLMENT,
    LEARNER,
    MOVE,
    OPEN_TO_ALL,
    OTHER_PEER,
    PEER,
    PEER_ENROLLMENT,
    PEER_WITHDRAWN,
    PUBLISHED,
    SECOND_COURSE,
    SUPER_ADMIN,
    SUSPENDED,
    UNFINISHED,
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
            "status = 'left'",
        )
        for row, person in (("the learner's", LEARNER), ("a peer's", PEER))
    ]


def _invitations() -> list[Record]:
    return [
        Record(
            "public.invitations",
            "any",
            f"id = '{INVITATION}'",
            "(email, display_name) values ('new@cast.test', 'New')",
            "role = 'community_admin'",
        )
    ]


def _active_communities() -> list[Record]:
    return [
        Record(
            "private.active_communities",
            "any",
            f"user_id = '{SUSPENDED.id}'",
            f"(user_id, community_id) values ('{LEARNER.id}', '{BETA}')",
            f"community_id = '{ALPHA}'",
        )
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
            f"{columns} values ('{COURSE}', 2, false, null)",
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


def _block_identities() -> list[Record]:
    return [
        Record(
            "public.block_identities",
            f"of a {state}",
            f"community_id = '{ALPHA}' and id = '{block}'",
            f"(course_id, id) values ('{course}', gen_random_uuid())",
            f"course_id = '{course}'",
        )
        for state, course, block in (
            ("draft", DRAFT_COURSE, DROPPED_BLOCK),
            ("published course", COURSE, BLOCKS[1]),
        )
    ]


def _blocks() -> list[Record]:
    columns = "(course_id, version, published, id, kind, title, position)"
    return [
        Record(
            "public.blocks",
            f"of {'a published' if published else 'an unpublished'} version",
            f"community_id = '{ALPHA}' and id = '{block}'",
            f"{columns} values ('{course}', 1, {published}, '{new}', 'page', 'New', 9)",
            "title = 'New'",
        )
        for published, course, block, new in (
            (False, DRAFT_COURSE, DRAFT_BLOCK, DROPPED_BLOCK),
            (True, COURSE, BLOCKS[1], BLOCKS[1]),
        )
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


def _program_versions() -> list[Record]:
    return [
        Record(
            "public.program_versions",
            f"of a {state} program",
            f"program_id = '{program}' and version = 1",
            f"(program_id, version) values ('{program}', 2)",
            """completion_criteria = '{"group": "New"}'""",
        )
        for state, program in (("draft", DRAFT), ("published", PUBLISHED))
    ]


def _program_course_groups() -> list[Record]:
    return [
        Record(
            "public.program_course_groups",
            f"of a {state} program",
            f"program_id = '{program}'",
            f"(program_id, name) values ('{program}', 'New')",
            "at_least = 2",
        )
        for state, program in (("draft", UNFINISHED), ("published", PUBLISHED))
    ]


def _program_course_prerequisites() -> list[Record]:
    columns = "(program_id, course_id, prerequisite_id)"
    return [
        Record(
            "public.program_course_prerequisites",
            f"of a {state} program",
            f"program_id = '{program}'",
            f"{columns} values ('{program}', '{course}', '{prerequisite}')",
            f"prerequisite_id = '{SECOND_COURSE}'",
        )
        for state, program, course, prerequisite in (
            ("draft", UNFINISHED, SECOND_COURSE, COURSE),
            ("published", PUBLISHED, COURSE, SECOND_COURSE),
        )
    ]


def _enrollment_moves() -> list[Record]:
    columns = "(enrollment_id, from_version, to_version, mode, reason)"
    insert = f"{columns} values ('{KEPT_ENROLLMENT}', 1, 2, 'carry_over', 'New')"
    return [Record("public.enrollment_moves", "any", f"id = '{MOVE}'", insert, "reason = 'New'")]


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


def _audit() -> list[Record]:
    columns = "(community_id, acting_as, action, object_type, object_id)"
    entry = f"{columns} values ('{ALPHA}', 'system', 'x', 'x', '{ALPHA}')"
    seal = f"(community_id, sequence, entry_xid, entry_id, hash) values ('{ALPHA}', 1, '9', '{ALPHA}', sha256(''))"
    head = (
        "(community_id, number, sequence, hash, upto_xid, upto_id, sealed_at, key_id, public_key, signature)"
        f" values ('{ALPHA}', 1, 0, sha256(''), '9', '{ALPHA}', now(), 'x', '', '')"
    )
    salt = "(community_id, salt) values (gen_random_uuid(), '')"
    ours = f"community_id = '{ALPHA}'"
    return [
        Record("public.audit_entries", "any", ours, entry, "reason = 'New'"),
        Record("private.audit_salts", "any", ours, salt, "salt = 'New'"),
        Record("private.audit_seals", "any", ours, seal, "sequence = 2"),
        Record("private.audit_heads", "any", ours, head, "sequence = 2"),
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


def _progress() -> list[Record]:
    """A row each of the learner's and of a peer's."""
    return [
        Record(
            table, row, f"user_id = '{person.id}'", insert.format(alpha=ALPHA, user=person.id, **_IDS), change
        )
        for row, person in (("the learner's", LEARNER), ("a peer's", PEER))
        for table, insert, change in _PROGRESS
    ]


_IDS = {"course": COURSE, "block": BLOCKS[1], "enrollment": PEER_WITHDRAWN, "program": PUBLISHED}
_PROGRESS = (
    (
        "public.progress_events",
        "(community_id, user_id, event_id, course_id, block_id, attempt, value, occurred_at, counted_at) "
        "values ('{alpha}', '{user}', gen_random_uuid(), '{course}', '{block}', 1, 1, now(), now())",
        "value = 1",
    ),
    (
        "public.block_completions",
        "(community_id, user_id, course_id, block_id, attempt, earned_value, earned_at, started_at) "
        "values ('{alpha}', '{user}', '{course}', '{block}', 9, 1, now(), now())",
        "earned_value = 1, earned_at = now()",
    ),
    (
        "public.completion_overrides",
        "(community_id, user_id, course_id, block_id, attempt, value, reason) "
        "values ('{alpha}', '{user}', '{course}', '{block}', 9, 1, 'New')",
        "released_at = now()",
    ),
    (
        "public.course_attempts",
        "(community_id, user_id, course_id, attempt, reason) values ('{alpha}', '{user}', '{course}', 9, 'New')",
        "reason = 'New'",
    ),
    (
        "public.course_progress",
        "(community_id, user_id, course_id, version, attempt, done_required, total_required, earned, possible) "
        "values ('{alpha}', '{user}', '{course}', 9, 9, 0, 2, 0, 2)",
        "completed_at = now()",
    ),
    (
        "public.program_progress",
        "(community_id, enrollment_id, program_id, user_id, enrollment_attempt, status, percent, completed_at) "
        "values ('{alpha}', '{enrollment}', '{program}', '{user}', 9, 'completed', 100, now())",
        "updated_at = now()",
    ),
    (
        "public.learning_sessions",
        "(community_id, user_id) values ('{alpha}', '{user}')",
        "active_seconds = 60",
    ),
)


def _xapi_statements() -> list[Record]:
    columns = "(community_id, user_id, id, verb, sent_by, sent_by_admin, content, stored_at)"
    return [
        Record(
            "public.xapi_statements",
            row,
            f"user_id = '{person.id}'",
            f"{columns} values ('{ALPHA}', '{person.id}', gen_random_uuid(), 'v', '{person.id}', false, '{{}}', now())",
            "reason = 'New'",
        )
        for row, person in (("the learner's", LEARNER), ("a peer's", PEER))
    ]


def _program_requirements() -> list[Record]:
    columns = "(community_id, program_id, version, node, kind, needed)"
    return [
        Record(
            "public.program_requirements",
            f"of {state} program",
            f"program_id = '{program}'",
            f"{columns} values ('{ALPHA}', '{program}', 1, 99, 'any', 1)",
            "needed = 2",
        )
        for state, program in (("a published", PUBLISHED), ("an archived", ARCHIVED_UNSEEN))
    ]


def _progress_queue() -> list[Record]:
    insert = f"(community_id, enrollment_id) values ('{ALPHA}', '{ENROLLMENT}')"
    found = f"enrollment_id = '{KEPT_ENROLLMENT}'"
    return [Record("private.progress_queue", "any", found, insert, "queued_at = now()")]


def _legacy() -> list[Record]:
    batch = f"(select id from public.legacy_batches where community_id = '{ALPHA}' limit 1)"
    columns = "(community_id, batch_id, line, user_id, course_id, attempt, version, percent)"
    files = "(community_id, id, file_name, file_digest)"
    return [
        Record(
            "public.legacy_batches",
            "any",
            f"community_id = '{ALPHA}'",
            f"{files} values ('{ALPHA}', gen_random_uuid(), 'new.csv', repeat('1', 64))",
            "undone_at = now()",
        ),
        *(
            Record(
                "public.legacy_progress",
                row,
                f"user_id = '{person.id}'",
                f"{columns} values ('{ALPHA}', {batch}, 99, '{person.id}', '{COURSE}', 1, 1, 50)",
                "percent = 100",
            )
            for row, person in (("the learner's", LEARNER), ("a peer's", PEER))
        ),
    ]


def _outbox() -> list[Record]:
    marks = "(marked_at, before_xid) values (now(), '1')"
    return [
        Record(
            "private.outbox",
            "any",
            f"community_id = '{ALPHA}'",
            "(topic) values ('content')",
            "topic = 'member'",
        ),
        Record("private.outbox_marks", "any", "true", marks, "marked_at = now()"),
    ]


def _job_runs() -> list[Record]:
    insert = f"(community_id, task, job_id, attempt) values ('{ALPHA}', 'rest', 9, 1)"
    return [Record("public.job_runs", "any", f"community_id = '{ALPHA}'", insert, "did = 1")]


RECORDS = (
    *_communities(),
    *_memberships(),
    *_invitations(),
    *_active_communities(),
    *_super_admins(),
    *_courses(),
    *_course_versions(),
    *_block_identities(),
    *_blocks(),
    *_programs(),
    *_program_course_assignments(),
    *_program_versions(),
    *_program_course_groups(),
    *_program_course_prerequisites(),
    *_program_enrollments(),
    *_audit(),
    *_enrollment_moves(),
    *_cohorts(),
    *_progress(),
    *_xapi_statements(),
    *_program_requirements(),
    *_progress_queue(),
    *_legacy(),
    *_job_runs(),
    *_outbox(),
)
