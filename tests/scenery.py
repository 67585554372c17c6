"""Fills a migrated database with the cast, two communities, and their courses, programs and enrolments."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests import cast
from tests.cast import ALPHA, BETA, Character

Rows = Iterable[Sequence[Any]]

_INSTANCE = UUID(int=0)
_CONFIRMED_AT = datetime(2026, 9, 1, tzinfo=UTC)
_MEMBERS = (
    (ALPHA, cast.ADMIN, "community_admin", "active"),
    (ALPHA, cast.LEARNER, "end_user", "active"),
    (ALPHA, cast.PEER, "end_user", "active"),
    (ALPHA, cast.SUSPENDED, "end_user", "suspended"),
    (ALPHA, cast.TRAVELLER, "end_user", "active"),
    (BETA, cast.TRAVELLER, "end_user", "active"),
    (BETA, cast.OTHER_ADMIN, "community_admin", "active"),
    (BETA, cast.OTHER_LEARNER, "end_user", "active"),
    (BETA, cast.OTHER_PEER, "end_user", "active"),
)
_COURSES = (
    (ALPHA, cast.COURSE, "First steps", "published"),
    (ALPHA, cast.SECOND_COURSE, "Next steps", "published"),
    (ALPHA, cast.DRAFT_COURSE, "Last steps", "draft"),
    (BETA, cast.OTHER_COURSE, "First steps", "published"),
    (BETA, cast.OTHER_DRAFT_COURSE, "Next steps", "draft"),
)
_PROGRAMS = (
    (ALPHA, cast.DRAFT, "Autumn", "draft"),
    (ALPHA, cast.PUBLISHED, "Summer", "published"),
    (ALPHA, cast.OPEN_TO_ALL, "Spring", "published"),
    (ALPHA, cast.ARCHIVED, "Winter", "published"),  # archived once people have been enrolled
    (ALPHA, cast.ARCHIVED_UNSEEN, "Old winter", "published"),
    (ALPHA, cast.UNFINISHED, "Next year", "draft"),
    (ALPHA, cast.RENEWED, "Evergreen", "published"),
    (BETA, cast.OTHER_DRAFT, "Autumn", "draft"),
    (BETA, cast.OTHER_PUBLISHED, "Summer", "published"),
)
_ASSIGNMENTS = (
    (cast.ASSIGNMENT, ALPHA, cast.PUBLISHED, cast.COURSE, 1, None),
    (cast.NEXT_ASSIGNMENT, ALPHA, cast.PUBLISHED, cast.SECOND_COURSE, 2, "Core"),
    (cast.ARCHIVED_ASSIGNMENT, ALPHA, cast.ARCHIVED_UNSEEN, cast.COURSE, 1, None),
    (cast.DRAFT_ASSIGNMENT, ALPHA, cast.DRAFT, cast.SECOND_COURSE, 1, None),
    (uuid4(), ALPHA, cast.UNFINISHED, cast.DRAFT_COURSE, 1, None),
    (uuid4(), ALPHA, cast.UNFINISHED, cast.COURSE, 2, "Core"),
    (uuid4(), ALPHA, cast.UNFINISHED, cast.SECOND_COURSE, 3, "Core"),
    (uuid4(), ALPHA, cast.RENEWED, cast.COURSE, 1, None),
    (cast.OTHER_ASSIGNMENT, BETA, cast.OTHER_PUBLISHED, cast.OTHER_COURSE, 1, "Core"),
)
_GROUPS = (
    (ALPHA, cast.PUBLISHED, "Core"),
    (ALPHA, cast.UNFINISHED, "Core"),
    (BETA, cast.OTHER_PUBLISHED, "Core"),
)
_PREREQUISITES = (
    (ALPHA, cast.PUBLISHED, cast.SECOND_COURSE, cast.COURSE),
    (ALPHA, cast.UNFINISHED, cast.COURSE, cast.DRAFT_COURSE),
)
_COHORTS = (
    (cast.COHORT, ALPHA, cast.PUBLISHED, "July"),
    (cast.EMPTY_COHORT, ALPHA, cast.PUBLISHED, "August"),
    (cast.OPEN_COHORT, ALPHA, cast.OPEN_TO_ALL, "March"),
    (cast.OTHER_COHORT, BETA, cast.OTHER_PUBLISHED, "July"),
)
_ENROLLMENTS = (
    (cast.ENROLLMENT, ALPHA, cast.PUBLISHED, cast.LEARNER),
    (cast.COMPLETED_ENROLLMENT, ALPHA, cast.ARCHIVED, cast.LEARNER),
    (cast.PEER_WITHDRAWN, ALPHA, cast.PUBLISHED, cast.PEER),
    (cast.TRAVELLER_ENROLLMENT, ALPHA, cast.PUBLISHED, cast.TRAVELLER),
    (cast.TRAVELLER_ELSEWHERE, BETA, cast.OTHER_PUBLISHED, cast.TRAVELLER),
    (cast.OTHER_ENROLLMENT, BETA, cast.OTHER_PUBLISHED, cast.OTHER_LEARNER),
)


def build_scenery(dsn: str) -> None:
    """As role `postgres`, who is under no policy; the triggers hold for everybody."""
    with psycopg.connect(dsn) as connection:
        _people(connection)
        _invitations(connection)
        _courses(connection)
        _programs(connection)
        _cohorts(connection)
        _enrollments(connection)
        connection.commit()  # which closes the versions of the programs
        _progress(connection)
        _sessions(connection)


def _insert(connection: psycopg.Connection, table: str, columns: str, rows: Rows) -> None:
    rows = list(rows)
    values = sql.SQL(", ").join([sql.Placeholder()] * len(rows[0]))
    into = sql.SQL(f"insert into {table} ({columns}) values ({{}})")  # both are literals of this file
    connection.cursor().executemany(into.format(values), rows)


def _people(connection: psycopg.Connection) -> None:
    # As Supabase's sign-in makes them: confirmed, and all of the one instance.
    people = [
        (_INSTANCE, person.id, person.email, person.email and _CONFIRMED_AT, person.is_anonymous)
        for person in cast.EVERYBODY
    ]
    columns = "instance_id, id, email, email_confirmed_at, is_anonymous"
    _insert(connection, "auth.users", columns, people)
    communities = [(ALPHA, "alpha", "Alpha"), (BETA, "beta", "Beta")]
    _insert(connection, "public.communities", "id, slug, name", communities)
    members = [(community, person.id, person.name, *rest) for community, person, *rest in _MEMBERS]
    _insert(connection, "public.memberships", "community_id, user_id, display_name, role, status", members)
    chosen = [(cast.SUSPENDED.id, ALPHA)]  # before they were suspended
    _insert(connection, "private.active_communities", "user_id, community_id", chosen)
    _insert(
        connection, "private.super_admins", "user_id, reason", [(cast.SUPER_ADMIN.id, "runs the platform")]
    )


def _invitations(connection: psycopg.Connection) -> None:
    invitations = [
        (cast.INVITATION, ALPHA, cast.NEWCOMER.email, "Nora", cast.ADMIN.id),
        (cast.OTHER_INVITATION, BETA, "stranger@cast.test", "Stranger", cast.OTHER_ADMIN.id),
    ]
    _insert(
        connection, "public.invitations", "id, community_id, email, display_name, invited_by", invitations
    )


def _courses(connection: psycopg.Connection) -> None:
    _insert(connection, "public.courses", "community_id, id, title, status", _COURSES)
    versions = [(community, course, 1) for community, course, *_ in _COURSES]
    _insert(connection, "public.course_versions", "community_id, course_id, version", versions)
    blocks = list(_blocks())
    identities = [(community, course, block) for community, course, _, block, *_ in blocks]
    identities.append((ALPHA, cast.DRAFT_COURSE, cast.DROPPED_BLOCK))
    _insert(connection, "public.block_identities", "community_id, course_id, id", identities)
    columns = "community_id, course_id, version, id, parent_id, position, kind, title, completion_mode"
    _insert(connection, "public.blocks", columns, blocks)
    published = [course for _, course, _, status in _COURSES if status == "published"]
    publish = (
        "update public.course_versions set published = true, published_at = %s where course_id = any(%s)"
    )
    connection.execute(publish, (_published_at("published"), published))


def _blocks() -> Rows:
    chapter, page, quiz = cast.BLOCKS
    for community, course in ((ALPHA, cast.COURSE), (BETA, cast.OTHER_COURSE)):
        yield community, course, 1, chapter, None, 1, "chapter", "Begin here", "aggregator"
        yield community, course, 1, page, chapter, 2, "page", "Read this", "completable"
        yield community, course, 1, quiz, chapter, 3, "quiz", "Answer this", "completable"
    yield ALPHA, cast.DRAFT_COURSE, 1, cast.DRAFT_BLOCK, None, 1, "page", "Not yet written", "completable"


def _programs(connection: psycopg.Connection) -> None:
    programs = [(*program, _published_at(program[-1])) for program in _PROGRAMS]
    _insert(connection, "public.programs", "community_id, id, title, status, published_at", programs)
    columns = "id, community_id, program_id, course_id, sequence_order, group_name"
    _insert(connection, "public.program_course_assignments", columns, _ASSIGNMENTS)
    _insert(connection, "public.program_course_groups", "community_id, program_id, name", _GROUPS)
    columns = "community_id, program_id, course_id, prerequisite_id"
    _insert(connection, "public.program_course_prerequisites", columns, _PREREQUISITES)


def _cohorts(connection: psycopg.Connection) -> None:
    _insert(connection, "public.cohorts", "id, community_id, program_id, name", _COHORTS)


def _published_at(status: str) -> datetime | None:
    return None if status == "draft" else datetime(2026, 9, 1, tzinfo=UTC)


def _enrollments(connection: psycopg.Connection) -> None:
    _enroll(connection, _ENROLLMENTS)
    _set_status(connection, "program_enrollments", "completed", cast.COMPLETED_ENROLLMENT)
    _set_status(connection, "program_enrollments", "withdrawn", cast.PEER_WITHDRAWN)
    _enroll(connection, [(cast.PEER_ENROLLMENT, ALPHA, cast.PUBLISHED, cast.PEER)])
    _set_status(connection, "programs", "archived", cast.ARCHIVED, cast.ARCHIVED_UNSEEN)
    join = "update public.program_enrollments set cohort_id = %s where id = %s"
    connection.execute(join, (cast.COHORT, cast.ENROLLMENT))
    _renewed(connection)


def _renewed(connection: psycopg.Connection) -> None:
    """A program that goes on without one who is in it."""
    _enroll(connection, [(cast.KEPT_ENROLLMENT, ALPHA, cast.RENEWED, cast.PEER)])
    _insert(
        connection, "public.program_versions", "community_id, program_id, version", [(ALPHA, cast.RENEWED, 2)]
    )
    columns = "community_id, program_id, version, course_id, sequence_order"
    assignments = [(ALPHA, cast.RENEWED, 2, cast.SECOND_COURSE, 1)]
    _insert(connection, "public.program_course_assignments", columns, assignments)
    connection.execute("update public.programs set version = 2 where id = %s", (cast.RENEWED,))
    columns = "community_id, id, enrollment_id, from_version, to_version, mode, reason"
    move = (ALPHA, cast.MOVE, cast.KEPT_ENROLLMENT, 1, 2, "keep", "nearly done")
    _insert(connection, "public.enrollment_moves", columns, [move])
    _set_status(connection, "programs", "archived", cast.RENEWED)


def _enroll(connection: psycopg.Connection, enrollments: Rows) -> None:
    rows = [(*row, person.id) for *row, person in enrollments]
    _insert(connection, "public.program_enrollments", "id, community_id, program_id, user_id", rows)


def _set_status(connection: psycopg.Connection, table: str, status: str, *ids: UUID) -> None:
    update = sql.SQL("update public.{} set status = %s where id = any(%s)").format(sql.Identifier(table))
    connection.execute(update, (status, list(ids)))


def _progress(connection: psycopg.Connection) -> None:
    """Half a page each, and a word of the admin about the quiz."""
    page, quiz = (str(block) for block in cast.BLOCKS[1:])  # Alpha and Beta have blocks of the same ids
    for learner, admin, other_course in (
        (cast.LEARNER, cast.ADMIN, cast.SECOND_COURSE),
        (cast.PEER, cast.ADMIN, cast.SECOND_COURSE),
        (cast.OTHER_LEARNER, cast.OTHER_ADMIN, cast.OTHER_DRAFT_COURSE),
    ):
        event = {"event_id": str(uuid4()), "block_id": page, "value": 0.5, "occurred_at": "2026-10-01T09:00Z"}
        _as(connection, learner, "record_progress", {"events": [event]})
        override = {
            "user_id": str(learner.id),
            "block_id": quiz,
            "value": 0.25,
            "reason": "Half of it by hand",
        }
        _as(connection, admin, "override_completion", override)
        attempt = [(learner.community, learner.id, other_course, 2, "Anew")]
        _insert(
            connection, "public.course_attempts", "community_id, user_id, course_id, attempt, reason", attempt
        )
        about_xapi = "community_id, user_id, id, verb, activity, sent_by, sent_by_admin, content, stored_at"
        verb, activity = "http://adlnet.gov/expapi/verbs/experienced", f"urn:uuid:{page}"
        said = {
            "actor": {"account": {"homePage": "https://cast.test", "name": str(learner.id)}},
            "verb": {"id": verb},
            "object": {"id": activity},
        }
        row = (learner.community, learner.id, uuid4(), verb, activity, learner.id, False, Jsonb(said))
        _insert(connection, "public.xapi_statements", about_xapi, [(*row, _CONFIRMED_AT)])
    _legacy(connection)
    queued = [(ALPHA, cast.KEPT_ENROLLMENT)]
    _insert(connection, "private.progress_queue", "community_id, enrollment_id", queued)
    connection.execute("insert into private.outbox_marks (before_xid) values ('1')")
    runs = [(community, "rest", 1, 1) for community in (ALPHA, BETA)]
    _insert(connection, "public.job_runs", "community_id, task, job_id, attempt", runs)


def _legacy(connection: psycopg.Connection) -> None:
    """A line each of a file, which are floors under nothing: the learners have no progress in these courses."""
    batch = uuid4()
    columns = "community_id, id, file_name, file_digest"
    files = [(community, batch, "legacy.csv", "0" * 64) for community in (ALPHA, BETA)]
    _insert(connection, "public.legacy_batches", columns, files)
    columns = "community_id, batch_id, line, user_id, course_id, attempt, version, percent, data"
    lines = [
        (person.community, batch, line, person.id, course, 9, 1, 40, Jsonb({"grade": "B"}))
        for line, (person, course) in enumerate(
            (
                (cast.LEARNER, cast.COURSE),
                (cast.PEER, cast.COURSE),
                (cast.OTHER_LEARNER, cast.OTHER_COURSE),
                (cast.OTHER_PEER, cast.OTHER_COURSE),
            ),
            start=2,
        )
    ]
    _insert(connection, "public.legacy_progress", columns, lines)


def _sessions(connection: psycopg.Connection) -> None:
    """An hour each, long ago; in Beta one that has just begun."""
    began = datetime(2026, 10, 1, 9, tzinfo=UTC)
    columns = "id, community_id, user_id, content_id, started_at, last_seen_at, ended_at"
    past = [
        (
            session,
            ALPHA,
            person.id,
            cast.COURSE,
            began,
            began + timedelta(hours=1),
            began + timedelta(hours=1),
        )
        for session, person in ((cast.SESSION, cast.LEARNER), (cast.PEER_SESSION, cast.PEER))
    ]
    _insert(connection, "public.learning_sessions", columns, past)
    _insert(
        connection,
        "public.learning_sessions",
        "id, community_id, user_id",
        [(cast.OTHER_SESSION, BETA, cast.OTHER_PEER.id)],
    )


def _as(connection: psycopg.Connection, somebody: Character, function: str, given: dict[str, Any]) -> None:
    """A mutation by its function, under somebody's claims."""
    claims = {"sub": str(somebody.id), "app_metadata": {"community_id": str(somebody.community)}}
    connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
    call = sql.SQL("select public.{}(%s)").format(sql.Identifier(function))
    connection.execute(call, [Jsonb(given)])
    connection.execute("select set_config('request.jwt.claims', '', true)")
