"""Connections that break, or stand still: what was under way is answered truly, what comes next does not notice."""

import asyncio
import os
import signal
import time

import pytest
import uvloop

from resolvers.errors import ApiError, Refusal
from resolvers.plan import Statement
from tests.api import identity_of
from tests.databases import Database
from tests.lanes import SLOW, ask, backends, eventually, lanes_of, nap, sleeping, terminate, text
from tests.people import Person
from tests.wires import Wire

CREATE = Statement("select to_json(public.create_program($1::jsonb)::text)::text", ['{"title": "Once"}'])
# What Postgres says before it ends a connection, as far as a client may ignore it.
NOTICE = b"N" + (4 + 28).to_bytes(4, "big") + b"SNOTICE\0C00000\0Mlast words\0\0"


def created(database: Database) -> int:
    return len(database.run("select id from public.programs where title = 'Once'"))


async def test_reads_do_not_notice_that_connections_are_replaced(database: Database) -> None:
    lanes = await lanes_of(database, connections=4)
    try:
        for number in range(5):
            await asyncio.to_thread(terminate, database, [pid for pid, _ in backends(database)])
            answers = await asyncio.gather(*(ask(lanes, text(f"{number} {n}")) for n in range(20)))
            assert answers == [[f"{number} {n}"] for n in range(20)]
    finally:
        await lanes.close(drain_seconds=1)


async def test_a_write_that_certainly_did_nothing_is_carried_out_on_another_connection(
    database: Database, as_admin: Person
) -> None:
    lanes = await lanes_of(database)
    try:
        writing = asyncio.create_task(ask(lanes, CREATE, nap(1), by=identity_of(as_admin), read_only=False))
        await eventually(lambda: sleeping(database))

        await asyncio.to_thread(terminate, database, sleeping(database))
        await writing
    finally:
        await lanes.close(drain_seconds=1)

    assert created(database) == 1


async def test_a_write_that_may_have_taken_place_is_not_repeated(
    database: Database, as_admin: Person
) -> None:
    with Wire(database.dsn("gym_api")) as wire:
        lanes = await lanes_of(database, wire.dsn)
        try:
            writing = asyncio.create_task(
                ask(lanes, CREATE, nap(0.5), by=identity_of(as_admin), read_only=False)
            )
            await eventually(lambda: sleeping(database))

            wire.cut()
            with pytest.raises(ApiError, match="Read whether the change took place") as caught:
                await writing

            await eventually(lambda: not sleeping(database))
            assert await ask(lanes, text("next"), read_only=False) == ["next"]
        finally:
            await lanes.close(drain_seconds=1)

    assert caught.value.code == "UNAVAILABLE"
    assert created(database) <= 1


async def test_a_write_is_not_the_first_to_notice_that_its_connection_has_gone(
    database: Database, as_admin: Person
) -> None:
    lanes = await lanes_of(database)
    try:
        for number in range(5):
            terminate(database, [pid for pid, _ in backends(database)])
            time.sleep(0.05)  # noqa: ASYNC251 - the loop shall not see it before the write does
            assert await ask(lanes, text(f"{number}"), by=identity_of(as_admin), read_only=False) == [
                f"{number}"
            ]
    finally:
        await lanes.close(drain_seconds=1)


def test_uvloop_does_not_forget_a_connection_that_was_reset(database: Database) -> None:
    """It calls the reader once, for what came before the reset, and then takes it off."""

    async def lose_and_go_on() -> list[str]:
        with Wire(database.dsn("gym_api")) as wire:
            lanes = await lanes_of(database, wire.dsn)
            asked = asyncio.create_task(ask(lanes, nap(0.5)))
            await eventually(lambda: sleeping(database))
            wire.cut(last_words=NOTICE)
            time.sleep(0.1)  # noqa: ASYNC251 - so that both come in together
            async with asyncio.timeout(5):
                answers = [*await asked, *await ask(lanes, text("next"))]
            await lanes.close(drain_seconds=1)
            return answers

    assert uvloop.run(lose_and_go_on()) == ["", "next"]


async def test_a_backend_that_stands_still_is_given_up_and_replaced(database: Database) -> None:
    lanes = await lanes_of(database, statement_timeout_ms=500, wait_seconds=0.3)
    still = -1
    try:
        slow = asyncio.create_task(ask(lanes, SLOW))
        await eventually(lambda: sleeping(database))
        (still,) = sleeping(database)
        os.kill(still, signal.SIGSTOP)

        with pytest.raises(ApiError) as waited:
            await ask(lanes, text("behind it"))
        async with asyncio.timeout(20):
            with pytest.raises(ApiError) as caught:
                await slow
            afterwards = await ask(lanes, text("next"))
    finally:
        if still > 0:
            os.kill(still, signal.SIGCONT)
        await lanes.close(drain_seconds=1)

    assert (waited.value.code, caught.value.code) == ("UNAVAILABLE", "TIMEOUT")
    assert afterwards == ["next"]


async def test_a_backend_that_stands_still_for_a_moment_goes_on(database: Database) -> None:
    lanes = await lanes_of(database)
    try:
        asked = asyncio.create_task(ask(lanes, nap(0.3)))
        await eventually(lambda: sleeping(database))
        (still,) = sleeping(database)
        os.kill(still, signal.SIGSTOP)
        await asyncio.sleep(0.6)
        os.kill(still, signal.SIGCONT)

        assert await asked == [""]
        assert [pid for pid, _ in backends(database) if pid == still]
    finally:
        await lanes.close(drain_seconds=1)


async def test_a_statement_that_postgres_ends_again_and_again_is_not_sent_again_for_ever(
    database: Database,
) -> None:
    """It may be what ends them."""
    lanes = await lanes_of(database)
    try:
        asked = asyncio.create_task(ask(lanes, SLOW))
        for _ in range(2):
            await eventually(lambda: sleeping(database))
            pids = sleeping(database)
            await asyncio.to_thread(terminate, database, pids)
            await eventually(lambda pids=pids: sleeping(database) != pids)  # type: ignore[misc]

        with pytest.raises(Refusal) as caught:
            await asked
    finally:
        await lanes.close(drain_seconds=1)

    assert caught.value.sqlstate == "57P01"
