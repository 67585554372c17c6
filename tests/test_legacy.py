"""What an earlier system showed is a floor under people's progress: in no order of things does anybody fall."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from jobs.imports import ImportFailed
from jobs.legacy import undo_legacy
from tests import cast
from tests.api import Api
from tests.course_documents import block, block_id, section
from tests.databases import Database
from tests.legacy_files import imported, moment, outcomes, state, written
from tests.people import Person, put_on
from tests.progress_model import best_values, numbers
from tests.progressing import (
    RESET,
    act,
    course_progress,
    enroll,
    event,
    offer,
    program_progress,
    record,
    teach,
)

BLOCKS = [section(1), block(2, 1), block(3, 1), block(4, weight=2), block(5, required=False)]
LENA = str(cast.LEARNER.id)
LEGACY = """query ($filter: LegacyProgressFilter) { legacyProgress(filter: $filter, first: 100) { totalCount nodes {
    percent completedAt data attempt course { id } member { userId } batch { id fileName undoneAt } } } }"""
PERCENT = """query ($course: UUID!) { courseProgress(courseId: $course) { percent legacyPercent status } }"""


@pytest.fixture
async def course(api: Api, as_admin: Person) -> str:
    return await teach(api, as_admin, *BLOCKS)


def counts(database: Database) -> list[Any]:
    return database.run(
        "select (select count(*) from public.progress_events), (select count(*) from public.block_completions)"
    )


async def test_it_is_shown_where_it_is_more(
    api: Api, database: Database, as_admin: Person, as_learner: Person, course: str, tmp_path: Path
) -> None:
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)
    before = counts(database)

    done = imported(database, written(tmp_path / "a.csv", f"{LENA},{course},40.5,"))

    assert outcomes(done) == [("raised", 0, 40)]
    progress = await course_progress(api, as_learner, course)
    assert (progress["status"], progress["percent"], progress["doneRequired"]) == ("IN_PROGRESS", 40, 0)
    assert (progress["earned"], progress["startedAt"]) == (0, None)
    asked = (await api.ask(as_learner, PERCENT, course=course)).data["courseProgress"]
    assert asked == {"percent": 40.0, "legacyPercent": 40.5, "status": "IN_PROGRESS"}
    program_now = await program_progress(api, as_learner, program)
    assert (program_now["status"], program_now["percent"]) == ("IN_PROGRESS", 40)
    assert program_now["missing"][0]["percent"] == 40
    assert program_now["missing"][0]["description"].endswith("An earlier system had it at 40.5 percent.")
    # No block is made up for it, and no event.
    assert counts(database) == before


async def test_what_is_done_here_counts_as_soon_as_it_is_more(
    api: Api, database: Database, as_learner: Person, course: str, tmp_path: Path
) -> None:
    imported(database, written(tmp_path / "a.csv", f"{LENA},{course},40,"))

    percents = [
        (await record(api, as_learner, event(number)))["courses"][0]["percent"] for number in (2, 4, 3)
    ]

    assert percents == [40, 75, 100]


async def test_nobody_falls_by_an_import(
    api: Api, database: Database, as_learner: Person, course: str, tmp_path: Path
) -> None:
    await record(api, as_learner, event(2), event(3))

    lower = imported(database, written(tmp_path / "a.csv", f"{LENA},{course},30,"))
    higher = imported(database, written(tmp_path / "b.csv", f"{LENA},{course},80,"))
    lower_again = imported(database, written(tmp_path / "c.csv", f"{LENA},{course},60,"))

    assert [outcomes(done)[0] for done in (lower, higher, lower_again)] == [
        ("kept", 50, 50),
        ("raised", 50, 80),
        ("kept", 80, 80),
    ]


async def test_complete_there_is_complete_here_since_then(
    api: Api, database: Database, as_admin: Person, as_learner: Person, course: str, tmp_path: Path
) -> None:
    other = await teach(api, as_admin, block(12), title="Other")
    program = await offer(api, as_admin, course, other)
    await enroll(api, as_learner, program)

    done = imported(
        database,
        written(
            tmp_path / "a.csv", f"{LENA},{course},80,2020-03-01T10:00:00+02:00", f"{LENA},Other,,2021-05-31"
        ),
    )

    assert outcomes(done) == [("raised", 0, 100), ("raised", 0, 100)]
    progress = await course_progress(api, as_learner, course)
    assert (progress["status"], moment(progress["completedAt"])) == (
        "COMPLETED",
        datetime(2020, 3, 1, 8, tzinfo=UTC),
    )
    assert (progress["doneRequired"], progress["nextBlock"]) == (0, None)
    # A day without an hour begins in the community's time zone.
    ((zone,),) = database.run("select time_zone from public.communities where id = %s", cast.ALPHA)
    ((begun,),) = database.run("select '2021-05-31'::timestamp at time zone %s", zone)
    assert moment((await course_progress(api, as_learner, other))["completedAt"]) == begun
    enrolled = await program_progress(api, as_learner, program)
    assert (enrolled["status"], enrolled["enrollment"]["status"]) == ("COMPLETED", "COMPLETED")
    ((enrolled_at, completed_at),) = database.run(
        "select enrolled_at, completed_at from public.program_enrollments where id = %s",
        enrolled["enrollment"]["id"],
    )
    assert completed_at == enrolled_at


async def test_all_of_it_without_a_date_is_complete_since_the_import(
    api: Api, database: Database, as_learner: Person, course: str, tmp_path: Path
) -> None:
    before = datetime.now(UTC)

    imported(database, written(tmp_path / "a.csv", f"{LENA},{course},100,"))

    progress = await course_progress(api, as_learner, course)
    assert progress["status"] == "COMPLETED"
    assert before - timedelta(seconds=1) < (moment(progress["completedAt"]) or before) <= datetime.now(UTC)


async def test_less_than_all_of_it_completes_nothing(
    api: Api, database: Database, as_learner: Person, course: str, tmp_path: Path
) -> None:
    imported(database, written(tmp_path / "a.csv", f"{LENA},{course},99.9999,"))

    progress = await course_progress(api, as_learner, course)
    assert (progress["status"], progress["percent"], progress["completedAt"]) == ("IN_PROGRESS", 99, None)


async def test_a_completion_that_is_there_keeps_its_date(
    api: Api, database: Database, as_learner: Person, course: str, tmp_path: Path
) -> None:
    done = (await record(api, as_learner, event(2), event(3), event(4)))["courses"][0]["completedAt"]

    imported(database, written(tmp_path / "a.csv", f"{LENA},{course},,2020-01-01"))

    assert (await course_progress(api, as_learner, course))["completedAt"] == done


async def test_who_enrols_later_has_it_already(
    api: Api, database: Database, as_admin: Person, as_learner: Person, course: str, tmp_path: Path
) -> None:
    other = await teach(api, as_admin, block(12), title="Other")
    half, whole = await offer(api, as_admin, course, other), await offer(api, as_admin, course)
    imported(database, written(tmp_path / "a.csv", f"{LENA},{course},,2020-01-01"))

    await enroll(api, as_learner, half)
    await enroll(api, as_learner, whole)

    assert (await program_progress(api, as_learner, half))["percent"] == 50
    assert (await program_progress(api, as_learner, whole))["status"] == "COMPLETED"


async def test_a_new_attempt_begins_from_nothing(
    api: Api, database: Database, as_admin: Person, as_learner: Person, course: str, tmp_path: Path
) -> None:
    imported(database, written(tmp_path / "a.csv", f"{LENA},{course},60,"))

    reset = await act(api, as_admin, RESET, userId=LENA, courseId=course, reason="Again")

    (now,) = reset.data["resetProgress"]["courses"]
    assert (now["attempt"], now["percent"], now["status"]) == (2, 0, "NOT_STARTED")
    imported(database, written(tmp_path / "b.csv", f"{LENA},{course},20,"))
    assert (await course_progress(api, as_learner, course))["percent"] == 20


async def test_a_newer_version_keeps_the_percent_and_asks_for_what_is_new(
    api: Api, database: Database, as_admin: Person, as_learner: Person, course: str, tmp_path: Path
) -> None:
    imported(database, written(tmp_path / "a.csv", f"{LENA},{course},,2020-01-01"))
    await teach(api, as_admin, *BLOCKS, block(6), course_id=course)
    program = await offer(api, as_admin, course)

    await enroll(api, as_learner, program)

    progress = await course_progress(api, as_learner, course)
    assert (progress["version"], progress["status"], progress["percent"]) == (2, "IN_PROGRESS", 99)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nobody@cast.test,{course},40,", "There is no member with this id or e-mail address"),
        (f"{cast.OTHER_LEARNER.id},{{course}},40,", "There is no member with this id or e-mail address"),
        ("olga@cast.test,{course},40,", "There is no member with this id or e-mail address"),
        (f"{uuid.UUID(int=9)},{{course}},40,", "There is no member with this id or e-mail address"),
        (f"{cast.SUSPENDED.id},{{course}},40,", "This person is suspended. Reinstate them first."),
        (f"{LENA},No such course,40,", "There is no course with this id or title"),
        (f"{LENA},{cast.OTHER_COURSE},40,", "There is no course with this id or title"),
        (f"{LENA},{cast.DRAFT_COURSE},40,", "The course is a draft. Publish it first."),
        (f"{LENA},Twice,40,", "Several courses have this title. Name the course by id."),
        (f"{LENA},{{course}},,2999-01-01", "completed_at lies in the future."),
        (f"{LENA},{{course}},,", "The line has neither percent nor completed_at."),
        (f"{LENA},{{course}},101,", "percent '101' is not a number from 0 to 100"),
        (f"{LENA},{{course}},-1,", "percent '-1' is not"),
        (f'{LENA},{{course}},"4,0,5",', "percent '4,0,5' is not"),
        (f"{LENA},{{course}},٤٢,", "percent '٤٢' is not"),
        (f"{LENA},{{course}},40,2026-W01-1", "completed_at '2026-W01-1' is not a date"),
        (f"{LENA},{{course}},NaN,", "percent 'NaN' is not"),
        (f"{LENA},{{course}},40,yesterday", "completed_at 'yesterday' is not a date like 2026-01-31"),
        (f"{LENA},{{course}},40,1969-12-31", "completed_at '1969-12-31' is not a date"),
        (
            f"{LENA},{{course}},40,0001-01-01T00:00:00+14:00",
            "completed_at '0001-01-01T00:00:00+14:00' is not",
        ),
        (",{course},40,", "The line names no learner."),
        (f"{LENA},,40,", "The line names no course."),
        (f"{LENA},{{course}}", "The line has 2 fields, and line 1 has 4."),
        (f"{LENA},{{course}},40,,", "The line has 5 fields, and line 1 has 4."),
    ],
)
async def test_a_line_that_leads_nowhere_is_refused_and_the_others_are_not(
    api: Api, database: Database, as_admin: Person, course: str, tmp_path: Path, line: str, reason: str
) -> None:
    for _ in range(2):
        await teach(api, as_admin, title="Twice")
    lines = [f"{cast.PEER.id},{course},10,", line.format(course=course), f"PIET@cast.test,{course},20 %,"]

    done = imported(database, written(tmp_path / "a.csv", *lines))

    assert outcomes(done) == [("raised", 0, 20), ("refused", None, None), ("raised", 0, 20)]
    assert str(done.results[3].reason).startswith(reason)
    assert (done.told.lines, done.told) == (2, done.stored)
    assert len(state(database)["lines"]) == 2


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """What happens to somebody's course: events and lines of files, in any order."""
    events = st.fixed_dictionaries(
        {
            "event_id": st.uuids().map(str),
            "block_id": st.sampled_from([2, 3, 4, 5]).map(block_id),
            "value": st.sampled_from([0.0, 0.25, 0.5, 1.0]),
            "occurred_at": st.just(datetime.now(UTC).isoformat()),
        }
    )
    lines = st.tuples(
        st.integers(0, 100_000).map(lambda thousandths: thousandths / 1000),
        st.sampled_from([None, None, None, "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"]),
    )
    return draw(
        st.lists(
            st.one_of(
                st.tuples(st.just("events"), st.lists(events, min_size=1, max_size=4)),
                st.tuples(st.just("lines"), st.lists(lines, min_size=1, max_size=3)),
            ),
            min_size=1,
            max_size=6,
        )
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories())
def test_whatever_happens_nobody_falls_and_a_recount_finds_nothing(
    database: Database, as_learner: Person, course: str, history: list[tuple[str, Any]]
) -> None:
    with database.connect() as connection, connection.transaction(force_rollback=True):
        shown = [_happens(connection, as_learner, course, *what) for what in history]
        ((different,),) = connection.execute(
            "select private.recompute_progress(%s, %s)", [cast.ALPHA, LENA]
        ).fetchall()

    told = [line for kind, lines in history for line in lines if kind == "lines"]
    done = numbers(BLOCKS, best_values(e for kind, events in history if kind == "events" for e in events))
    complete = done.complete or any(percent == 100 or completed_at for percent, completed_at in told)
    floor = min(99, int(max((percent for percent, _ in told), default=0)))
    assert shown == sorted(shown)
    assert shown[-1] == (100 if complete else max(done.percent, floor))
    assert different == 0


