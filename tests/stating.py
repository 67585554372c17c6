"""Sending statements as somebody: the endpoint over the test's own database, with tokens that a verifier accepts."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx

from resolvers.lanes import LaneDatabase
from resolvers.xapi.endpoint import XapiEndpoint
from tests.cast import Character
from tests.course_documents import block, block_id, section
from tests.databases import Database
from tests.signing import VERIFIER, token

ADL, CMI5 = "http://adlnet.gov/expapi/verbs/", "https://w3id.org/xapi/adl/verbs/"
PROGRESS = "https://w3id.org/xapi/cmi5/result/extensions/progress"
VIDEO_PROGRESS = "https://w3id.org/xapi/video/extensions/progress"
REASON = "https://w3id.org/xapi/cmi5/result/extensions/reason"
MAX_BODY_BYTES = 262_144
SOME_ID = "0d2b7a6e-5c1f-4e3a-9b8d-7f6a5e4d3c2b"
# A course to say something about.
BLOCKS = [section(1), block(2, 1), block(3, 1), block(4), block(5, completionMode="excluded")]
KEPT = "select event_status, reason from public.xapi_statements where id = %s"

Said = dict[str, Any]


def account(person: Character | UUID | str) -> Said:
    named = person.id if isinstance(person, Character) else person
    return {"account": {"homePage": "https://learn.example", "name": str(named)}}


def statement(person: Character, verb: str = "completed", block: int | str = 2, **more: Any) -> Said:
    """What somebody did, about a block by its number in `course_documents`, or about any activity."""
    return {
        "id": str(uuid4()),
        "actor": account(person),
        "verb": {"id": verb if ":" in verb else ADL + verb},
        "object": {"id": f"urn:uuid:{block_id(block)}" if isinstance(block, int) else block},
        **more,
    }


def voiding(person: Character, target: str, **more: Any) -> Said:
    return {**statement(person, "voided"), "object": {"objectType": "StatementRef", "id": target}, **more}


def token_of(person: Character, algorithm: str = "ES256", **more: Any) -> str:
    return token(
        algorithm,
        sub=str(person.id),
        email=person.email or "",
        is_anonymous=person.is_anonymous,
        app_metadata={"community_id": str(person.community)} if person.community else {},
        **more,
    )


@dataclass
class Xapi:
    """One server, asked by anybody."""

    client: httpx.AsyncClient

    async def send(
        self, method: str, person: Character | None, path: str = "/xapi/statements", **more: Any
    ) -> httpx.Response:
        headers = {"x-experience-api-version": "1.0.3", **more.pop("headers", {})}
        if person is not None:
            headers["authorization"] = f"Bearer {token_of(person)}"
        given = {name: value for name, value in headers.items() if value is not None}
        return await self.client.request(method, path, headers=given, **more)

    async def post(self, person: Character | None, body: Any, **more: Any) -> httpx.Response:
        return await self.send("POST", person, **_with_content(body, more))

    async def put(
        self, person: Character | None, body: Any, statement_id: str | None = None, **more: Any
    ) -> httpx.Response:
        params = {"statementId": statement_id or body["id"]}
        return await self.send("PUT", person, params=params, **_with_content(body, more))

    async def get(self, person: Character | None, **params: Any) -> httpx.Response:
        return await self.send("GET", person, params=params)

    async def stored(self, person: Character, *statements: Said) -> list[str]:
        """Sends them in one list, which must be taken."""
        response = await self.post(person, list(statements))
        assert response.status_code == 200, response.text
        ids: list[str] = response.json()
        return ids

    async def one(self, person: Character, statement_id: str) -> Any:
        response = await self.get(person, statementId=statement_id)
        assert response.status_code == 200, response.text
        return response.json()

    async def listed(self, person: Character, **params: Any) -> list[str]:
        """The ids of a page."""
        response = await self.get(person, **params)
        assert response.status_code == 200, response.text
        return [said["id"] for said in response.json()["statements"]]


def _with_content(body: Any, more: dict[str, Any]) -> dict[str, Any]:
    """The body as JSON, or as these bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **more.pop("headers", {})}
    return {"content": content, "headers": headers, **more}


@asynccontextmanager
async def endpoint_over(database: Database) -> AsyncIterator[XapiEndpoint]:
    pool = LaneDatabase(
        database.dsn("gym_api"), connections=4, statement_timeout_ms=8_000, lock_timeout_ms=3_000
    )
    await pool.open()
    try:
        yield XapiEndpoint(
            pool,
            VERIFIER,
            b"a secret of the tests, long enough",
            max_body_bytes=MAX_BODY_BYTES,
            body_timeout_seconds=5,
        )
    finally:
        await pool.close()


@asynccontextmanager
async def xapi_over(database: Database) -> AsyncIterator[Xapi]:
    async with endpoint_over(database) as endpoint:
        transport = httpx.ASGITransport(app=endpoint)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            yield Xapi(client)


def error_of(response: httpx.Response) -> Any:
    (error,) = response.json()["errors"]
    return error


def kept(database: Database, said: Said) -> tuple[str | None, str | None]:
    """What became of a statement's event, and why."""
    ((status, reason),) = database.run(KEPT, said["id"])
    return status, reason


def count(database: Database) -> int:
    return int(database.run("select count(*) from public.xapi_statements")[0][0])
