"""Asking GraphQL as somebody: the engine over the test's own database, both ways of running compared."""

import json
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from resolvers.documents import Request
from resolvers.engine import Answer, Engine, Policy
from resolvers.identity import ANONYMOUS, Identity
from resolvers.lanes import LaneDatabase
from resolvers.limits import Limits
from resolvers.model import Model
from resolvers.plan import Statement
from schema import model
from tests.databases import Database
from tests.people import Person

POLICY = Policy(
    Limits(12, 30, 10, 2_000), max_tokens=2_000, max_nodes=5_000, max_cost=100_000, introspection_for_all=True
)


@dataclass(frozen=True)
class Reply:
    """An answer, taken apart."""

    body: bytes
    statements: list[str]

    @property
    def data(self) -> Any:
        """The data of an answer that must have no errors."""
        assert "errors" not in self.json, self.json["errors"]
        return self.json["data"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The one error of an answer that must have one."""
        (error,) = self.json["errors"]
        assert isinstance(error, dict)
        return error

    @property
    def code(self) -> str:
        return str(self.error["extensions"]["code"])

    @property
    def field(self) -> str | None:
        name: str | None = self.error["extensions"].get("field")
        return name


@dataclass
class CountingDatabase:
    """Passes everything on, and remembers the statements."""

    real: LaneDatabase
    seen: list[Statement] = field(default_factory=list)

    async def run(
        self, identity: Identity, statements: Sequence[Statement], *, read_only: bool
    ) -> list[bytes | None]:
        self.seen.extend(statements)
        return await self.real.run(identity, statements, read_only=read_only)


@dataclass
class Api:
    engine: Engine
    database: CountingDatabase

    async def ask(self, person: Person, query: str, **variables: Any) -> Reply:
        """Runs a document as somebody; a query both ways, which must give the same bytes."""
        request = Request(query, variables=json.loads(json.dumps(variables, default=str)))
        answer, statements = await self._answer(request, person, compiled=True)
        if not query.lstrip().startswith("mutation"):
            executed, _ = await self._answer(request, person, compiled=False)
            if b'"INTERNAL"' not in answer.body:
                assert executed.body == answer.body, "compiled and executed answers differ"
        return Reply(answer.body, statements)

    async def _answer(self, request: Request, person: Person, *, compiled: bool) -> tuple[Answer, list[str]]:
        self.database.seen.clear()
        answer = await self.engine.answer(request, identity_of(person), compiled=compiled)
        return answer, [statement.sql for statement in self.database.seen]


def identity_of(person: Person) -> Identity:
    """What the verifier makes of this person's token."""
    if person.role == "anon":
        return ANONYMOUS
    claimed = person.claims["app_metadata"].get("community_id")
    return Identity(
        "authenticated",
        json.dumps(person.claims),
        UUID(person.claims["sub"]),
        UUID(claimed) if claimed else None,
        math.inf,
    )


@asynccontextmanager
async def api_of(
    database: Database, policy: Policy = POLICY, schema: Model | None = None
) -> AsyncIterator[Api]:
    """An engine with a pool of its own on a database; `schema` is another than the project's."""
    pool = LaneDatabase(
        database.dsn("gym_api"), connections=4, statement_timeout_ms=8_000, lock_timeout_ms=3_000
    )
    counting = CountingDatabase(pool)
    await pool.open()
    try:
        yield Api(
            Engine(schema or model(), counting, policy, b"a secret of the tests, long enough"), counting
        )
    finally:
        await pool.close()
