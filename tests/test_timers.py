"""Shared time limits: they run out when they should, and only for those who did not stop them."""

import asyncio

import pytest

from resolvers.timers import Timers, Within


async def test_limits_run_out_in_the_order_in_which_they_began() -> None:
    timers = Timers(0.01)
    rung: list[int] = []
    limits = [timers.start(lambda number=number: rung.append(number)) for number in range(5)]  # type: ignore[misc]
    limits[0].stop()
    limits[3].stop()

    await asyncio.sleep(0.05)

    assert rung == [1, 2, 4]


async def test_a_limit_that_begins_later_runs_out_later() -> None:
    timers = Timers(0.05)
    rung: list[str] = []
    timers.start(lambda: rung.append("first"))
    await asyncio.sleep(0.03)
    timers.start(lambda: rung.append("second"))

    await asyncio.sleep(0.03)
    assert rung == ["first"]
    await asyncio.sleep(0.05)
    assert rung == ["first", "second"]


async def test_stopped_limits_are_forgotten() -> None:
    timers = Timers(60)
    for _ in range(1_000):
        timers.start(print).stop()

    assert len(timers._limits) <= 1


async def test_a_block_that_takes_longer_is_cut_short() -> None:
    with pytest.raises(TimeoutError), Within(Timers(0.01)):
        await asyncio.sleep(60)


async def test_a_block_in_time_goes_on_undisturbed() -> None:
    timers = Timers(0.01)
    with Within(timers):
        await asyncio.sleep(0)

    await asyncio.sleep(0.05)


async def test_who_is_cancelled_by_somebody_else_stays_cancelled() -> None:
    async def wait() -> None:
        with Within(Timers(60)):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_in_the_same_moment_wins() -> None:
    async def wait() -> None:
        with Within(timers):
            await asyncio.sleep(60)

    timers = Timers(0)
    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    timers._ring()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
