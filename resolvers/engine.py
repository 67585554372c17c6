"""From a request to the bytes of its answer: plan, bind, run, write.

Two ways give the same bytes. Compiled: what Postgres wrote goes out as it is. Executed: graphql-core runs over the
compiled data, for what no statement can say, as introspection.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from json import loads
from typing import Any

import orjson
from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    execute_sync,
    get_named_type,
    parse,
    type_from_ast,
    validate,
)
from graphql.execution.values import VariableValues, get_variable_values

from resolvers import limits
from resolvers.arguments import Bound
from resolvers.compiler import compile_operation
from resolvers.database import Database
from resolvers.errors import ApiError, Refusal, face_of, formatted, internal
from resolvers.identity import Identity
from resolvers.model import Model
from resolvers.plan import Plan, RootField, Statement

MOST_ERRORS = 5
MOST_DOCUMENTS = 1_000
MOST_PLANS = 2_000


class Phase(Enum):
    """How far a request came; the transport turns it into a status."""

    REFUSED = "refused"  # not well-formed, invalid or over a limit: nothing ran
    EXECUTED = "executed"


@dataclass(frozen=True)
class Request:
    """An operation as a client sent it."""

    query: str
    operation_name: str | None = None
    variables: Mapping[str, Any] | None = None
    read_only: bool = False


@dataclass(frozen=True)
class Answer:
    """The bytes of a GraphQL response."""

    phase: Phase
    body: bytes
    code: str | None = None


@dataclass(frozen=True)
class Policy:
    """The limits of one server."""

    limits: limits.Limits
    max_tokens: int
    max_nodes: int
    introspection_for_all: bool


class _Cache(OrderedDict[Any, Any]):
    """The most recently used entries, up to a number."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def find(self, key: Any) -> Any:
        if key in self:
            self.move_to_end(key)
            return self[key]
        return None

    def keep(self, key: Any, value: Any) -> None:
        self[key] = value
        if len(self) > self._most:
            self.popitem(last=False)


