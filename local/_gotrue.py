"""The manners of Supabase's sign-in service over HTTP: how a body is read and how a refusal looks."""

import asyncio
import datetime
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

_VERSION_HEADER = "X-Supabase-Api-Version"
_STRING_CODES_SINCE = datetime.date(2024, 1, 1)
_MAX_BODY_BYTES = 65_536
_BODY_SECONDS = 10


class AuthError(Exception):
    """A refusal, with the status and the code that Supabase's clients know."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def bad_credentials() -> AuthError:
    return AuthError(400, "invalid_credentials", "Invalid login credentials")


def error_response(request: Request, error: AuthError) -> Response:
    """In the form of the API version that the client asks for; without one, in the oldest."""
    headers = {"x-sb-error-code": error.code, "Cache-Control": "no-store"}
    if _wants_string_codes(request):
        headers[_VERSION_HEADER] = _STRING_CODES_SINCE.isoformat()
        return JSONResponse({"code": error.code, "message": error.message}, error.status, headers)
    content = {"code": error.status, "error_code": error.code, "msg": error.message}
    return JSONResponse(content, error.status, headers)


async def read_object(request: Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await _read_body(request))
    except orjson.JSONDecodeError as error:
        raise AuthError(400, "bad_json", f"Could not parse request body as JSON: {error}") from None
    if not isinstance(body, dict):
        raise AuthError(400, "bad_json", "Could not parse request body as JSON: it must be an object")
    return body


def text_field(body: dict[str, Any], name: str) -> str:
    """The field's text; empty when it is absent, as for the original."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AuthError(400, "bad_json", f"Could not parse request body as JSON: {name} must be a string")
    return value


def bearer_token(request: Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token or " " in token:
        raise AuthError(401, "no_authorization", "This endpoint requires a valid Bearer token")
    return token


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_BODY_BYTES:
                    message = f"Request body too large (max {_MAX_BODY_BYTES} bytes)"
                    raise AuthError(413, "request_entity_too_large", message)
    except TimeoutError:
        raise AuthError(408, "request_timeout", "The request body did not arrive in time") from None
    except ClientDisconnect:
        raise AuthError(400, "bad_json", "The request body did not arrive whole") from None
    return bytes(body)


def _wants_string_codes(request: Request) -> bool:
    try:
        return datetime.date.fromisoformat(request.headers.get(_VERSION_HEADER, "")) >= _STRING_CODES_SINCE
    except ValueError:
        return False
