"""Relay connections with keyset cursors, as one SQL expression, and the cursors themselves.

A cursor holds the keys of a row and a signature over them, the tenant, the filters and the order: one that was
forged, or taken from another list, is refused instead of answered with the wrong page.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson
from graphql import get_named_type

from resolvers.arguments import Binder, Bound, cursor_context, filter_value, first_of
from resolvers.errors import ApiError
from resolvers.json_text import Part, concatenate, expression, literal
from resolvers.model import FieldModel, snake_case
from resolvers.selection import Selected
from resolvers.sources import COUNT_WEIGHT, Paged

if TYPE_CHECKING:
    from resolvers.compiler import Row, Writer

_SIGNATURE_LENGTH = 32


def write(writer: "Writer", selected: Selected, model: FieldModel, owner: "Row | None") -> str:
    """SQL for the JSON text of a connection."""
    return _Connection(writer, selected, model, owner).sql()


class _Connection:
    def __init__(self, writer: "Writer", selected: Selected, model: FieldModel, owner: "Row | None") -> None:
        if not isinstance(model.source, Paged):
            raise TypeError(f"{model.name} is no connection")
        self.writer = writer
        self.model = model
        self.owner = owner
        self.type = writer.model.types[model.type_name]
        self.node_type = writer.model.types[self.type.fields["nodes"].type_name]
        self.place = writer.place(model, selected)
        # As they are on this request; only their shape may go into the SQL.
        self.arguments = writer.places[self.place].read(writer.given)
        self.column, self.direction = _order(self.arguments, model.source)
        self.children = writer.below(selected, self.type.name)
        self.columns: list[tuple[str, str]] = []

    def sql(self) -> str:
        row = self.writer.row(self.node_type.name)
        parts: list[Part] = []
        with self.writer.repeated(place=self.place):
            for number, child in enumerate(self.children):
                parts.append(literal(f'{"," if number else "{"}"{child.key}":'))
                parts.append(self._child(child, row))
            self.writer.repeated_here.shows_rows = bool(self.columns)
        if any(child.name == "totalCount" for child in self.children):
            self.writer.weigh(COUNT_WEIGHT)
        self._check_cursor_on_every_request()
        parts.append(literal("}" if parts else "{}"))
        written = concatenate(parts)
        if not self.columns:
            return f"select {written}"
        return f"select {written} from ({self._page(row)}) as r{row.alias}"

    def _child(self, selected: Selected, row: "Row") -> Part:
        match selected.name:
            case "__typename":
                return literal(f'"{self.type.name}"')
            case "nodes":
                return self._list(
                    row, self.writer.object(self.writer.below(selected, self.node_type.name), row)
                )
            case "edges":
                return self._list(row, self._edge(selected, row))
            case "pageInfo":
                return expression(self._page_info(selected, row))
            case "totalCount":
                return expression(self._total())
        raise TypeError(f"a connection has no field {selected.name}")

    def _list(self, row: "Row", written: str) -> Part:
        items = self._add(row, written, "string_agg({}, ',')")
        return expression(f"'[' || coalesce({items}, '') || ']'")

    def _edge(self, selected: Selected, row: "Row") -> str:
        edge_type = self.type.fields["edges"].type_name
        parts: list[Part] = []
        for number, child in enumerate(self.writer.below(selected, edge_type)):
            parts.append(literal(f'{"," if number else "{"}"{child.key}":'))
            if child.name == "cursor":
                parts.append(expression(f"'\"' || {self._cursor(self._keys(row))} || '\"'"))
            elif child.name == "node":
                node = self.writer.object(self.writer.below(child, self.node_type.name), row)
                parts.append(expression(node))
            else:
                parts.append(literal(f'"{edge_type}"'))
        parts.append(literal("}" if parts else "{}"))
        return concatenate(parts)

    def _page_info(self, selected: Selected, row: "Row") -> str:
        def end(place: str) -> str:
            keys = self._add(row, self._keys(row), "array_agg({})")
            cursor = self._cursor(f"{keys}[{place.format(keys)}]")
            return f"coalesce('\"' || {cursor} || '\"', 'null')"

        parts: list[Part] = []
        for number, child in enumerate(self.writer.below(selected, "PageInfo")):
            parts.append(literal(f'{"," if number else "{"}"{child.key}":'))
            match child.name:
                case "__typename":
                    parts.append(literal('"PageInfo"'))
                case "hasNextPage":
                    parts.append(expression(self._has_next_page()))
                case "hasPreviousPage":
                    parts.append(literal("true" if self._continues else "false"))
                case "startCursor":
                    parts.append(expression(end("1")))
                case "endCursor":
                    parts.append(expression(end("cardinality({})")))
        parts.append(literal("}" if parts else "{}"))
        return concatenate(parts)

    def _total(self) -> str:
        row = self.writer.row(self.node_type.name)
        return f"(select count(*) from {row.source} where {self._where(row)})::text"

    def _has_next_page(self) -> str:
        """Whether there is a row behind the page; asked apart, so that nothing is fetched for a row not shown."""
        row = self.writer.row(self.node_type.name)
        return (
            f"exists (select from {row.source} where {self._where(row)}{self._after(row)}"
            f" order by {self._order_by(row)} offset {self._first} limit 1)::text"
        )

    def _page(self, row: "Row") -> str:
        inner = ", ".join(f"{sql} as c{number}" for number, (sql, _) in enumerate(self.columns))
        outer = ", ".join(
            f"{f.format(f'c{number}')} as c{number}" for number, (_, f) in enumerate(self.columns)
        )
        return (
            f"select {outer} from (select {inner} from {row.joined} where {self._where(row)}{self._after(row)}"
            f" order by {self._order_by(row)} limit {self._first}) as p{row.alias}"
        )

    def _order_by(self, row: "Row") -> str:
        return f"{row.alias}.{self.column} {self.direction}, {row.alias}.id {self.direction}"

    def _where(self, row: "Row") -> str:
        conditions = [self.writer.matching(self.model, row, self.owner)]
        known = self.writer.model.conditions
        for name, value in (self.arguments.get("filter") or {}).items():
            if value is not None:
                filter_type = get_named_type(self.model.graphql.args["filter"].type).name
                condition = known[filter_type][name]
                if condition.sql_type is None:
                    conditions.append(f"{'' if value else 'not '}({condition.sql.format(row=row.alias)})")
                    continue
                parameter = self._parameter(
                    _filter_binder(self.place, name, condition.to_text), condition.sql_type
                )
                conditions.append("(" + condition.sql.format(row=row.alias, value=parameter) + ")")
        return " and ".join(conditions)

    @property
    def _continues(self) -> bool:
        return self.arguments.get("after") is not None

    def _after(self, row: "Row") -> str:
        if not self._continues:
            return ""
        sql_type = self.node_type.column_type(self.column)
        column = self._parameter(_key_binder(self.place, self._coordinate, 0), sql_type)
        row_id = self._parameter(_key_binder(self.place, self._coordinate, 1), "uuid")
        comparison = "<" if self.direction == "desc" else ">"
        return f" and ({row.alias}.{self.column}, {row.alias}.id) {comparison} ({column}, {row_id})"

    def _keys(self, row: "Row") -> str:
        return f"'[' || to_json({row.alias}.{self.column}::text) || ',\"' || {row.alias}.id || '\"]'"

    def _cursor(self, keys: str) -> str:
        """SQL for the cursor text of a row's keys; the same as `_signed` below."""
        digest = f"encode(sha256(convert_to({self._context} || ({keys}), 'UTF8')), 'hex')"
        signed = f"convert_to(left({digest}, {_SIGNATURE_LENGTH}) || ({keys}), 'UTF8')"
        return f"translate(encode({signed}, 'base64'), E'+/=\\n', '-_')"

    @cached_property
    def _context(self) -> str:
        place, coordinate = self.place, self._coordinate
        return self._parameter(lambda bound: cursor_context(bound, place, coordinate), "text")

    @property
    def _coordinate(self) -> str:
        return f"{self.node_type.name}.{self.model.name}"

    @cached_property
    def _first(self) -> str:
        place = self.place
        return self._parameter(lambda bound: str(first_of(bound.arguments[place])), "integer")

    def _add(self, row: "Row", sql: str, aggregate: str) -> str:
        """A column of the rows of the page, and what becomes of it; the same one is not written twice."""
        if (sql, aggregate) not in self.columns:
            self.columns.append((sql, aggregate))
        return f"r{row.alias}.c{self.columns.index((sql, aggregate))}"

    def _check_cursor_on_every_request(self) -> None:
        if self._continues:
            place, coordinate = self.place, self._coordinate
            self.writer.checks.append(lambda bound: read_cursor(bound, place, coordinate))

    def _parameter(self, binder: Binder, sql_type: str) -> str:
        return self.writer.parameters.add(binder, sql_type)


