"""The auditor of GraphQL over HTTP against the real engine: every MUST, and every SHOULD but those listed here."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from resolvers.engine import Engine
from resolvers.lanes import LaneDatabase
from schema import model
from tests.api import POLICY
from tests.auditor import Finding, audit
from tests.databases import Database
from tests.npm_packages import PackagesMissingError
from tests.serving import endpoint, serving

pytestmark = pytest.mark.any_postgres

# What the auditor asks and we do otherwise, with the reason.
OTHERWISE = {
    "47DE": "From 2025 on, `*/*` gets the type that the specification made for answers.",
    "80D8": "And so does a request without Accept.",
}


@pytest.fixture(scope="module")
def findings(shared_database: Database) -> list[Finding]:
    database = LaneDatabase(
        shared_database.dsn("gym_api"), connections=2, statement_timeout_ms=8_000, lock_timeout_ms=3_000
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await database.open()
        yield
        await database.close()

    engine = Engine(model(), database, POLICY, b"a secret of the tests, long enough")
    app = Starlette(routes=[Route("/graphql", endpoint(engine))], lifespan=lifespan)
    with serving(app) as port:
        try:
            return audit(f"http://127.0.0.1:{port}/graphql")
        except PackagesMissingError as error:
            pytest.skip(str(error))


def test_every_requirement_is_met(findings: list[Finding]) -> None:
    assert len(findings) > 50
    unmet = {finding["id"]: finding for finding in findings if finding["status"] != "ok"}

    assert not [finding for finding in unmet.values() if "MUST" in finding["name"]]
    assert unmet.keys() == OTHERWISE.keys(), json.dumps(list(unmet.values()), indent=2)


def test_the_auditors_lock_names_no_registry() -> None:
    lock = Path(__file__).parent / "graphql_over_http" / "package-lock.json"

    assert "://" not in lock.read_text()
