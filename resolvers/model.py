"""The schema as the compiler sees it: which type is which table, and which field comes from where.

Built once from the Strawberry schema, and strict: a field that neither the compiler nor plain Python can answer
stops the server from starting, not the request.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_non_null_type,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter

from resolvers import json_text
from resolvers.sources import (
    COMPUTED_ROW_WEIGHT,
    COMPUTED_WEIGHT,
    LONG_TEXT_WEIGHT,
    METADATA_KEY,
    TABLE_ATTRIBUTE,
    Column,
    Computed,
    ComputedRow,
    ComputedRows,
    Condition,
    Source,
    Table,
)

_BACKREF = GraphQLCoreConverter.DEFINITION_BACKREF


@dataclass(frozen=True)
class FieldModel:
    """A field: its source, and what the compiler must know of its GraphQL type."""

    name: str
    source: Source
    graphql: GraphQLField
    type_name: str
    is_enum: bool
    is_list: bool
    nullable: bool

    @property
    def weight(self) -> int:
        """What it costs a row, in simple columns."""
        match self.source:
            case Column(long=True):
                return LONG_TEXT_WEIGHT
            case Computed():
                return COMPUTED_WEIGHT
            case ComputedRow() | ComputedRows():
                return COMPUTED_ROW_WEIGHT
        return 1


@dataclass
class TypeModel:
    """An object type: its table, when its fields are columns, and its fields by GraphQL name."""

    name: str
    table: Table | None
    fields: dict[str, FieldModel] = field(default_factory=dict)

    def column_type(self, column: str) -> str:
        """The SQL type of a column that cursors carry, from the GraphQL type of its field."""
        for model in self.fields.values():
            if isinstance(model.source, Column) and model.source.name == column:
                return {"DateTime": "timestamptz", "Int": "integer", "UUID": "uuid"}.get(
                    model.type_name, "text"
                )
        raise LookupError(f"{self.name} is ordered by {column}, which is none of its fields")


@dataclass
class Model:
    """All object types by name, and the conditions of all filter types."""

    schema: GraphQLSchema
    types: dict[str, TypeModel]
    conditions: dict[str, dict[str, Condition]]

    @cached_property
    def mutation_inputs(self) -> frozenset[str]:
        """Input types that mutations take: their shape does not change the SQL."""
        mutation = self.schema.mutation_type
        if mutation is None:
            return frozenset()
        return frozenset(
            get_named_type(argument.type).name
            for f in mutation.fields.values()
            for argument in f.args.values()
        )


def build(schema: strawberry.Schema) -> Model:
    """Reads the sources off a Strawberry schema.

    Raises TypeError for a field that has a resolver of its own on a type that comes from SQL, and for a scalar that
    has no canonical JSON text.
    """
    core = schema._schema
    types = {
        name: _type_model(graphql_type)
        for name, graphql_type in core.type_map.items()
        if isinstance(graphql_type, GraphQLObjectType) and not name.startswith("__")
    }
    conditions = {
        name: _conditions(graphql_type)
        for name, graphql_type in core.type_map.items()
        if isinstance(graphql_type, GraphQLInputObjectType)
    }
    _answer_from_compiled_data(core)
    return Model(core, types, conditions)


def snake_case(name: str) -> str:
    """`durationWeeks` to `duration_weeks`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _definition(graphql_type: Any) -> Any:
    return graphql_type.extensions.get(_BACKREF)


def _type_model(graphql_type: GraphQLObjectType) -> TypeModel:
    origin = getattr(_definition(graphql_type), "origin", None)
    model = TypeModel(graphql_type.name, getattr(origin, TABLE_ATTRIBUTE, None))
    for name, graphql_field in graphql_type.fields.items():
        model.fields[name] = _field_model(graphql_type.name, name, graphql_field)
    return model


def _field_model(owner: str, name: str, graphql_field: GraphQLField) -> FieldModel:
    definition = _definition(graphql_field)
    source = definition.metadata.get(METADATA_KEY)
    if source is None and definition.base_resolver is not None:
        raise TypeError(
            f"{owner}.{name} has a resolver, but its type comes from SQL: declare a source instead"
        )
    if definition.permission_classes or definition.extensions:
        raise TypeError(
            f"{owner}.{name} has permission classes or extensions, which compiled fields do not run"
        )
    named = get_named_type(graphql_field.type)
    if isinstance(named, GraphQLScalarType) and not json_text.knows(named.name):
        raise TypeError(
            f"{owner}.{name} is a {named.name}, which has no canonical text in resolvers/json_text.py"
        )
    return FieldModel(
        name,
        source or Column(snake_case(name)),
        graphql_field,
        named.name,
        isinstance(named, GraphQLEnumType),
        is_list_type(get_nullable_type(graphql_field.type)),
        not is_non_null_type(graphql_field.type),
    )


def _conditions(graphql_type: GraphQLInputObjectType) -> dict[str, Condition]:
    found = {}
    for name, input_field in graphql_type.fields.items():
        definition = _definition(input_field)
        condition = definition.metadata.get(METADATA_KEY) if definition is not None else None
        if isinstance(condition, Condition):
            found[name] = condition
    return found


def _answer_from_compiled_data(schema: GraphQLSchema) -> None:
    """Lets graphql-core take every field from the compiled data, by response key: aliases have their own values."""
    for graphql_type in schema.type_map.values():
        if isinstance(graphql_type, GraphQLObjectType) and not graphql_type.name.startswith("__"):
            for graphql_field in graphql_type.fields.values():
                graphql_field.resolve = _by_response_key(get_named_type(graphql_field.type))


def _by_response_key(named: GraphQLNamedType) -> Callable[..., Any]:
    if isinstance(named, GraphQLEnumType):
        wrapped = _definition(named).wrapped_cls

        def enum_value(source: Any, info: Any, **_: Any) -> Any:
            value = source[info.path.key]
            return None if value is None else wrapped[value]

        return enum_value
    return lambda source, info, **_: source[info.path.key]
