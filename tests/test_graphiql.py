"""GraphiQL at /graphql: what the server says of it and hands out for it, and how it is to use, in a real browser."""

import html
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import jwt
import pytest
from playwright.async_api import Browser, WebSocketRoute, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

import app
from resolvers import graphiql, graphiql_files
from resolvers.http_response import Response
from settings import Settings
from tests.browser import BrowserMissingError, Watched, chromium
from tests.built_page import PageMissingError, build
from tests.servers import Server, own_data_dir, serving
from tests.serving import serving as serving_app

pytestmark = pytest.mark.any_postgres

expect.set_options(timeout=20_000)  # a busy machine takes its time over an editor

PROGRESS = """subscription { progress(programId: "%s") {
    percent status courses { course { title } percent doneRequired totalRequired } } }"""
RECORD = """mutation { recordProgress(input: {events: [
    {eventId: "%s", blockId: "%s", value: 1, occurredAt: "%s"}]}) { results { status } } }"""

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
KEY = "sb_publishable_abc"
LOCAL = graphiql.SignIn("/auth/v1", KEY, graphiql.DemoPeople({"a@b.test": 'Ann\'s "<b>" & co'}, "secret"))
HOSTED = graphiql.SignIn("https://abc.supabase.co/auth/v1", KEY)


