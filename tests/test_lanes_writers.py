"""Somebody who sends many writes at once has two lanes at most: the others of their community go past."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from resolvers.errors import ApiError
from resolvers.identity import ANONYMOUS, Identity
from resolvers.lane import Group, Lane
from resolvers.lanes import LaneDatabase
from resolvers.plan import Statement
from tests import cast
from tests.api import identity_of
from tests.databases import Database
from tests.lanes import ask, backends, eventually, lanes_of, nap, sleeping, terminate, text
from tests.people import Person

# What two writes of one person wait for, as the row of their membership.
LOCKED = Statement("select to_json(pg_advisory_xact_lock(1)::text)::text", [])


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@asynccontextmanager
async def usual_lanes(database: Database, **options: Any) -> AsyncIterator[LaneDatabase]:
    """Four for writes, of which a community has three."""
    lanes = await lanes_of(database, connections=8, **options)
    try:
        yield lanes
    finally:
        await lanes.close(drain_seconds=1)


@contextmanager
def held(database: Database) -> Iterator[None]:
    with database.connect() as connection:
        connection.execute("select pg_advisory_xact_lock(1)")
        yield
        connection.rollback()


def waiting_for_the_lock(database: Database) -> int:
    return len([query for _, query in backends(database, "active") if "advisory" in query])


def write(lanes: LaneDatabase, by: Identity, *statements: Statement) -> asyncio.Task[Any]:
    return asyncio.create_task(ask(lanes, *statements, by=by, read_only=False))


async def leave(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_who_waits_for_their_own_lock_keeps_nobody_else_from_writing(
    database: Database, as_learner: Person, as_peer: Person
) -> None:
    learner, peer = identity_of(as_learner), identity_of(as_peer)
    async with usual_lanes(database) as lanes:
        with held(database):
            blocked = [write(lanes, learner, LOCKED) for _ in range(16)]
            await eventually(lambda: waiting_for_the_lock(database))
            # Longer than anybody of a queue that stands still would be let in.
            await asyncio.sleep(1.2)
            async with asyncio.timeout(1):
                answers = [await write(lanes, peer, text(f"{number}")) for number in range(20)]
                at_once = await asyncio.gather(*(write(lanes, peer, text(f"{n}")) for n in range(20)))
            held_lanes = await asyncio.to_thread(waiting_for_the_lock, database)
        await asyncio.gather(*blocked)

    assert answers == at_once == [[f"{number}"] for number in range(20)]
    assert held_lanes == 2


async def test_the_writes_of_one_person_go_out_in_their_order(
    database: Database, as_learner: Person, as_peer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of somebody else, who is quicker, go past in theirs."""
    sent: list[bytes | None] = []
    submit = Lane.submit

    def submit_and_note(lane: Lane, group: Group) -> bool:
        sent.append(group.statements[1].parameters[0])
        return submit(lane, group)

    monkeypatch.setattr(Lane, "submit", submit_and_note)
    async with usual_lanes(database) as lanes:
        writing = []
        for number in range(12):
            writing.append(write(lanes, identity_of(as_learner), text(f"own {number}"), nap(0.05)))
            writing.append(write(lanes, identity_of(as_peer), text(f"other {number}"), nap(0.01)))
        await asyncio.gather(*writing)

    own = [b"own %d" % number for number in range(12)]
    others = [b"other %d" % number for number in range(12)]
    assert [name for name in sent if name in own] == own
    assert [name for name in sent if name in others] == others
    assert sent.index(others[-1]) < sent.index(own[-3])


async def test_a_write_that_waits_and_is_cancelled_frees_its_place(
    database: Database, as_learner: Person
) -> None:
    learner = identity_of(as_learner)
    async with usual_lanes(database, most_waiting=1) as lanes:
        with held(database):
            blocked = [write(lanes, learner, LOCKED) for _ in range(2)]
            waiting = write(lanes, learner, text("given up"))
            await eventually(lambda: waiting_for_the_lock(database) == 2)
            with pytest.raises(ApiError, match="busy"):
                await write(lanes, learner, text("one too many"))

            waiting.cancel()
            await asyncio.sleep(0.2)
            instead = write(lanes, learner, text("instead"))
            await asyncio.sleep(0.1)
            assert not instead.done()
        async with asyncio.timeout(5):
            assert await instead == ["instead"]
        await asyncio.gather(*blocked)


