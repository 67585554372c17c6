"""Recording in any order, any number of times, by many at once: always the numbers that counting all at once gives."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from tests import cast
from tests.api import Api
from tests.course_documents import block, block_id, section
from tests.databases import Database
from tests.people import Person, put_on
from tests.progress_model import best_values, first_of_each_id, numbers
from tests.progressing import enroll, event, offer, record, statuses, teach

BLOCKS = [
    section(1),
    block(2, 1, weight=2.5),
    section(3, 1, required=False),
    block(4, 3, weight=0.001),
    block(5, 3, weight=99_999.999),
    block(6, required=False, weight=7),
    block(7, completionMode="excluded"),
    block(8),
]
RECORDABLE = [2, 4, 5, 6, 7, 8]
NOW = datetime.now(UTC)
VALUES = "select block_id::text, value from public.block_completions where course_id = %s"


@pytest.fixture
async def course(api: Api, as_admin: Person) -> str:
    return await teach(api, as_admin, *BLOCKS)


@st.composite
def streams(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Events of one learner, some of them repeated, in any order, cut into lists."""
    events = [
        {
            "event_id": str(draw(st.uuids())),
            "block_id": block_id(draw(st.sampled_from(RECORDABLE))),
            "value": draw(st.one_of(st.just(1.0), st.floats(0, 1, allow_subnormal=False))),
            "occurred_at": (NOW - timedelta(seconds=draw(st.integers(0, 10**6)))).isoformat(),
        }
        for _ in range(draw(st.integers(1, 12)))
    ]
    sent = draw(st.permutations(events + draw(st.lists(st.sampled_from(events), max_size=6))))
    cuts = sorted(draw(st.lists(st.integers(0, len(sent)), max_size=4)))
    parts = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    return [part for part in parts if part]


@contextmanager
def at_work(database: Database, person: Person) -> Iterator[psycopg.Connection[TupleRow]]:
    """Somebody's transaction, of which nothing stays; the connection may take the role off again."""
    with database.connect() as connection, connection.transaction(force_rollback=True):
        put_on(connection, person.role, person.claims_text)
        yield connection


def send(connection: psycopg.Connection[TupleRow], events: list[dict[str, Any]]) -> list[str]:
    (told,) = connection.execute(
        "select public.record_progress(%s)", [Jsonb({"events": events})]
    ).fetchone() or ({},)
    return [result["status"] for result in told["results"]]


def sums(connection: psycopg.Connection[TupleRow], course: str, person: object) -> tuple[Any, ...]:
    question = """select done_required, total_required, earned, possible, completed_at is not null
        from public.course_progress where course_id = %s and user_id = %s"""
    row = connection.execute(question, [course, person]).fetchone()
    assert row is not None
    return row


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams())
def test_any_order_and_any_repetition_give_the_same(
    database: Database, as_learner: Person, course: str, stream: list[list[dict[str, Any]]]
) -> None:
    events = first_of_each_id(e for part in stream for e in part)
    expected = numbers(BLOCKS, best_values(events))

    with at_work(database, as_learner) as connection:
        told = [status for part in stream for status in send(connection, part)]
        found = sums(connection, course, cast.LEARNER.id)
        values = dict(connection.execute(VALUES, [course]).fetchall())
        connection.execute("reset role")
        (different,) = connection.execute(
            "select private.recompute_progress(%s, %s)", [cast.ALPHA, cast.LEARNER.id]
        ).fetchone() or (None,)

    assert told.count("accepted") == len(events)
    assert told.count("duplicate") == len(told) - len(events)
    assert values == best_values(events)
    assert found == (expected.done, expected.total, expected.earned, expected.possible, expected.complete)
    assert different == 0


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(), st.randoms(use_true_random=False))
def test_a_full_recount_finds_what_was_made_wrong(
    database: Database,
    as_learner: Person,
    course: str,
    stream: list[list[dict[str, Any]]],
    chance: random.Random,
) -> None:
    damage = [
        "update public.course_progress set done_required = 0, earned = 0",
        "update public.course_progress set possible = possible + 1",
        "update public.block_completions set earned_value = 0.123, earned_at = null",
        "update public.block_completions set event_count = event_count + 1",
        "delete from public.block_completions",
    ]
    recompute = "select private.recompute_progress(%s, %s)"

    with at_work(database, as_learner) as connection:
        for part in stream:
            send(connection, part)
        before = sums(connection, course, cast.LEARNER.id)
        connection.execute("reset role")
        connection.execute(chance.choice(damage))
        connection.execute(recompute, [cast.ALPHA, cast.LEARNER.id])
        after = sums(connection, course, cast.LEARNER.id)
        again = connection.execute(recompute, [cast.ALPHA, cast.LEARNER.id]).fetchone()

    assert after == before
    assert again == (0,)


