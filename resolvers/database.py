"""How statements reach Postgres: under the caller's identity, in one round trip and one transaction.

Everything else asks a `Database` and knows nothing of connections; `resolvers/lanes.py` is the one there is.
"""

from collections.abc import Sequence
from typing import Protocol

from resolvers.identity import Identity
from resolvers.plan import Statement


class Database(Protocol):
    """Runs the statements of one request."""

    async def run(
        self, identity: Identity, statements: Sequence[Statement], *, read_only: bool
    ) -> list[bytes | None]:
        """The one value of each statement; none for a statement without rows.

        All or nothing. Raises Refusal for the statement that Postgres refused, and UNAVAILABLE or TIMEOUT.
        """
        ...