class Engine:
    """Answers operations from one schema and one database."""

    def __init__(self, model: Model, database: Database, policy: Policy, cursor_secret: bytes) -> None:
        self._model = model
        self._database = database
        self._policy = policy
        self._cursor_secret = cursor_secret
        self._documents = _Cache(MOST_DOCUMENTS)
        self._plans = _Cache(MOST_PLANS)

    async def answer(self, request: Request, identity: Identity, *, compiled: bool = True) -> Answer:
        """The answer to a request. Never raises: what goes wrong stands in the answer.

        With `compiled=False` graphql-core executes over the compiled data; the bytes are the same.
        """
        try:
            document, operation, variables = self._prepare(request)
            plan = self._plan(request.query, document, operation, variables)
            if identity.role == "anon":
                plan = plan.signed_out
            bound = Bound(plan.places.read(variables), identity, self._cursor_secret)
            plan.check_cost(bound, self._policy.max_nodes)
            await self._check_introspection(plan, identity)
            statements = [template.bind(bound) for field in plan.fields for template in field.templates]
        except _InvalidError as error:
            return _refused(*error.errors)
        except (ApiError, GraphQLError) as error:
            return _refused(error)
        except RecursionError:
            return _refused(ApiError("LIMIT_EXCEEDED", "The request is nested too deeply. Flatten it."))
        except Exception as error:
            return _failed(None, internal(error))
        return await self._execute(plan, statements, identity, request, document, compiled=compiled)

    def _prepare(self, request: Request) -> tuple[DocumentNode, OperationDefinitionNode, VariableValues]:
        document = self._documents.find(request.query)
        if document is None:
            document = self._valid(request.query)
            self._documents.keep(request.query, document)
        operation = _operation(document, request.operation_name)
        if operation.operation is OperationType.MUTATION and request.read_only:
            raise ApiError("BAD_USER_INPUT", "A mutation needs a POST request.")
        values = get_variable_values(
            self._model.schema,
            operation.variable_definitions or (),
            dict(request.variables or {}),
            max_errors=MOST_ERRORS,
            hide_suggestions=True,
        )
        if isinstance(values, list):
            raise _InvalidError(values)
        return document, operation, values

    def _valid(self, query: str) -> DocumentNode:
        try:
            document = parse(query, max_tokens=self._policy.max_tokens)
        except GraphQLSyntaxError as error:
            if "tokens" in error.message:
                raise ApiError(
                    "LIMIT_EXCEEDED",
                    f"The document has more than {self._policy.max_tokens} tokens. Split it.",
                ) from error
            raise
        limits.check(document, self._policy.limits)
        errors = validate(self._model.schema, document, max_errors=MOST_ERRORS, hide_suggestions=True)
        if errors:
            raise _InvalidError(errors)
        return document

    def _plan(
        self,
        query: str,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: VariableValues,
    ) -> Plan:
        name = operation.name.value if operation.name else None
        key = (query, name, self._shape(operation, variables))
        plan: Plan | None = self._plans.find(key)
        if plan is None:
            fragments = {
                d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)
            }
            plan = compile_operation(self._model, operation, fragments, variables)
            self._plans.keep(key, plan)
        return plan

    def _shape(self, operation: OperationDefinitionNode, variables: VariableValues) -> tuple[Any, ...]:
        """What of the variables decides the SQL: which are there, and the values that choose columns or fields."""
        shapes = []
        for definition in operation.variable_definitions or ():
            name = definition.variable.name.value
            named = get_named_type(type_from_ast(self._model.schema, definition.type))
            if name in variables.coerced and named is not None:
                value = variables.coerced[name]
                shapes.append((name, "*" if named.name in self._model.mutation_inputs else _shape_of(value)))
        return tuple(shapes)

    async def _check_introspection(self, plan: Plan, identity: Identity) -> None:
        if not plan.needs_python or self._policy.introspection_for_all:
            return
        question = Statement("select private.is_community_admin()::text", [])
        if await self._database.run(identity, [question], read_only=True) != [b"true"]:
            raise ApiError("FORBIDDEN", "Introspection is for admins. Use the published schema.")

    async def _execute(
        self,
        plan: Plan,
        statements: list[Statement],
        identity: Identity,
        request: Request,
        document: DocumentNode,
        *,
        compiled: bool,
    ) -> Answer:
        try:
            values = await self._run(plan, statements, identity)
            if compiled and not plan.needs_python:
                return Answer(Phase.EXECUTED, _written(plan, values))
            return self._executed(plan, values, request, document)
        except Refusal as refusal:
            error = face_of(refusal, signed_in=identity.role != "anon")
            return _failed(plan, error, _field_at(plan, refusal.index))
        except ApiError as error:
            return _failed(plan, error)
        except Exception as error:
            return _failed(plan, internal(error))

    async def _run(self, plan: Plan, statements: list[Statement], identity: Identity) -> dict[str, bytes]:
        results = iter(
            await self._database.run(identity, statements, read_only=not plan.is_mutation)
            if statements
            else ()
        )
        values = {}
        for field in plan.fields:
            if field.constant is not None:
                values[field.key] = field.constant
            for _ in field.templates:
                values[field.key] = next(results) or b"null"
        return values

    def _executed(
        self, plan: Plan, values: dict[str, bytes], request: Request, document: DocumentNode
    ) -> Answer:
        data = {key: loads(value, parse_float=_Number) for key, value in values.items()}
        result = execute_sync(
            self._model.schema,
            document,
            data,
            variable_values=dict(request.variables or {}),
            operation_name=request.operation_name,
            hide_suggestions=True,
        )
        if result.errors:
            cause = result.errors[0].original_error or result.errors[0]
            return _failed(plan, internal(cause))
        body = orjson.dumps({"data": result.data}, default=_number, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
        return Answer(Phase.EXECUTED, body)


class _Number(float):
    """A number with the digits that Postgres wrote."""

    def __new__(cls, text: str) -> "_Number":
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


def _number(value: Any) -> Any:
    if isinstance(value, _Number):
        return orjson.Fragment(value.text)
    raise TypeError(f"{type(value).__name__} is not JSON")


class _InvalidError(Exception):
    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__()
        self.errors = errors[:MOST_ERRORS]


def _operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    if name is None:
        if len(operations) == 1:
            return operations[0]
        raise ApiError("BAD_USER_INPUT", "The document has several operations. Name one in `operationName`.")
    for operation in operations:
        if operation.name and operation.name.value == name:
            return operation
    raise ApiError("BAD_USER_INPUT", "The document has no operation with the name in `operationName`.")


def _shape_of(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, _shape_of(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return "[]"
    return value if value is None or isinstance(value, bool | Enum) else "*"


def _field_at(plan: Plan, index: int) -> RootField | None:
    """The root field that the statement at a place belongs to."""
    for field in plan.fields:
        if index < len(field.templates):
            return field
        index -= len(field.templates)
    return None


def _written(plan: Plan, values: dict[str, bytes]) -> bytes:
    return b'{"data":{' + b",".join(b'"%b":%b' % (f.key.encode(), values[f.key]) for f in plan.fields) + b"}}"


def _refused(*errors: ApiError | GraphQLError) -> Answer:
    code = errors[0].code if isinstance(errors[0], ApiError) else "BAD_USER_INPUT"
    return Answer(Phase.REFUSED, orjson.dumps({"errors": [formatted(error) for error in errors]}), code)


def _failed(plan: Plan | None, error: ApiError, field: RootField | None = None) -> Answer:
    """The answer of an operation of which nothing took place: one transaction carries all of its fields."""
    data = None
    if plan is not None and all(f.nullable for f in plan.fields):
        data = {f.key: None for f in plan.fields}
    shown = {"errors": [formatted(error, [field.key] if field else None)], "data": data}
    return Answer(Phase.EXECUTED, orjson.dumps(shown), error.code)
