"""No row points into another community, and no error tells what is there: its ids are like ids of nothing."""

from uuid import UUID, uuid4

import psycopg
import pytest

from tests import cast
from tests.attempts import attempt
from tests.cast import ALPHA, BETA
from tests.databases import Database
from tests.people import Person

# Each is asked with an id of Beta's and with an id of nothing's. `%s` is where it goes.
QUESTIONS = {
    "public.update_program(jsonb_build_object('id', %s::text, 'title', 'Mine'))": cast.OTHER_DRAFT,
    "public.publish_program(jsonb_build_object('id', %s::text))": cast.OTHER_DRAFT,
    "public.archive_program(jsonb_build_object('id', %s::text))": cast.OTHER_PUBLISHED,
    "public.restore_program(jsonb_build_object('id', %s::text))": cast.OTHER_PUBLISHED,
    "public.delete_program(jsonb_build_object('id', %s::text))": cast.OTHER_DRAFT,
    "public.assign_courses(jsonb_build_object('program_id', %s::text, 'courses', '[]'::jsonb))": cast.OTHER_DRAFT,
    f"public.assign_courses(jsonb_build_object('program_id', '{cast.DRAFT}', 'courses', "
    "jsonb_build_array(jsonb_build_object('course_id', %s::text))))": cast.OTHER_COURSE,
    "public.import_course(jsonb_build_object('course_id', %s::text, 'course', "
    """'{"format": "course/1", "title": "Mine", "blocks": []}'::jsonb))""": cast.OTHER_COURSE,
    "public.update_course(jsonb_build_object('id', %s::text, 'title', 'Mine'))": cast.OTHER_COURSE,
    "public.publish_course(jsonb_build_object('id', %s::text))": cast.OTHER_DRAFT_COURSE,
    "public.archive_course(jsonb_build_object('id', %s::text))": cast.OTHER_COURSE,
    "public.restore_course(jsonb_build_object('id', %s::text))": cast.OTHER_COURSE,
    "public.delete_course(jsonb_build_object('id', %s::text))": cast.OTHER_DRAFT_COURSE,
    "public.discard_course_version(jsonb_build_object('id', %s::text))": cast.OTHER_COURSE,
    "public.enroll(jsonb_build_object('program_id', %s::text))": cast.OTHER_PUBLISHED,
    f"public.enroll(jsonb_build_object('program_id', '{cast.OPEN_TO_ALL}', 'user_id', %s::text))": cast.OTHER_PEER.id,
    "public.withdraw_enrollment(jsonb_build_object('id', %s::text))": cast.OTHER_ENROLLMENT,
    "public.remove_member(jsonb_build_object('user_id', %s::text))": cast.OTHER_PEER.id,
    "public.suspend_member(jsonb_build_object('user_id', %s::text, 'reason', 'x'))": cast.OTHER_PEER.id,
    "public.reinstate_member(jsonb_build_object('user_id', %s::text))": cast.OTHER_PEER.id,
    "public.change_member_role(jsonb_build_object('user_id', %s::text, 'role', 'end_user'))": cast.OTHER_PEER.id,
    "public.revoke_invitation(jsonb_build_object('id', %s::text))": cast.OTHER_INVITATION,
    "public.accept_invitation(jsonb_build_object('id', %s::text))": cast.OTHER_INVITATION,
    "public.decline_invitation(jsonb_build_object('id', %s::text))": cast.OTHER_INVITATION,
    "public.update_community(jsonb_build_object('id', %s::text, 'name', 'Mine'))": cast.BETA,
    "public.leave_community(jsonb_build_object('community_id', %s::text))": cast.BETA,
    "public.update_enrollment(jsonb_build_object('id', %s::text, 'status', 'paused'))": cast.OTHER_ENROLLMENT,
    f"public.update_enrollment(jsonb_build_object('id', '{cast.ENROLLMENT}', 'cohort_id', %s::text))": (
        cast.OTHER_COHORT
    ),
    f"public.enroll(jsonb_build_object('program_id', '{cast.OPEN_TO_ALL}', 'user_id', '{cast.PEER.id}', "
    "'cohort_id', %s::text))": cast.OTHER_COHORT,
    "public.enroll_people(jsonb_build_object('program_id', %s::text, 'user_ids', "
    f"jsonb_build_array('{cast.PEER.id}')))": cast.OTHER_PUBLISHED,
    f"public.enroll_people(jsonb_build_object('program_id', '{cast.OPEN_TO_ALL}', 'cohort_id', %s::text, "
    f"'user_ids', jsonb_build_array('{cast.PEER.id}')))": cast.OTHER_COHORT,
    "public.create_cohort(jsonb_build_object('program_id', %s::text, 'name', 'Ours'))": cast.OTHER_PUBLISHED,
    "public.update_cohort(jsonb_build_object('id', %s::text, 'name', 'Ours'))": cast.OTHER_COHORT,
    "public.override_completion(jsonb_build_object('user_id', %s::text, 'block_id', "
    f"'{cast.BLOCKS[1]}', 'value', 1, 'reason', 'x'))": cast.OTHER_PEER.id,
    "public.reset_progress(jsonb_build_object('user_id', %s::text, 'course_id', "
    f"'{cast.COURSE}', 'reason', 'x'))": cast.OTHER_PEER.id,
    f"public.reset_progress(jsonb_build_object('user_id', '{cast.PEER.id}', 'course_id', %s::text, 'reason', 'x'))": (
        cast.OTHER_COURSE
    ),
    f"public.reset_progress(jsonb_build_object('user_id', '{cast.PEER.id}', 'program_id', %s::text, 'reason', 'x'))": (
        cast.OTHER_PUBLISHED
    ),
    "public.start_session(jsonb_build_object('content_id', %s::text))": cast.OTHER_COURSE,
    "public.heartbeat_session(jsonb_build_object('id', %s::text, 'counter', 1, 'visible_seconds', 20))": (
        cast.OTHER_SESSION
    ),
    "public.end_session(jsonb_build_object('id', %s::text))": cast.OTHER_SESSION,
    "public.delete_cohort(jsonb_build_object('id', %s::text))": cast.OTHER_COHORT,
}
WRITES = {
    "insert into public.program_enrollments (program_id) values (%s)": cast.OTHER_PUBLISHED,
    f"insert into public.program_enrollments (program_id, user_id) values ('{cast.OPEN_TO_ALL}', %s)": (
        cast.OTHER_PEER.id
    ),
    "insert into public.program_course_assignments (program_id, course_id, sequence_order) "
    f"values (%s, '{cast.COURSE}', 9)": cast.OTHER_DRAFT,
    "insert into public.program_course_assignments (program_id, course_id, sequence_order) "
    f"values ('{cast.DRAFT}', %s, 9)": cast.OTHER_COURSE,
    "update public.memberships set status = 'left' where user_id = %s": cast.OTHER_PEER.id,
    "update public.invitations set role = 'community_admin' where id = %s": cast.OTHER_INVITATION,
    "delete from public.invitations where id = %s": cast.OTHER_INVITATION,
    "update public.communities set name = 'Mine' where id = %s": cast.BETA,
    "update public.programs set title = 'Mine' where id = %s": cast.OTHER_DRAFT,
    "delete from public.programs where id = %s": cast.OTHER_DRAFT,
    "update public.program_enrollments set status = 'withdrawn' where id = %s": cast.OTHER_ENROLLMENT,
    "delete from public.program_course_assignments where id = %s": cast.OTHER_ASSIGNMENT,
    "insert into public.cohorts (program_id, name) values (%s, 'Ours')": cast.OTHER_PUBLISHED,
    "update public.cohorts set name = 'Ours' where id = %s": cast.OTHER_COHORT,
    "delete from public.cohorts where id = %s": cast.OTHER_COHORT,
    f"update public.program_enrollments set cohort_id = %s where id = '{cast.ENROLLMENT}'": cast.OTHER_COHORT,
}


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.fixture(params=["learner", "admin", "super_admin", "suspended"])
def person(request: pytest.FixtureRequest) -> Person:
    who: Person = request.getfixturevalue(f"as_{request.param}")
    return who


