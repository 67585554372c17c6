"""The local sign-in: what of Supabase's `/auth/v1` its client libraries need to sign in unchanged."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import psycopg
from anyio import to_thread
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from local._gotrue import AuthError, bearer_token, error_response, read_object, text_field
from local._sign_in import SignIn
from local.cluster import IDENTITY_QUERY, Cluster, foreign_server
from local.errors import LocalError
from local.keys import Keys
from local.sessions import SCOPES, Client
from local.tokens import Issuer
from local.users import decoy

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger(__name__)

_ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_NO_STORE = {"Cache-Control": "no-store"}
_SETTINGS = {
    "external": {"email": True, "phone": False, "anonymous_users": False},
    "disable_signup": True,
    "mailer_autoconfirm": True,
    "phone_autoconfirm": False,
    "sms_provider": "",
    "saml_enabled": False,
}
_ABOUT = {"name": "GoTrue", "version": "local", "description": "The local stand-in for Supabase's sign-in"}


class LocalAuth:
    """Signs in users of the embedded database, never of another server; `dsn` is `supabase_auth_admin`'s."""

    def __init__(self, dsn: str, keys: Keys, issuer: str, cluster: Cluster) -> None:
        self._dsn = dsn
        self._keys = keys
        self._cluster = cluster
        self._pool = AsyncConnectionPool(
            dsn,
            connection_class=psycopg.AsyncConnection[DictRow],
            kwargs={"row_factory": dict_row},
            min_size=1,
            max_size=4,
            timeout=5,
            open=False,
            check=AsyncConnectionPool.check_connection,
        )
        self._sign_in = SignIn(self._pool, Issuer(keys, issuer))

    @property
    def publishable_key(self) -> str:
        """What clients send as `apikey`."""
        return self._keys.publishable_key

    async def open(self) -> None:
        await self._require_own_server()
        await to_thread.run_sync(decoy)  # or the first unknown user would be the slow one
        await self._pool.open(wait=True)

    async def close(self) -> None:
        await self._pool.close()

    def routes(self) -> list[BaseRoute]:
        keyed: list[tuple[str, str, Handler]] = [
            ("/token", "POST", self._token),
            ("/user", "GET", self._user),
            ("/logout", "POST", self._logout),
            ("/settings", "GET", _answer(_SETTINGS)),
            ("/health", "GET", _answer(_ABOUT)),
        ]
        routes = [Route(path, self._guarded(handler), methods=[method]) for path, method, handler in keyed]
        public_keys = Route("/.well-known/jwks.json", self._jwks, methods=["GET"])
        rest = Route("/{path:path}", self._guarded(_unknown), methods=_ALL_METHODS)
        return [Mount("/auth/v1", routes=[public_keys, *routes, rest])]

    async def _require_own_server(self) -> None:
        try:
            async with await psycopg.AsyncConnection.connect(self._dsn, connect_timeout=5) as connection:
                row = await (await connection.execute(IDENTITY_QUERY)).fetchone()
        except psycopg.OperationalError as error:
            raise LocalError(f"The local sign-in does not reach its database: {error}") from None
        if row is None or row[0] != self._cluster.system_identifier:
            raise foreign_server(self._cluster.port)

    def _guarded(self, handler: Handler) -> Handler:
        """The API key is asked for first, as Supabase's gateway does; every failure has the known form."""

        async def endpoint(request: Request) -> Response:
            try:
                self._require_api_key(request)
                return await handler(request)
            except AuthError as error:
                return error_response(request, error)
            except (psycopg.Error, PoolTimeout):
                _log.exception("The local sign-in failed at its database")
                unavailable = AuthError(503, "unexpected_failure", "The database does not answer. Try again.")
                return error_response(request, unavailable)

        return endpoint

    def _require_api_key(self, request: Request) -> None:
        api_key = request.headers.get("apikey") or request.query_params.get("apikey")
        if not api_key:
            raise AuthError(401, "no_authorization", "No API key found in request: send the header `apikey`")
        if not self._keys.accepts(api_key):
            raise AuthError(401, "no_authorization", "Invalid API key: send this server's publishable key")

    async def _token(self, request: Request) -> Response:
        match request.query_params.get("grant_type"):
            case "password":
                answer = await self._with_password(request)
            case "refresh_token":
                answer = await self._with_refresh_token(request)
            case _:
                raise AuthError(400, "invalid_credentials", "unsupported_grant_type")
        return JSONResponse(answer, headers=_NO_STORE)

    async def _with_password(self, request: Request) -> dict[str, Any]:
        body = await read_object(request)
        email, password = text_field(body, "email"), text_field(body, "password")
        if text_field(body, "phone"):
            raise AuthError(422, "phone_provider_disabled", "Phone logins are disabled")
        if not email:
            raise AuthError(400, "validation_failed", "missing email or phone")
        return await self._sign_in.with_password(email, password, Client.of(request))

    async def _with_refresh_token(self, request: Request) -> dict[str, Any]:
        token = text_field(await read_object(request), "refresh_token")
        if not token:
            raise AuthError(400, "validation_failed", "refresh_token required")
        return await self._sign_in.with_refresh_token(token, Client.of(request))

    async def _user(self, request: Request) -> Response:
        return JSONResponse(await self._sign_in.user(bearer_token(request)), headers=_NO_STORE)

    async def _logout(self, request: Request) -> Response:
        scope = request.query_params.get("scope") or "global"
        if scope not in SCOPES:
            raise AuthError(400, "validation_failed", f"Unsupported logout scope {scope!r}")
        await self._sign_in.end(bearer_token(request), scope)
        return Response(status_code=204)

    async def _jwks(self, _: Request) -> Response:
        return JSONResponse(self._keys.jwks, headers={"Cache-Control": "public, max-age=600"})


def _answer(content: dict[str, Any]) -> Handler:
    async def handler(_: Request) -> Response:
        return JSONResponse(content)

    return handler


async def _unknown(request: Request) -> Response:
    path = request.path_params["path"]
    raise AuthError(404, "feature_disabled", f"{request.method} /{path} is not part of the local sign-in")
