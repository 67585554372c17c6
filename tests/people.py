"""Being somebody: one person in one database, asking the way the server does."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from tests.cast import Character
from tests.databases import Database

# The role comes last: what stands before it is set with the login role's rights. The names that begin with
# `request.jwt.claim` in the singular are older ways to carry claims, which auth.uid() would believe first.
_IDENTITY = """
select set_config('statement_timeout', '8000', true), set_config('lock_timeout', '3000', true),
       set_config('search_path', 'public, extensions', true),
       set_config('request.jwt.claim', '', true), set_config('request.jwt.claim.sub', '', true),
       set_config('request.jwt.claim.role', '', true), set_config('request.jwt.claim.email', '', true),
       set_config('request.jwt.claims', %s, true), set_config('role', %s, true)
"""


def put_on(connection: psycopg.Connection[TupleRow], role: str, claims: str) -> None:
    """What the server says first in every transaction; for claims that are not even JSON, too."""
    connection.execute(_IDENTITY, (claims, role))


@dataclass(frozen=True)
class Person:
    """Somebody with a verified token (or none: role `anon`), and the database that they ask."""

    database: Database
    role: str
    claims: Mapping[str, Any]

    @property
    def claims_text(self) -> str:
        return json.dumps(self.claims)

    def sql(self, query: str | sql.Composed, *parameters: Any) -> list[TupleRow]:
        """The rows of one query in a transaction of its own, which is committed."""
        with self.transaction() as connection:
            cursor = connection.execute(query, parameters or None)
            return [] if cursor.rownumber is None else cursor.fetchall()

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[TupleRow]]:
        with self.database.connect("gym_api") as connection:
            put_on(connection, self.role, self.claims_text)
            yield connection

    def claiming(self, **claims: Any) -> Self:
        """The same person with other claims, as a forged or an outdated token has them."""
        return replace(self, claims={**self.claims, **claims})


def signed_in(database: Database, character: Character) -> Person:
    now = int(time.time())
    claims = {
        "sub": str(character.id),
        "role": "authenticated",
        "aud": "authenticated",
        "iat": now,
        "exp": now + 3600,
        "email": character.email or "",
        "is_anonymous": character.is_anonymous,
        "app_metadata": {"community_id": character.community and str(character.community)},
        "user_metadata": {},
    }
    return Person(database, "authenticated", claims)


def signed_out(database: Database) -> Person:
    return Person(database, "anon", {"role": "anon"})
