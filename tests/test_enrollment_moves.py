"""Moving enrolments to a newer version: only by decision, only forward, and told beforehand."""

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests import cast
from tests.api import Api
from tests.attempts import attempt, refusal
from tests.databases import Database
from tests.people import Person
from tests.structures import MOVE, PREVIEW, assign, course

ONE, TWO = cast.COURSE, cast.SECOND_COURSE
MOVES = """query ($id: UUID!) { program(id: $id) { enrollments { nodes { id programVersion
    moves { fromVersion toVersion mode reason movedBy { userId } } } } } }"""


def versions(database: Database, program: UUID) -> dict[UUID, int]:
    query = "select id, program_version from public.program_enrollments where program_id = %s"
    return dict(database.run(query, program))


async def move(api: Api, person: Person, **more: Any) -> Any:
    given = {"programId": cast.PUBLISHED, "fromVersion": 1, "mode": "CARRY_OVER", "reason": "New law", **more}
    return await api.ask(person, MOVE, input=given)


@pytest.fixture
async def changed(api: Api, as_admin: Person) -> None:
    """PUBLISHED is at version 2: without its first course, another group, and with criteria."""
    more = {"groups": [{"name": "New"}], "completionCriteria": {"group": "New"}}
    assert (await assign(api, as_admin, cast.PUBLISHED, course(TWO, group="New"), **more)).data


@pytest.mark.usefixtures("changed")
async def test_a_preview_tells_whom_a_move_touches_and_the_move_does_so(
    api: Api, as_admin: Person, database: Database
) -> None:
    before = versions(database, cast.PUBLISHED)
    preview = (await api.ask(as_admin, PREVIEW, program=cast.PUBLISHED, **{"from": 1})).data["previewMove"]
    assert versions(database, cast.PUBLISHED) == before

    moved = (await move(api, as_admin)).data["moveEnrollments"]

    counts = {
        key: preview[key] for key in ("pending", "active", "paused", "completed", "withdrawn", "expired")
    }
    assert counts == {"pending": 0, "active": 3, "paused": 0, "completed": 0, "withdrawn": 1, "expired": 0}
    assert (preview["fromVersion"], preview["toVersion"]) == (1, 2)
    assert (moved["moved"], moved["decided"], moved["toVersion"]) == (3, 3, 2)
    assert moved["differences"] == preview["differences"]
    assert versions(database, cast.PUBLISHED) == {**dict.fromkeys(before, 2), cast.PEER_WITHDRAWN: 1}


@pytest.mark.usefixtures("changed")
async def test_differences_say_what_was_and_what_is(api: Api, as_admin: Person) -> None:
    preview = (await api.ask(as_admin, PREVIEW, program=cast.PUBLISHED, **{"from": 1})).data["previewMove"]

    one: dict[str, Any] = {"group": None, "version": 1, "required": True, "prerequisites": []}
    two = {"group": "Core", "version": 1, "required": True, "prerequisites": [str(ONE)]}
    assert [list(difference.values()) for difference in preview["differences"]] == [
        ["COURSE_REMOVED", None, one, None, {"id": str(ONE)}],
        ["COURSE_CHANGED", None, two, {**two, "group": "New", "prerequisites": []}, {"id": str(TWO)}],
        ["GROUP_REMOVED", "Core", 1, None, None],
        ["GROUP_ADDED", "New", None, 1, None],
        ["CRITERIA_ADDED", None, None, {"group": "New"}, None],
    ]


@pytest.mark.usefixtures("changed")
async def test_keeping_is_a_decision_that_moves_nobody(
    api: Api, as_admin: Person, as_learner: Person, database: Database
) -> None:
    before = versions(database, cast.PUBLISHED)

    kept = (await move(api, as_admin, mode="KEEP", reason="Nearly done")).data["moveEnrollments"]
    shown = (await api.ask(as_admin, MOVES, id=cast.PUBLISHED)).data["program"]["enrollments"]["nodes"]
    seen = (await api.ask(as_learner, MOVES, id=cast.PUBLISHED)).data["program"]["enrollments"]["nodes"]

    assert (kept["moved"], kept["decided"], kept["remaining"]) == (0, 3, 0)
    assert versions(database, cast.PUBLISHED) == before
    decision = {"fromVersion": 1, "toVersion": 2, "mode": "KEEP", "reason": "Nearly done"}
    assert {node["id"]: node["moves"] for node in shown} == {
        str(enrollment): []
        if enrollment == cast.PEER_WITHDRAWN
        else [{**decision, "movedBy": {"userId": str(cast.ADMIN.id)}}]
        for enrollment in before
    }
    assert seen == [{"id": str(cast.ENROLLMENT), "programVersion": 1, "moves": []}]
    again = (await move(api, as_admin, mode="KEEP")).data["moveEnrollments"]
    assert (again["decided"], again["remaining"]) == (0, 0)