def _happens(
    connection: psycopg.Connection[Any], person: Person, course: str, kind: str, what: list[Any]
) -> int:
    """The percent that is shown then."""
    if kind == "events":
        put_on(connection, person.role, person.claims_text)
        connection.execute("select public.record_progress(%s)", [Jsonb({"events": what})])
        connection.execute("reset role")
    else:
        batch = uuid.uuid4()
        connection.execute(
            "insert into public.legacy_batches (community_id, id, file_name, file_digest) values (%s, %s, 'a', %s)",
            [cast.ALPHA, batch, batch.hex * 2],
        )
        lines = [
            {"line": n, "learner": LENA, "course": course, "percent": percent, "completed_at": completed_at}
            for n, (percent, completed_at) in enumerate(what, start=2)
        ]
        connection.execute(
            "select private.take_legacy_progress(%s, %s, %s)", [cast.ALPHA, batch, Jsonb(lines)]
        )
    ((percent,),) = connection.execute(
        "select percent from private.course_state(%s, %s, %s, 1)", [cast.ALPHA, LENA, course]
    ).fetchall()
    return int(percent)


async def test_undone_it_is_as_if_it_had_not_been(
    api: Api,
    database: Database,
    as_admin: Person,
    as_learner: Person,
    as_peer: Person,
    course: str,
    tmp_path: Path,
) -> None:
    other = await teach(api, as_admin, block(12), title="Other")
    program, both = await offer(api, as_admin, course), await offer(api, as_admin, course, other)
    for person in (as_learner, as_peer):
        await enroll(api, person, program)
        await enroll(api, person, both)
    await record(api, as_learner, event(2))
    before = state(database)
    lines = [
        f"{LENA},{course},,2020-01-01",
        f"{LENA},{other},70,",
        f"{cast.PEER.id},{course},100,",
        f"{cast.TRAVELLER.id},{course},30,",
    ]
    batch = imported(database, written(tmp_path / "a.csv", *lines)).batch
    assert (await program_progress(api, as_peer, program))["status"] == "COMPLETED"

    tried = undo_legacy(database.dsn(), batch, dry_run=True)
    still = (await program_progress(api, as_peer, program))["status"]
    undone = undo_legacy(database.dsn(), batch)

    assert (tried, still) == (undone, "COMPLETED")
    assert (undone.lines, undone.reopened, undone.left_completed) == (4, 2, 0)
    assert state(database) == before
    reasons = database.run(
        "select object_type from public.audit_entries where reason like '%was taken back.'"
    )
    assert reasons == [("program_enrollment",)] * 2
    with pytest.raises(ImportFailed, match="is undone already"):
        undo_legacy(database.dsn(), batch)
    # The same file is a new batch then.
    assert imported(database, tmp_path / "a.csv").batch != batch


