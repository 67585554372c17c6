"""Every statement that the schema compiles to reads little more than it shows, whoever asks, in a large community."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from schema import model
from tests import cast, crowd
from tests.crowded import Crowded, connection_of, crowded_database
from tests.databases import Database
from tests.people import signed_in
from tests.plans import MODES, Connection, complaints, growth, run
from tests.shapes import Path, Shape, mutation_document, paths, shapes_of, table_at

FEW, MANY = 5, 50

PEOPLE = {"learner": cast.LEARNER, "admin": cast.ADMIN, "super admin": cast.SUPER_ADMIN}
PATHS = paths(model())

# What is let pass. Each of the first four may read the rows of the caller's community once, and no more.

# The policy says "one's own, or everybody's for admins", and one plan serves both: in the order of the list, with the
# policy as a filter. So an admin's page is read as it is shown, and a learner's goes past everybody else's rows. Only a
# statement with two branches, of which the caller's role opens one, could serve both.
OWN_AMONG_ALL = {
    "enrollments": "program_enrollments",
    "members": "memberships",
    "invitations": "invitations",  # of which a learner sees none
    "cohorts": "cohorts",
    "blockCompletions": "block_completions",
    "learningSessions": "learning_sessions",
    "legacyProgress": "legacy_progress",
    "jobRuns": "job_runs",  # of which a learner sees none
}
# Nor is there an index for "those one belongs to, or all for super admins", and there are not many communities.
COMMUNITIES = "communities"
# No index leads to a state, a role or a part of a title, nor to all that people did in a course or with a block. Where
# few rows have it, a page of them goes through the list; an index for each would cost more, at every write.
UNINDEXED = {"status", "role", "search", "attempt", "courseId", "blockId"}
# An index leads to what is due before some moment. Made for any moment, a plan goes by it, and sorts all that it finds.
SORTED = {"dueBefore"}
# Two indexes lead to one person, one cohort or what is overdue in one program. The planner takes them for equally good,
# and may go by those, or by the program.
TWO_INDEXES = (("programs", "enrollments"), {"userId", "cohortId", "overdue"})
# Fields that a function computes from a row, each with the questions it may ask a value: it is planned apart from the
# statement, so its calls share no answers. COMPUTED_WEIGHT and COMPUTED_ROW_WEIGHT limit how many there can be.
COMPUTED = {
    "private.member_email": 6,
    "private.program_stats": 6,
    "private.block_count": 6,
    "private.audit_entry_is_sealed": 6,
    "private.is_overdue": 0,
    "private.courses_of_progress": 6,
    "private.missing_requirements": 6,
    "private.next_block": 6,
    "private.blocks_of_progress": 6,
    "private.session_ended_at": 0,
    "private.engagement": 6,
    "private.engagement_score": 0,
    "private.engagement_components": 0,
}
# Who sees a program sees its courses: the program is looked up by its primary key for each of them.
LOOKED_UP_BY_POLICIES = {"programs_pkey"}

MUTATIONS: Mapping[str, Any] = {
    "createCommunity": {"slug": "gamma", "name": "Gamma"},
    "updateCommunity": {"id": cast.ALPHA, "name": "New"},
    "switchCommunity": {"communityId": cast.ALPHA},
    "changeMemberRole": {"userId": crowd.MEMBER, "role": "COMMUNITY_ADMIN"},
    "suspendMember": {"userId": crowd.MEMBER, "reason": "Spam"},
    "reinstateMember": {"userId": cast.SUSPENDED.id},
    "removeMember": {"userId": crowd.MEMBER},
    "leaveCommunity": {},
    "inviteMember": {"email": "somebody@place9.test", "displayName": "Somebody"},
    "revokeInvitation": {"id": crowd.INVITATION},
    "acceptInvitation": {"id": crowd.OWN_INVITATION},
    "declineInvitation": {"id": crowd.OWN_INVITATION},
    "createProgram": {"title": "New"},
    "updateProgram": {"id": crowd.PROGRAM, "title": "Newer"},
    "publishProgram": {"id": cast.DRAFT},
    "archiveProgram": {"id": crowd.PROGRAM},
    "restoreProgram": {"id": cast.ARCHIVED},
    "deleteProgram": {"id": cast.DRAFT},
    "assignCourses": {"programId": crowd.PROGRAM, "courses": [{"courseId": crowd.COURSE}]},
    "importCourse": {
        "course": {"format": "course/1", "title": "New", "blocks": []},
        "courseId": crowd.COURSE,
    },
    "updateCourse": {"id": crowd.COURSE, "title": "Newer"},
    "publishCourse": {
        "id": crowd.DRAFT_COURSE
    },  # it takes no program along, which would each be written anew
    "archiveCourse": {"id": crowd.COURSE},
    "restoreCourse": {"id": crowd.ARCHIVED_COURSE},
    "deleteCourse": {"id": crowd.DRAFT_COURSE},
    "discardCourseVersion": {"id": crowd.COURSE},
    # Of few courses: references to one in a program are looked up by an index that has some of other programs, too.
    "cloneProgram": {"id": cast.PUBLISHED},
    "moveEnrollments": {
        "programId": cast.RENEWED,
        "fromVersion": 1,
        "mode": "CARRY_OVER",
        "reason": "Newer",
    },
    "enroll": {"programId": cast.OPEN_TO_ALL, "userId": cast.LEARNER.id},
    "updateEnrollment": {"id": cast.ENROLLMENT, "status": "PAUSED", "cohortId": cast.EMPTY_COHORT},
    "withdrawEnrollment": {"id": cast.ENROLLMENT},
    "createCohort": {"programId": crowd.PROGRAM, "name": "New"},
    "updateCohort": {"id": crowd.COHORT, "name": "Newer"},
    "deleteCohort": {"id": cast.EMPTY_COHORT},
    "recordProgress": {
        "events": [
            {"eventId": cast.MOVE, "blockId": crowd.BEGUN_BLOCK, "occurredAt": "2026-11-01T09:00:00Z"},
            {"eventId": cast.COURSE, "blockId": cast.BLOCKS[1], "occurredAt": "2026-11-01T09:00:00Z"},
        ]
    },
    "overrideCompletion": {"userId": cast.LEARNER.id, "blockId": crowd.BEGUN_BLOCK, "reason": "By hand"},
    "resetProgress": {"userId": cast.LEARNER.id, "courseId": cast.COURSE, "reason": "Again"},
    "startSession": {"contentId": crowd.BEGUN_BLOCK},
    "heartbeatSession": {"id": crowd.OPEN_SESSION, "counter": 1, "visibleSeconds": 20},
    "endSession": {"id": crowd.OPEN_SESSION},
}
# What somebody does may complete each program that they are in, and the learner is in 60 of four courses: their
# enrolments are gone through, and in each one course is looked up.
FOLLOWED = dict.fromkeys(
    ("recordProgress", "overrideCompletion", "resetProgress"),
    ("program_enrollments", "program_course_assignments"),
)
READ_FOR_PROGRESS = 3 * 60
# Those that others carry out than admins and super admins.
CARRIED_OUT_BY = {
    "createCommunity": ("super admin",),
    "switchCommunity": tuple(PEOPLE),
    "leaveCommunity": ("learner", "admin"),
    "acceptInvitation": ("learner",),
    "declineInvitation": ("learner",),
    "enroll": tuple(PEOPLE),
    "withdrawEnrollment": tuple(PEOPLE),
    "recordProgress": tuple(PEOPLE),
    "startSession": ("learner", "admin"),
    "heartbeatSession": ("learner",),
    "endSession": ("learner",),
}


@pytest.fixture(scope="module")
def crowded(template: Database) -> Iterator[Crowded]:
    with crowded_database(template) as crowded:
        yield crowded


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("path", PATHS, ids=".".join)
async def test_a_statement_reads_little_and_asks_once(crowded: Crowded, path: Path, who: str) -> None:
    found = {shape.name: await _wrong(crowded, shape, who) for shape in shapes_of(model(), path)}

    assert {name: words for name, words in found.items() if words} == {}


async def _wrong(crowded: Crowded, shape: Shape, who: str, *, strict: bool = False) -> list[str]:
    """What is wrong with how somebody's long pages of a shape are read, and with how the work grows towards them.

    When strict, nothing is let pass.
    """
    person, variables = signed_in(crowded.database, PEOPLE[who]), await crowded.variables(shape)
    once = {} if strict else {table: crowded.rows[table] for table in _read_once_through(shape, who)}
    looked_up, computed = ((), {}) if strict else (LOOKED_UP_BY_POLICIES, COMPUTED)
    many = await crowded.statements(person, shape.document, {**variables, "first": MANY})
    found, ran = [], {}
    for mode in MODES:
        (ran[mode],) = run(crowded.connection, person, many, mode)
        wrong = complaints(ran[mode], page=MANY, once_through=once, looked_up=looked_up)
        found += [f"{words} ({mode})" for words in wrong]
    if shape.has_first:
        few = await crowded.statements(person, shape.document, {**variables, "first": FEW})
        (ran_few,) = run(crowded.connection, person, few, MODES[0], explain=False)
        found += growth(ran_few, ran[MODES[0]], crowded.questions, computed)
    return found


def _read_once_through(shape: Shape, who: str) -> Iterator[str]:
    """The tables that may be, each for one of the reasons above."""
    yield from (
        table for name, table in OWN_AMONG_ALL.items() if who == "learner" and _lists_own(shape, name)
    )
    unindexed = shape.filters & UNINDEXED and (
        shape.rare or shape.filters & {"search", "courseId", "blockId"}
    )
    if "nextBlock" in shape.document:
        yield "blocks"  # the next one is found among those of its course
    if unindexed or shape.filters & SORTED or shape.path[-1] == COMMUNITIES or _has_two_indexes(shape):
        yield table_at(model(), shape.path)


def _lists_own(shape: Shape, name: str) -> bool:
    """Whether a list of everybody's is in it; that of the viewer names a person, so that an index serves it."""
    named = shape.document.count(f"{name}(")
    return named > (1 if shape.path[0] == "viewer" else 0)


