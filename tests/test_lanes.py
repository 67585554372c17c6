"""Lanes: many requests on few connections, and none of them touches another."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from resolvers.errors import ApiError, Refusal
from resolvers.identity import ANONYMOUS, Identity
from resolvers.lanes import LaneDatabase
from resolvers.plan import Statement
from tests import cast
from tests.api import identity_of
from tests.databases import Database, cloned
from tests.lanes import SLOW, ask, backends, eventually, lanes_of, nap, sleeping, text
from tests.people import Person

WHOAMI = Statement(
    "select json_build_array(auth.uid(), current_user, current_setting('transaction_read_only'))::text", []
)


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.fixture
async def lanes(database: Database) -> AsyncIterator[LaneDatabase]:
    """One lane for reads and one for writes."""
    lanes = await lanes_of(database)
    yield lanes
    await lanes.close(drain_seconds=1)


async def test_each_answer_goes_to_its_own_request(lanes: LaneDatabase) -> None:
    answers = await asyncio.gather(*(ask(lanes, text(f"{n}"), text(f"{n}!")) for n in range(100)))

    assert answers == [[f"{n}", f"{n}!"] for n in range(100)]


async def test_each_request_is_its_own_caller_and_leaves_nobody_behind(
    lanes: LaneDatabase, as_admin: Person, as_other_community: Person
) -> None:
    callers = [identity_of(as_admin), identity_of(as_other_community), ANONYMOUS] * 20

    answers = await asyncio.gather(*(ask(lanes, WHOAMI, by=caller) for caller in callers))

    assert answers == [
        [[str(caller.user_id) if caller.user_id else None, caller.role, "on"]] for caller in callers
    ]


async def test_what_fails_touches_no_neighbour_and_says_which_statement(lanes: LaneDatabase) -> None:
    broken = Statement("select 1 / ($1::int - $1::int)", ["1"])

    answers = await asyncio.gather(
        ask(lanes, text("before")),
        ask(lanes, text("fine"), broken, text("never")),
        ask(lanes, text("after")),
        return_exceptions=True,
    )

    assert (answers[0], answers[2]) == (["before"], ["after"])
    assert isinstance(answers[1], Refusal)
    assert (answers[1].index, answers[1].sqlstate) == (1, "22012")


async def test_a_failed_identity_aborts_what_follows(lanes: LaneDatabase, as_admin: Person) -> None:
    admin = identity_of(as_admin)
    forged = Identity("postgres", admin.claims, admin.user_id, admin.community_id, admin.expires_at)  # type: ignore[arg-type]

    with pytest.raises(Refusal) as caught:
        await ask(lanes, WHOAMI, by=forged)

    assert caught.value.sqlstate == "42501"
    assert await ask(lanes, WHOAMI) == [[None, "anon", "on"]]


async def test_a_statement_that_cannot_be_prepared_can_be_asked_for_again(lanes: LaneDatabase) -> None:
    """At the same moment too, when others already count on its name."""
    nonsense = Statement("select nonsense", [])
    good = text("fine")

    for _ in range(2):
        answers = await asyncio.gather(
            ask(lanes, nonsense, good),
            ask(lanes, good, nonsense),
            ask(lanes, good),
            return_exceptions=True,
        )
        assert [getattr(answer, "sqlstate", answer) for answer in answers] == ["42703", "42703", ["fine"]]


async def test_reads_write_nothing(lanes: LaneDatabase, as_admin: Person) -> None:
    writing = Statement("select public.create_program($1::jsonb)::text", ['{"title": "x"}'])

    with pytest.raises(Refusal) as caught:
        await ask(lanes, writing, by=identity_of(as_admin))

    assert caught.value.sqlstate == "25006"


async def test_no_more_is_kept_prepared_than_allowed(database: Database) -> None:
    lanes = await lanes_of(database, most_prepared=3)
    count = Statement("select count(*)::text from pg_prepared_statements", [])
    try:
        for number in range(20):
            await ask(lanes, Statement(f"select {number}::text", []))
        prepared = await ask(lanes, count)
    finally:
        await lanes.close()

    assert prepared == [4], "one too many is closed with the next request"


async def test_without_named_statements_nothing_stays_prepared(database: Database) -> None:
    lanes = await lanes_of(database, prepared_statements=False)
    count = Statement("select count(*)::text from pg_prepared_statements", [])
    try:
        assert await ask(lanes, text("a"), count) == ["a", 0]
    finally:
        await lanes.close()


async def test_a_caller_who_leaves_stops_the_sql_and_no_neighbour_is_hurt(
    lanes: LaneDatabase, database: Database
) -> None:
    await ask(lanes, text("open"))
    slow = asyncio.create_task(ask(lanes, SLOW))
    await eventually(lambda: sleeping(database))
    behind = [asyncio.create_task(ask(lanes, text(f"{n}"))) for n in range(3)]
    await asyncio.sleep(0)

    slow.cancel()

    async with asyncio.timeout(5):
        assert await asyncio.gather(*behind) == [["0"], ["1"], ["2"]]
    assert sleeping(database) == []


async def test_who_waits_too_long_or_in_too_long_a_queue_is_refused(database: Database) -> None:
    lanes = await lanes_of(database, most_waiting=2, wait_seconds=0.2)
    try:
        await ask(lanes, text("open"))
        slow = [asyncio.create_task(ask(lanes, SLOW)) for _ in range(1)]
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(ask(lanes, text("late"))) for _ in range(2)]
        await asyncio.sleep(0.05)

        with pytest.raises(ApiError, match="busy") as at_once:
            await ask(lanes, text("one too many"))
        late = await asyncio.gather(*waiting, return_exceptions=True)
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)
        async with asyncio.timeout(5):
            afterwards = await ask(lanes, text("fine again"))
    finally:
        await lanes.close(drain_seconds=1)

    assert at_once.value.code == "UNAVAILABLE"
    assert [getattr(error, "code", error) for error in late] == ["UNAVAILABLE"] * 2
    assert afterwards == ["fine again"]


async def test_closing_lets_what_is_under_way_finish(database: Database) -> None:
    lanes = await lanes_of(database)
    under_way = asyncio.create_task(ask(lanes, nap(0.3)))
    await eventually(lambda: sleeping(database))

    await lanes.close()

    assert await under_way == [""]
    assert backends(database) == []


async def test_a_community_does_not_stand_in_the_way_of_another(
    database: Database, as_admin: Person, as_other_community: Person
) -> None:
    lanes = await lanes_of(database, connections=6)
    try:
        slow = [asyncio.create_task(ask(lanes, SLOW, by=identity_of(as_admin))) for _ in range(30)]
        await eventually(lambda: sleeping(database))

        async with asyncio.timeout(5):  # the others run until the statement timeout, after 8
            answers = await asyncio.gather(
                *(ask(lanes, text(f"{n}"), by=identity_of(as_other_community)) for n in range(50))
            )
    finally:
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)
        await lanes.close(drain_seconds=1)

    assert answers == [[f"{n}"] for n in range(50)]


async def test_a_request_ends_in_the_time_of_one_statement(database: Database) -> None:
    lanes = await lanes_of(database, statement_timeout_ms=300, wait_seconds=0.5)
    try:
        with pytest.raises(ApiError) as caught:
            await ask(lanes, *[nap(0.25)] * 10)
        with pytest.raises(Refusal) as single:
            await ask(lanes, SLOW)
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
        # Each lock-out takes Postgres a second to find, and the last one waits for all of them.
        lanes = await lanes_of(
            own, connections=8, wait_seconds=20, lock_timeout_ms=20_000, statement_timeout_ms=20_000
        )
        try:
            await asyncio.gather(
                *(
                    ask(
                        lanes,
                        *(Statement(call, [program, f"{n}"]) for program in order),
                        by=admin,
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


async def test_what_cannot_be_sent_leaves_nothing_of_itself_behind(
    lanes: LaneDatabase, as_admin: Person, as_other_community: Person
) -> None:
    half_a_character = text("\ud800")

    for _ in range(3):
        with pytest.raises(UnicodeEncodeError):
            await ask(lanes, text("fine"), half_a_character, by=identity_of(as_admin))
        answer = await ask(lanes, WHOAMI, by=identity_of(as_other_community))
        assert answer == [[str(cast.OTHER_ADMIN.id), "authenticated", "on"]]


async def test_what_fails_leaves_no_statement_prepared(database: Database) -> None:
    """Nor does it keep one from being closed: strangers could fill Postgres's memory."""
    lanes = await lanes_of(database, most_prepared=4)
    broken = Statement("select 1 / ($1::int - $1::int)", ["1"])
    try:
        for number in range(20):
            await ask(lanes, Statement(f"select {number}::text", []))
            with pytest.raises(Refusal):
                await ask(lanes, broken, Statement(f"select {number} + 100::text", []))
        (prepared,) = await ask(lanes, Statement("select count(*)::text from pg_prepared_statements", []))
    finally:
        await lanes.close()

    assert prepared <= 6


