"""SQL that writes JSON as text: cheaper than `json_build_object`, in the query's order, without blanks.

Two ways to run an operation must give the same bytes, so every scalar has one canonical text here.
"""

from dataclasses import dataclass
from json import dumps
from typing import Any, Final

Part = tuple[bool, str]  # (is a literal, text)


def literal(text: str) -> Part:
    return True, text


def expression(sql: str) -> Part:
    return False, sql


def quote(text: str) -> str:
    """An SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def concatenate(parts: list[Part]) -> str:
    """One SQL text expression; null as soon as one of the expressions is."""
    pieces: list[str] = []
    pending = ""
    for is_literal, text in parts:
        if is_literal:
            pending += text
            continue
        if pending:
            pieces.append(quote(pending))
            pending = ""
        pieces.append(f"({text})")
    if pending or not pieces:
        pieces.append(quote(pending))
    return " || ".join(pieces)


@dataclass(frozen=True)
class JsonValue:
    """A value of scalar JSON: it goes through as it is, its names unchanged."""

    value: Any


def jsonb_text(value: Any) -> str:
    """The text that Postgres gives a jsonb, of parsed JSON; numbers that know their `text` keep it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)}: {jsonb_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(jsonb_text, value)) + "]"
    return getattr(value, "text", None) or _quoted(value)


def _quoted(value: Any) -> str:
    return dumps(value, ensure_ascii=False)


# RFC 3339 in UTC with microseconds, whatever the session's time zone and date style are.
_DATE_TIME = r"""to_char({} at time zone 'UTC', '"\""YYYY-MM-DD"T"HH24:MI:SS.US"Z\""')"""
_DATE = r"""to_char({}, '"\""YYYY-MM-DD"\""')"""
# At most six decimals, at least one: 1.0, 0.25, 0.333333; never an exponent.
_FLOAT = "round(round({0}::numeric, 6), greatest(min_scale(round({0}::numeric, 6)), 1))::text"

_SCALARS: Final = {
    "UUID": "'\"' || {}::text || '\"'",
    "ID": "'\"' || {}::text || '\"'",
    "String": "to_json({}::text)::text",
    "Int": "{}::text",
    "Float": _FLOAT,
    "Boolean": "{}::text",
    "DateTime": _DATE_TIME,
    "Date": _DATE,
    # What is of type json must have been written with the blanks of jsonb.
    "JSON": "{}::text",
}
_ENUM = "'\"' || upper({}) || '\"'"


def scalar(value: str, type_name: str, *, is_enum: bool, nullable: bool) -> str:
    """SQL for the JSON text of a scalar. Enum values are upper case in GraphQL, lower case in Postgres."""
    text = (_ENUM if is_enum else _SCALARS[type_name]).format(value)
    return f"coalesce({text}, 'null')" if nullable else text


def texts(value: str, *, nullable: bool) -> str:
    """SQL for the JSON text of a list of String, from a text[]."""
    text = f"to_json({value})::text"
    return f"coalesce({text}, 'null')" if nullable else text


def knows(type_name: str) -> bool:
    """Whether there is a canonical text for a scalar type."""
    return type_name in _SCALARS
