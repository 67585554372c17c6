"""A block of work, and a client that leaves or stays."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from resolvers.client_presence import ClientLeftError, WhileClientWaits
from resolvers.timers import Timers

pytestmark = pytest.mark.any_postgres

Receive = Callable[[], Awaitable[Any]]


def client_that_leaves(after: asyncio.Event) -> Receive:
    async def receive() -> Any:
        await after.wait()
        return {"type": "http.disconnect"}

    return receive


@pytest.fixture
async def left() -> asyncio.Event:
    return asyncio.Event()


async def test_work_that_ends_in_time_is_left_alone(left: asyncio.Event) -> None:
    with WhileClientWaits(client_that_leaves(left), Timers(0)):
        await asyncio.sleep(0.02)

    left.set()
    await asyncio.sleep(0.02)


async def test_work_ends_when_the_client_leaves_and_the_task_goes_on(left: asyncio.Event) -> None:
    left.set()

    with pytest.raises(ClientLeftError), WhileClientWaits(client_that_leaves(left), Timers(0)):
        await asyncio.sleep(600)

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_cancellation_that_is_swallowed_is_repeated(left: asyncio.Event) -> None:
    async def swallow_one() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(600)
        await asyncio.sleep(600)

    left.set()

    with pytest.raises(ClientLeftError), WhileClientWaits(client_that_leaves(left), Timers(0)):
        await swallow_one()


async def test_a_body_that_is_still_coming_in_is_not_taken_for_a_client_that_left() -> None:
    async def receive() -> Any:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": True}

    with WhileClientWaits(receive, Timers(0)):
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_cancellation_by_somebody_else_stays_one(left: asyncio.Event, *, leaves: bool) -> None:
    async def work() -> None:
        with WhileClientWaits(client_that_leaves(left), Timers(0)):
            await asyncio.sleep(600)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.02)
    if leaves:
        left.set()
        await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
