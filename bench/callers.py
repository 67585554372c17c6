"""Who asks: admins of the two communities with the most in them, their tokens, and the ids that they may ask for."""

import secrets
import time
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, LiteralString
from uuid import UUID

import jwt

from bench.database import Database
from bench.errors import BenchError

ISSUER = "https://bench.test/auth/v1"
SECRET = secrets.token_hex(32)

_LARGEST: LiteralString = """
    select c.id
    from public.communities as c
    left join public.program_enrollments as e on e.community_id = c.id
    group by c.id
    order by count(e.id) desc, c.id
    limit 2
"""
_NEW_USER: LiteralString = """
    insert into auth.users (id, email, aud, role, created_at, updated_at)
    values (gen_random_uuid(), %s, 'authenticated', 'authenticated', now(), now())
    returning id
"""
_NEW_ADMIN: LiteralString = """
    insert into public.memberships (community_id, user_id, role, display_name)
    values (%s, %s, 'community_admin', 'The benchmark')
"""
# Ids by the names of the variables that stand for them; in an order that is no table's, the same on every run.
_IDS: dict[str, LiteralString] = {
    "programId": "select id from public.programs where community_id = %s and status <> 'archived'",
    "courseId": "select id from public.courses where community_id = %s",
    "enrollmentId": "select id from public.program_enrollments where community_id = %s",
    "memberId": "select id from public.memberships where community_id = %s",
    "userId": "select user_id from public.memberships where community_id = %s",
    "memberUserId": "select user_id from public.memberships where community_id = %s",
    "communityId": "select %s::uuid as id",
}
_MOST_IDS = 500


@dataclass(frozen=True)
class Caller:
    """An admin, with values for the variables of documents."""

    community_id: UUID
    token: str
    values: dict[str, list[Any]]

    def knows(self, *names: str | None) -> str | None:
        """The first of the names that it has values for."""
        return next((name for name in names if name in self.values), None)

    def take(self, variable: str, number: int) -> Any:
        """The value of a variable in the request of this number."""
        values = self.values.get(variable)
        if not values:
            raise BenchError(
                f"There is nothing in community {self.community_id} that ${variable} could stand for."
            )
        return values[number % len(values)]


def make_callers(database: Database) -> list[Caller]:
    communities = [community for (community,) in database.run(_LARGEST)]
    return [_make_caller(database, community) for community in communities]


def _make_caller(database: Database, community_id: UUID) -> Caller:
    email = f"benchmark@{community_id}.test"
    ((user_id,),) = database.run(_NEW_USER, email)
    database.run(_NEW_ADMIN, community_id, user_id)
    values: dict[str, list[Any]] = {name: _ids(database, name, community_id) for name in _IDS}
    values |= {"durationWeeks": list(range(1, 53)), "first": [20]}
    return Caller(community_id, make_token(community_id, user_id, email), values)


def _ids(database: Database, variable: str, community_id: UUID) -> list[str]:
    ids = sorted(
        (str(found) for (found,) in database.run(_IDS[variable], community_id)), key=lambda i: i[::-1]
    )
    return list(islice(cycle(ids), _MOST_IDS)) if ids else []


def make_token(community_id: UUID, user_id: UUID, email: str) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": str(user_id),
        "aud": "authenticated",
        "iat": now,
        "exp": now + 80_000,
        "email": email,
        "role": "authenticated",
        "is_anonymous": False,
        "app_metadata": {"provider": "email", "community_id": str(community_id)},
        "user_metadata": {},
    }
    return jwt.encode(claims, SECRET, algorithm="HS256")
