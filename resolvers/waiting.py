"""Who waits for a lane: each community's requests in order, the communities in turn, none without end."""

from collections import OrderedDict, deque
from collections.abc import Callable

from resolvers.errors import ApiError
from resolvers.lane import Group, Lane


class Waiting:
    """A number of groups at most for each owner, twice that for all; each for some seconds at most."""

    def __init__(self, *, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._queues: OrderedDict[int | None, deque[Group]] = OrderedDict()
        self._number = 0
        # When those who have waited longest began to, by owner, as of the last look at all.
        self._longest: dict[int | None, float] = {}

    def __len__(self) -> int:
        return self._number

    def groups(self) -> list[Group]:
        return [group for queue in self._queues.values() for group in queue]

    def add(self, group: Group, now: float) -> None:
        """Raises UNAVAILABLE when there is no room, or when it would wait too long."""
        queue = self._queues.get(group.owner, ())
        # As long as others have waited, the last would. A crowd that comes at once may wait longer.
        slow = now - self._longest.get(group.owner, now) > self._seconds / 3
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

    def next(self, lane_for: Callable[[int | None], Lane | None]) -> tuple[Group, Lane] | None:
        """Takes the first one of the owner whose turn it is among those whom there is a lane for."""
        for owner in list(self._queues):
            lane = lane_for(owner)
            group = self._first_wanted(owner) if lane is not None else None
            if lane is not None and group is not None:
                return group, lane
        return None

    def expired(self, now: float) -> list[Group]:
        """Takes those whose time is up."""
        gone = []
        self._longest.clear()
        for owner, queue in list(self._queues.items()):
            late = [group for group in queue if self._is_late(group, now)]
            if late:
                gone += late
                self._queues[owner] = queue = deque(group for group in queue if group not in late)
            if queue:
                self._longest[owner] = min(group.since for group in queue)
            else:
                del self._queues[owner]
        self._number -= len(gone)
        return gone

    def _is_late(self, group: Group, now: float) -> bool:
        return now - group.since > self._seconds or now > group.deadline or not group.wanted

    def _queue(self, owner: int | None) -> deque[Group]:
        return self._queues.setdefault(owner, deque())

    def _first_wanted(self, owner: int | None) -> Group | None:
        """The owner goes to the end of the turn."""
        queue = self._queues.pop(owner)
        while queue:
            group = queue.popleft()
            self._number -= 1
            if group.wanted:
                if queue:
                    self._queues[owner] = queue
                return group
        return None


def busy() -> ApiError:
    return ApiError("UNAVAILABLE", "The database is busy. Try again in a moment.")