async def test_what_is_true_without_the_batch_stays(
    api: Api,
    database: Database,
    as_admin: Person,
    as_learner: Person,
    as_peer: Person,
    course: str,
    tmp_path: Path,
) -> None:
    program = await offer(api, as_admin, course)
    for person in (as_learner, as_peer):
        await enroll(api, person, program)
    first = written(
        tmp_path / "a.csv", f"{LENA},{course},,2020-01-01", f"{cast.PEER.id},{course},,2020-01-01"
    )
    second = written(tmp_path / "b.csv", f"{cast.PEER.id},{course},,2021-01-01")
    batch, later = imported(database, first).batch, imported(database, second).batch
    await record(api, as_learner, event(2), event(3), event(4))

    undone = undo_legacy(database.dsn(), batch)

    assert (undone.lines, undone.reopened) == (2, 0)
    for person in (as_learner, as_peer):
        assert (await program_progress(api, person, program))["status"] == "COMPLETED"
    assert str((await course_progress(api, as_peer, course))["completedAt"]) > "2020-12"
    assert undo_legacy(database.dsn(), later).reopened == 1
    assert (await program_progress(api, as_peer, program))["status"] == "NOT_STARTED"
    assert (await program_progress(api, as_learner, program))["status"] == "COMPLETED"


