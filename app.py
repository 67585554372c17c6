"""How the server is put together: settings, what opens and closes with it, and its routes."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

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
from local.platform import attach
from resolvers import graphiql
from resolvers.endpoint import GraphQLEndpoint
from resolvers.engine import Engine, Policy
from resolvers.identity import Verifier
from resolvers.lanes import LaneDatabase
from resolvers.limits import Limits
from resolvers.logs import configure_logs
from resolvers.readiness import is_ready
from schema import model
from settings import Settings

# Browsers of front ends in development; in production, origins are named.
_ANY_LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


class Application:
    """The endpoint, and a router for all else.

    Routing, and the headers for browsers, cost a quarter of what the rest of a request does: most need neither.
    """

    def __init__(self, graphql: ASGIApp, others: ASGIApp, settings: Settings) -> None:
        self._graphql = graphql
        self._graphql_for_browsers = _with_cors(graphql, settings)
        self._others = _with_cors(others, settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/graphql":
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
    engine = Engine(model(), database, _policy(settings), _cursor_secret(settings, database_url))
    endpoint = GraphQLEndpoint(
        engine,
        verifier,
        max_body_bytes=settings.max_body_bytes,
        body_timeout_seconds=settings.body_timeout_seconds,
        page=graphiql.page() if settings.environment == "development" else None,
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
    ]
    opened = [database, verifier, *([local_auth] if local_auth else ()), *([worker] if worker else ())]
    others = Starlette(routes=routes, lifespan=_lifespan(opened))
    return Application(endpoint, others, settings)


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


def _policy(settings: Settings) -> Policy:
    limits = Limits(settings.max_depth, settings.max_aliases, settings.max_root_fields, settings.max_tokens)
    return Policy(
        limits,
        settings.max_tokens,
        settings.max_nodes,
        settings.max_cost,
        settings.environment == "development",
    )


def _cursor_secret(settings: Settings, database_url: str) -> bytes:
    """One key for all processes and restarts: cursors of one are read by the others."""
    return hashlib.sha256(f"cursors {settings.cursor_secret or database_url}".encode()).digest()


def _with_cors(app: ASGIApp, settings: Settings) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=settings.allowed_origins,
        allow_origin_regex=_ANY_LOCAL_ORIGIN if settings.environment == "development" else None,
        allow_methods=["GET", "POST"],
        allow_headers=[
            "authorization",
            "content-type",
            "accept",
            "apikey",
            "x-client-info",
            "x-supabase-api-version",
        ],
        expose_headers=["x-request-id"],
    )


def _lifespan(
    opened: list[LaneDatabase | Verifier | LocalAuth | Worker],
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for part in opened:
                await part.open()
                stack.push_async_callback(part.close)
            yield

    return lifespan
