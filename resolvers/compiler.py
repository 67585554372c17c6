"""From a selection set to one SQL statement.

To-one is a left join, to-many one correlated aggregate, a connection one with a limit of its own. The statement
writes the answer's JSON; nothing here looks at a value, so a plan serves every caller.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from graphql import OperationDefinitionNode, OperationType

from resolvers import connections, introspection
from resolvers.arguments import Binder, Bound, Parameters, Place, as_json
from resolvers.errors import ApiError
from resolvers.json_text import Part, concatenate, expression, literal, quote, scalar, texts
from resolvers.model import FieldModel, Model, TypeModel, snake_case
from resolvers.plan import BETWEEN_ROWS, USUAL_ROWS, Hearing, Plan, Repeated, RootField, Template
from resolvers.selection import Fragments, Selected, select, select_below
from resolvers.sources import (
    ById,
    Call,
    Changed,
    ChangedId,
    ChangedRows,
    ChangedValue,
    Column,
    Computed,
    ComputedRow,
    ComputedRows,
    FromFunction,
    Paged,
    Told,
    ToMany,
    ToOne,
    Watched,
)
from resolvers.variables import Given

# What a mutation's function gave, until the end of the transaction: an id, or an object with several things.
_CHANGED = "nullif(current_setting('gym.changed', true), '')"


@dataclass
class Row:
    """A row in the statement being written: its alias, its type, and the joins that its to-one fields add."""

    alias: str
    type: TypeModel
    joins: list[str] = field(default_factory=list)

    @property
    def source(self) -> str:
        if self.type.table is None:
            raise TypeError(f"{self.type.name} has no table")
        return f"{self.type.table.name} as {self.alias}"

    @property
    def joined(self) -> str:
        return " ".join([self.source, *self.joins])


class Writer:
    """Writes the statement of one root field."""

    def __init__(
        self,
        model: Model,
        fragments: Fragments,
        given: Given,
        places: list[Place],
        checks: list[Callable[[Bound], object]],
    ) -> None:
        self.model = model
        self.fragments = fragments
        self.given = given
        self.places = places
        self.checks = checks
        self.repeated_here = Repeated()
        self.parameters = Parameters()
        self._aliases = 0

    def row(self, type_name: str) -> Row:
        self._aliases += 1
        return Row(f"t{self._aliases}", self.model.types[type_name])

    def below(self, selected: Selected, type_name: str) -> list[Selected]:
        return select_below(selected, type_name, self.fragments, self.given.coerced)

    def place(self, field_model: FieldModel, selected: Selected) -> int:
        self.places.append(Place(field_model.graphql, selected.node))
        return len(self.places) - 1

    def weigh(self, weight: int) -> None:
        """Adds to what one row costs here."""
        self.repeated_here.weight += weight

    @contextmanager
    def repeated(self, place: int | None = None, rows: int = USUAL_ROWS) -> Iterator[None]:
        """What is written inside comes once a row."""
        outer, self.repeated_here = self.repeated_here, Repeated(place, rows)
        try:
            yield
        finally:
            outer.inside.append(self.repeated_here)
            self.repeated_here = outer

    def object(self, selected: Sequence[Selected], row: Row) -> str:
        """SQL for the JSON text of an object."""
        parts: list[Part] = []
        for place, child in enumerate(selected):
            parts.append(literal(f'{"," if place else "{"}"{child.key}":'))
            parts.append(self._field(child, row))
        parts.append(literal("}" if selected else "{}"))
        return concatenate(parts)

    def _field(self, selected: Selected, row: Row) -> Part:
        if selected.name == "__typename":
            return literal(f'"{row.type.name}"')
        model = row.type.fields[selected.name]
        self.weigh(model.weight)
        match model.source:
            case Column(name):
                return expression(self._scalar(f"{row.alias}.{name}", model))
            case Computed(function):
                return expression(self._scalar(f"{function}({row.alias})", model))
            case ComputedRow(function):
                return expression(self._computed_row(selected, model, f"{function}({row.alias})"))
            case ComputedRows(function):
                return expression(_rows_of(self, selected, model, f"{function}({row.alias})"))
            case ToOne(order_by=None):
                return expression(self._joined_row(selected, model, row))
            case ToOne():
                return expression(self._latest_row(selected, model, row))
            case ToMany():
                return expression(self._rows(selected, model, row))
            case Paged():
                return expression(connections.write(self, selected, model, row))
        raise TypeError(f"{row.type.name}.{model.name} can only be asked at the root")

    def _scalar(self, value: str, model: FieldModel) -> str:
        if model.is_list:
            return texts(value, nullable=model.nullable)
        return scalar(value, model.type_name, is_enum=model.is_enum, nullable=model.nullable)

    def _computed_row(self, selected: Selected, model: FieldModel, call: str) -> str:
        row = self.row(model.type_name)
        written = self.object(self.below(selected, model.type_name), row)
        source = " ".join([f"{call} as {row.alias}", *row.joins])
        return f"coalesce((select {written} from {source}), 'null')"

    def _joined_row(self, selected: Selected, model: FieldModel, owner: Row) -> str:
        if not isinstance(model.source, ToOne):
            raise TypeError(f"{model.name} is not to-one")
        row = self.row(model.type_name)
        written = self.object(self.below(selected, model.type_name), row)
        # RLS may hide the row, whatever its foreign key says. The joins of the row itself refer to it and come after.
        owner.joins.append(f"left join {row.source} on {self.matching(model, row, owner)}")
        owner.joins.extend(row.joins)
        key = next(iter(model.source.keys))
        return f"case when {row.alias}.{key} is null then 'null' else {written} end"

    def _latest_row(self, selected: Selected, model: FieldModel, owner: Row) -> str:
        if not isinstance(model.source, ToOne):
            raise TypeError(f"{model.name} is not to-one")
        row = self.row(model.type_name)
        written = self.object(self.below(selected, model.type_name), row)
        return (
            f"coalesce((select {written} from {row.joined} where {self.matching(model, row, owner)}"
            f" order by {row.alias}.{model.source.order_by} limit 1), 'null')"
        )

    def _rows(self, selected: Selected, model: FieldModel, owner: Row) -> str:
        if not isinstance(model.source, ToMany):
            raise TypeError(f"{model.name} is not to-many")
        row = self.row(model.type_name)
        with self.repeated():
            written = self.object(self.below(selected, model.type_name), row)
        source = row.joined
        if model.source.function:
            source = " ".join([f"{model.source.function}() as {row.alias}", *row.joins])
        return (
            f"select '[' || coalesce(string_agg({written}, ',' order by {row.alias}.{model.source.order_by}), '')"
            f" || ']' from {source} where {self.matching(model, row, owner)}"
        )

    def matching(self, model: FieldModel, row: Row, owner: Row | None) -> str:
        """SQL for "this row belongs to that one"."""
        source = model.source
        if owner is None or not isinstance(source, ToOne | ToMany | Paged):
            return "true"
        conditions = [f"{row.alias}.{theirs} = {owner.alias}.{ours}" for theirs, ours in source.keys.items()]
        if source.keys and _both_tenants(row, owner):
            conditions.insert(0, f"{row.alias}.community_id = {owner.alias}.community_id")
        if isinstance(source, ToOne | ToMany) and source.where:
            conditions.append(source.where.format(row=row.alias, owner=owner.alias))
        return " and ".join(conditions) or "true"


def _both_tenants(row: Row, owner: Row) -> bool:
    return bool(row.type.table and row.type.table.tenant and owner.type.table and owner.type.table.tenant)


def compile_operation(
    model: Model, operation: OperationDefinitionNode, fragments: Fragments, given: Given
) -> Plan:
    """The plan of a valid operation, for all variables of the same shape."""
    is_mutation = operation.operation is OperationType.MUTATION
    root = model.schema.get_root_type(operation.operation)
    if root is None:
        raise TypeError("the schema has no such root type")
    places: list[Place] = []
    repeated: list[Repeated] = []
    checks: list[Callable[[Bound], object]] = []
    fields = []
    for selected in select([operation.selection_set], root.name, fragments, given.coerced):
        writer = Writer(model, fragments, given, places, checks)
        fields.append(_root_field(writer, selected, model.types[root.name]))
        repeated += writer.repeated_here.inside
    hearing = None
    if operation.operation is OperationType.SUBSCRIPTION:
        hearing = _hearing(model.types[root.name].fields[_only(operation, fragments, given, root.name)])
    return Plan(fields, places, repeated, checks, is_mutation, hearing)


def _only(operation: OperationDefinitionNode, fragments: Fragments, given: Given, root_name: str) -> str:
    """The one field of a subscription. That there is no more is validated but for @skip and @include."""
    selected = select([operation.selection_set], root_name, fragments, given.coerced)
    if len(selected) != 1 or selected[0].name.startswith("__"):
        raise ApiError("BAD_USER_INPUT", "A subscription has exactly one field.")
    return selected[0].name


def _hearing(field_model: FieldModel) -> Hearing:
    """Its arguments are the first that stand anywhere."""
    match field_model.source:
        case Watched(topics=topics):
            return Hearing(topics, 0, of_rows=False)
        case Told(topic=topic):
            return Hearing((topic,), 0, of_rows=True)
    raise TypeError(f"Subscription.{field_model.name} does not say what it hears of")


def _root_field(writer: Writer, selected: Selected, root: TypeModel) -> RootField:
    if selected.name == "__typename":
        return RootField(selected.key, nullable=False, constant=f'"{root.name}"'.encode())
    if selected.name.startswith("__"):
        introspection.weigh(writer, selected)
        return RootField(selected.key, nullable=selected.name == "__type", python=True)
    model = root.fields[selected.name]
    match model.source:
        case ById():
            templates = [_by_id(writer, selected, model)]
        case FromFunction():
            templates = [_template(writer, _from_function(writer, selected, model, model.source))]
        case Paged():
            templates = [_template(writer, connections.write(writer, selected, model, None))]
        case Call(function):
            templates = _mutation(writer, selected, model, function)
        case Watched(function):
            source = FromFunction(function, takes_arguments=True)
            templates = [_template(writer, _from_function(writer, selected, model, source))]
        case Told():
            templates = [_template(writer, _told_rows(writer, selected, model, model.source))]
        case _:
            raise TypeError(f"{root.name}.{model.name} has no source for a root field")
    of_the_caller = isinstance(model.source, FromFunction) and not model.source.takes_arguments
    return RootField(selected.key, model.nullable, templates, of_the_caller=of_the_caller)


def _template(writer: Writer, sql: str) -> Template:
    return Template(sql, tuple(writer.parameters.binders))


def _by_id(writer: Writer, selected: Selected, model: FieldModel) -> Template:
    place = writer.place(model, selected)
    wanted = writer.parameters.add(lambda bound: str(bound.arguments[place]["id"]), "uuid")
    row = writer.row(model.type_name)
    written = writer.object(writer.below(selected, model.type_name), row)
    return _template(writer, f"select {written} from {row.joined} where {row.alias}.id = {wanted}")


def _from_function(writer: Writer, selected: Selected, model: FieldModel, source: FromFunction) -> str:
    call = f"{source.function}()"
    if source.takes_arguments:
        place = writer.place(model, selected)
        call = f"{source.function}({writer.parameters.add(lambda bound: as_json(bound.arguments[place]), 'jsonb')})"
    if model.type_name not in writer.model.types:
        return f"select {scalar(call, model.type_name, is_enum=model.is_enum, nullable=model.nullable)}"
    if model.is_list:
        return _rows_of(writer, selected, model, call)
    row = writer.row(model.type_name)
    written = writer.object(writer.below(selected, model.type_name), row)
    return f"select {written} from " + " ".join([f"{call} as {row.alias}", *row.joins])


def _rows_of(writer: Writer, selected: Selected, model: FieldModel, call: str) -> str:
    """The list of a function's rows, which say their place."""
    row = writer.row(model.type_name)
    with writer.repeated():
        written = writer.object(writer.below(selected, model.type_name), row)
    source = " ".join([f"{call} as {row.alias}", *row.joins])
    return f"select '[' || coalesce(string_agg({written}, ',' order by {row.alias}.place), '') || ']' from {source}"