@pytest.fixture(scope="module")
def built() -> Path:
    try:
        return build()
    except PageMissingError as error:
        pytest.skip(str(error))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a build comes to, as far as the server knows."""
    folder = tmp_path / "dist"
    (folder / "assets" / "inner").mkdir(parents=True)
    (folder / "index.html").write_text('<div id="graphiql" data-configuration="{}"></div>')
    (folder / "licenses.txt").write_text("MIT")
    for name in ("page-abc.js", "page-abc.css", "icons-abc.ttf", "icon-abc.svg"):
        (folder / "assets" / name).write_text(name)
    (tmp_path / "outside.js").write_text("outside")
    (folder / "assets" / "link.js").symlink_to(tmp_path / "outside.js")
    return folder


def configuration_of(page: Response) -> Any:
    (found,) = re.findall(r'data-configuration="([^"]*)"', page.body.decode())
    return json.loads(html.unescape(found))


def policy_of(page: Response) -> dict[str, str]:
    policy = dict(page.headers)[b"content-security-policy"].decode()
    return dict(directive.strip().partition(" ")[::2] for directive in policy.split(";"))


# The page


def test_the_page_says_where_to_sign_in_and_as_whom(folder: Path) -> None:
    page = graphiql.page(folder, LOCAL)

    assert configuration_of(page) == {
        "signIn": {
            "url": "/auth/v1",
            "publishableKey": KEY,
            "demo": {"password": "secret", "people": [{"email": "a@b.test", "who": 'Ann\'s "<b>" & co'}]},
        }
    }
    assert b"<b>" not in page.body


def test_with_a_hosted_supabase_it_names_nobody(folder: Path) -> None:
    page = graphiql.page(folder, HOSTED)

    told = {"url": "https://abc.supabase.co/auth/v1", "publishableKey": KEY, "demo": None}
    assert configuration_of(page) == {"signIn": told}


def test_without_a_key_there_is_no_sign_in(folder: Path) -> None:
    assert configuration_of(graphiql.page(folder, None)) == {"signIn": None}


@pytest.mark.parametrize(
    ("sign_in", "connects_to"),
    [(None, "'self'"), (LOCAL, "'self'"), (HOSTED, "'self' https://abc.supabase.co")],
)
def test_the_page_loads_from_its_server_alone(
    folder: Path, sign_in: graphiql.SignIn | None, connects_to: str
) -> None:
    page = graphiql.page(folder, sign_in)

    policy = policy_of(page)
    assert policy.pop("connect-src") == connects_to
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "worker-src": "'self'",
        "style-src": "'self' 'unsafe-inline'",
        "font-src": "'self' data:",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert dict(page.headers)[b"referrer-policy"] == b"no-referrer"


def legacy_key(role: str) -> str:
    return jwt.encode({"role": role}, "x" * 32)


@pytest.mark.parametrize("key", ["sb_secret_abc", legacy_key("service_role"), "abc", "", "a.b.c"])
def test_a_secret_key_is_never_shown(key: str) -> None:
    with pytest.raises(ValueError, match="no publishable key") as caught:
        replace(HOSTED, publishable_key=key)

    assert not key or key not in str(caught.value)


def test_a_legacy_anon_key_is_publishable() -> None:
    replace(HOSTED, publishable_key=legacy_key("anon"))


def test_a_build_of_another_version_is_refused(folder: Path) -> None:
    (folder / "index.html").write_text("<p>Something else</p>")

    with pytest.raises(ValueError, match="make web"):
        graphiql.page(folder, None)


def test_where_nothing_is_built_the_page_comes_from_a_cdn_and_says_so(tmp_path: Path) -> None:
    page = graphiql.page(tmp_path, LOCAL)

    text = page.body.decode()
    assert text.index('id="graphiql"') < text.index("your browser cannot reach that site")
    assert "curl ${location.origin}" in text
    assert "make web" in text
    assert KEY not in text
    assert policy_of(page) == {"frame-ancestors": "'none'"}
    assert graphiql_files.routes(tmp_path) == []


# Its files


async def get(folder: Path, path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(Starlette(routes=graphiql_files.routes(folder)))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        return await client.get(path, headers=headers)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page-abc.js", "text/javascript; charset=utf-8"),
        ("page-abc.css", "text/css; charset=utf-8"),
        ("icons-abc.ttf", "font/ttf"),
        ("icon-abc.svg", "image/svg+xml"),
    ],
)
async def test_a_file_is_of_its_kind_and_kept(folder: Path, name: str, kind: str) -> None:
    response = await get(folder, f"/graphiql/assets/{name}")

    assert (response.status_code, response.text) == (200, name)
    assert response.headers["content-type"] == kind
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")


async def test_what_a_browser_has_is_not_sent_again(folder: Path) -> None:
    first = await get(folder, "/graphiql/assets/page-abc.js")

    again = await get(folder, "/graphiql/assets/page-abc.js", **{"if-none-match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")


async def test_the_licences_are_there_to_be_read(folder: Path) -> None:
    response = await get(folder, "/graphiql/licenses.txt")

    assert (response.status_code, response.text) == (200, "MIT")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert "immutable" not in response.headers.get("cache-control", "")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "inner",
        "none.js",
        "link.js",
        "..%2findex.html",
        "%2e%2e/%2e%2e/outside.js",
        "..%2f..%2foutside.js",
        "inner/..%2f..%2f..%2foutside.js",
        "..\\..\\outside.js",
        "%2fetc%2fpasswd",
        "//etc/passwd",
        "page-abc.js%00.css",
        "x" * 5_000,
    ],
)
async def test_nothing_else_is_there(folder: Path, path: str) -> None:
    assert (await get(folder, f"/graphiql/assets/{path}")).status_code == 404


@pytest.mark.parametrize(("environment", "status"), [("development", 200), ("production", 404)])
async def test_in_production_there_is_nothing_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, environment: Any, status: int
) -> None:
    monkeypatch.setattr(app, "BUILT_PAGE", folder)
    settings = Settings(
        _env_file=None,
        environment=environment,
        database_url="postgresql://nowhere",
        supabase_url="https://abc.supabase.co",
        supabase_publishable_key=KEY,
    )
    transport = httpx.ASGITransport(app.create_app(settings))

    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        file = await client.get("/graphiql/assets/page-abc.js")
        page = await client.get("/graphql", headers={"accept": BROWSER})

    assert file.status_code == status
    assert (KEY in page.text) == (status == 200)


# As it is built


async def test_what_is_built_names_no_other_host(built: Path) -> None:
    page = graphiql.page(built, None).body.decode()

    named = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert named
    assert all(path.startswith("/graphiql/assets/") for path in named)
    assert [(await get(built, path)).status_code for path in named] == [200] * len(named)
    assert "//" not in page
    assert "<style" not in page
    assert re.findall(r"<script[^>]*>", page) == re.findall(r'<script type="module" [^>]*src=[^>]*>', page)


async def test_the_licence_of_every_package_is_told(built: Path) -> None:
    text = (await get(built, "/graphiql/licenses.txt")).text

    told = dict(re.findall(r"^== (\S+) \S+ \((\S+)\)$", text, re.MULTILINE))
    # The page's own, the editor's, and one that only a worker has.
    assert {"graphiql", "react", "monaco-editor", "graphql-ws", "picomatch-browser"} <= told.keys()


# In a browser


@pytest.fixture(scope="module")
def server(built: Path) -> Iterator[Server]:
    assert built.exists()
    with own_data_dir() as data_dir, serving(data_dir) as server:
        yield server


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    try:
        async with chromium() as browser:
            yield browser
    except BrowserMissingError as error:
        pytest.skip(str(error))


@pytest.fixture
async def opened(browser: Browser, server: Server) -> AsyncIterator[Watched]:
    """The page, as somebody sees it who has never been there."""
    watched = await Watched.new(browser)
    await watched.page.goto(f"{server.url}/graphql")
    yield watched
    await watched.page.context.close()


async def become(opened: Watched, email: str) -> None:
    await opened.page.get_by_label("Who asks").select_option(email)
    await expect(opened.page.get_by_label("Who asks")).to_have_value(email)


async def run(opened: Watched, answer: str) -> None:
    """As a person would, who sees both editors before they press the button."""
    for editor in ("Operation Editor", "Result Window"):
        await expect(opened.page.get_by_label(editor).locator(".view-lines").first).to_be_attached()
    await opened.page.get_by_role("button", name="Execute").click()
    await expect(opened.page.get_by_label("Result Window")).to_contain_text(answer)


async def write(opened: Watched, document: str) -> None:
    """In place of what the editor holds; in one line, for it closes the braces of each that is typed."""
    await opened.page.get_by_label("Operation Editor").locator(".monaco-editor").first.click()
    await opened.page.keyboard.press("Control+A")
    await opened.page.keyboard.insert_text(" ".join(document.split()))


async def test_somebody_signs_in_asks_and_becomes_somebody_else(opened: Watched, server: Server) -> None:
    await run(opened, '"viewer": null')
    await become(opened, "learner@demo.test")
    await run(opened, "Lena Learner")
    await opened.keep_picture("graphiql-learner")

    await become(opened, "admin@demo.test")
    await run(opened, "Adam Admin")
    await opened.keep_picture("graphiql-admin")

    await opened.page.reload()
    await expect(opened.page.get_by_label("Who asks")).to_have_value("admin@demo.test")
    await opened.page.get_by_role("button", name="Sign out").click()
    await expect(opened.page.get_by_label("Who asks")).to_have_value("")
    await run(opened, '"viewer": null')

    assert {urlsplit(url).netloc for url in opened.urls} == {urlsplit(server.url).netloc}
    assert opened.complaints == []


async def test_a_session_that_is_about_to_end_is_renewed_before_it_is_used(opened: Watched) -> None:
    await become(opened, "learner@demo.test")
    await opened.page.evaluate(
        """() => {
            const name = Object.keys(localStorage).find((key) => key.startsWith("session-"));
            const session = JSON.parse(localStorage.getItem(name));
            const expires_at = Math.floor(Date.now() / 1000) + 5;
            localStorage.setItem(name, JSON.stringify({ ...session, expires_at, access_token: "stale" }));
        }"""
    )
    opened.urls.clear()

    await opened.page.reload()
    await run(opened, "Lena Learner")

    assert any(url.endswith("/auth/v1/token?grant_type=refresh_token") for url in opened.urls)
    assert opened.complaints == []


async def test_a_token_under_headers_counts_for_more_than_who_is_signed_in(opened: Watched) -> None:
    await become(opened, "learner@demo.test")
    await opened.page.get_by_role("button", name="Headers", exact=True).click()
    await opened.page.get_by_label("Headers", exact=True).locator(".monaco-editor:visible").click()
    await opened.page.keyboard.insert_text('{"authorization": "Bearer wrong"}')

    await run(opened, "UNAUTHENTICATED")


async def test_who_has_another_account_gives_a_password(opened: Watched) -> None:
    await opened.page.get_by_label("Who asks").select_option(label="another account …")
    dialog = opened.page.get_by_role("dialog")
    await dialog.get_by_label("E-mail").fill("other-admin@demo.test")
    await dialog.get_by_label("Password").fill("wrong")
    await dialog.get_by_role("button", name="Sign in").click()
    await expect(dialog.get_by_role("alert")).to_have_text("Invalid login credentials")
    await opened.keep_picture("graphiql-sign-in")

    await dialog.get_by_label("Password").fill("demo-password")
    await dialog.get_by_role("button", name="Sign in").click()
    await run(opened, "Olga Admin")


async def test_docs_history_and_explorer_are_there(opened: Watched) -> None:
    for plugin, shows in [
        ("Documentation Explorer", "All Schema Types"),
        ("History", "History"),
        ("GraphiQL Explorer", "courseProgress"),
    ]:
        await opened.page.get_by_role("button", name=f"Show {plugin}").click()
        await expect(opened.page.locator(".graphiql-plugin")).to_contain_text(shows)
    await opened.keep_picture("graphiql-explorer")
    assert opened.complaints == []


# Subscriptions


async def subscribed(
    opened: Watched, answer: Callable[[WebSocketRoute, dict[str, Any]], Awaitable[None]]
) -> None:
    """The page again, with somebody else at the other end of its WebSocket; the learner has written a subscription."""

    def listen(socket: WebSocketRoute) -> None:
        socket.on_message(lambda text: answer(socket, json.loads(text)))

    await opened.page.route_web_socket("**/graphql", listen)
    await opened.page.reload()
    await become(opened, "learner@demo.test")
    await write(opened, "subscription { told }")


async def test_a_subscription_goes_as_who_is_signed_in_until_it_is_stopped(opened: Watched) -> None:
    said: list[dict[str, Any]] = []

    async def answer(socket: WebSocketRoute, message: dict[str, Any]) -> None:
        said.append(message)
        if message["type"] == "connection_init":
            socket.send('{"type": "connection_ack"}')
        elif message["type"] == "subscribe":
            for told in (1, 2):
                event = {"type": "next", "id": message["id"], "payload": {"data": {"told": told}}}
                socket.send(json.dumps(event))

    await subscribed(opened, answer)
    await run(opened, '"told": 2')
    await opened.page.get_by_role("button", name="Stop").click()
    await expect(opened.page.get_by_role("button", name="Execute")).to_be_visible()

    assert [message["type"] for message in said] == ["connection_init", "subscribe", "complete"]
    scheme, _, bearer = said[0]["payload"]["Authorization"].partition(" ")
    assert scheme == "Bearer"
    claims = jwt.decode(bearer, options={"verify_signature": False})
    assert claims["email"] == "learner@demo.test"
    assert said[1]["payload"]["query"] == "subscription { told }"


async def test_why_a_subscription_was_ended_is_told(opened: Watched) -> None:
    async def answer(socket: WebSocketRoute, message: dict[str, Any]) -> None:
        if message["type"] == "connection_init":
            socket.send('{"type": "connection_ack"}')
        elif message["type"] == "subscribe":
            await socket.close(code=4403, reason="Forbidden")

    await subscribed(opened, answer)

    await run(opened, "The server ended the subscription: Forbidden (4403).")


async def test_what_is_done_in_another_tab_arrives(opened: Watched, server: Server) -> None:
    program, block = enrollment_of_the_learner(server)
    await become(opened, "learner@demo.test")
    await write(opened, PROGRESS % program)
    await opened.page.keyboard.press("Control+Home")
    await opened.page.get_by_role("button", name="Prettify").click()
    await run(opened, '"percent": 23')
    await expect(opened.page.get_by_label("Result Window")).to_contain_text('"doneRequired": 2')

    other = await opened.another()
    await other.page.goto(f"{server.url}/graphql")
    await expect(other.page.get_by_label("Who asks")).to_have_value("learner@demo.test")
    await write(other, RECORD % (uuid4(), block, datetime.now(UTC).isoformat()))
    await run(other, '"status": "ACCEPTED"')

    await opened.page.bring_to_front()
    await expect(opened.page.get_by_label("Result Window")).to_contain_text('"doneRequired": 3')
    await opened.keep_picture("graphiql-subscription")
    await opened.page.get_by_role("button", name="Stop").click()
    await expect(opened.page.get_by_role("button", name="Execute")).to_be_visible()
    assert opened.complaints == other.complaints == []


def enrollment_of_the_learner(server: Server) -> tuple[str, str]:
    """The program that they are active in, and the block that comes next in the course that they are further with."""
    key = json.loads((server.data_dir / "keys.json").read_text())["publishable_key"]
    session = httpx.post(
        f"{server.url}/auth/v1/token?grant_type=password",
        headers={"apikey": key},
        json={"email": "learner@demo.test", "password": "demo-password"},
    ).json()
    answer = httpx.post(
        f"{server.url}/graphql",
        headers={"authorization": f"Bearer {session['access_token']}"},
        json={
            "query": """{ viewer { enrollments { nodes {
                program { id } progress { courses { percent nextBlock { id } } } } } } }"""
        },
    ).json()
    (enrollment,) = answer["data"]["viewer"]["enrollments"]["nodes"]
    furthest = max(enrollment["progress"]["courses"], key=lambda course: float(course["percent"]))
    return enrollment["program"]["id"], furthest["nextBlock"]["id"]


async def test_a_server_that_takes_no_subscriptions_is_told_of(browser: Browser, built: Path) -> None:
    page = graphiql.page(built, None)
    headers = {name.decode(): value.decode() for name, value in page.headers}

    async def graphql(_: Request) -> HTMLResponse:
        return HTMLResponse(page.body, headers=headers)

    without = Starlette(routes=[Route("/graphql", graphql), *graphiql_files.routes(built)])
    with serving_app(without) as port:
        watched = await Watched.new(browser)
        await watched.page.goto(f"http://127.0.0.1:{port}/graphql")
        await write(watched, "subscription { anything }")

        await run(watched, "The server took no WebSocket at this address")

        assert f"ws://127.0.0.1:{port}/graphql" in watched.urls
        await watched.page.context.close()