@pytest.mark.parametrize(("call", "theirs"), QUESTIONS.items())
def test_functions_answer_as_if_it_did_not_exist(person: Person, call: str, theirs: UUID) -> None:
    answer = attempt(person, f"select {call}", theirs)

    assert answer == attempt(person, f"select {call}", uuid4())
    assert not answer.endswith("rows")


@pytest.mark.parametrize(("statement", "theirs"), WRITES.items())
def test_statements_answer_as_if_it_did_not_exist(person: Person, statement: str, theirs: UUID) -> None:
    answer = attempt(person, statement, theirs)

    assert answer == attempt(person, statement, uuid4())
    assert answer == "0 rows" or not answer.endswith("rows")


@pytest.mark.parametrize(
    "statement",
    [
        "insert into public.program_course_assignments (community_id, program_id, course_id, sequence_order) "
        f"values ('{ALPHA}', '{cast.DRAFT}', '{cast.OTHER_COURSE}', 9)",
        "insert into public.program_course_assignments (community_id, program_id, course_id, sequence_order) "
        f"values ('{ALPHA}', '{cast.OTHER_DRAFT}', '{cast.COURSE}', 9)",
        f"update public.program_course_assignments set community_id = '{BETA}' where id = '{cast.ASSIGNMENT}'",
        f"update public.program_enrollments set community_id = '{BETA}' where id = '{cast.ENROLLMENT}'",
        "insert into public.blocks (community_id, course_id, version, kind, title, position) "
        f"values ('{ALPHA}', '{cast.OTHER_COURSE}', 1, 'page', 'Ours', 9)",
        "insert into public.course_versions (community_id, course_id, version) "
        f"values ('{ALPHA}', '{cast.OTHER_COURSE}', 2)",
        "insert into public.cohorts (community_id, program_id, name) "
        f"values ('{ALPHA}', '{cast.OTHER_PUBLISHED}', 'Ours')",
        f"update public.program_enrollments set cohort_id = '{cast.OTHER_COHORT}' where id = '{cast.ENROLLMENT}'",
    ],
)
def test_even_the_owner_of_the_tables_cannot_link_communities(database: Database, statement: str) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        database.run(statement)