async def test_a_write_that_runs_and_is_cancelled_makes_room_for_the_next(
    database: Database, as_learner: Person
) -> None:
    learner = identity_of(as_learner)
    async with usual_lanes(database) as lanes:
        slow = [write(lanes, learner, nap(30)) for _ in range(2)]
        await eventually(lambda: len(sleeping(database)) == 2)
        following = write(lanes, learner, text("next"))
        await asyncio.sleep(0.1)
        assert not following.done()

        slow[0].cancel()
        async with asyncio.timeout(2):
            assert await following == ["next"]
        await leave(slow)


async def test_who_waits_for_their_own_writes_waits_no_longer_than_anybody(
    database: Database, as_learner: Person
) -> None:
    learner = identity_of(as_learner)
    async with usual_lanes(database, wait_seconds=0.6) as lanes:
        slow = [write(lanes, learner, nap(30)) for _ in range(2)]
        late = write(lanes, learner, text("late"))
        await asyncio.sleep(0.4)
        with pytest.raises(ApiError) as at_once:
            await write(lanes, learner, text("would be late"))
        with pytest.raises(ApiError) as waited:
            await late
        await leave(slow)

    assert at_once.value.code == waited.value.code == "UNAVAILABLE"


async def test_lanes_that_are_lost_are_nobodys(database: Database, as_learner: Person) -> None:
    learner = identity_of(as_learner)
    async with usual_lanes(database) as lanes:
        with held(database):
            blocked = [write(lanes, learner, LOCKED) for _ in range(6)]
            await eventually(lambda: waiting_for_the_lock(database) == 2)
            for _ in range(2):
                pids = [pid for pid, query in backends(database, "active") if "advisory" in query]
                await asyncio.to_thread(terminate, database, pids)
                await eventually(lambda: waiting_for_the_lock(database) == 2)
        async with asyncio.timeout(5):
            answers = await asyncio.gather(*blocked, return_exceptions=True)

    done = [answer for answer in answers if not isinstance(answer, Exception)]
    assert len(done) >= 4, "those that Postgres ended twice are given up, and no others"


async def test_in_another_community_somebody_is_another_writer(database: Database, as_admin: Person) -> None:
    here = identity_of(as_admin)
    there = replace(here, community_id=cast.BETA)
    async with usual_lanes(database) as lanes:
        slow = [write(lanes, here, nap(30)) for _ in range(3)]
        await eventually(lambda: len(sleeping(database)) == 2)
        async with asyncio.timeout(2):
            assert await write(lanes, there, text("elsewhere")) == ["elsewhere"]
        await leave(slow)


async def test_strangers_are_not_one_person(database: Database) -> None:
    """Who has no name has the lanes of a community, together with all others."""
    async with usual_lanes(database) as lanes:
        slow = [write(lanes, ANONYMOUS, nap(30)) for _ in range(4)]
        await eventually(lambda: len(sleeping(database)) == 3)
        await leave(slow)


async def test_reading_is_not_counted(database: Database, as_learner: Person) -> None:
    learner = identity_of(as_learner)
    async with usual_lanes(database) as lanes:
        slow = [asyncio.create_task(ask(lanes, nap(30), by=learner)) for _ in range(4)]
        await eventually(lambda: len(sleeping(database)) == 3)
        async with asyncio.timeout(2):
            assert await write(lanes, learner, text("written")) == ["written"]
        await leave(slow)


@pytest.mark.parametrize("connections", [2, 4, 6])
async def test_few_lanes_serve_everybody(
    database: Database, as_learner: Person, as_peer: Person, connections: int
) -> None:
    people = [identity_of(as_learner), identity_of(as_peer)]
    lanes = await lanes_of(database, connections=connections)
    try:
        answers = await asyncio.gather(*(write(lanes, people[n % 2], text(f"{n}")) for n in range(60)))
    finally:
        await lanes.close()

    assert answers == [[f"{number}"] for number in range(60)]


async def test_closing_lets_the_writes_that_wait_finish(database: Database, as_learner: Person) -> None:
    lanes = await lanes_of(database, connections=8)
    writing = [write(lanes, identity_of(as_learner), nap(0.1), text(f"{n}")) for n in range(8)]
    await eventually(lambda: len(sleeping(database)) > 0)

    await lanes.close()

    assert await asyncio.gather(*writing) == [["", f"{number}"] for number in range(8)]