async def test_without_named_statements_each_transaction_brings_its_own_settings(database: Database) -> None:
    """A pooler in transaction mode gives each another session."""
    settings = Statement(
        "select json_build_array(current_setting('jit'), current_setting('timezone'),"
        " current_setting('idle_in_transaction_session_timeout'))::text",
        [],
    )
    of_the_session = Statement(
        "select to_json(setting || ' ' || source)::text from pg_settings where name = 'jit'", []
    )
    database.run_as("supabase_admin", "alter role gym_api set jit = on")
    try:
        lanes = await lanes_of(database, prepared_statements=False)
        try:
            answers = await ask(lanes, settings, of_the_session)
        finally:
            await lanes.close()
    finally:
        database.run_as("supabase_admin", "alter role gym_api reset jit")

    assert answers == [["off", "UTC", "10s"], "off session"]


async def test_nobody_stays_behind_something_slow(
    database: Database, as_admin: Person, as_other_community: Person
) -> None:
    lanes = await lanes_of(database, connections=8)
    admin, other = identity_of(as_admin), identity_of(as_other_community)
    try:
        await asyncio.gather(*(ask(lanes, text(f"{n}"), by=who) for n in range(50) for who in (admin, other)))

        slow = asyncio.create_task(ask(lanes, SLOW, by=admin))
        # At the same moment: some go where nothing slow was to be seen yet.
        fast = [asyncio.create_task(ask(lanes, text("fast"), by=who)) for who in [admin] * 10 + [other] * 10]
        async with asyncio.timeout(5):  # the slow one would take 8
            answers = await asyncio.gather(*fast)
        still_there = not slow.done()
    finally:
        slow.cancel()
        await asyncio.wait([slow])
        await lanes.close(drain_seconds=1)

    assert answers == [["fast"]] * 20
    assert still_there