def test_unique_keys_do_not_tell_about_the_other_community(database: Database) -> None:
    """What one community has, the other can have too, id and all."""
    copy = "insert into public.programs (community_id, id, title) values (%s, %s, %s)"
    with database.connect() as connection, connection.transaction(force_rollback=True):
        theirs = connection.execute("select id, title from public.programs where community_id = %s", (BETA,))
        for program, title in theirs.fetchall():
            connection.execute(copy, (ALPHA, program, title))


def test_learners_learn_nothing_about_colleagues_and_drafts(as_learner: Person) -> None:
    enroll = "insert into public.program_enrollments (program_id, user_id) values (%s, %s)"
    nobody, nothing = uuid4(), uuid4()

    about_people = {
        attempt(as_learner, enroll, cast.OPEN_TO_ALL, person)
        for person in (cast.PEER.id, cast.SUSPENDED.id, cast.OTHER_PEER.id, nobody)
    }
    about_programs = {
        attempt(as_learner, enroll, program, cast.LEARNER.id)
        for program in (cast.DRAFT, cast.ARCHIVED_UNSEEN, cast.OTHER_PUBLISHED, nothing)
    }

    assert about_people == {"PT403: Only admins of the community may do this. Ask one of them."}
    assert about_programs == {"PT404: There is no program with this id in your community."}
