"""A client that leaves: the database stops working for it, and its connections are as good as new."""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from resolvers.documents import Request
from resolvers.engine import Answer, Phase
from resolvers.identity import Identity
from resolvers.lanes import LaneDatabase
from resolvers.plan import Statement
from tests.databases import Database
from tests.serving import endpoint, serving
from tests.signing import claims, token

CONNECTIONS = 4
SLEEP = "select pg_sleep(60)::text"
WHO = "select current_user || ' ' || current_setting('request.jwt.claims')"
RUNNING = "select count(*) from pg_stat_activity where query = %s and state = 'active' and datname = current_database()"


class SqlEngine:
    """Runs a request's text as SQL: there is no GraphQL that takes as long as this needs."""

    def __init__(self, database: LaneDatabase) -> None:
        self._database = database

    async def answer(self, request: Request, identity: Identity) -> Answer:
        (value,) = await self._database.run(identity, [Statement(request.query, [])], read_only=True)
        return Answer(Phase.EXECUTED, value or b"")


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.fixture
def port(database: Database) -> Iterator[int]:
    pool = LaneDatabase(
        database.dsn("gym_api"),
        connections=CONNECTIONS,
        statement_timeout_ms=60_000,
        lock_timeout_ms=3_000,
        wait_seconds=20,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await pool.open()
        yield
        await pool.close()

    with serving(Starlette(routes=[Route("/graphql", endpoint(SqlEngine(pool)))], lifespan=lifespan)) as port:
        yield port


def wait_until_running(database: Database, *, some: bool) -> None:
    """Until some of the statements run, or none."""
    began = time.monotonic()
    while (database.run_as("supabase_admin", RUNNING, SLEEP) != [(0,)]) != some:
        assert time.monotonic() - began < 20
        time.sleep(0.02)


def test_nothing_runs_for_clients_that_have_left_and_the_pool_is_whole(port: int, database: Database) -> None:
    head = f"Host: server\r\nAuthorization: Bearer {token()}\r\n"
    asks = f"GET /graphql?query={SLEEP.replace(' ', '%20')} HTTP/1.1\r\n{head}\r\n".encode()
    for _ in range(3):
        with ExitStack() as clients:
            for _ in range(CONNECTIONS * 3):  # some run, the others wait for their turn
                client = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
                client.sendall(asks)
            wait_until_running(database, some=True)
        wait_until_running(database, some=False)

    url = f"http://127.0.0.1:{port}/graphql"
    for _ in range(CONNECTIONS * 2):
        assert httpx.get(url, params={"query": WHO}).text == "anon "
        signed_in = httpx.get(url, params={"query": WHO}, headers={"authorization": f"Bearer {token()}"}).text
        assert signed_in.startswith("authenticated {")
        assert claims()["sub"] in signed_in
