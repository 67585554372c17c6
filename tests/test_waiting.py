"""Who waits for a lane waits for a bounded time, whoever is put in front."""

import asyncio

import pytest

from resolvers.errors import ApiError
from resolvers.lane import Group, Lane, Writer
from resolvers.waiting import Waiting

SECONDS = 3.0
LANE = Lane("", setup="", most_prepared=1, named=True, depth=1)
ONE, OTHER = (1, 1), (1, 2)  # people of the same community


@pytest.fixture
def waiting() -> Waiting:
    return Waiting(most=10, seconds=SECONDS)


async def group(deadline: float = 100.0, writer: Writer | None = None) -> Group:
    return Group(1, [], deadline, asyncio.get_running_loop().create_future(), writer)


def taken(waiting: Waiting, *served: Writer) -> list[Group]:
    """All that there are lanes for, in their order."""
    found = []
    while (following := waiting.next(lambda _: LANE, served.__contains__)) is not None:
        found.append(following[0])
    return found


async def test_those_put_in_front_give_those_behind_no_more_time(waiting: Waiting) -> None:
    first, late = await group(), await group()
    waiting.add(first, 0.0)
    waiting.add_first(late, 2.9)

    assert waiting.expired(3.1) == [first]
    assert waiting.expired(5.8) == []
    assert waiting.expired(6.0) == [late]


async def test_a_queue_that_stands_still_takes_nobody_else(waiting: Waiting) -> None:
    waiting.add(await group(), 0.0)
    waiting.add_first(await group(), 1.4)
    waiting.expired(1.5)

    with pytest.raises(ApiError):
        waiting.add(await group(), 1.5)


async def test_nobody_waits_past_the_end_of_the_request(waiting: Waiting) -> None:
    ending = await group(deadline=1.0)
    waiting.add(ending, 0.0)

    assert waiting.expired(1.1) == [ending]


async def test_who_has_gone_is_not_waited_for(waiting: Waiting) -> None:
    gone, here = await group(), await group()
    waiting.add(gone, 0.0)
    waiting.add(here, 0.0)
    gone.future.cancel()

    assert waiting.next(lambda _: None, lambda _: False) is None
    assert waiting.expired(0.1) == [gone]
    assert len(waiting) == 1


async def test_others_go_past_those_who_have_their_lanes(waiting: Waiting) -> None:
    first, second, third = [await group(writer=ONE) for _ in range(3)]
    other = await group(writer=OTHER)
    for one in (first, second, other, third):
        waiting.add(one, 0.0)

    assert taken(waiting, ONE) == [other]
    assert taken(waiting) == [first, second, third]
    assert len(waiting) == 0


async def test_who_waits_for_their_own_writes_makes_no_queue_of_the_others(waiting: Waiting) -> None:
    waiting.add(await group(writer=ONE), 0.0)
    waiting.expired(1.5, {ONE})

    waiting.add(await group(writer=OTHER), 1.5)
    with pytest.raises(ApiError):
        waiting.add(await group(writer=ONE), 1.5)


async def test_those_who_could_be_served_make_others_wait_whoever_they_are(waiting: Waiting) -> None:
    waiting.add(await group(writer=ONE), 0.0)
    waiting.expired(1.5)

    with pytest.raises(ApiError):
        waiting.add(await group(writer=OTHER), 1.5)


async def test_who_is_gone_is_gone_past(waiting: Waiting) -> None:
    gone, here = await group(writer=ONE), await group(writer=ONE)
    waiting.add(gone, 0.0)
    waiting.add(here, 0.0)
    gone.future.cancel()

    assert taken(waiting) == [here]
    assert waiting.expired(0.1) == [gone]
    assert len(waiting) == 0
