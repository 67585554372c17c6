"""`/xapi/`: statements of the Experience API over HTTP. What they mean is the database's: sql/xapi*.sql."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from resolvers.client_presence import ClientLeftError, WhileClientWaits
from resolvers.database import Database
from resolvers.endpoint import Identifying
from resolvers.errors import ApiError, Refusal, face_of, internal
from resolvers.http_body import Bodies
from resolvers.http_response import Header, HttpError, Response, refused
from resolvers.identity import Identity
from resolvers.logs import new_request_id
from resolvers.media_types import JSON, is_json
from resolvers.plan import Statement
from resolvers.timers import Timers
from resolvers.xapi.questions import address_of_more, question
from resolvers.xapi.statements import check_body, parsed, uuid

# What is announced, the newest first. 2.0.x is taken too, but libraries of 1.0.3 fail at a list with it.
VERSIONS = ("1.0.3", "1.0.2", "1.0.1", "1.0.0")

_READ_HEADERS = frozenset(
    {b"authorization", b"content-encoding", b"content-length", b"content-type", b"x-experience-api-version"}
)
_LINES = {"1.0": b"1.0.3", "2.0": b"2.0.0"}
_VERSION = re.compile(rb"(1\.0|2\.0)(\.\d{1,4})?")
_METHODS = {"/xapi/statements": "GET, HEAD, POST, PUT", "/xapi/about": "GET, HEAD"}
# Statuses that the code of an error has here and not in GraphQL, which answers 200 or 400.
_STATUSES = {"FORBIDDEN": 403, "NOT_FOUND": 404, "CONFLICT": 409, "FAILED_PRECONDITION": 412, "TIMEOUT": 503}
# Who lost a race has sent nothing wrong. A 409 would say so: clients give up then.
_RACES = frozenset({"40001", "40P01", "55P03"})
_RETRY: tuple[Header, ...] = ((b"retry-after", b"1"),)
_PATIENCE_SECONDS = 0.05
_MOST_PARAMETERS = 32

Headers = dict[bytes, list[bytes]]


class XapiEndpoint:
    """An ASGI application for the paths below `/xapi/`."""

    def __init__(
        self,
        database: Database,
        verifier: Identifying,
        secret: bytes,
        *,
        max_body_bytes: int,
        body_timeout_seconds: float,
    ) -> None:
        self._database = database
        self._verifier = verifier
        self._secret = secret
        self._bodies = Bodies(max_body_bytes, body_timeout_seconds)
        self._patience = Timers(_PATIENCE_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        bind_contextvars(request_id=request_id)
        headers = _headers(scope)
        try:
            response = await self._answer(scope, headers, receive)
        except ClientLeftError:
            return
        except Refusal as refusal:
            response = _refused(_error_of(refusal))
        except ApiError as error:
            response = _refused(error)
        except Exception as error:
            response = _refused(internal(error))
        version = (b"x-experience-api-version", _answered_version(headers))
        response = response._replace(headers=(version, *response.headers))
        # The answer to a HEAD is that of a GET; the server keeps its body back.
        await self._bodies.answer(response, request_id, receive, send)

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive) -> Response:
        path, method = scope["path"], scope["method"]
        if path not in _METHODS:
            raise HttpError(
                404, f"There is nothing here; there are {' and '.join(_METHODS)}.", code="NOT_FOUND"
            )
        if method not in _METHODS[path].split(", "):
            allowed = _METHODS[path]
            raise HttpError(405, f"Send {allowed}.", headers=((b"allow", allowed.encode()),))
        if path == "/xapi/about":
            return Response(200, JSON, orjson.dumps({"version": VERSIONS}))
        # The token first: nobody's body is kept for a caller who is refused anyway.
        identity = await self._verifier.identify(
            [value.decode("latin-1") for value in headers.get(b"authorization", ())]
        )
        _check_caller(identity)
        _check_version(headers)
        parameters = _parameters(scope["query_string"])
        if method in ("POST", "PUT"):
            given_id = _given_id(method, parameters)
            return await self._store(identity, headers, receive, given_id)
        return await self._read(identity, parameters, receive)

    async def _store(
        self, identity: Identity, headers: Headers, receive: Receive, given_id: str | None
    ) -> Response:
        _check_body_type(headers)
        body = await self._bodies.read(headers, receive)
        check_body(parsed(body), given_id)
        # As it came: so numbers keep all of their digits.
        statement = Statement(
            "select private.store_statements($1::jsonb, $2::uuid)", [body.decode(), given_id]
        )
        through, ids = await self._ask(identity, statement, receive, read_only=False)
        if given_id is not None:
            return Response(204, JSON, b"", _consistent(through))
        return Response(200, JSON, ids, _consistent(through))

    async def _read(self, identity: Identity, parameters: Mapping[str, str], receive: Receive) -> Response:
        asked = question(parameters, identity, self._secret)
        through, *found = await self._ask(identity, asked.statement(), receive, read_only=True)
        if asked.statement_id is None:
            keys, statements = found
            more = address_of_more(asked.asked, keys, identity, self._secret) if keys != b"null" else ""
            body = b'{"statements": %b, "more": "%b"}' % (statements, more.encode())
            return Response(200, JSON, body, _consistent(through))
        if not found:
            error = ApiError("NOT_FOUND", "There is no statement with this id that you may see.")
            return _refused(error)._replace(headers=_consistent(through))
        stored, statement = found
        modified = format_datetime(datetime.fromisoformat(stored.decode()), usegmt=True)
        return Response(200, JSON, statement, (*_consistent(through), (b"last-modified", modified.encode())))

    async def _ask(
        self, identity: Identity, statement: Statement, receive: Receive, *, read_only: bool
    ) -> list[bytes]:
        with WhileClientWaits(receive, self._patience):
            (value,) = await self._database.run(identity, [statement], read_only=read_only)
        return (value or b"").split(b"\n")


def _headers(scope: Scope) -> Headers:
    found: Headers = {}
    for name, value in scope["headers"]:
        if name in _READ_HEADERS:
            found.setdefault(name, []).append(value)
    return found


def _check_caller(identity: Identity) -> None:
    if identity.role == "anon":
        raise ApiError("UNAUTHENTICATED", "Sign in first: send `Authorization: Bearer <access token>`.")
    if identity.community_id is None:
        raise ApiError("FORBIDDEN", "You are acting in no community: your token names none. Join one first.")


def _check_version(headers: Headers) -> None:
    versions = headers.get(b"x-experience-api-version", [])
    if len(versions) != 1 or not _VERSION.fullmatch(versions[0].strip()):
        raise ApiError(
            "BAD_USER_INPUT",
            f"Send the header X-Experience-API-Version, once, with one of {', '.join(VERSIONS)}.",
        )


def _answered_version(headers: Headers) -> bytes:
    """The newest of the line that was asked for."""
    asked = headers.get(b"x-experience-api-version", [b""])[0].strip()
    return _LINES["2.0" if asked.startswith(b"2.0") and _VERSION.fullmatch(asked) else "1.0"]


def _parameters(query_string: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        raise ApiError(
            "BAD_USER_INPUT", "The URL's parameters cannot be read. Percent-encode them as UTF-8."
        ) from None
    if len(dict(pairs)) < len(pairs):
        raise ApiError("BAD_USER_INPUT", "A parameter stands in the URL twice. Send each once.")
    return dict(pairs)


def _given_id(method: str, parameters: Mapping[str, str]) -> str | None:
    """The id in the URL of a PUT; a POST has none."""
    allowed = {"statementId"} if method == "PUT" else set()
    for name in sorted(parameters.keys() - allowed):
        raise ApiError("BAD_USER_INPUT", f"The parameter is not supported with {method}.", field=name)
    if method == "POST":
        return None
    if "statementId" not in parameters:
        raise ApiError("BAD_USER_INPUT", "Name the statement as statementId.", field="statementId")
    uuid(parameters["statementId"], "statementId")
    return parameters["statementId"]


def _check_body_type(headers: Headers) -> None:
    types = headers.get(b"content-type", [])
    if any(value.strip().lower().startswith(b"multipart/") for value in types):
        raise ApiError(
            "BAD_USER_INPUT",
            "Attachments are not kept here. Send the statements as application/json, each attachment with its fileUrl.",
        )
    if len(types) != 1 or not is_json(types[0]):
        raise HttpError(
            415,
            f"Send the header `Content-Type: {JSON}`, once, and the body as JSON.",
            headers=((b"accept", JSON.encode()),),
        )
    if any(value.strip().lower() != b"identity" for value in headers.get(b"content-encoding", ())):
        raise HttpError(
            415, "Send the body without a Content-Encoding.", headers=((b"accept-encoding", b"identity"),)
        )


def _consistent(through: bytes) -> tuple[Header, ...]:
    return ((b"x-experience-api-consistent-through", through),)


def _error_of(refusal: Refusal) -> ApiError:
    if refusal.sqlstate in _RACES:
        return ApiError("UNAVAILABLE", "Somebody else is storing right now. Send it again in a moment.")
    return face_of(refusal, signed_in=True)


def _refused(error: ApiError) -> Response:
    response = refused(error, JSON)
    if isinstance(error, HttpError) or error.code not in _STATUSES:
        return response
    status = _STATUSES[error.code]
    return response._replace(status=status, headers=_RETRY if status == 503 else response.headers)
