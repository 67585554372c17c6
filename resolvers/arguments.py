"""What a client put into an operation, as text parameters of its statements.

A plan holds no values. It holds the places of arguments, and binders that read a value from there on each request.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from json import dumps
from typing import Any, NamedTuple

import orjson
from graphql import FieldNode, GraphQLField, is_required_argument
from graphql.execution.values import get_argument_values

from resolvers.coercion import UnsureError, default_of, has_variables, member, read_members
from resolvers.errors import ApiError
from resolvers.identity import Identity
from resolvers.json_text import JsonValue
from resolvers.model import snake_case
from resolvers.sources import DEFAULT_FIRST, MOST_FIRST
from resolvers.syntax import weight_of
from resolvers.variables import Given

LONGEST_SEARCH = 100


class Bound(NamedTuple):
    """The arguments of one request, by place, and who asks."""

    arguments: list[dict[str, Any]]
    identity: Identity
    cursor_secret: bytes
    # Of a subscription to rows: which have changed.
    rows: Sequence[str] = ()


Binder = Callable[[Bound], str | None]


class Place:
    """A field with arguments in an operation."""

    __slots__ = ("_field", "_members", "_node", "constant", "weight")

    def __init__(self, field: GraphQLField, node: FieldNode) -> None:
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        self._members = [
            member(
                argument.out_name or name,
                argument.type,
                given.get(name),
                default_of(argument, required=is_required_argument(argument)),
            )
            for name, argument in field.args.items()
        ]
        self._field = field
        # Without what is asked below it, which would keep most of the document in memory.
        self._node = FieldNode(name=node.name, arguments=node.arguments)
        self.weight = weight_of(self._node)
        # The arguments of all requests, when no variable is among them.
        self.constant = None if any(map(has_variables, given.values())) else self._coerced({})

    def read(self, given: Given) -> dict[str, Any]:
        """The coerced arguments. Raises graphql-core's errors for bad values."""
        if self.constant is not None:
            return self.constant
        arguments = self._coerced(given.coerced)
        if arguments is None:
            return get_argument_values(self._field, self._node, given.judged, hide_suggestions=True)
        return arguments

    def _coerced(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """None for values that graphql-core has to judge."""
        try:
            return read_members(self._members, values)
        except UnsureError:
            return None


class Parameters:
    """The parameters of one statement, numbered as they are added."""

    def __init__(self) -> None:
        self.binders: list[Binder] = []

    def add(self, binder: Binder, sql_type: str) -> str:
        self.binders.append(binder)
        return f"${len(self.binders)}::{sql_type}"


def plain_text(value: Any, name: str) -> str:
    """The text of a scalar. Postgres has no NUL in text, so no value may have one."""
    text = str(value.value if isinstance(value, Enum) else value)
    if "\x00" in text:
        raise ApiError("BAD_USER_INPUT", f"{name} contains a NUL character. Remove it.", field=name)
    return text


def first_of(arguments: dict[str, Any]) -> int:
    """How many nodes a page has at the most."""
    first = arguments.get("first")
    if first is None:
        return DEFAULT_FIRST
    if not 0 <= first <= MOST_FIRST:
        raise ApiError("BAD_USER_INPUT", f"first is {first}; it can be 0 to {MOST_FIRST}.", field="first")
    return int(first)


def filter_value(arguments: dict[str, Any], name: str, to_text: Callable[[Any], str]) -> str:
    """The text of one condition of a filter."""
    value = arguments["filter"][name]
    if isinstance(value, str) and len(value) > LONGEST_SEARCH:
        raise ApiError(
            "BAD_USER_INPUT", f"{name} is longer than {LONGEST_SEARCH} characters. Shorten it.", field=name
        )
    return plain_text(to_text(value), name)


def as_json(value: Any) -> str:
    """An argument, or all of them, as JSON for an SQL function: names in snake case, enum values lower case."""
    return orjson.dumps(_plain(value, "")).decode()


def _plain(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        return {snake_case(k): _plain(v, f"{path}.{k}" if path else k) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(item, f"{path}.{place}") for place, item in enumerate(value)]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return plain_text(value, path)
    if isinstance(value, JsonValue):
        return _untouched(value, path)
    return value


def _untouched(json: JsonValue, path: str) -> orjson.Fragment:
    """A client's own JSON as it is. Postgres takes neither NUL characters nor what is no Unicode."""
    try:
        text = dumps(json, ensure_ascii=False, allow_nan=False, default=_inner)
        encoded = text.encode()
    except (ValueError, RecursionError) as error:
        raise ApiError(
            "BAD_USER_INPUT", f"{path} is not JSON that can be stored: {error}.", field=path
        ) from None
    place = _nul_in(json, path) if "\\u0000" in text else None
    if place is not None:
        raise ApiError("BAD_USER_INPUT", f"{place} contains a NUL character. Remove it.", field=place)
    return orjson.Fragment(encoded)


def _inner(value: Any) -> Any:
    """What a variable inside of JSON stands for, which has been coerced by its own type."""
    return value.value if isinstance(value, JsonValue | Enum) else str(value)


def _nul_in(value: Any, path: str) -> str | None:
    """Where the first NUL is, as `course.blocks.3.title`. One in a key is in its object: the key cannot be shown."""
    if isinstance(value, JsonValue):
        return _nul_in(value.value, path)
    if isinstance(value, dict):
        if any("\x00" in key for key in value):
            return path
        inside = [(f"{path}.{key[:60]}", inner) for key, inner in value.items()]
    elif isinstance(value, list):
        inside = [(f"{path}.{place}", inner) for place, inner in enumerate(value)]
    else:
        return path if isinstance(value, str) and "\x00" in value else None
    return next((found for part, inner in inside if (found := _nul_in(inner, part)) is not None), None)


def cursor_context(bound: Bound, place: int, coordinate: str) -> str:
    """A secret for the cursors of one list: of this tenant, with these filters, in this order."""
    arguments = bound.arguments[place]
    what = orjson.dumps(
        [
            coordinate,
            str(bound.identity.community_id),
            _plain(arguments.get("filter"), ""),
            _plain(arguments.get("orderBy"), ""),
        ],
        option=orjson.OPT_SORT_KEYS,
    )
    return hmac.digest(bound.cursor_secret, what, "sha256").hex()
