"""GraphQL over HTTP: what a well-behaved client may send, how it may send it wrongly, and what it is told."""

import json
import uuid
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from resolvers.documents import Request
from resolvers.endpoint import Identifying
from resolvers.engine import Answer, Phase
from resolvers.errors import ApiError
from resolvers.http_response import answered
from resolvers.identity import ANONYMOUS, Verifier
from resolvers.jwks import KeySet
from tests.serving import DATA, MAX_BODY_BYTES, PAGE, NotingEngine, endpoint
from tests.signing import ISSUER, NOW, USER, VERIFIER, token

pytestmark = pytest.mark.any_postgres

RESPONSE, JSON = "application/graphql-response+json", "application/json"
QUERY = {"query": "{ ok }"}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.fixture
def engine() -> NotingEngine:
    return NotingEngine()


@pytest.fixture
async def client(engine: NotingEngine) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(engine) as client:
        yield client


def client_of(
    engine: NotingEngine, *, verifier: Identifying = VERIFIER, page: str | None = PAGE
) -> httpx.AsyncClient:
    """A client that adds no header of its own that counts."""
    app = endpoint(engine, verifier=verifier, page=page)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server")
    del client.headers["accept"]
    return client


async def post(client: httpx.AsyncClient, body: Any, **headers: str) -> httpx.Response:
    """The body as JSON, or as these bytes; header names with `_` for `-`."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await client.post("/graphql", content=content, headers=given)


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The one error that an answer without data must have."""
    answer = response.json()
    assert list(answer) == ["errors"]
    (error,) = answer["errors"]
    assert error["message"].endswith(".")
    assert isinstance(error, dict)
    return error


def code_of(response: httpx.Response) -> str:
    return str(error_of(response)["extensions"]["code"])


# Who asks


async def test_without_a_token_the_caller_is_anonymous(
    client: httpx.AsyncClient, engine: NotingEngine
) -> None:
    response = await post(client, QUERY)

    assert (response.status_code, response.content) == (200, DATA)
    assert engine.caller == ANONYMOUS


async def test_a_token_says_who_asks(client: httpx.AsyncClient, engine: NotingEngine) -> None:
    await post(client, QUERY, authorization=f"Bearer {token()}")

    assert str(engine.caller.user_id) == USER


@pytest.mark.parametrize("accept", [RESPONSE, JSON])
@pytest.mark.parametrize(
    "authorization",
    [
        [f"Bearer {token(exp=NOW - 600)}"],
        [f"Bearer {token()}x"],
        [f"Bearer {token()}", f"Bearer {token()}"],
        ["Basic eDp5"],
        ["Bearer"],
        [""],
        ["Bearer \xe9\xff"],
        ["Bearer " + "x" * 10_000],
    ],
)
async def test_a_bad_token_is_refused_and_nothing_asked(
    client: httpx.AsyncClient, engine: NotingEngine, accept: str, authorization: list[str]
) -> None:
    headers = [(b"authorization", value.encode("latin-1")) for value in authorization]
    headers += [(b"content-type", JSON.encode()), (b"accept", accept.encode())]

    response = await client.post("/graphql", json=QUERY, headers=headers)

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"].startswith(accept)
    assert code_of(response) == "UNAUTHENTICATED"
    assert engine.asked == []


async def test_a_token_in_the_url_or_a_cookie_is_ignored(engine: NotingEngine) -> None:
    async with client_of(engine) as client:
        await client.get(
            f"/graphql?query={{ok}}&access_token={token()}&authorization=Bearer%20{token()}",
            headers={"cookie": f"sb-access-token={token()}; authorization=Bearer {token()}"},
        )

    assert engine.caller == ANONYMOUS


async def test_while_tokens_cannot_be_verified_a_caller_with_one_is_told_to_come_back(
    engine: NotingEngine,
) -> None:
    async with client_of(engine, verifier=Verifier(issuer=ISSUER, keys=KeySet(None))) as client:
        response = await post(client, QUERY, authorization=f"Bearer {token()}")

    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert code_of(response) == "UNAVAILABLE"