def _has_two_indexes(shape: Shape) -> bool:
    path, names = TWO_INDEXES
    return shape.path == path and bool(names & shape.filters)


def test_every_mutation_is_tried() -> None:
    assert set(MUTATIONS) == set(model().types["Mutation"].fields)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("name", "who"),
    [(name, who) for name in MUTATIONS for who in CARRIED_OUT_BY.get(name, ("admin", "super admin"))],
)
async def test_a_mutation_reads_little(crowded: Crowded, name: str, who: str, mode: str) -> None:
    person, document = signed_in(crowded.database, PEOPLE[who]), mutation_document(model(), name)
    once = {table: crowded.rows[table] for table in OWN_AMONG_ALL.values() if who == "learner"}
    once |= dict.fromkeys(FOLLOWED.get(name, ()), READ_FOR_PROGRESS)

    call, projection = await crowded.statements(person, document, {"input": MUTATIONS[name]})
    outcome = run(crowded.connection, person, [call, projection], mode)

    found = [complaints(ran, page=0, once_through=once, looked_up=LOOKED_UP_BY_POLICIES) for ran in outcome]
    assert found == [[], []]


def test_every_tenant_table_is_planned_for_a_large_community(crowded: Crowded) -> None:
    untold = """
        select attrelid::regclass::text from pg_attribute
        where attrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r')
            and attname = 'community_id' and attoptions is distinct from '{n_distinct=20}'
    """

    assert crowded.database.run(untold) == []


