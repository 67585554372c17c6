"""An ordinary good Strawberry server on the same database: resolvers, DataLoaders, caches, a pool, orjson.

It has what the benchmark's documents ask for, under the same names and with the same answers as ours.
"""

import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Generic, LiteralString, TypeVar
from uuid import UUID

import jwt
import orjson
import strawberry
import uvicorn
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, SchemaExtension, ValidationCache

_CONNECTIONS = 10
# More would not be kinder: the syntax trees that a cache keeps make every full garbage collection longer.
_MOST_DOCUMENTS = 128
_MOST_TOKENS = 10_000

Node = TypeVar("Node")
Pool = AsyncConnectionPool[AsyncConnection[DictRow]]


@dataclass
class Caller:
    """Who asks, the transaction of their request, and the loaders on it."""

    claims: str
    pool: Pool
    connection: AsyncConnection[DictRow] | None = None
    loaders: dict[Hashable, DataLoader[Any, Any]] = field(default_factory=dict)

    async def rows(self, query: LiteralString, *parameters: Any) -> list[DictRow]:
        if self.connection is None:
            raise RuntimeError("there is no transaction yet")
        return await (await self.connection.execute(query, parameters)).fetchall()

    def loader(
        self, name: Hashable, load: Callable[[list[UUID]], Awaitable[Sequence[Any]]]
    ) -> DataLoader[UUID, Any]:
        if name not in self.loaders:
            self.loaders[name] = DataLoader(load)
        return self.loaders[name]


Info = strawberry.Info[Caller, None]


class Transaction(SchemaExtension):
    """One transaction a request, under the caller's identity; nothing stays of one that failed."""

    async def on_execute(self) -> AsyncIterator[None]:
        caller: Caller = self.execution_context.context
        async with caller.pool.connection() as connection:
            caller.connection = connection
            await connection.execute(
                "select set_config('request.jwt.claims', %s, true), set_config('role', 'authenticated', true)",
                (caller.claims,),
            )
            yield
            result = self.execution_context.result
            if result is not None and getattr(result, "errors", None):
                await connection.rollback()


@strawberry.enum
class ProgramStatus(Enum):
    DRAFT = "draft"
    PUBLISHED = "published"
    ARCHIVED = "archived"


@strawberry.enum
class EnrollmentStatus(Enum):
    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@strawberry.enum
class MemberRole(Enum):
    END_USER = "end_user"
    COMMUNITY_ADMIN = "community_admin"


@strawberry.enum
class MembershipStatus(Enum):
    INVITED = "invited"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    LEFT = "left"


@strawberry.type
class Connection(Generic[Node]):
    nodes: list[Node]


@strawberry.type
class Member:
    id: UUID
    user_id: UUID
    display_name: str
    role: MemberRole
    status: MembershipStatus
    joined_at: datetime

    @classmethod
    def of(cls, row: DictRow) -> "Member":
        return cls(**{**row, "role": MemberRole(row["role"]), "status": MembershipStatus(row["status"])})


@strawberry.type
class Course:
    id: UUID
    title: str
    description: str | None
    version: int
    created_at: datetime
    updated_at: datetime


@strawberry.type
class CourseAssignment:
    id: UUID
    sequence_order: int
    required: bool
    group: str | None
    course_id: strawberry.Private[UUID]

    @strawberry.field
    async def course(self, info: Info) -> Course | None:
        return await _one(info.context, _COURSES, Course, self.course_id)


@strawberry.type
class Enrollment:
    id: UUID
    status: EnrollmentStatus
    attempt: int
    enrolled_at: datetime
    due_at: datetime | None
    completed_at: datetime | None
    withdrawn_at: datetime | None
    user_id: strawberry.Private[UUID]
    program_id: strawberry.Private[UUID]

    @classmethod
    def of(cls, row: DictRow) -> "Enrollment":
        return cls(**{**row, "status": EnrollmentStatus(row["status"])})

    @strawberry.field
    async def member(self, info: Info) -> Member | None:
        return await _one(info.context, _MEMBERS_BY_USER, Member.of, self.user_id)

    @strawberry.field
    async def program(self, info: Info) -> "Program | None":
        return await _one(info.context, _PROGRAMS_BY_ID, Program.of, self.program_id)