# What is asked


async def test_every_part_of_a_body_reaches_the_engine(
    client: httpx.AsyncClient, engine: NotingEngine
) -> None:
    asked = {
        "query": "query Ü { ok }",
        "operationName": "Ü",
        "variables": {"a": [1, None]},
        "extensions": {"x": 1},
    }

    await post(client, {**asked, "unknown": "ignored"})

    assert engine.request == Request("query Ü { ok }", "Ü", {"a": [1, None]}, read_only=False)


async def test_every_part_of_a_url_reaches_the_engine_which_may_only_read(
    client: httpx.AsyncClient, engine: NotingEngine
) -> None:
    parameters = {
        "query": "query Ü { ok }",
        "operationName": "Ü",
        "variables": '{"a": 1}',
        "extensions": "{}",
    }

    response = await client.get("/graphql", params=parameters)

    assert (response.status_code, response.content) == (200, DATA)
    assert engine.request == Request("query Ü { ok }", "Ü", {"a": 1}, read_only=True)


async def test_an_empty_parameter_in_a_url_is_none(client: httpx.AsyncClient, engine: NotingEngine) -> None:
    await client.get("/graphql?query={ok}&operationName=&variables=&extensions=")

    assert engine.request == Request("{ok}", None, None, read_only=True)


@pytest.mark.parametrize("accept", [RESPONSE, JSON])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"1",
        b"null",
        b'"x"',
        b"true",
        b"{}",
        b"{'query': '{ ok }'}",
        b'{"query": "{ ok }"} {}',
        b'{"query": "{ ok }',
        b'\xef\xbb\xbf{"query": "{ ok }"}',
        '{"query": "{ ok }"}'.encode("utf-16"),
        b'{"query": "{ \xff }"}',
        b'{"query": "{ \xed\xa0\x80 }"}',
        b'{"query": "{ \\ud800 }"}',
        b'{"query": "{ \\u0000 }"}',
        b'{"query": "{ \x00 }"}',
        b'{"query": "{ ok }", "variables": {"a": "\\udfff"}}',
        b'{"query": "{ ok }", "variables": {"a": NaN}}',
        b'{"query": "{ ok }", "variables": {"a": -Infinity}}',
        b'{"query": "{ ok }", "variables": {"a": 1e400}}',
        b'{"query": "{ ok }", "variables": {"a": %b}}' % (b"7" * 5_000),
        b'{"query": "{ ok }", "variables": {"a": %b}}' % (b"[" * 100_000 + b"]" * 100_000),
        b"[" * 100_000,
        b'[{"query": "{ ok }"}]',
        b"[]",
        b"query={ok}",
    ],
)
async def test_a_body_that_is_no_request_is_refused(
    client: httpx.AsyncClient, engine: NotingEngine, body: bytes, accept: str
) -> None:
    response = await post(client, body, accept=accept)

    assert response.status_code == 400
    assert response.headers["content-type"] == f"{accept}; charset=utf-8"
    assert code_of(response) == "BAD_USER_INPUT"
    assert engine.asked == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *product(["query"], [None, "", 0, False, ["{ ok }"], {"a": 1}]),
        *product(["operationName"], [0, False, [], {}]),
        *product(["variables", "extensions"], ["{}", 0, False, []]),
    ],
)
async def test_a_part_of_the_wrong_type_is_named(
    client: httpx.AsyncClient, engine: NotingEngine, name: str, value: Any
) -> None:
    response = await post(client, {**QUERY, name: value})

    assert response.status_code == 400
    assert error_of(response)["extensions"] == {"code": "BAD_USER_INPUT", "field": name}
    assert f"`{name}`" in error_of(response)["message"]
    assert engine.asked == []


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "operationName=a",
        "query=",
        "query=%00",
        "query=%ff",
        "query=%ed%a0%80",
        "query={ok}&query={ok}",
        "query={ok}&variables=[]",
        "query={ok}&variables=1",
        "query={ok}&variables={",
        "query={ok}&variables=%22\\ud800%22",
        "query={ok}&extensions=no",
        "&".join(["query={ok}", *(f"x{n}=" for n in range(100))]),
    ],
)
async def test_a_url_that_is_no_request_is_refused(
    client: httpx.AsyncClient, engine: NotingEngine, parameters: str
) -> None:
    response = await client.get(f"/graphql?{parameters}")

    assert (response.status_code, code_of(response)) == (400, "BAD_USER_INPUT")
    assert engine.asked == []