async def test_what_is_complete_only_with_the_batch_goes_on_however_it_was_completed(
    api: Api,
    database: Database,
    as_admin: Person,
    as_learner: Person,
    as_peer: Person,
    course: str,
    tmp_path: Path,
) -> None:
    other = await teach(api, as_admin, block(12), title="Other")
    program = await offer(api, as_admin, course, other)
    await enroll(api, as_peer, program)
    one = written(tmp_path / "a.csv", f"{LENA},{course},100,", f"{cast.PEER.id},{course},100,")
    two = written(tmp_path / "b.csv", f"{LENA},{other},100,")
    first = imported(database, one).batch
    imported(database, two)
    # Complete at once, for who enrols afterwards; and by something done here, in the end.
    await enroll(api, as_learner, program)
    await record(api, as_peer, event(12))
    for person in (as_learner, as_peer):
        assert (await program_progress(api, person, program))["status"] == "COMPLETED"

    undone = undo_legacy(database.dsn(), first)

    assert (undone.reopened, undone.left_completed) == (2, 0)
    for person in (as_learner, as_peer):
        now = await program_progress(api, person, program)
        assert (now["status"], now["percent"], now["enrollment"]["status"]) == ("IN_PROGRESS", 50.0, "ACTIVE")
        assert now["enrollment"]["completedAt"] is None