def _order(arguments: dict[str, Any], source: Paged) -> tuple[str, str]:
    wanted = arguments.get("orderBy")
    if wanted is None:
        column, _, direction = source.order_by.partition(" ")
        return column, direction or "asc"
    return snake_case(wanted["field"].value), wanted["direction"].value


def _filter_binder(place: int, name: str, to_text: Callable[[Any], str]) -> Binder:
    return lambda bound: filter_value(bound.arguments[place], name, to_text)


def _key_binder(place: int, coordinate: str, number: int) -> Binder:
    return lambda bound: read_cursor(bound, place, coordinate)[number]


def read_cursor(bound: Bound, place: int, coordinate: str) -> list[str]:
    """The keys in the argument `after`. Raises BAD_USER_INPUT unless we made it, for this very list."""
    try:
        padded = bound.arguments[place]["after"].encode("ascii") + b"=="
        text = base64.b64decode(padded, altchars=b"-_", validate=False)
    except (UnicodeEncodeError, binascii.Error):
        text = b""
    signature, keys = text[:_SIGNATURE_LENGTH], text[_SIGNATURE_LENGTH:]
    expected = _signature(cursor_context(bound, place, coordinate), keys)
    if not hmac.compare_digest(signature, expected):
        raise ApiError(
            "BAD_USER_INPUT",
            "after is not a cursor of this list. Use one that came with the same filter and order.",
            field="after",
        )
    found: list[str] = orjson.loads(keys)
    return found


def _signature(context: str, keys: bytes) -> bytes:
    return hashlib.sha256(context.encode() + keys).hexdigest()[:_SIGNATURE_LENGTH].encode()