@pytest.mark.usefixtures("changed")
async def test_some_are_moved_and_the_others_stay(api: Api, as_admin: Person, database: Database) -> None:
    chosen = [cast.ENROLLMENT, cast.ENROLLMENT]
    preview = (await api.ask(as_admin, PREVIEW, program=cast.PUBLISHED, ids=chosen, **{"from": 1})).data[
        "previewMove"
    ]

    moved = (await move(api, as_admin, enrollmentIds=chosen, mode="REQUIRE_NEW")).data["moveEnrollments"]

    assert (preview["active"], preview["withdrawn"], moved["moved"]) == (1, 0, 1)
    after = versions(database, cast.PUBLISHED)
    assert [enrollment for enrollment, version in after.items() if version == 2] == [cast.ENROLLMENT]
    again = await move(api, as_admin, enrollmentIds=chosen)
    assert (again.code, again.field) == ("FAILED_PRECONDITION", "enrollmentIds.0")


@pytest.mark.usefixtures("changed")
@pytest.mark.parametrize(
    ("more", "code", "field"),
    [
        ({"fromVersion": 0}, "BAD_USER_INPUT", "fromVersion"),
        ({"fromVersion": 2}, "BAD_USER_INPUT", "fromVersion"),
        ({"fromVersion": 1, "toVersion": 1}, "BAD_USER_INPUT", "toVersion"),
        ({"fromVersion": 1, "toVersion": 3}, "BAD_USER_INPUT", "toVersion"),
        ({"programId": cast.OTHER_PUBLISHED}, "NOT_FOUND", "programId"),
        ({"programId": uuid4()}, "NOT_FOUND", "programId"),
        ({"enrollmentIds": []}, "BAD_USER_INPUT", "enrollmentIds"),
        ({"enrollmentIds": [uuid4() for _ in range(1001)]}, "BAD_USER_INPUT", "enrollmentIds"),
        ({"enrollmentIds": [cast.ENROLLMENT, cast.OTHER_ENROLLMENT]}, "NOT_FOUND", "enrollmentIds.1"),
        ({"enrollmentIds": [cast.KEPT_ENROLLMENT]}, "NOT_FOUND", "enrollmentIds.0"),
        ({"enrollmentIds": [cast.PEER_WITHDRAWN]}, "FAILED_PRECONDITION", "enrollmentIds.0"),
    ],
)
async def test_a_move_with_a_mistake_moves_nobody_and_its_preview_says_the_same(
    api: Api, as_admin: Person, database: Database, more: dict[str, Any], code: str, field: str
) -> None:
    before = versions(database, cast.PUBLISHED)
    names = {"program": "programId", "from": "fromVersion", "to": "toVersion", "ids": "enrollmentIds"}
    given = {"programId": cast.PUBLISHED, "fromVersion": 1, **more}

    reply = await move(api, as_admin, **more)
    preview = await api.ask(
        as_admin, PREVIEW, **{short: given[name] for short, name in names.items() if name in given}
    )

    assert (reply.code, reply.field) == (code, field)
    assert (preview.code, preview.field) == (code, field)
    assert versions(database, cast.PUBLISHED) == before


@pytest.mark.usefixtures("changed")
@pytest.mark.parametrize("reason", ["", " \u200b", "x" * 1001])
async def test_a_decision_has_a_reason(api: Api, as_admin: Person, database: Database, reason: str) -> None:
    before = versions(database, cast.PUBLISHED)

    reply = await move(api, as_admin, reason=reason)

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", "reason")
    assert versions(database, cast.PUBLISHED) == before


@pytest.mark.usefixtures("changed")
async def test_learners_neither_preview_nor_see_decisions(
    api: Api, as_learner: Person, as_other_community: Person
) -> None:
    assert (await api.ask(as_learner, PREVIEW, program=cast.PUBLISHED, **{"from": 1})).data == {
        "previewMove": None
    }
    elsewhere = await api.ask(as_other_community, PREVIEW, program=cast.PUBLISHED, **{"from": 1})
    assert elsewhere.code == "NOT_FOUND"
    for person in (as_learner, as_other_community):
        assert attempt(person, "select from public.enrollment_moves") == "0 rows"