async def test_what_an_admin_completed_by_word_stays(
    api: Api, database: Database, as_admin: Person, as_learner: Person, course: str, tmp_path: Path
) -> None:
    program = await offer(api, as_admin, course)
    enrollment = await enroll(api, as_learner, program)
    batch = imported(database, written(tmp_path / "a.csv", f"{LENA},{course},60,")).batch
    update = (
        "mutation ($input: UpdateEnrollmentInput!) { updateEnrollment(input: $input) { enrollment { id } } }"
    )
    await act(api, as_admin, update, id=enrollment, status="COMPLETED", reason="By interview")

    undone = undo_legacy(database.dsn(), batch)

    assert (undone.reopened, undone.left_completed) == (0, 0)
    assert (await program_progress(api, as_learner, program))["status"] == "COMPLETED"


async def test_a_course_that_asks_for_nothing_shows_it_too(
    api: Api, database: Database, as_admin: Person, as_learner: Person, tmp_path: Path
) -> None:
    empty = await teach(api, as_admin, title="Empty")

    done = imported(database, written(tmp_path / "a.csv", f"{LENA},{empty},40,"))

    assert (outcomes(done), done.shown_too_low) == ([("raised", 0, 40)], 0)
    assert (await course_progress(api, as_learner, empty))["status"] == "NOT_APPLICABLE"


async def test_nobody_is_held_to_the_version_of_the_import(
    api: Api, database: Database, as_admin: Person, as_learner: Person, course: str, tmp_path: Path
) -> None:
    imported(database, written(tmp_path / "a.csv", f"{LENA},{course},1,"))
    await teach(api, as_admin, *BLOCKS, block(6), course_id=course)

    done = await record(api, as_learner, event(2), event(3), event(4), event(6))

    assert [result["reason"] for result in done["results"]] == [None] * 4
    assert (done["courses"][0]["version"], done["courses"][0]["status"]) == (2, "COMPLETED")


async def test_an_enrolment_that_is_over_stays_as_it_is(
    api: Api, database: Database, as_admin: Person, as_learner: Person, course: str, tmp_path: Path
) -> None:
    program = await offer(api, as_admin, course)
    enrollment = await enroll(api, as_learner, program)
    await record(api, as_learner, event(2), event(3))
    withdraw = "mutation ($input: WithdrawEnrollmentInput!) { withdrawEnrollment(input: $input) { enrollment { id } } }"
    assert (await act(api, as_learner, withdraw, id=enrollment)).data
    await act(api, as_admin, RESET, userId=LENA, courseId=course, reason="Again")
    before = (await program_progress(api, as_learner, program))["percent"]

    batch = imported(database, written(tmp_path / "a.csv", f"{LENA},{course},10,")).batch
    between = (await program_progress(api, as_learner, program))["percent"]
    undo_legacy(database.dsn(), batch)

    assert (before, between) == (50.0, 50.0)
    assert (await program_progress(api, as_learner, program))["percent"] == 50.0


