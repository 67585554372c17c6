"""The variables of an operation: their values on one request, and what of them decides the SQL."""

from collections.abc import Collection, Mapping
from enum import Enum
from functools import cached_property
from typing import Any

from graphql import (
    ArgumentNode,
    DirectiveNode,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    Node,
    Undefined,
    VariableDefinitionNode,
    VariableNode,
    is_non_null_type,
)
from graphql.execution.get_variable_signature import get_variable_signature
from graphql.execution.values import VariableValues, get_variable_values
from graphql.language.ast import QUERY_DOCUMENT_KEYS

from resolvers.coercion import REQUIRED, Coerce, Coercers, UnsureError, default_of, unsure
from resolvers.sources import SHAPING_ARGUMENTS
from resolvers.syntax import weight_of

MOST_ERRORS = 5


class InvalidError(Exception):
    """The document or the variables are wrong; `errors` says where."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__()
        self.errors = errors[:MOST_ERRORS]


class Given:
    """The values of an operation's variables on one request."""

    def __init__(self, variables: "Variables", raw: Mapping[str, Any]) -> None:
        self._variables = variables
        self._raw = raw
        self.coerced: dict[str, Any] = {}
        try:
            variables.coerce(raw, self.coerced)
        except UnsureError:
            self.coerced = self.judged.coerced

    @cached_property
    def judged(self) -> VariableValues:
        """The values as graphql-core sees them. Raises InvalidError with its errors."""
        return self._variables.judge(self._raw)


class Variables:
    """What an operation says of its variables."""

    def __init__(
        self,
        schema: GraphQLSchema,
        coercers: Coercers,
        definitions: Collection[VariableDefinitionNode],
        shaping: Collection[str],
    ) -> None:
        self._schema = schema
        self._definitions = definitions
        self._known = [_variable(schema, coercers, definition) for definition in definitions]
        self.weight = sum(map(weight_of, definitions))
        self._shaping = [name for name, _, _ in self._known if name in shaping]

    def coerce(self, raw: Mapping[str, Any], into: dict[str, Any]) -> None:
        """Raises UnsureError for values that graphql-core has to judge."""
        for name, coerce, default in self._known:
            if name in raw:
                into[name] = coerce(raw[name])
            elif default is REQUIRED:
                raise UnsureError
            elif default is not Undefined:
                into[name] = default

    def judge(self, raw: Mapping[str, Any]) -> VariableValues:
        values = get_variable_values(
            self._schema, self._definitions, dict(raw), max_errors=MOST_ERRORS, hide_suggestions=True
        )
        if isinstance(values, list):
            raise InvalidError(values)
        return values

    def shape(self, coerced: Mapping[str, Any]) -> tuple[Any, ...]:
        """What of the values decides the SQL: which are there, and those that choose columns or fields."""
        return tuple([_shape(coerced.get(name, Undefined)) for name in self._shaping])


def _variable(
    schema: GraphQLSchema, coercers: Coercers, definition: VariableDefinitionNode
) -> tuple[str, Coerce, Any]:
    """A variable's name, its coercer, and what it is when it was not given."""
    signature = get_variable_signature(schema, definition)
    if isinstance(signature, GraphQLError):
        raise InvalidError([signature])
    name, coerce = signature.name, coercers.of(signature.type)
    if definition.default_value is None:
        return name, coerce, REQUIRED if is_non_null_type(signature.type) else Undefined
    try:
        return name, coerce, default_of(signature, required=False)
    except TypeError:  # a default that validation let pass and coercion does not
        return name, unsure, REQUIRED


def shaping_variables(document: DocumentNode) -> frozenset[str]:
    """The names of the variables that a plan can depend on: in directives, and in arguments that shape the SQL."""
    found: set[str] = set()
    for definition in document.definitions:
        _collect(definition, found, shaping=False)
    return frozenset(found)


def _collect(node: Node, found: set[str], *, shaping: bool) -> None:
    if isinstance(node, VariableNode):
        if shaping:
            found.add(node.name.value)
        return
    if isinstance(node, ArgumentNode):
        shaping = shaping or node.name.value in SHAPING_ARGUMENTS
    elif isinstance(node, DirectiveNode):
        shaping = True
    for key in QUERY_DOCUMENT_KEYS.get(node.kind, ()):
        value = getattr(node, key, None)
        for child in value if isinstance(value, tuple) else (value,):
            if isinstance(child, Node):
                _collect(child, found, shaping=shaping)


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple([(key, _shape(inner)) for key, inner in value.items()])
    if isinstance(value, list):
        return "[]"
    return value if value is None or value is Undefined or isinstance(value, bool | Enum) else "*"