INSERT = (
    "insert into public.enrollment_moves (enrollment_id, from_version, to_version, mode, reason) "
    "values ('{}', {}, {}, '{}', 'By SQL')"
)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ((cast.KEPT_ENROLLMENT, 1, 2, "carry_over"), ""),
        ((cast.KEPT_ENROLLMENT, 1, 2, "keep"), ""),
        ((cast.KEPT_ENROLLMENT, 1, 3, "keep"), "PT412"),
        ((cast.KEPT_ENROLLMENT, 1, 3, "carry_over"), "PT412"),
        ((cast.KEPT_ENROLLMENT, 0, 2, "carry_over"), "PT412"),
        ((cast.KEPT_ENROLLMENT, 1, 1, "carry_over"), "23514"),
        ((cast.KEPT_ENROLLMENT, 1, 2, "away"), "23514"),
        ((cast.COMPLETED_ENROLLMENT, 1, 2, "keep"), "PT412"),
        ((cast.OTHER_ENROLLMENT, 1, 2, "carry_over"), "23503"),
    ],
)
def test_admins_who_move_by_sql_meet_the_same_rules(
    as_admin: Person, values: tuple[Any, ...], code: str
) -> None:
    assert refusal(as_admin, INSERT.format(*values)) == code


def test_nobody_decides_in_another_community(as_other_community: Person, as_admin: Person) -> None:
    insert = INSERT.format(cast.KEPT_ENROLLMENT, 1, 2, "carry_over")
    insert = insert.replace("(enrollment_id", "(community_id, enrollment_id").replace(
        "values (", f"values ('{cast.ALPHA}', "
    )

    assert refusal(as_other_community, insert) == "42501"
    assert refusal(as_admin, insert) == ""


def test_a_decision_by_sql_is_carried_out_once(as_admin: Person, database: Database) -> None:
    carry_over = INSERT.format(cast.KEPT_ENROLLMENT, 1, 2, "carry_over")

    as_admin.sql(carry_over)

    assert versions(database, cast.RENEWED) == {cast.KEPT_ENROLLMENT: 2}
    assert refusal(as_admin, carry_over) == "PT412"


@pytest.mark.parametrize(
    "change", ["update public.enrollment_moves set reason = 'x'", "delete from public.enrollment_moves"]
)
def test_nobody_changes_what_was_decided(database: Database, change: str) -> None:
    with database.connect() as connection, pytest.raises(psycopg.Error, match="stays as it is"):
        connection.execute(change)


def test_decisions_go_with_the_person_that_they_are_about(database: Database) -> None:
    database.run("delete from auth.users where id = %s", cast.PEER.id)

    assert database.run("select from public.enrollment_moves") == []


@pytest.mark.usefixtures("changed")
async def test_a_crowd_is_moved_in_parts(api: Api, as_admin: Person, database: Database) -> None:
    with psycopg.connect(database.dsn("supabase_admin")) as connection:
        connection.execute("set session_replication_role = replica")  # nothing to be checked one by one
        connection.execute(
            "insert into public.program_enrollments (community_id, program_id, program_version, user_id) "
            "select %s, %s, 1, gen_random_uuid() from generate_series(1, 5005)",
            (cast.ALPHA, cast.PUBLISHED),
        )

    parts = [(await move(api, as_admin)).data["moveEnrollments"] for _ in range(3)]

    assert [(part["moved"], part["remaining"]) for part in parts] == [(5_000, 8), (8, 0), (0, 0)]


@pytest.mark.usefixtures("changed")
async def test_why_enrolments_were_moved_is_in_the_audit_log_and_with_nothing_else(
    api: Api, as_admin: Person, database: Database
) -> None:
    document = MOVE.replace("mutation (", "mutation ($title: UpdateProgramInput!, ").removesuffix("}") + (
        "updateProgram(input: $title) { program { id } } }"
    )
    given = {"programId": cast.PUBLISHED, "fromVersion": 1, "mode": "CARRY_OVER", "reason": "New law"}

    reply = await api.ask(as_admin, document, input=given, title={"id": cast.PUBLISHED, "title": "New"})

    written = database.run(
        "select object_type, reason, count(*)::integer from public.audit_entries "
        "where xid = (select max(xid) from public.audit_entries) group by 1, 2 order by 1"
    )
    assert reply.data["moveEnrollments"]["moved"] == 3
    assert written == [
        ("enrollment_move", "New law", 3),
        ("program", None, 1),
        ("program_enrollment", "New law", 3),
    ]


@pytest.mark.usefixtures("changed")
async def test_a_version_that_there_is_only_one_of_is_named(api: Api, as_admin: Person) -> None:
    reply = await move(api, as_admin, toVersion=1)

    assert reply.error["message"] == "Enrolments go forward only, from version 1 to version 2."
