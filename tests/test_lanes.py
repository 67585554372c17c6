"""Lanes: many requests on few connections, and none of them touches another."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resolvers.errors import ApiError, Refusal
from resolvers.identity import ANONYMOUS, Identity
from resolvers.lanes import LaneDatabase
from resolvers.plan import Statement
from tests import cast
from tests.api import identity_of
from tests.databases import Database, cloned
from tests.people import Person

WHOAMI = Statement(
    "select json_build_array(auth.uid(), current_user, current_setting('transaction_read_only'))::text", []
)
SLOW = Statement("select to_json(pg_sleep(30)::text)::text", [])


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


async def lanes_of(database: Database, **options: Any) -> LaneDatabase:
    usual = {"connections": 2, "statement_timeout_ms": 8_000, "lock_timeout_ms": 3_000}
    lanes = LaneDatabase(database.dsn("gym_api"), **(usual | options))
    await lanes.open()
    return lanes


@pytest.fixture
async def lanes(database: Database) -> AsyncIterator[LaneDatabase]:
    """One lane for reads and one for writes."""
    lanes = await lanes_of(database)
    yield lanes
    await lanes.close(drain_seconds=1)


async def ask(lanes: LaneDatabase, identity: Identity, *statements: Statement, read_only: bool = True) -> Any:
    return [
        None if value is None else json.loads(value)
        for value in await lanes.run(identity, statements, read_only=read_only)
    ]


def text(value: str) -> Statement:
    return Statement("select to_json($1::text)::text", [value])


async def test_each_answer_goes_to_its_own_request(lanes: LaneDatabase) -> None:
    answers = await asyncio.gather(*(ask(lanes, ANONYMOUS, text(f"{n}"), text(f"{n}!")) for n in range(100)))

    assert answers == [[f"{n}", f"{n}!"] for n in range(100)]


async def test_each_request_is_its_own_caller_and_leaves_nobody_behind(
    lanes: LaneDatabase, as_admin: Person, as_other_community: Person
) -> None:
    callers = [identity_of(as_admin), identity_of(as_other_community), ANONYMOUS] * 20

    answers = await asyncio.gather(*(ask(lanes, caller, WHOAMI) for caller in callers))

    assert answers == [
        [[str(caller.user_id) if caller.user_id else None, caller.role, "on"]] for caller in callers
    ]


async def test_what_fails_touches_no_neighbour_and_says_which_statement(lanes: LaneDatabase) -> None:
    broken = Statement("select 1 / ($1::int - $1::int)", ["1"])

    answers = await asyncio.gather(
        ask(lanes, ANONYMOUS, text("before")),
        ask(lanes, ANONYMOUS, text("fine"), broken, text("never")),
        ask(lanes, ANONYMOUS, text("after")),
        return_exceptions=True,
    )

    assert (answers[0], answers[2]) == (["before"], ["after"])
    assert isinstance(answers[1], Refusal)
    assert (answers[1].index, answers[1].sqlstate) == (1, "22012")


async def test_a_failed_identity_aborts_what_follows(lanes: LaneDatabase, as_admin: Person) -> None:
    admin = identity_of(as_admin)
    forged = Identity("postgres", admin.claims, admin.user_id, admin.community_id, admin.expires_at)  # type: ignore[arg-type]

    with pytest.raises(Refusal) as caught:
        await ask(lanes, forged, WHOAMI)

    assert caught.value.sqlstate == "42501"
    assert await ask(lanes, ANONYMOUS, WHOAMI) == [[None, "anon", "on"]]


async def test_a_statement_that_cannot_be_prepared_can_be_asked_for_again(lanes: LaneDatabase) -> None:
    """At the same moment too, when others already count on its name."""
    nonsense = Statement("select nonsense", [])
    good = text("fine")

    for _ in range(2):
        answers = await asyncio.gather(
            ask(lanes, ANONYMOUS, nonsense, good),
            ask(lanes, ANONYMOUS, good, nonsense),
            ask(lanes, ANONYMOUS, good),
            return_exceptions=True,
        )
        assert [getattr(answer, "sqlstate", answer) for answer in answers] == ["42703", "42703", ["fine"]]


async def test_reads_write_nothing(lanes: LaneDatabase, as_admin: Person) -> None:
    writing = Statement("select public.create_program($1::jsonb)::text", ['{"title": "x"}'])

    with pytest.raises(Refusal) as caught:
        await ask(lanes, identity_of(as_admin), writing)

    assert caught.value.sqlstate == "25006"


async def test_no_more_is_kept_prepared_than_allowed(database: Database) -> None:
    lanes = await lanes_of(database, most_prepared=3)
    count = Statement("select count(*)::text from pg_prepared_statements", [])
    try:
        for number in range(20):
            await ask(lanes, ANONYMOUS, Statement(f"select {number}::text", []))
        prepared = await ask(lanes, ANONYMOUS, count)
    finally:
        await lanes.close()

    assert prepared == [4], "one too many is closed with the next request"


async def test_without_named_statements_nothing_stays_prepared(database: Database) -> None:
    lanes = await lanes_of(database, prepared_statements=False)
    count = Statement("select count(*)::text from pg_prepared_statements", [])
    try:
        assert await ask(lanes, ANONYMOUS, text("a"), count) == ["a", 0]
    finally:
        await lanes.close()


def backends(database: Database, state: str = "%") -> list[tuple[Any, ...]]:
    return database.run_as(
        "supabase_admin",  # others do not see what is being run
        "select pid, query from pg_stat_activity where usename = 'gym_api' and datname = current_database()"
        " and state like %s",
        state,
    )


async def eventually(condition: Any, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a database has no events to wait for
            await asyncio.sleep(0.02)


async def test_a_caller_who_leaves_stops_the_sql_and_no_neighbour_is_hurt(
    lanes: LaneDatabase, database: Database
) -> None:
    await ask(lanes, ANONYMOUS, text("open"))
    slow = asyncio.create_task(ask(lanes, ANONYMOUS, SLOW))
    await eventually(lambda: any("pg_sleep" in query for _, query in backends(database, "active")))
    behind = [asyncio.create_task(ask(lanes, ANONYMOUS, text(f"{n}"))) for n in range(3)]
    await asyncio.sleep(0)

    slow.cancel()

    async with asyncio.timeout(5):
        assert await asyncio.gather(*behind) == [["0"], ["1"], ["2"]]
    assert not any("pg_sleep" in query for _, query in backends(database, "active"))


async def test_who_waits_too_long_or_in_too_long_a_queue_is_refused(database: Database) -> None:
    lanes = await lanes_of(database, most_waiting=2, wait_seconds=0.2)
    try:
        await ask(lanes, ANONYMOUS, text("open"))
        slow = [asyncio.create_task(ask(lanes, ANONYMOUS, SLOW)) for _ in range(1)]
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(ask(lanes, ANONYMOUS, text("late"))) for _ in range(2)]
        await asyncio.sleep(0.05)

        with pytest.raises(ApiError, match="busy") as at_once:
            await ask(lanes, ANONYMOUS, text("one too many"))
        late = await asyncio.gather(*waiting, return_exceptions=True)
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)
        async with asyncio.timeout(5):
            afterwards = await ask(lanes, ANONYMOUS, text("fine again"))
    finally:
        await lanes.close(drain_seconds=1)

    assert at_once.value.code == "UNAVAILABLE"
    assert [getattr(error, "code", error) for error in late] == ["UNAVAILABLE"] * 2
    assert afterwards == ["fine again"]


async def test_a_lost_connection_is_replaced_and_reads_do_not_notice(
    lanes: LaneDatabase, database: Database
) -> None:
    await ask(lanes, ANONYMOUS, text("open"))

    for round_ in range(5):
        database.run_as(
            "supabase_admin",
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where usename = 'gym_api' and datname = current_database()",
        )
        answers = await asyncio.gather(*(ask(lanes, ANONYMOUS, text(f"{round_} {n}")) for n in range(20)))
        assert answers == [[f"{round_} {n}"] for n in range(20)]


async def test_a_write_whose_connection_is_lost_is_not_repeated(
    lanes: LaneDatabase, database: Database, as_admin: Person
) -> None:
    writing = asyncio.create_task(ask(lanes, identity_of(as_admin), SLOW, read_only=False))
    await eventually(lambda: any("pg_sleep" in query for _, query in backends(database, "active")))

    database.run_as(
        "supabase_admin",
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where usename = 'gym_api' and datname = current_database() and query like '%%pg_sleep%%'",
    )

    with pytest.raises((ApiError, Refusal)) as caught:
        await writing
    assert (
        getattr(caught.value, "code", "") == "UNAVAILABLE" or getattr(caught.value, "sqlstate", "") == "57P01"
    )


async def test_closing_lets_what_is_under_way_finish(database: Database) -> None:
    lanes = await lanes_of(database)
    under_way = asyncio.create_task(
        ask(lanes, ANONYMOUS, Statement("select to_json(pg_sleep(0.3)::text)::text", []))
    )
    await eventually(lambda: any("pg_sleep" in query for _, query in backends(database, "active")))

    await lanes.close()

    assert await under_way == [""]
    assert backends(database) == []


async def test_a_community_does_not_stand_in_the_way_of_another(
    database: Database, as_admin: Person, as_other_community: Person
) -> None:
    lanes = await lanes_of(database, connections=6)
    try:
        slow = [asyncio.create_task(ask(lanes, identity_of(as_admin), SLOW)) for _ in range(30)]
        await eventually(lambda: any("pg_sleep" in query for _, query in backends(database, "active")))

        async with asyncio.timeout(5):  # the others run until the statement timeout, after 8
            answers = await asyncio.gather(
                *(ask(lanes, identity_of(as_other_community), text(f"{n}")) for n in range(50))
            )
    finally:
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)
        await lanes.close(drain_seconds=1)

    assert answers == [[f"{n}"] for n in range(50)]


async def test_a_request_ends_in_the_time_of_one_statement(database: Database) -> None:
    lanes = await lanes_of(database, statement_timeout_ms=300, wait_seconds=0.5)
    nap = Statement("select to_json(pg_sleep(0.25)::text)::text", [])
    try:
        with pytest.raises(ApiError) as caught:
            await ask(lanes, ANONYMOUS, *[nap] * 10)
        with pytest.raises(Refusal) as single:
            await ask(lanes, ANONYMOUS, SLOW)
    finally:
        await lanes.close(drain_seconds=1)

    assert caught.value.code == "TIMEOUT"
    assert single.value.sqlstate == "57014"


async def test_of_two_that_lock_each_other_out_both_come_through(
    template: Database, as_admin: Person
) -> None:
    call = "select to_json((public.update_program(jsonb_build_object('id', $1::text, 'title', $2::text)))::text)::text"
    there_and_back = [
        [str(cast.PUBLISHED), str(cast.OPEN_TO_ALL)],
        [str(cast.OPEN_TO_ALL), str(cast.PUBLISHED)],
    ]
    admin = identity_of(as_admin)
    with cloned(template) as own:
        lanes = await lanes_of(own, connections=8, wait_seconds=20)
        try:
            await asyncio.gather(
                *(
                    ask(
                        lanes,
                        admin,
                        *(Statement(call, [program, f"{n}"]) for program in order),
                        read_only=False,
                    )
                    for n in range(4)
                    for order in there_and_back
                )
            )
        finally:
            await lanes.close()
        titles = own.run("select distinct title from public.programs where id = any(%s)", there_and_back[0])

    assert len(titles) == 1, "each transaction gave both the same title"