async def test_communities_that_wait_are_served_in_turn(
    lanes: LaneDatabase, as_admin: Person, as_other_community: Person
) -> None:
    order = []

    async def note(person: Person, name: str) -> None:
        await ask(lanes, nap(0.02), by=identity_of(person))
        order.append(name)

    await note(as_admin, "first")  # one that is not quick, so that the others wait for it
    many = [asyncio.create_task(note(as_admin, "many")) for _ in range(20)]
    await asyncio.sleep(0)
    one = asyncio.create_task(note(as_other_community, "one"))
    await asyncio.wait([*many, one])

    assert order.index("one") < 8


async def test_who_would_have_to_wait_too_long_is_refused_at_once(database: Database) -> None:
    lanes = await lanes_of(database, wait_seconds=3)
    loop = asyncio.get_running_loop()
    try:
        slow = asyncio.create_task(ask(lanes, SLOW))
        await eventually(lambda: sleeping(database))
        waiting = asyncio.create_task(ask(lanes, text("waits")))
        await asyncio.sleep(1.2)

        began = loop.time()
        with pytest.raises(ApiError) as caught:
            await ask(lanes, text("comes later"))
        took = loop.time() - began
        slow.cancel()
        waited = await waiting
    finally:
        await lanes.close(drain_seconds=1)

    assert (caught.value.code, waited) == ("UNAVAILABLE", ["waits"])
    assert took < 0.5


async def test_a_request_that_comes_while_it_closes_is_refused(database: Database) -> None:
    lanes = await lanes_of(database)
    under_way = asyncio.create_task(ask(lanes, nap(0.3)))
    await eventually(lambda: sleeping(database))

    closing = asyncio.create_task(lanes.close())
    await asyncio.sleep(0.01)
    with pytest.raises(ApiError, match="stopping") as caught:
        await ask(lanes, text("late"))
    await closing

    assert caught.value.code == "UNAVAILABLE"
    assert await under_way == [""]


async def test_what_fails_only_with_the_commit_is_refused_and_disturbs_nobody(
    lanes: LaneDatabase, database: Database, as_admin: Person
) -> None:
    database.run("create table public.late (n integer unique deferrable initially deferred)")
    database.run("grant insert on public.late to authenticated")
    twice = Statement("insert into public.late values (1), (1) returning 'null'", [])
    before = backends(database)

    with pytest.raises(Refusal) as caught:
        await ask(lanes, text("first"), twice, by=identity_of(as_admin), read_only=False)

    assert caught.value.sqlstate == "23505"
    assert [pid for pid, _ in backends(database)] == [pid for pid, _ in before], "no connection was given up"
    database.run("drop table public.late")