@pytest.mark.parametrize(
    ("name", "who", "complaint"),
    [
        ("enrollments", "learner", "rows of program_enrollments"),
        ("members", "learner", "rows of memberships"),
        ("communities", "admin", "rows of communities"),
        ("how many enrollments with status EXPIRED", "admin", "rows of program_enrollments"),
        ("how many members with role COMMUNITY_ADMIN", "admin", "rows of memberships"),
        ("programs with search no such text", "admin", "rows of programs"),
        ("programs.enrollments with userId", "admin", "rows of program_enrollments"),
        ("more programs.enrollments with cohortId", "admin", "rows of program_enrollments"),
        ("enrollments with dueBefore", "admin", "rows of program_enrollments"),
        ("cohorts", "learner", "rows of cohorts"),
        ("learningSessions", "learner", "rows of learning_sessions"),
        ("learningSessions.engagement", "admin", "asks private.is_community_admin"),
        ("members.email", "admin", "asks private.is_community_admin"),
        ("programs.stats", "admin", "asks private.is_community_admin"),
        ("courses.versions.blockCount", "admin", "asks private.is_community_admin"),
        ("auditLog.sealed", "admin", "asks private.is_community_admin"),
        ("programs.courseAssignments", "learner", "programs_pkey is searched"),
    ],
)
async def test_what_is_let_pass_is_still_there(crowded: Crowded, name: str, who: str, complaint: str) -> None:
    found = await _wrong(crowded, _shape(name), who, strict=True)

    assert any(complaint in words for words in found), found


