"""xAPI over HTTP: versions, methods, types and parameters, on a port, with a client library, from a browser."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest

from app import create_app
from resolvers.xapi.endpoint import VERSIONS
from settings import Settings
from tests import cast
from tests.api import Api
from tests.cast import Character
from tests.course_documents import block_id
from tests.databases import Database
from tests.people import Person
from tests.progressing import teach
from tests.serving import serving
from tests.signing import ISSUER, SECRET
from tests.stating import ADL, BLOCKS, MAX_BODY_BYTES, SOME_ID, Xapi, count, error_of, statement, token_of

LEARNER = cast.LEARNER


@pytest.fixture
async def course(api: Api, as_admin: Person) -> str:
    return await teach(api, as_admin, *BLOCKS)


async def test_about_needs_nothing(xapi: Xapi) -> None:
    response = await xapi.send("GET", None, "/xapi/about", headers={"x-experience-api-version": None})

    assert (response.status_code, response.json()) == (200, {"version": list(VERSIONS)})
    assert response.headers["x-experience-api-version"] == "1.0.3"


@pytest.mark.parametrize("version", ["1.0", "1.0.0", "1.0.3", "1.0.9", "2.0.0"])
async def test_a_known_version_is_answered_with_the_newest_of_its_line(xapi: Xapi, version: str) -> None:
    response = await xapi.post(LEARNER, statement(LEARNER), headers={"x-experience-api-version": version})

    assert response.status_code == 200
    assert response.headers["x-experience-api-version"] == ("2.0.0" if version == "2.0.0" else "1.0.3")


@pytest.mark.parametrize("version", [None, "", "0.9", "0.95", "1.1.0", "2.1.0", "1.0.x", "3", "1.0.3, 1.0.3"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_without_a_known_version_nothing_happens(
    xapi: Xapi, database: Database, version: str | None, method: str
) -> None:
    before = count(database)
    said = statement(LEARNER)
    params = {"statementId": said["id"]} if method == "PUT" else {}

    response = await xapi.send(
        method, LEARNER, json=said, params=params, headers={"x-experience-api-version": version}
    )

    assert response.status_code == 400
    assert "X-Experience-API-Version" in error_of(response)["message"]
    assert response.headers["x-experience-api-version"] == "1.0.3"
    assert count(database) == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/xapi/statements", 405),
        ("PATCH", "/xapi/statements", 405),
        ("POST", "/xapi/about", 405),
        ("GET", "/xapi/activities/state", 404),
        ("GET", "/xapi/", 404),
    ],
)
async def test_there_is_nothing_else(xapi: Xapi, method: str, path: str, status: int) -> None:
    response = await xapi.send(method, LEARNER, path)

    assert response.status_code == status
    assert response.headers["x-experience-api-version"] == "1.0.3"


@pytest.mark.parametrize(
    ("content_type", "status", "words"),
    [
        ("multipart/mixed; boundary=x", 400, "Attachments are not kept"),
        ("application/x-www-form-urlencoded", 415, "application/json"),
        ("text/plain", 415, "application/json"),
    ],
)
async def test_bodies_are_json(xapi: Xapi, content_type: str, status: int, words: str) -> None:
    response = await xapi.post(LEARNER, statement(LEARNER), headers={"content-type": content_type})

    assert response.status_code == status
    assert words in error_of(response)["message"]


async def test_a_body_has_its_limit(xapi: Xapi) -> None:
    response = await xapi.post(LEARNER, b" " * (MAX_BODY_BYTES + 1))

    assert response.status_code == 413


async def test_put_takes_the_id_of_the_url(xapi: Xapi) -> None:
    said = statement(LEARNER)
    without = {key: value for key, value in said.items() if key != "id"}

    stored = await xapi.put(LEARNER, without, said["id"])
    again = await xapi.put(LEARNER, said, said["id"].upper())
    other = await xapi.put(LEARNER, said, str(uuid4()))

    assert (stored.status_code, stored.content) == (204, b"")
    assert "content-length" not in stored.headers
    assert again.status_code == 204
    assert (other.status_code, error_of(other)["extensions"]["field"]) == (400, "id")
    assert (await xapi.one(LEARNER, said["id"]))["verb"] == said["verb"]


@pytest.mark.parametrize(
    "params", [{}, {"statementId": "x"}, {"statementId": ""}, {"statementId": SOME_ID, "x": "1"}]
)
async def test_put_needs_an_id_and_nothing_else(xapi: Xapi, params: dict[str, str]) -> None:
    response = await xapi.send("PUT", LEARNER, params=params, json=statement(LEARNER))

    assert response.status_code == 400


async def test_put_takes_one_and_post_no_parameters(xapi: Xapi) -> None:
    said = statement(LEARNER)

    assert (await xapi.put(LEARNER, [said], said["id"])).status_code == 400
    assert (await xapi.post(LEARNER, said, params={"statementId": said["id"]})).status_code == 400
    assert (await xapi.post(LEARNER, said, params={"method": "PUT"})).status_code == 400


def settings_for(database: Database) -> Settings:
    return Settings(
        _env_file=None,
        database_url=database.dsn("gym_api"),
        jwt_secret=SECRET,
        jwt_issuer=ISSUER,
        allowed_origins=["https://front.example"],
        environment="production",
    )


def token_of_now(person: Character) -> str:
    now = int(time.time())
    return token_of(person, algorithm="HS256", iat=now, exp=now + 3600)


@pytest.fixture
def server(database: Database) -> Iterator[str]:
    """The address of the whole application on a port."""
    with serving(create_app(settings_for(database))) as port:
        yield f"http://127.0.0.1:{port}"


async def test_head_is_get_without_its_body(xapi: Xapi, server: str) -> None:
    said = statement(LEARNER)
    await xapi.stored(LEARNER, said)
    headers = {"authorization": f"Bearer {token_of_now(LEARNER)}", "x-experience-api-version": "1.0.3"}
    address = f"{server}/xapi/statements?statementId={said['id']}"

    async with httpx.AsyncClient(headers=headers) as client:
        got, head = await client.get(address), await client.head(address)
        missing = await client.head(f"{server}/xapi/statements?statementId={uuid4()}")
        put = await client.put(address, json=said)
        again = await client.get(address)

    assert (head.status_code, head.content, missing.status_code) == (200, b"", 404)
    for name in ("content-length", "content-type", "x-experience-api-version", "last-modified"):
        assert head.headers[name] == got.headers[name]
    assert (put.status_code, put.content) == (204, b"")
    assert again.content == got.content


@pytest.mark.usefixtures("course")
async def test_a_client_library_stores_reads_and_voids(server: str) -> None:
    """TinCanPython, as Rustici wrote it; it knows no version after 1.0.3."""
    from tincan import Agent, AgentAccount, RemoteLRS, Statement

    lrs = RemoteLRS(endpoint=f"{server}/xapi/", version="1.0.3", auth=f"Bearer {token_of_now(LEARNER)}")
    actor = Agent(account=AgentAccount(name=str(LEARNER.id), home_page="https://learn.example"))

    def use() -> None:
        done = Statement(
            actor=actor,
            verb={"id": f"{ADL}completed", "display": {"en-US": "completed"}},
            object={"id": f"urn:uuid:{block_id(2)}", "objectType": "Activity"},
            timestamp=datetime.now(UTC),
        )
        about, saved = lrs.about(), lrs.save_statement(done)
        assert about.success, about.data
        assert saved.success, saved.data
        again = lrs.save_statement(saved.content)
        assert (again.success, again.response.status) == (True, 204)
        found = lrs.retrieve_statement(str(saved.content.id))
        assert found.success, found.data
        assert found.content.verb.id == done.verb.id
        many = lrs.save_statements(
            [Statement(actor=actor, verb=done.verb, object=done.object) for _ in range(3)]
        )
        assert many.success, many.data
        page = lrs.query_statements({"verb": done.verb, "limit": 2, "ascending": "true"})
        assert page.success, page.data
        more = lrs.more_statements(page.content)
        assert more.success, more.data
        ids = [said.id for result in (page, more) for said in result.content.statements]
        assert ids == [saved.content.id, *(said.id for said in many.content)]
        void = Statement(
            actor=actor,
            verb={"id": f"{ADL}voided"},
            object={"objectType": "StatementRef", "id": str(saved.content.id)},
        )
        assert lrs.save_statement(void).success
        assert lrs.retrieve_statement(str(saved.content.id)).response.status == 404
        assert lrs.retrieve_voided_statement(str(saved.content.id)).success

    await asyncio.to_thread(use)


@pytest.mark.any_postgres
async def test_browsers_may_put_with_the_header_of_the_version(database: Database) -> None:
    transport = httpx.ASGITransport(app=create_app(settings_for(database)))
    asked = {
        "origin": "https://front.example",
        "access-control-request-method": "PUT",
        "access-control-request-headers": "authorization,content-type,x-experience-api-version",
    }
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        allowed = await client.options("/xapi/statements", headers=asked)
        graphql = await client.options("/graphql", headers=asked)
        about = await client.get("/xapi/about", headers={"origin": "https://front.example"})

    assert (allowed.status_code, graphql.status_code) == (200, 400)
    assert "x-experience-api-consistent-through" in about.headers["access-control-expose-headers"]
