"""What a client put into an operation, as text parameters of its statements.

A plan holds no values. It holds the places of arguments, and binders that read a value from there on each request,
after graphql-core has coerced and checked it.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import orjson
from graphql import FieldNode, GraphQLField
from graphql.execution.values import VariableValues, get_argument_values

from resolvers.errors import ApiError
from resolvers.identity import Identity
from resolvers.model import snake_case
from resolvers.sources import DEFAULT_FIRST, MOST_FIRST

LONGEST_SEARCH = 100


@dataclass(frozen=True)
class Bound:
    """The arguments of one request, by place, and who asks."""

    arguments: list[dict[str, Any]]
    identity: Identity
    cursor_secret: bytes


Binder = Callable[[Bound], str | None]


@dataclass
class Places:
    """The fields with arguments in an operation, in the order in which the compiler met them."""

    fields: list[tuple[GraphQLField, FieldNode]] = field(default_factory=list)

    def add(self, graphql_field: GraphQLField, node: FieldNode) -> int:
        self.fields.append((graphql_field, node))
        return len(self.fields) - 1

    def read(self, variables: VariableValues) -> list[dict[str, Any]]:
        """The coerced arguments of each place. Raises graphql-core's errors for bad values."""
        return [
            get_argument_values(graphql_field, node, variables, hide_suggestions=True)
            for graphql_field, node in self.fields
        ]


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


def mutation_input(arguments: dict[str, Any]) -> str:
    """The input of a mutation as JSON, its names in snake case, its enum values lower case."""
    return orjson.dumps(_plain(arguments["input"], "")).decode()


def _plain(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        return {snake_case(k): _plain(v, f"{path}.{k}" if path else k) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(item, f"{path}.{place}") for place, item in enumerate(value)]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return plain_text(value, path)
    return value


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
