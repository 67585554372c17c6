"""Who waits for a lane: each community's requests in order, the communities in turn, none without end.

Where somebody writes on as many lanes as one person may, their further writes let others go past.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Collection

from resolvers.errors import ApiError
from resolvers.lane import Group, Lane, Writer


class Waiting:
    """A number of groups at most for each owner, twice that for all; each for some seconds at most."""

    def __init__(self, *, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._queues: OrderedDict[int | None, deque[Group]] = OrderedDict()
        self._number = 0
        # When those who have waited longest began to, as of the last look at all: of an owner, and apart from them of
        # each person who only waits for writes of their own.
        self._longest: dict[tuple[int | None, Writer | None], float] = {}

    def __len__(self) -> int:
        return self._number

    def groups(self) -> list[Group]:
        return [group for queue in self._queues.values() for group in queue]

    def add(self, group: Group, now: float) -> None:
        """Raises UNAVAILABLE when there is no room, or when it would wait too long."""
        queue = self._queues.get(group.owner, ())
        # As long as others have waited, the last would. A crowd that comes at once may wait longer.
        longest = min(self._longest.get((group.owner, whose), now) for whose in (None, group.writer))
        slow = now - longest > self._seconds / 3
        if slow or len(queue) >= self._most or self._number >= 2 * self._most:
            raise busy()
        group.since = now
        self._queue(group.owner).append(group)
        self._number += 1

    def add_first(self, group: Group, now: float) -> None:
        """For those who have waited before."""
        group.since = now
        self._queue(group.owner).appendleft(group)
        self._number += 1

    def next(
        self, lane_for: Callable[[int | None], Lane | None], has_enough: Callable[[Writer | None], bool]
    ) -> tuple[Group, Lane] | None:
        """Takes the first one of the owner whose turn it is among those whom there is a lane for.

        What is of people who have enough lanes is passed over, and keeps its place.
        """
        for owner in self._queues:
            lane = lane_for(owner)
            group = self._take_first(owner, has_enough) if lane is not None else None
            if lane is not None and group is not None:
                return group, lane
        return None

    def expired(self, now: float, served: Collection[Writer | None] = ()) -> list[Group]:
        """Takes those whose time is up. `served` are the people who have enough lanes."""
        gone = []
        self._longest.clear()
        for owner, queue in list(self._queues.items()):
            late = [group for group in queue if self._is_late(group, now)]
            if late:
                gone += late
                self._queues[owner] = queue = deque(group for group in queue if group not in late)
            if not queue:
                del self._queues[owner]
            for group in queue:
                key = owner, group.writer if group.writer in served else None
                self._longest[key] = min(group.since, self._longest.get(key, math.inf))
        self._number -= len(gone)
        return gone

    def _is_late(self, group: Group, now: float) -> bool:
        return now - group.since > self._seconds or now > group.deadline or not group.wanted

    def _queue(self, owner: int | None) -> deque[Group]:
        return self._queues.setdefault(owner, deque())

    def _take_first(self, owner: int | None, has_enough: Callable[[Writer | None], bool]) -> Group | None:
        """The owner goes to the end of the turn. Those whom nobody waits for any more go with the next look at all."""
        queue = self._queues[owner]
        passed: set[Writer | None] = set()
        for place, group in enumerate(queue):
            if not group.wanted or (passed and group.writer in passed):
                continue
            if has_enough(group.writer):
                passed.add(group.writer)
                continue
            del queue[place]
            self._number -= 1
            self._queues.move_to_end(owner)
            if not queue:
                del self._queues[owner]
            return group
        return None


def busy() -> ApiError:
    return ApiError("UNAVAILABLE", "The database is busy. Try again in a moment.")
