"""A GraphQL request as HTTP carries it: a JSON body, or the parameters of a URL."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from resolvers.documents import Request
from resolvers.errors import ApiError

_MOST_PARAMETERS = 32


def from_body(body: bytes | bytearray) -> Request:
    """The request in a JSON body."""
    parameters = _json(body, "The body")
    if isinstance(parameters, list):
        raise ApiError("BAD_USER_INPUT", "Batches are not supported. Send one operation, as one JSON object.")
    if not isinstance(parameters, dict):
        raise ApiError(
            "BAD_USER_INPUT", 'The body is not a JSON object. Send one as {"query": "{ viewer { id } }"}.'
        )
    return _request(parameters, read_only=False)


def from_payload(payload: Any) -> Request:
    """The request in a message that was read already."""
    if not isinstance(payload, dict):
        raise ApiError(
            "BAD_USER_INPUT", 'The payload is not an object. Send one as {"query": "{ viewer { id } }"}.'
        )
    return _request(payload, read_only=False)


def from_query_string(query_string: bytes) -> Request:
    """The request in a URL. It may only read."""
    parameters: dict[str, Any] = _parameters(query_string)
    for name in ("variables", "extensions"):
        if name in parameters:
            parameters[name] = _json(parameters[name].encode(), f"The parameter `{name}`", field=name)
    return _request(parameters, read_only=True)


def has_query(query_string: bytes) -> bool:
    """Whether a URL asks something: a browser that opens the page does not."""
    return b"&query=" in b"&" + query_string


def _parameters(query_string: bytes) -> dict[str, str]:
    """The parameters that are not empty: in a URL, empty is the same as not there."""
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
    return {name: value for name, value in pairs if value}


def _json(text: bytes | bytearray, what: str, **extensions: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ApiError("BAD_USER_INPUT", f"{what} is not JSON in UTF-8: {error}.", **extensions) from None


def _request(parameters: Mapping[str, Any], *, read_only: bool) -> Request:
    query = parameters.get("query")
    if not isinstance(query, str) or not query or "\0" in query:
        raise ApiError("BAD_USER_INPUT", "`query` must be the text of a GraphQL document.", field="query")
    operation_name = parameters.get("operationName")
    if not (operation_name is None or isinstance(operation_name, str)):
        raise ApiError("BAD_USER_INPUT", "`operationName` must be a string or null.", field="operationName")
    _require_object_or_null(parameters, "extensions")
    return Request(query, operation_name, _require_object_or_null(parameters, "variables"), read_only)


def _require_object_or_null(parameters: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = parameters.get(name)
    if not (value is None or isinstance(value, dict)):
        raise ApiError("BAD_USER_INPUT", f"`{name}` must be a JSON object or null.", field=name)
    return value