# How it is sent


@pytest.mark.parametrize(
    "content_type",
    [JSON, "Application/JSON", f"{JSON}; charset=utf-8", f'{JSON};charset="UTF-8"', f"{JSON};"],
)
async def test_a_body_is_json(client: httpx.AsyncClient, content_type: str) -> None:
    assert (await post(client, QUERY, content_type=content_type)).status_code == 200


@pytest.mark.parametrize(
    "content_types",
    [
        [],
        [""],
        ["text/plain"],
        ["application/x-www-form-urlencoded"],
        ["multipart/form-data; boundary=x"],
        ["application/graphql"],
        ["application/jsonp"],
        ["application/json-seq"],
        ["application/graphql+json"],
        [RESPONSE],
        ["text/json"],
        ["*/*"],
        [f"{JSON}, text/plain"],
        [f"{JSON}; charset=utf-16"],
        [f"{JSON}; charset=utf-8; x=y"],
        [f"text/plain; {JSON}"],
        [JSON, JSON],
        [JSON, "text/plain"],
    ],
)
async def test_any_other_type_of_body_is_refused(
    client: httpx.AsyncClient, engine: NotingEngine, content_types: list[str]
) -> None:
    headers = [("content-type", content_type) for content_type in content_types]

    response = await client.post("/graphql", content=json.dumps(QUERY), headers=headers)

    assert (response.status_code, response.headers["accept"]) == (415, JSON)
    assert code_of(response) == "BAD_USER_INPUT"
    assert engine.asked == []


@pytest.mark.parametrize(("encoding", "status"), [("identity", 200), ("gzip", 415), ("identity, br", 415)])
async def test_bodies_come_without_compression(client: httpx.AsyncClient, encoding: str, status: int) -> None:
    response = await post(client, QUERY, content_encoding=encoding)

    assert response.status_code == status
    assert response.headers.get("accept-encoding") == ("identity" if status == 415 else None)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "QUERY", "get"])
async def test_other_methods_are_refused(
    client: httpx.AsyncClient, engine: NotingEngine, method: str
) -> None:
    request = client.build_request(method, "/graphql?query={ok}", headers={"content-type": JSON}, json=QUERY)
    request.method = method

    response = await client.send(request)

    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")
    assert engine.asked == []


async def test_a_method_cannot_be_overridden(client: httpx.AsyncClient, engine: NotingEngine) -> None:
    names = ("x-http-method-override", "x-method-override", "x-http-method")
    await client.get("/graphql?query={ok}&_method=POST", headers=dict.fromkeys(names, "POST"))

    assert engine.request.read_only


async def test_a_body_may_have_the_largest_size_and_no_more(
    client: httpx.AsyncClient, engine: NotingEngine
) -> None:
    largest = json.dumps(QUERY).encode().ljust(MAX_BODY_BYTES)

    assert (await post(client, largest)).status_code == 200
    response = await post(client, largest + b" ")

    assert response.status_code == 413
    assert code_of(response) == "LIMIT_EXCEEDED"
    assert f"{MAX_BODY_BYTES} bytes (MAX_BODY_BYTES)" in error_of(response)["message"]
    assert len(engine.asked) == 1