# What goes wrong; by whom and in which shape it is noticed, and how.
BREAKAGES = {
    "a policy's question is put to each row": (
        "alter policy members_see_programs_admins_all on public.programs"
        " using (status = 'published' or private.is_community_admin())",
        *("programs", "admin", "Index Scan asks every row"),
    ),
    "a policy's question is counted": (
        "alter policy members_see_programs_admins_all on public.programs"
        " using (private.is_community_admin() or status = 'published')",
        *("programs", "learner", "asks private.is_community_admin"),
    ),
    "a platform's question is put to each row": (
        "alter policy learners_see_their_enrollments_admins_all on public.program_enrollments"
        " using (user_id = auth.uid() or (select private.is_community_admin()))",
        *("enrollments", "learner", "Index Scan asks every row"),
    ),
    "a policy looks at another table for each row": (
        "alter policy members_see_courses_admins_drafts_too on public.courses using (exists ("
        "select from public.memberships as m where m.user_id = (select auth.uid())"
        " and m.community_id = courses.community_id and m.joined_at > courses.created_at))",
        *("courses", "admin", "times by a policy"),
    ),
    "no index has the order of a list": (
        "drop index public.program_enrollments_enrolled_at_idx",
        *("enrollments", "admin", "of program_enrollments"),
    ),
    "no index has the order of a list of few": (
        "drop index public.memberships_display_name_idx",
        *("members", "admin", "of memberships"),
    ),
    "no index has the order that is asked for": (
        "drop index public.programs_title_idx",
        *("programs by TITLE ASC after", "learner", "of programs"),
    ),
    "no index leads to what belongs to a row": (
        "alter table public.program_course_assignments drop constraint program_course_assignments_place_once,"
        " drop constraint program_course_assignments_course_once cascade",
        *("programs.courseAssignments", "admin", "of program_course_assignments"),
    ),
    "no index leads to what happened to a thing": (
        "drop index public.audit_entries_object_idx",
        *("auditLog with objectId", "admin", "of audit_entries"),
    ),
    "no index leads to what is overdue": (
        "drop index public.program_enrollments_open_due_idx",
        *("how many enrollments with overdue True", "admin", "of program_enrollments"),
    ),
    "no index leads to a person's sessions": (
        "drop index public.learning_sessions_user_idx",
        *("learningSessions with userId", "admin", "of learning_sessions"),
    ),
    "no index leads to a cohort": (
        "drop index public.program_enrollments_cohort_idx",
        *("enrollments with cohortId", "admin", "of program_enrollments"),
    ),
    "the planner expects communities of average size": (
        "alter table public.programs alter column community_id reset (n_distinct); analyze public.programs",
        *("enrollments.program", "admin", "pairs of rows in vain"),
    ),
    "the planner expects a slow disk": (
        "set local random_page_cost = 4",
        *("more enrollments with programId", "admin", "of program_enrollments"),
    ),
    "the planner expects a thousand viewers": (
        "alter function private.viewer() rows 1000",
        *("viewer.community", "learner", "Seq Scan of communities"),
    ),
}


@pytest.mark.parametrize(("breakage", "name", "who", "complaint"), BREAKAGES.values(), ids=BREAKAGES)
async def test_a_wrong_plan_shows(
    crowded: Crowded, breakage: str, name: str, who: str, complaint: str
) -> None:
    with (
        connection_of(crowded.database, "supabase_admin") as connection,
        connection.transaction(force_rollback=True),
    ):
        _take_settings(connection, crowded.connection)
        connection.execute(breakage)
        found = await _wrong(replace(crowded, connection=connection), _shape(name), who)

    assert any(complaint in words for words in found), found


def _shape(name: str) -> Shape:
    return next(shape for path in PATHS for shape in shapes_of(model(), path) if shape.name == name)


def _take_settings(connection: Connection, servers: Connection) -> None:
    for name in ("random_page_cost", "track_functions"):
        ((value,),) = servers.execute("select current_setting(%s)", [name]).fetchall()
        connection.execute("select set_config(%s, %s, true)", [name, value])