@strawberry.type
class Program:
    id: UUID
    title: str
    description: str | None
    duration_weeks: int | None
    status: ProgramStatus
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None
    archived_at: datetime | None
    author_id: strawberry.Private[UUID | None]

    @classmethod
    def of(cls, row: DictRow) -> "Program":
        return cls(**{**row, "status": ProgramStatus(row["status"])})

    @strawberry.field
    async def created_by(self, info: Info) -> Member | None:
        if self.author_id is None:
            return None
        return await _one(info.context, _MEMBERS_BY_USER, Member.of, self.author_id)

    @strawberry.field
    async def enrollments(self, info: Info, first: int = 25) -> Connection[Enrollment]:
        nodes = await _many(info.context, _ENROLLMENTS_OF_PROGRAMS, Enrollment.of, self.id, first)
        return Connection(nodes=nodes)

    @strawberry.field
    async def course_assignments(self, info: Info) -> list[CourseAssignment]:
        return await _many(
            info.context, _ASSIGNMENTS_OF_PROGRAMS, lambda row: CourseAssignment(**row), self.id
        )


_PROGRAM: LiteralString = (
    "select p.id, p.title, p.description, p.duration_weeks, p.status, p.created_at, p.updated_at, p.published_at,"
    " p.archived_at, p.created_by as author_id from public.programs as p"
)
_ENROLLMENT: LiteralString = (
    "select e.id, e.status, e.attempt, e.enrolled_at, e.due_at, e.completed_at, e.withdrawn_at, e.user_id,"
    " e.program_id from public.program_enrollments as e"
)
_MEMBER: LiteralString = (
    "select m.id, m.user_id, m.display_name, m.role, m.status, m.joined_at from public.memberships as m"
)
_COURSE: LiteralString = (
    "select c.id, c.title, c.description, c.version, c.created_at, c.updated_at from public.courses as c"
)
_ONE_PROGRAM: LiteralString = f"{_PROGRAM} where p.id = %s"
_PROGRAMS: LiteralString = f"{_PROGRAM} order by p.created_at desc, p.id desc limit %s"
_ENROLLMENTS: LiteralString = f"{_ENROLLMENT} order by e.enrolled_at desc, e.id desc limit %s"
_MEMBERS: LiteralString = f"{_MEMBER} order by m.display_name, m.id limit %s"
_ALL_COURSES: LiteralString = f"{_COURSE} order by c.title, c.id limit %s"

# Each loads the rows of a batch of keys; `key` says which one a row belongs to.
_PROGRAMS_BY_ID: LiteralString = f"select p.id as key, p.* from ({_PROGRAM} where p.id = any(%s)) as p"
_MEMBERS_BY_USER: LiteralString = (
    f"select m.user_id as key, m.* from ({_MEMBER} where m.user_id = any(%s)) as m"
)
_COURSES: LiteralString = f"select c.id as key, c.* from ({_COURSE} where c.id = any(%s)) as c"
_ENROLLMENTS_OF_PROGRAMS: LiteralString = f"""
    select wanted.id as key, e.*
    from unnest(%s::uuid[]) as wanted (id)
    cross join lateral (
        {_ENROLLMENT} where e.program_id = wanted.id order by e.enrolled_at desc, e.id desc limit %s
    ) as e
"""
_ASSIGNMENTS_OF_PROGRAMS: LiteralString = """
    select a.program_id as key, a.id, a.sequence_order, a.required, a.group_name as "group", a.course_id
    from public.program_course_assignments as a
    where a.program_id = any(%s)
    order by a.sequence_order
"""


async def _one(caller: Caller, query: LiteralString, make: Callable[..., Node], key: UUID) -> Node | None:
    async def load(keys: list[UUID]) -> list[Node | None]:
        found = {row.pop("key"): row for row in await caller.rows(query, keys)}
        made = {key: make(row) if make is not Course else Course(**row) for key, row in found.items()}
        return [made.get(key) for key in keys]  # type: ignore[misc]

    one: Node | None = await caller.loader(query, load).load(key)
    return one