async def test_a_body_that_says_it_is_too_large_is_answered_before_it_is_read(engine: NotingEngine) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        assert code_of(httpx.Response(413, content=sent[1]["body"])) == "LIMIT_EXCEEDED"
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"9" * 40)]
    scope = {"type": "http", "method": "POST", "query_string": b"", "headers": headers}
    await endpoint(engine)(scope, receive, send)

    assert sent[0]["status"] == 413


async def test_a_body_in_pieces_is_put_together_and_counted(
    client: httpx.AsyncClient, engine: NotingEngine
) -> None:
    async def pieces(text: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(text), 999):
            yield text[start : start + 999]

    headers = {"content-type": JSON}
    whole = await client.post(
        "/graphql", content=pieces(json.dumps(QUERY).encode().ljust(5_000)), headers=headers
    )
    endless = await client.post("/graphql", content=pieces(b" " * MAX_BODY_BYTES * 2), headers=headers)

    assert (whole.status_code, engine.request.query) == (200, "{ ok }")
    assert (endless.status_code, code_of(endless)) == (413, "LIMIT_EXCEEDED")


# How it is answered


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ([], RESPONSE),
        ([""], RESPONSE),
        (["*/*"], RESPONSE),
        (["application/*"], RESPONSE),
        ([RESPONSE], RESPONSE),
        ([JSON], JSON),
        (["APPLICATION/JSON ; Q=1"], JSON),
        ([f"{JSON}; charset=utf-8"], JSON),
        ([f"{RESPONSE}, {JSON};q=0.9"], RESPONSE),
        ([f"{RESPONSE};q=0.8, {JSON}"], JSON),
        ([f"{JSON}, {RESPONSE}"], RESPONSE),
        ([JSON, f"{RESPONSE};q=0.5"], JSON),
        ([f"{JSON}, text/plain, */*"], JSON),
        ([f"*/*;q=0.1, {JSON};q=0.01"], RESPONSE),
        ([f"{RESPONSE};q=0, */*"], JSON),
        ([f"{RESPONSE};q=0, application/*;q=0.5"], JSON),
        ([f"{JSON};q=2, {RESPONSE};q=0.001"], RESPONSE),
        ([",,;q=1,text, " + JSON], JSON),
        (["text/html, " + JSON], JSON),
        ([BROWSER], RESPONSE),
        (["text/html"], None),
        (["application/xml, text/*"], None),
        ([f"{JSON};q=0"], None),
        (["*/*;q=0"], None),
        (["nonsense"], None),
        (["," * 9_000], None),
    ],
)
async def test_the_answer_has_the_type_that_the_client_likes_best(
    client: httpx.AsyncClient, engine: NotingEngine, accept: list[str], media_type: str | None
) -> None:
    headers = [("content-type", JSON), *(("accept", value) for value in accept)]

    response = await client.post("/graphql", json=QUERY, headers=headers)

    assert response.headers["content-type"] == f"{media_type or RESPONSE}; charset=utf-8"
    assert response.status_code == (200 if media_type else 406)
    assert len(engine.asked) == (1 if media_type else 0)


@pytest.mark.parametrize(
    ("phase", "code", "status", "status_as_json", "header"),
    [
        (Phase.EXECUTED, None, 200, 200, None),
        (Phase.EXECUTED, "NOT_FOUND", 200, 200, None),
        (Phase.EXECUTED, "UNAUTHENTICATED", 200, 200, None),
        (Phase.EXECUTED, "TIMEOUT", 200, 200, None),
        (Phase.REFUSED, "BAD_USER_INPUT", 400, 200, None),
        (Phase.REFUSED, "LIMIT_EXCEEDED", 400, 400, None),
        (Phase.REFUSED, "FORBIDDEN", 400, 400, None),
        (Phase.REFUSED, "UNAUTHENTICATED", 401, 401, (b"www-authenticate", b"Bearer")),
        (Phase.UNSAFE, "BAD_USER_INPUT", 405, 405, (b"allow", b"POST")),
        (Phase.REFUSED, "UNAVAILABLE", 503, 503, (b"retry-after", b"1")),
        (Phase.REFUSED, "INTERNAL", 500, 500, None),
    ],
)
def test_how_far_a_request_came_decides_its_status(
    phase: Phase, code: str | None, status: int, status_as_json: int, header: tuple[bytes, bytes] | None
) -> None:
    answer = Answer(phase, b"{}", code)

    assert answered(answer, RESPONSE).status == status
    assert answered(answer, JSON).status == status_as_json
    assert answered(answer, RESPONSE).headers == ((header,) if header else ())


