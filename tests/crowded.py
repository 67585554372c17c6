"""A database with a crowd in it, and what documents compile to there."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from psycopg import sql

from resolvers.documents import Request
from resolvers.engine import Engine
from resolvers.identity import Identity
from resolvers.plan import Statement
from schema import model
from tests import cast
from tests.api import POLICY, identity_of
from tests.cast import Character
from tests.crowd import fill
from tests.databases import Database, cloned
from tests.people import Person, signed_in
from tests.plans import MODES, Connection, run
from tests.seen import TENANT_TABLES
from tests.shapes import Shape

# How far from the beginning the pages lie that are asked with `after`.
_PAGES_BEFORE, _ROWS_A_PAGE = 3, 100

# The wall's function is not among them where it is another's, which is then written out as this one.
_QUESTIONS = r"""
select 'private.get_community_id'
union
select (regexp_matches(concat(qual, with_check), '(private\.\w+)\(', 'g'))[1] from pg_policies
"""


@dataclass
class Recorder:
    """A database that only notes what it is to do."""

    seen: Sequence[Statement] = ()

    async def run(
        self, identity: Identity, statements: Sequence[Statement], *, read_only: bool
    ) -> list[bytes | None]:
        del identity, read_only
        self.seen = statements
        return [None] * len(statements)


@dataclass(frozen=True)
class Crowded:
    """A database with a crowd in it, one connection to it as the server's are, and what would run there."""

    database: Database
    connection: Connection
    rows: Mapping[str, int]  # of Alpha, by table, and how many communities there are
    questions: frozenset[str]  # functions that policies ask
    recorder: Recorder
    engine: Engine
    cursors: dict[str, str] = field(default_factory=dict)  # by shape

    async def statements(
        self, person: Person, document: str, variables: Mapping[str, Any]
    ) -> Sequence[Statement]:
        """What a document compiles to."""
        values = json.loads(json.dumps(variables, default=str))
        self.recorder.seen = ()
        answer = await self.engine.answer(Request(document, variables=values), identity_of(person))
        assert self.recorder.seen, answer.body
        return self.recorder.seen

    async def variables(self, shape: Shape) -> dict[str, Any]:
        """Those of a shape, with a cursor some pages behind the beginning if it needs one."""
        if not shape.continues:
            return dict(shape.variables)
        if shape.name not in self.cursors:
            # Alpha's admin is enrolled in nothing, but sees most otherwise.
            tried = [await self._cursor(shape, somebody) for somebody in (cast.ADMIN, cast.LEARNER)]
            self.cursors[shape.name] = next(cursor for cursor in tried if cursor)
        return {**shape.variables, "after": self.cursors[shape.name]}

    async def _cursor(self, shape: Shape, somebody: Character) -> str | None:
        """The one at the end of some pages; it holds for everybody in the community."""
        person, cursor = signed_in(self.database, somebody), None
        for _ in range(_PAGES_BEFORE):
            variables = {**shape.variables, "first": _ROWS_A_PAGE, "after": cursor}
            statements = await self.statements(person, shape.cursors_document, variables)
            (page,) = run(self.connection, person, statements, MODES[0], explain=False)
            cursor = next(_found(json.loads(page.value or "null"), "endCursor"), None) or cursor
        return cursor


def _found(value: Any, name: str) -> Iterator[Any]:
    """The values of a field, wherever it stands, that are not null."""
    if isinstance(value, list):
        for item in value:
            yield from _found(item, name)
    elif isinstance(value, dict):
        if value.get(name) is not None:
            yield value[name]
        yield from _found(list(value.values()), name)


@contextmanager
def crowded_database(template: Database) -> Iterator[Crowded]:
    policy = replace(POLICY, max_nodes=10**6, max_cost=10**7)
    recorder = Recorder()
    engine = Engine(model(), recorder, policy, b"a secret of the tests, long enough")
    with cloned(template) as database:
        fill(database)
        counting = sql.SQL("alter role gym_api in database {} set track_functions = 'all'")
        database.run_as("supabase_admin", counting.format(sql.Identifier(database.name)))
        questions = frozenset(name for (name,) in database.run(_QUESTIONS))
        with connection_of(database, "gym_api") as connection:
            yield Crowded(database, connection, _rows(database), questions, recorder, engine)


@contextmanager
def connection_of(database: Database, role: str) -> Iterator[Connection]:
    """A connection that prepares nothing by itself."""
    with psycopg.connect(database.dsn(role), autocommit=True, prepare_threshold=None) as connection:
        yield connection


def _rows(database: Database) -> dict[str, int]:
    of_alpha = sql.SQL("select count(*) from public.{} where community_id = %s")
    rows = {
        table: database.run(of_alpha.format(sql.Identifier(table)), cast.ALPHA) for table in TENANT_TABLES
    }
    rows["communities"] = database.run("select count(*) from public.communities")
    return {table: int(count) for table, ((count,),) in rows.items()}