def _told_rows(writer: Writer, selected: Selected, model: FieldModel, source: Told) -> str:
    """Those of the rows that have changed which the caller sees, and which the arguments ask for."""
    place = writer.place(model, selected)
    changed = writer.parameters.add(lambda bound: "{" + ",".join(bound.rows) + "}", "uuid[]")
    row = writer.row(model.type_name)

    def binder(name: str) -> Binder:
        return lambda bound: str(value) if (value := bound.arguments[place].get(name)) else None

    named = {snake_case(name): writer.parameters.add(binder(name), "uuid") for name in model.graphql.args}
    written = writer.object(writer.below(selected, model.type_name), row)
    condition = source.where.format(row=row.alias, **named)
    return (
        f"select string_agg({written}, E'{BETWEEN_ROWS}' order by {row.alias}.id) from {row.joined}"
        f" where {row.alias}.id = any ({changed}) and ({condition})"
    )


def _mutation(writer: Writer, selected: Selected, model: FieldModel, function: str) -> list[Template]:
    """The call and the projection: a statement does not see the rows that a function inside it wrote."""
    place = writer.place(model, selected)
    calling = Parameters()
    value = calling.add(lambda bound: as_json(bound.arguments[place]["input"]), "jsonb")
    call = Template(
        f"select set_config('gym.changed', {function}({value})::text, true)", tuple(calling.binders)
    )
    payload = writer.model.types[model.type_name]
    parts: list[Part] = []
    for number, child in enumerate(writer.below(selected, payload.name)):
        parts.append(literal(f'{"," if number else "{"}"{child.key}":'))
        parts.append(_payload_field(writer, child, payload))
    parts.append(literal("}" if parts else "{}"))
    return [call, _template(writer, f"select {concatenate(parts)}")]


