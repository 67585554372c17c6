"""What one client may have open and pending."""

from collections import Counter
from uuid import UUID

from resolvers.errors import ApiError

# Of what is told one by one; a client that lets more than this pile up is told that it misses some.
MOST_PENDING = 1_000


def too_slow() -> ApiError:
    return ApiError("LIMIT_EXCEEDED", "You read too slowly, and have missed some. Ask for all of it again.")


class Seats:
    """How many connections of a kind each person has open. Of those who are signed out, nobody is counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[UUID] = Counter()

    def take(self, person: UUID | None) -> bool:
        """False when they have as many as they may have."""
        if person is None:
            return True
        if self._taken[person] >= self._most:
            return False
        self._taken[person] += 1
        return True

    def leave(self, person: UUID | None) -> None:
        if person is not None:
            self._taken[person] -= 1
            if not self._taken[person]:
                del self._taken[person]

    def __len__(self) -> int:
        """How many people have any."""
        return len(self._taken)