async def _many(
    caller: Caller, query: LiteralString, make: Callable[[DictRow], Node], key: UUID, *parameters: Any
) -> list[Node]:
    async def load(keys: list[UUID]) -> list[list[Node]]:
        found: dict[UUID, list[Node]] = defaultdict(list)
        for row in await caller.rows(query, keys, *parameters):
            found[row.pop("key")].append(make(row))
        return [found[key] for key in keys]

    many: list[Node] = await caller.loader((query, *parameters), load).load(key)
    return many


@strawberry.type
class Query:
    @strawberry.field
    async def program(self, info: Info, id: UUID) -> Program | None:  # noqa: A002
        rows = await info.context.rows(_ONE_PROGRAM, id)
        return Program.of(rows[0]) if rows else None

    @strawberry.field
    async def programs(self, info: Info, first: int = 25) -> Connection[Program]:
        return Connection(nodes=[Program.of(row) for row in await info.context.rows(_PROGRAMS, first)])

    @strawberry.field
    async def enrollments(self, info: Info, first: int = 25) -> Connection[Enrollment]:
        return Connection(nodes=[Enrollment.of(row) for row in await info.context.rows(_ENROLLMENTS, first)])

    @strawberry.field
    async def members(self, info: Info, first: int = 25) -> Connection[Member]:
        return Connection(nodes=[Member.of(row) for row in await info.context.rows(_MEMBERS, first)])

    @strawberry.field
    async def courses(self, info: Info, first: int = 25) -> Connection[Course]:
        return Connection(nodes=[Course(**row) for row in await info.context.rows(_ALL_COURSES, first)])


@strawberry.input
class UpdateProgramInput:
    id: UUID
    title: str | None = strawberry.UNSET
    description: str | None = strawberry.UNSET
    duration_weeks: int | None = strawberry.UNSET


@strawberry.type
class UpdateProgramPayload:
    program: Program | None


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def update_program(self, info: Info, input: UpdateProgramInput) -> UpdateProgramPayload:  # noqa: A002
        given = {name: value for name, value in vars(input).items() if value is not strawberry.UNSET}
        given["id"] = str(input.id)
        await info.context.rows("select public.update_program(%s)", Jsonb(given))
        rows = await info.context.rows(_ONE_PROGRAM, input.id)
        return UpdateProgramPayload(program=Program.of(rows[0]) if rows else None)


schema = strawberry.Schema(
    Query,
    Mutation,
    extensions=[
        lambda: ParserCache(maxsize=_MOST_DOCUMENTS),
        lambda: ValidationCache(maxsize=_MOST_DOCUMENTS),
        Transaction,
    ],
)


class Endpoint(GraphQL[Caller, None]):
    """Strawberry's ASGI view with the callers of the benchmark, and orjson."""

    def __init__(self, pool: Pool, secret: str, issuer: str) -> None:
        super().__init__(schema, graphql_ide=None)
        self._pool = pool
        self._secret = secret
        self._issuer = issuer
        self._verified: dict[str, tuple[str, float]] = {}

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Caller:  # noqa: ARG002
        return Caller(self._claims(request.headers["authorization"].removeprefix("Bearer ")), self._pool)

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)

    def _claims(self, token: str) -> str:
        claims, expires_at = self._verified.get(token, ("", 0.0))
        if expires_at <= time.time():
            verified = jwt.decode(
                token, self._secret, algorithms=["HS256"], audience="authenticated", issuer=self._issuer
            )
            claims, expires_at = orjson.dumps(verified).decode(), verified["exp"]
            if len(self._verified) >= _MOST_TOKENS:
                self._verified.clear()
            self._verified[token] = claims, expires_at
        return claims


def create_app() -> Starlette:
    pool: Pool = AsyncConnectionPool(
        os.environ["DATABASE_URL"],
        kwargs={"row_factory": dict_row},
        min_size=_CONNECTIONS,
        max_size=_CONNECTIONS,
        open=False,
    )
    endpoint = Endpoint(pool, os.environ["JWT_SECRET"], os.environ["JWT_ISSUER"])

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with pool:
            yield

    return Starlette(routes=[Route("/graphql", endpoint)], lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(
        create_app(),
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