def _payload_field(writer: Writer, selected: Selected, payload: TypeModel) -> Part:
    if selected.name == "__typename":
        return literal(f'"{payload.name}"')
    model = payload.fields[selected.name]
    match model.source:
        case ChangedId(part):
            return expression(scalar(_told(part), "UUID", is_enum=False, nullable=model.nullable))
        case ChangedValue(part):
            value = _told(part, _SQL_TYPES.get(model.type_name))
            return expression(scalar(value, model.type_name, is_enum=model.is_enum, nullable=model.nullable))
        case ChangedRows(function):
            return expression(_rows_of(writer, selected, model, f"{function}({_CHANGED}::jsonb)"))
        case Changed(part):
            row = writer.row(model.type_name)
            written = writer.object(writer.below(selected, model.type_name), row)
            found = f"select {written} from {row.joined} where {row.alias}.id = {_told(part)}::uuid"
            return expression(f"coalesce(({found}), 'null')")
    raise TypeError(f"{payload.name}.{model.name} does not say what of the mutation's result it is")


_SQL_TYPES = {
    "Int": "bigint",
    "Float": "numeric",
    "Boolean": "boolean",
    "DateTime": "timestamptz",
    "Date": "date",
}


def _told(part: str | None, sql_type: str | None = None) -> str:
    """SQL for the id that a mutation's function gave, or for a member of the object that it gave."""
    value = _CHANGED if part is None else f"({_CHANGED}::jsonb ->> {quote(part)})"
    return f"{value}::{sql_type}" if sql_type else value
