"""How the server is put together: settings, what opens and closes with it, and its routes."""

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from jobs import audit
from jobs.worker import Worker
from local.audit_key import audit_key_file
from local.auth import LocalAuth
from local.demo import DEMO_PASSWORD, SIGN_INS
from local.platform import attach
from resolvers import graphiql, graphiql_files
from resolvers.endpoint import GraphQLEndpoint
from resolvers.engine import Engine, Policy
from resolvers.identity import Verifier
from resolvers.lanes import LaneDatabase
from resolvers.limits import Limits
from resolvers.live.groups import Live
from resolvers.live.sockets import SocketLimits, Sockets
from resolvers.live.streams import Streams
from resolvers.logs import configure_logs
from resolvers.readiness import is_ready
from resolvers.xapi.endpoint import XapiEndpoint
from schema import model
from settings import Settings

# Browsers of front ends in development; in production, origins are named.
_ANY_LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"

BUILT_PAGE = Path(__file__).parent / "web" / "dist"


class Application:
    """The endpoints, and a router for all else.

    Routing, and the headers for browsers, cost a quarter of what the rest of a request does: most need neither.
    """

    def __init__(
        self, graphql: ASGIApp, sockets: ASGIApp, xapi: ASGIApp, others: ASGIApp, settings: Settings
    ) -> None:
        self._graphql = graphql
        self._sockets = sockets
        self._graphql_for_browsers = _with_cors(graphql, settings)
        self._xapi = _with_cors(xapi, settings, for_xapi=True)
        self._others = _with_cors(others, settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/xapi/"):
            await self._xapi(scope, receive, send)
        elif scope["type"] == "websocket" and scope["path"] == "/graphql":
            await self._sockets(scope, receive, send)
        elif scope["type"] != "http" or scope["path"] != "/graphql":
            await self._others(scope, receive, send)
        elif any(name == b"origin" for name, _ in scope["headers"]):
            await self._graphql_for_browsers(scope, receive, send)
        else:
            await self._graphql(scope, receive, send)


def create_app(settings: Settings | None = None) -> Application:
    """The ASGI application. Without `DATABASE_URL` it uses the local platform, which must be running."""
    settings = settings or Settings()
    configure_logs(settings.log_level)
    database_url, worker_url, verifier, local_auth = _platform(settings)
    database = LaneDatabase(
        database_url,
        connections=settings.database_connections,
        statement_timeout_ms=settings.statement_timeout_ms,
        lock_timeout_ms=settings.lock_timeout_ms,
        prepared_statements=settings.prepared_statements,
    )
    worker = make_worker(settings, worker_url) if worker_url and settings.run_jobs else None
    secret = _cursor_secret(settings, database_url)
    shows_page = settings.environment == "development"
    engine = Engine(model(), database, _policy(settings), secret)
    live = Live(engine, database)
    endpoint = GraphQLEndpoint(
        engine,
        verifier,
        Streams(engine, live, most_per_user=settings.max_sockets_per_user),
        max_body_bytes=settings.max_body_bytes,
        body_timeout_seconds=settings.body_timeout_seconds,
        page=graphiql.page(BUILT_PAGE, _sign_in_of_page(settings, local_auth)) if shows_page else None,
    )
    xapi = XapiEndpoint(
        database,
        verifier,
        secret,
        max_body_bytes=settings.max_body_bytes,
        body_timeout_seconds=settings.body_timeout_seconds,
    )

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        problems = await is_ready(database, verifier)
        if worker is not None and worker.problem:
            problems.append(worker.problem)
        return JSONResponse({"ready": not problems, "problems": problems}, 503 if problems else 200)

    routes: list[BaseRoute] = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        *(local_auth.routes() if local_auth else ()),
        *(graphiql_files.routes(BUILT_PAGE) if shows_page else ()),
    ]
    opened = [database, verifier, live, *([local_auth] if local_auth else ()), *([worker] if worker else ())]
    others = Starlette(routes=routes, lifespan=_lifespan(opened))
    return Application(
        endpoint, Sockets(engine, live, verifier, _socket_limits(settings)), xapi, others, settings
    )


def make_worker(settings: Settings, database_url: str) -> Worker:
    """What runs the jobs. Without a key of its own, in production, it does not seal the audit log."""
    key = None
    if settings.audit_signing_key is not None:
        key = audit.SigningKey.read(settings.audit_signing_key)
    elif settings.environment == "development":
        key = audit.SigningKey.read(str(audit_key_file(settings.data_dir)))
    return Worker(database_url, key, prepared_statements=settings.prepared_statements)


def _platform(settings: Settings) -> tuple[str, str | None, Verifier, LocalAuth | None]:
    """The addresses of the database for requests and for jobs, and who verifies tokens."""
    if settings.database_url is not None:
        return settings.database_url, settings.worker_database_url, Verifier.from_settings(settings), None
    platform = attach(settings)
    issuer = settings.local_issuer
    verifier = Verifier.from_settings(settings, issuer=issuer, jwks=platform.keys.jwks)
    return platform.database_url, platform.worker_database_url, verifier, platform.sign_in(issuer)


def _sign_in_of_page(settings: Settings, local_auth: LocalAuth | None) -> graphiql.SignIn | None:
    """At the local sign-in, as the people of the demo too; else at Supabase, when its publishable key is set."""
    if local_auth is not None:
        demo = graphiql.DemoPeople(SIGN_INS, DEMO_PASSWORD)
        return graphiql.SignIn("/auth/v1", local_auth.publishable_key, demo)
    if settings.supabase_url is None or settings.supabase_publishable_key is None:
        return None
    url = f"{settings.supabase_url.rstrip('/')}/auth/v1"
    return graphiql.SignIn(url, settings.supabase_publishable_key)


def _policy(settings: Settings) -> Policy:
    limits = Limits(settings.max_depth, settings.max_aliases, settings.max_root_fields, settings.max_tokens)
    return Policy(
        limits,
        settings.max_tokens,
        settings.max_nodes,
        settings.max_cost,
        settings.environment == "development",
    )


def _socket_limits(settings: Settings) -> SocketLimits:
    return SocketLimits(
        settings.max_sockets_per_user,
        settings.max_operations_per_socket,
        settings.socket_init_seconds,
        frozenset(settings.allowed_origins),
        re.compile(_ANY_LOCAL_ORIGIN) if settings.environment == "development" else None,
    )


def _cursor_secret(settings: Settings, database_url: str) -> bytes:
    """One key for all processes and restarts: cursors of one are read by the others."""
    return hashlib.sha256(f"cursors {settings.cursor_secret or database_url}".encode()).digest()


def _with_cors(app: ASGIApp, settings: Settings, *, for_xapi: bool = False) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=settings.allowed_origins,
        allow_origin_regex=_ANY_LOCAL_ORIGIN if settings.environment == "development" else None,
        allow_methods=["GET", "POST", *(["HEAD", "PUT"] if for_xapi else [])],
        allow_headers=[
            "authorization",
            "content-type",
            "accept",
            "apikey",
            "x-client-info",
            "x-supabase-api-version",
            *(["x-experience-api-version"] if for_xapi else []),
        ],
        expose_headers=[
            "x-request-id",
            *(["x-experience-api-version", "x-experience-api-consistent-through"] if for_xapi else []),
        ],
    )


def _lifespan(
    opened: list[LaneDatabase | Verifier | Live | LocalAuth | Worker],
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for part in opened:
                await part.open()
                stack.push_async_callback(part.close)
            yield

    return lifespan
