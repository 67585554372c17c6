"""Asking a `LaneDatabase` by itself, and looking at what it does in Postgres."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from resolvers.identity import ANONYMOUS, Identity
from resolvers.lanes import LaneDatabase
from resolvers.plan import Statement
from tests.databases import Database

SLOW = Statement("select to_json(pg_sleep(30)::text)::text", [])


async def lanes_of(database: Database, url: str | None = None, **options: Any) -> LaneDatabase:
    usual = {"connections": 2, "statement_timeout_ms": 8_000, "lock_timeout_ms": 3_000}
    lanes = LaneDatabase(url or database.dsn("gym_api"), **(usual | options))
    await lanes.open()
    return lanes


async def ask(
    lanes: LaneDatabase, *statements: Statement, by: Identity = ANONYMOUS, read_only: bool = True
) -> Any:
    return [
        None if value is None else json.loads(value)
        for value in await lanes.run(by, statements, read_only=read_only)
    ]


def text(value: str) -> Statement:
    return Statement("select to_json($1::text)::text", [value])


def nap(seconds: float) -> Statement:
    return Statement("select to_json(pg_sleep($1::float)::text)::text", [str(seconds)])


def backends(database: Database, state: str = "%") -> list[tuple[int, str]]:
    return database.run_as(
        "supabase_admin",  # others do not see what is being run
        "select pid, query from pg_stat_activity where usename = 'gym_api' and datname = current_database()"
        " and state like %s",
        state,
    )


def sleeping(database: Database) -> list[int]:
    return [pid for pid, query in backends(database, "active") if "pg_sleep" in query]


def terminate(database: Database, pids: list[int]) -> None:
    database.run_as("supabase_admin", "select pg_terminate_backend(pid) from unnest(%s::int[]) as pid", pids)


async def eventually(condition: Callable[[], Any], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - a database has no events to wait for
            await asyncio.sleep(0.02)