async def test_every_answer_has_an_id_and_is_kept_nowhere(client: httpx.AsyncClient) -> None:
    responses = [
        await post(client, QUERY),
        await post(client, b"no"),
        await client.put("/graphql"),
        await client.get("/graphql", headers={"accept": BROWSER}),
    ]

    ids = {uuid.UUID(response.headers["x-request-id"]) for response in responses}
    assert len(ids) == len(responses)
    assert {request_id.version for request_id in ids} == {4}
    assert {response.headers["cache-control"] for response in responses} == {"no-store"}
    assert {response.headers["x-content-type-options"] for response in responses} == {"nosniff"}


async def test_a_request_id_is_ours_not_the_clients(client: httpx.AsyncClient) -> None:
    response = await post(client, QUERY, x_request_id="chosen")

    assert response.headers["x-request-id"] != "chosen"


@pytest.mark.parametrize("accept", [RESPONSE, JSON])
async def test_a_fault_is_masked_and_found_in_the_log_by_its_id(engine: NotingEngine, accept: str) -> None:
    engine.answer_ = RuntimeError("secret inside")

    async with client_of(engine) as client:
        with capture_logs() as logs:
            response = await post(client, QUERY, accept=accept)

    assert response.status_code == 500
    assert error_of(response)["extensions"] == {
        "code": "INTERNAL",
        "requestId": response.headers["x-request-id"],
    }
    assert "secret" not in response.text
    assert [log["event"] for log in logs] == ["failed"]


async def test_what_a_client_sends_is_not_logged(engine: NotingEngine) -> None:
    marked = {"query": "{ marker }", "variables": {"a": "marker"}}
    engine.answer_ = ApiError("FORBIDDEN", "No.")

    async with client_of(engine) as client:
        with capture_logs() as logs:
            await post(client, marked, authorization="Bearer marker")
            await post(client, marked, authorization=f"Bearer {token(email='marker')}")
            await client.get("/graphql?query={marker}&variables=marker")

    assert logs == []


# In a browser


async def test_a_browser_that_asks_nothing_gets_the_page(
    client: httpx.AsyncClient, engine: NotingEngine
) -> None:
    response = await client.get("/graphql?q=shared&variables=x", headers={"accept": BROWSER})

    assert (response.status_code, response.text) == (200, PAGE)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert engine.asked == []


@pytest.mark.parametrize("accept", [RESPONSE, JSON, "*/*", f"text/html;q=0.5, {JSON}"])
async def test_who_likes_something_else_better_does_not_get_it(
    client: httpx.AsyncClient, accept: str
) -> None:
    response = await client.get("/graphql", headers={"accept": accept})

    assert (response.status_code, code_of(response)) == (400, "BAD_USER_INPUT")


async def test_a_browser_that_asks_something_gets_the_answer(client: httpx.AsyncClient) -> None:
    response = await client.get("/graphql?query={ok}", headers={"accept": BROWSER})

    assert response.content == DATA


@pytest.mark.parametrize(("accept", "status"), [(BROWSER, 400), ("text/html", 406)])
async def test_there_may_be_no_page(engine: NotingEngine, accept: str, status: int) -> None:
    async with client_of(engine, page=None) as client:
        response = await client.get("/graphql", headers={"accept": accept})

    assert (response.status_code, code_of(response)) == (status, "BAD_USER_INPUT")