def test_many_at_once_lose_nothing_and_double_nothing(
    database: Database, as_learner: Person, as_peer: Person, as_admin: Person, course: str
) -> None:
    chance = random.Random(5)
    people = {cast.LEARNER.id: as_learner, cast.PEER.id: as_peer}
    events: dict[object, list[dict[str, Any]]] = {
        person: [
            {
                "event_id": str(uuid4()),
                "block_id": block_id(chance.choice(RECORDABLE)),
                "value": chance.choice([0.25, 0.5, 1.0]),
                "occurred_at": NOW.isoformat(),
            }
            for _ in range(60)
        ]
        for person in people
    }

    def one_client(number: int) -> int:
        """Sends everything of somebody in an order of its own; every third one is the admin, with both people's."""
        mine = random.Random(number)
        person = chance.choice(list(people)) if number % 3 else None
        sent = [
            e if person else {**e, "user_id": str(who)}
            for who, told in events.items()
            for e in told
            if person in (None, who)
        ]
        mine.shuffle(sent)
        accepted = 0
        for start in range(0, len(sent), 7):
            with (people[person] if person else as_admin).transaction() as connection:
                accepted += send(connection, sent[start : start + 7]).count("accepted")
        return accepted

    with ThreadPoolExecutor(12) as pool:
        accepted = sum(pool.map(one_client, range(12)))

    stored = database.run("select count(*) from public.progress_events where course_id = %s", course)[0][0]
    assert accepted == stored == sum(len(told) for told in events.values())
    for person, told in events.items():
        expected = numbers(BLOCKS, best_values(told))
        with database.connect() as connection:
            found = sums(connection, course, person)
        assert found == (expected.done, expected.total, expected.earned, expected.possible, expected.complete)
        assert database.run("select private.recompute_progress(%s, %s)", cast.ALPHA, person) == [(0,)]


def test_a_client_that_dies_leaves_whole_lists_only(
    database: Database, as_learner: Person, course: str
) -> None:
    first = [{"event_id": str(uuid4()), "block_id": block_id(2), "occurred_at": NOW.isoformat()}]
    second = [{"event_id": str(uuid4()), "block_id": block_id(8), "occurred_at": NOW.isoformat()}]
    with as_learner.transaction() as connection:
        send(connection, first)

    def die() -> None:
        with as_learner.transaction() as connection:
            send(connection, second)
            database.run_as("supabase_admin", "select pg_terminate_backend(%s)", connection.info.backend_pid)
            connection.execute("select 1")

    with pytest.raises(psycopg.OperationalError):
        die()

    with database.connect() as connection:
        assert sums(connection, course, cast.LEARNER.id)[0] == 1
    with as_learner.transaction() as connection:
        assert send(connection, first + second) == ["duplicate", "accepted"]


async def test_an_enrolment_pins_the_version_that_counts(
    api: Api, as_admin: Person, as_learner: Person, as_peer: Person
) -> None:
    course = await teach(api, as_admin, block(2), block(8))
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)
    await teach(api, as_admin, block(2), block(8), block(9), course_id=course)

    pinned = await record(api, as_learner, event(2), event(8), event(9))
    current = await record(api, as_peer, event(2), event(8), event(9, 0.5))

    assert statuses(pinned) == ["ACCEPTED"] * 3
    assert "not in the version" in pinned["results"][2]["reason"]
    (mine,), (theirs,) = pinned["courses"], current["courses"]
    assert (mine["version"], mine["status"], mine["totalRequired"]) == (1, "COMPLETED", 2)
    assert (theirs["version"], theirs["status"], theirs["totalRequired"]) == (2, "IN_PROGRESS", 3)
    assert theirs["percent"] == 83


async def test_new_content_does_not_undo_what_is_complete(
    api: Api, as_admin: Person, as_learner: Person
) -> None:
    """Without an enrolment too: who began a version goes on in it."""
    course = await teach(api, as_admin, block(2))
    done = (await record(api, as_learner, event(2)))["courses"][0]

    await teach(api, as_admin, block(2), block(8), course_id=course)
    again = (await record(api, as_learner, event(2)))["courses"][0]

    assert (done["status"], done["version"]) == ("COMPLETED", 1)
    assert again == done
