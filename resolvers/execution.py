"""The second way to an answer: graphql-core over the compiled data, for what no statement can say."""

from collections.abc import Mapping
from json import loads
from typing import Any

import orjson
from graphql import DocumentNode, GraphQLSchema, execute_sync

from resolvers.json_text import JsonValue, jsonb_text


def executed(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation_name: str | None,
    raw_variables: Mapping[str, Any],
    values: Mapping[str, bytes],
) -> bytes:
    """The answer's bytes, from the JSON of each compiled root field. Raises what a field raised."""
    data = {key: loads(value, parse_float=_Number) for key, value in values.items()}
    result = execute_sync(
        schema,
        document,
        data,
        variable_values=dict(raw_variables),
        operation_name=operation_name,
        hide_suggestions=True,
    )
    if result.errors:
        raise result.errors[0].original_error or result.errors[0]
    return orjson.dumps(
        {"data": result.data},
        default=_as_postgres_wrote,
        option=orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS,
    )


class _Number(float):
    """A number that keeps the digits that Postgres wrote."""

    text: str

    def __new__(cls, text: str) -> "_Number":
        number = super().__new__(cls, text)
        number.text = text
        return number


def _as_postgres_wrote(value: Any) -> orjson.Fragment:
    if isinstance(value, _Number):
        return orjson.Fragment(value.text)
    if isinstance(value, JsonValue):
        return orjson.Fragment(jsonb_text(value.value))
    raise TypeError(f"{type(value).__name__} is not JSON")