async def test_what_was_completed_here_and_carried_over_stays_when_the_batch_goes(
    api: Api, database: Database, as_admin: Person, as_learner: Person, course: str, tmp_path: Path
) -> None:
    program = await offer(api, as_admin, course, await teach(api, as_admin, block(12), title="Other"))
    await enroll(api, as_learner, program)
    batch = imported(database, written(tmp_path / "a.csv", f"{LENA},{course},,2020-01-01")).batch
    await record(api, as_learner, event(2), event(3), event(4))
    await teach(api, as_admin, *BLOCKS, block(6), course_id=course)
    move = "mutation ($input: MoveEnrollmentsInput!) { moveEnrollments(input: $input) { program { id } } }"
    ((old,),) = database.run(
        "select min(program_version) from public.program_enrollments where program_id = %s", program
    )
    moved = {"programId": program, "fromVersion": old, "mode": "CARRY_OVER", "reason": "Newer"}
    assert (await act(api, as_admin, move, **moved)).data
    while database.run("select private.advance_progress(%s)", cast.ALPHA) == [(True,)]:
        pass

    undo_legacy(database.dsn(), batch)

    assert (await course_progress(api, as_learner, course))["status"] == "COMPLETED"


async def test_a_move_at_the_same_moment_is_waited_for(
    api: Api, database: Database, as_admin: Person, as_learner: Person, course: str, tmp_path: Path
) -> None:
    enrollment = await enroll(api, as_learner, await offer(api, as_admin, course))
    path = written(tmp_path / "a.csv", f"{LENA},{course},100,")
    with database.connect() as mover:
        # As moveEnrollments does, before it asks for the person.
        mover.execute("select from public.program_enrollments where id = %s for update", [enrollment])
        importing = asyncio.create_task(asyncio.to_thread(imported, database, path))
        await asyncio.sleep(0.6)
        mover.execute(
            "select from public.memberships where user_id = %s for no key update", [cast.LEARNER.id]
        )
    done = await importing

    assert outcomes(done) == [("raised", 0, 100)]


async def test_an_enrolment_that_others_followed_is_left(
    api: Api, database: Database, as_admin: Person, as_learner: Person, course: str, tmp_path: Path
) -> None:
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)
    batch = imported(database, written(tmp_path / "a.csv", f"{LENA},{course},,2020-01-01")).batch
    await enroll(api, as_learner, program)

    undone = undo_legacy(database.dsn(), batch)

    assert (undone.reopened, undone.left_completed) == (0, 1)
    now = await program_progress(api, as_learner, program)
    assert (now["enrollment"]["attempt"], now["status"], now["percent"]) == (2, "NOT_STARTED", 0)


@pytest.mark.parametrize("who", ["admin", "super_admin"])
async def test_nobody_else_reopens_what_is_completed(
    api: Api,
    database: Database,
    request: pytest.FixtureRequest,
    as_admin: Person,
    as_learner: Person,
    course: str,
    tmp_path: Path,
    who: str,
) -> None:
    person: Person = request.getfixturevalue(f"as_{who}")
    enrollment = await enroll(api, as_learner, await offer(api, as_admin, course))
    imported(database, written(tmp_path / "a.csv", f"{LENA},{course},,2020-01-01"))

    with (
        pytest.raises(psycopg.Error, match="cannot go from completed to active"),
        person.transaction() as connection,
    ):
        connection.execute(
            "update public.program_enrollments set status = 'active' where id = %s", [enrollment]
        )


async def test_people_see_their_own_and_admins_all_of_the_community(
    api: Api,
    database: Database,
    as_admin: Person,
    as_learner: Person,
    as_peer: Person,
    as_other_community: Person,
    course: str,
    tmp_path: Path,
) -> None:
    header = "learner,course,percent,completed_at,grade,=note"
    lines = [f'{LENA},{course},40,,B,"two\nlines"', f"{cast.PEER.id},{course},50,,,"]
    batch = str(imported(database, written(tmp_path / "a.csv", *lines, header=header)).batch)

    asked = {
        who: (await api.ask(person, LEGACY, filter={"courseId": course})).data["legacyProgress"]
        for who, person in {
            "learner": as_learner,
            "peer": as_peer,
            "admin": as_admin,
            "other": as_other_community,
        }.items()
    }

    (own,) = asked["learner"]["nodes"]
    assert own == {
        "percent": 40.0, "completedAt": None, "data": {"grade": "B", "=note": "two\nlines"},
        "attempt": 1, "course": {"id": course}, "member": {"userId": LENA}, "batch": None,
    }  # fmt: skip
    assert [node["percent"] for node in asked["peer"]["nodes"]] == [50.0]
    assert asked["other"] == {"totalCount": 0, "nodes": []}
    assert asked["admin"]["totalCount"] == 2
    assert {node["batch"]["id"] for node in asked["admin"]["nodes"]} == {batch}
    by_batch = (await api.ask(as_other_community, LEGACY, filter={"batchId": batch})).data
    assert by_batch["legacyProgress"]["totalCount"] == 0
