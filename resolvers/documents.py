"""What a client sent, made sure of: parsed, within the limits, valid. A document that was is not looked at again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    parse,
)

from resolvers import limits
from resolvers.cache import Cache
from resolvers.coercion import Coercers
from resolvers.compiler import compile_operation
from resolvers.errors import ApiError
from resolvers.model import Model
from resolvers.plan import Plan
from resolvers.validation import errors_of, placed
from resolvers.variables import MOST_ERRORS, Given, InvalidError, Variables, shaping_variables

MOST_DOCUMENTS = 5_000
# Of all cached documents together, about: their texts, and what their plans hold.
MOST_BYTES = 16_000_000
_BYTES_AN_OPERATION = 1_000
# Plans of one operation, which differ in what @skip and @include leave of it and in the shape of filters.
MOST_VARIANTS = 16


class Request(NamedTuple):
    """An operation as a client sent it; `read_only` when it came by GET."""

    query: str
    operation_name: str | None = None
    variables: Mapping[str, Any] | None = None
    read_only: bool = False


class MutationByGetError(ApiError):
    """A mutation came by GET, where caches and links could repeat it."""

    def __init__(self) -> None:
        super().__init__("BAD_USER_INPUT", "A mutation needs a POST request.")


@dataclass(frozen=True)
class Operation:
    """One operation of a valid document, and its plans by the shape of its variables."""

    name: str | None
    is_mutation: bool
    variables: Variables
    plans: Cache[tuple[Any, ...], Plan] = field(default_factory=lambda: Cache(MOST_VARIANTS, MOST_BYTES))

    @property
    def weight(self) -> int:
        """Bytes, about."""
        return _BYTES_AN_OPERATION + self.variables.weight + self.plans.weight


class Document:
    """A valid document. It keeps no syntax tree: what is seldom needed is parsed again."""

    def __init__(self, model: Model, coercers: Coercers, text: str, tree: DocumentNode) -> None:
        self.text = text
        self._model = model
        shaping = shaping_variables(tree)
        self._operations = [_operation(model, coercers, node, shaping) for node in _operations(tree)]
        # Not yet compiled: the tree of the first request, until its plan is there.
        self._fresh_tree: DocumentNode | None = tree

    def operation(self, name: str | None) -> Operation:
        """Raises BAD_USER_INPUT when there is no such operation, or no name and several."""
        if name is None:
            if len(self._operations) == 1:
                return self._operations[0]
            message = "The document has not exactly one operation. Name one in `operationName`."
            raise ApiError("BAD_USER_INPUT", message)
        for operation in self._operations:
            if operation.name == name:
                return operation
        raise ApiError("BAD_USER_INPUT", "The document has no operation with the name in `operationName`.")

    def compile(self, operation: Operation, given: Given) -> Plan:
        """A plan for all variables of the same shape."""
        tree, self._fresh_tree = self._fresh_tree or self.tree(), None
        (node,) = (node for node in _operations(tree) if _name(node) == operation.name)
        fragments = {d.name.value: d for d in tree.definitions if isinstance(d, FragmentDefinitionNode)}
        return compile_operation(self._model, node, fragments, given)

    def tree(self) -> DocumentNode:
        return parse(self.text, no_location=True)

    @property
    def weight(self) -> int:
        """Bytes, about."""
        return len(self.text) + sum(operation.weight for operation in self._operations)


class Documents:
    """Reads documents against one schema, and plans their operations."""

    def __init__(self, model: Model, most: limits.Limits, max_tokens: int) -> None:
        self._model = model
        self._limits = most
        self._max_tokens = max_tokens
        self._coercers = Coercers()
        self._valid: Cache[str, Document] = Cache(MOST_DOCUMENTS, MOST_BYTES)

    def __len__(self) -> int:
        return len(self._valid)

    @property
    def weight(self) -> int:
        """Bytes of all that is kept, about."""
        return self._valid.weight

    def read(self, text: str) -> Document:
        """Raises ApiError, InvalidError or GraphQLError (syntax) for what cannot be run."""
        document = self._valid.find(text)
        if document is None:
            document = Document(self._model, self._coercers, text, self._checked(text))
        return document

    def plan(self, document: Document, operation: Operation, given: Given) -> Plan:
        """Raises GraphQLError for arguments that are wrong only with the values of variables in them."""
        shape = operation.variables.shape(given.coerced)
        plan = operation.plans.find(shape)
        if plan is None:
            plan = document.compile(operation, given)
            operation.plans.keep(shape, plan, plan.weight)
            self._valid.keep(document.text, document, document.weight)
        return plan

    def _checked(self, text: str) -> DocumentNode:
        try:
            # Places would hold on to the text and to every token of it.
            tree = parse(text, no_location=True, max_tokens=self._max_tokens)
        except GraphQLSyntaxError as error:
            if "tokens" in error.message:
                message = f"The document has more than {self._max_tokens} tokens. Split it."
                raise ApiError("LIMIT_EXCEEDED", message) from error
            raise
        limits.check(tree, self._limits)
        if errors_of(self._model.schema, tree, most=1):
            # Again, for the places of the errors.
            tree = parse(text)
            raise InvalidError(
                [placed(e, tree) for e in errors_of(self._model.schema, tree, most=MOST_ERRORS)]
            )
        return tree


def _operations(tree: DocumentNode) -> list[OperationDefinitionNode]:
    return [d for d in tree.definitions if isinstance(d, OperationDefinitionNode)]


def _operation(
    model: Model, coercers: Coercers, node: OperationDefinitionNode, shaping: frozenset[str]
) -> Operation:
    return Operation(
        _name(node),
        node.operation is OperationType.MUTATION,
        Variables(model.schema, coercers, node.variable_definitions or (), shaping),
    )


def _name(node: OperationDefinitionNode) -> str | None:
    return node.name.value if node.name else None
