"""What a client sent, made sure of: parsed, within the limits, valid, its operation found, its variables coerced."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSyntaxError,
    Node,
    OperationDefinitionNode,
    OperationType,
    get_named_type,
    parse,
    type_from_ast,
    validate,
)
from graphql.execution.values import VariableValues, get_variable_values

from resolvers import limits
from resolvers.cache import Cache
from resolvers.errors import ApiError
from resolvers.model import Model

MOST_ERRORS = 5
MOST_DOCUMENTS = 1_000
# Nodes of the syntax trees of all cached documents together; one takes about 300 bytes.
MOST_SYNTAX_NODES = 200_000


@dataclass(frozen=True)
class Request:
    """An operation as a client sent it; `read_only` when it came by GET."""

    query: str
    operation_name: str | None = None
    variables: Mapping[str, Any] | None = None
    read_only: bool = False


class InvalidError(Exception):
    """The document or the variables are wrong; `errors` says where."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__()
        self.errors = errors[:MOST_ERRORS]


class MutationByGetError(ApiError):
    """A mutation came by GET, where caches and links could repeat it."""

    def __init__(self) -> None:
        super().__init__("BAD_USER_INPUT", "A mutation needs a POST request.")


@dataclass(frozen=True)
class Operation:
    """A valid operation and the values of its variables; `size` is the number of nodes of its document."""

    document: DocumentNode
    size: int
    node: OperationDefinitionNode
    variables: VariableValues

    @property
    def fragments(self) -> dict[str, FragmentDefinitionNode]:
        return {d.name.value: d for d in self.document.definitions if isinstance(d, FragmentDefinitionNode)}

    def shape(self, model: Model) -> tuple[Any, ...]:
        """What of the request decides the SQL, beside the text: the operation, which variables are there, and the
        values that choose columns or fields."""
        shapes: list[Any] = [self.node.name.value if self.node.name else None]
        for definition in self.node.variable_definitions or ():
            name = definition.variable.name.value
            named = get_named_type(type_from_ast(model.schema, definition.type))
            if name in self.variables.coerced and named is not None:
                value = self.variables.coerced[name]
                shapes.append((name, "*" if named.name in model.mutation_inputs else _shape(value)))
        return tuple(shapes)


class Documents:
    """Reads requests against one schema; documents that were valid once are not looked at again."""

    def __init__(self, model: Model, most: limits.Limits, max_tokens: int) -> None:
        self._schema = model.schema
        self._limits = most
        self._max_tokens = max_tokens
        self._valid: Cache[str, tuple[DocumentNode, int]] = Cache(MOST_DOCUMENTS, MOST_SYNTAX_NODES)

    def read(self, request: Request) -> Operation:
        """Raises ApiError, InvalidError or GraphQLError (syntax) for what cannot be run."""
        found = self._valid.find(request.query)
        if found is None:
            self._check(request.query)
            # Kept without places: they hold on to the text and to every token of it.
            document = parse(request.query, no_location=True)
            found = document, _size(document)
            self._valid.keep(request.query, found, found[1])
        document, size = found
        node = _operation(document, request.operation_name)
        if node.operation is OperationType.MUTATION and request.read_only:
            raise MutationByGetError
        return Operation(document, size, node, self._variables(node, request))

    def _check(self, query: str) -> None:
        try:
            document = parse(query, max_tokens=self._max_tokens)
        except GraphQLSyntaxError as error:
            if "tokens" in error.message:
                message = f"The document has more than {self._max_tokens} tokens. Split it."
                raise ApiError("LIMIT_EXCEEDED", message) from error
            raise
        limits.check(document, self._limits)
        errors = validate(self._schema, document, max_errors=MOST_ERRORS, hide_suggestions=True)
        if errors:
            raise InvalidError(errors)

    def _variables(self, node: OperationDefinitionNode, request: Request) -> VariableValues:
        values = get_variable_values(
            self._schema,
            node.variable_definitions or (),
            dict(request.variables or {}),
            max_errors=MOST_ERRORS,
            hide_suggestions=True,
        )
        if isinstance(values, list):
            raise InvalidError(values)
        return values


def _size(node: Node) -> int:
    """The number of nodes of a syntax tree."""
    count = 1
    for key in node.keys:
        value = getattr(node, key, None)
        for child in value if isinstance(value, tuple) else (value,):
            if isinstance(child, Node):
                count += _size(child)
    return count


def _operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    if name is None:
        if len(operations) == 1:
            return operations[0]
        raise ApiError(
            "BAD_USER_INPUT", "The document has not exactly one operation. Name one in `operationName`."
        )
    for operation in operations:
        if operation.name and operation.name.value == name:
            return operation
    raise ApiError("BAD_USER_INPUT", "The document has no operation with the name in `operationName`.")


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, _shape(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return "[]"
    return value if value is None or isinstance(value, bool | Enum) else "*"
