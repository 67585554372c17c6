"""From a request to the bytes of its answer: read, plan, bind, run, write.

Two ways give the same bytes. Compiled: what Postgres wrote goes out as it is. Executed: graphql-core runs over the
compiled data, for what no statement can say, as introspection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple
from uuid import UUID

import orjson
from graphql import GraphQLError

from resolvers import limits
from resolvers.arguments import Bound
from resolvers.database import Database
from resolvers.documents import Document, Documents, MutationByGetError, Operation, Request
from resolvers.errors import ApiError, Refusal, face_of, formatted, internal
from resolvers.execution import executed
from resolvers.identity import Identity
from resolvers.model import Model
from resolvers.plan import BETWEEN_ROWS, Hearing, Plan, RootField, Statement
from resolvers.variables import Given, InvalidError


class Phase(Enum):
    """How far a request came; the transport turns it into a status."""

    REFUSED = "refused"  # not well-formed, invalid or over a limit: nothing ran
    UNSAFE = "unsafe"  # a mutation where only reading is allowed: nothing ran
    EXECUTED = "executed"


class Answer(NamedTuple):
    """The bytes of a GraphQL response; `code` is that of its first error."""

    phase: Phase
    body: bytes
    code: str | None = None


@dataclass(frozen=True)
class Policy:
    """The limits of one server."""

    limits: limits.Limits
    max_tokens: int
    max_nodes: int
    max_cost: int
    introspection_for_all: bool


class _Prepared(NamedTuple):
    """A request that may run: its plan, and the statements with this request's values."""

    document: Document
    operation: Operation
    plan: Plan
    bound: Bound
    statements: list[Statement]


class Watch(NamedTuple):
    """A subscription that may begin: its plan, with the values of its variables, for a caller."""

    plan: Plan
    bound: Bound

    @property
    def hearing(self) -> Hearing:
        if self.plan.hearing is None:
            raise TypeError("the plan is of no subscription")
        return self.plan.hearing

    @property
    def about(self) -> UUID | None:
        """The person that it is about."""
        named = self.bound.arguments[self.hearing.place].get("userId")
        return named if isinstance(named, UUID) else self.bound.identity.user_id


class Standing(NamedTuple):
    """Who a caller is in the community that they act in."""

    is_admin: bool


_STANDING = Statement(
    "select json_build_array(private.get_community_id() is not null, private.is_community_admin())::text", []
)


class Engine:
    """Answers operations from one schema and one database."""

    def __init__(self, model: Model, database: Database, policy: Policy, cursor_secret: bytes) -> None:
        self._model = model
        self._database = database
        self._policy = policy
        self._cursor_secret = cursor_secret
        self._documents = Documents(model, policy.limits, policy.max_tokens)

    async def answer(self, request: Request, identity: Identity, *, compiled: bool = True) -> Answer:
        """The answer to a request. Never raises: what goes wrong stands in the answer.

        With `compiled=False` graphql-core executes over the compiled data; the bytes are the same.
        """
        try:
            prepared = self._prepare(request, identity)
            if prepared.plan.needs_python:
                await self._check_introspection(identity)
        except InvalidError as error:
            return _refused(*error.errors)
        except MutationByGetError as error:
            return _refused(error, phase=Phase.UNSAFE)
        except (ApiError, GraphQLError) as error:
            return _refused(error)
        except Refusal as refusal:
            return _refused(face_of(refusal, signed_in=identity.role != "anon"))
        except RecursionError:
            return _refused(ApiError("LIMIT_EXCEEDED", "The request is nested too deeply. Flatten it."))
        except Exception as error:
            return _refused(internal(error))
        return await self._carry_out(prepared, request, identity, compiled=compiled)

    def _prepare(self, request: Request, identity: Identity, *, watching: bool = False) -> _Prepared:
        document = self._documents.read(request.query)
        operation = document.operation(request.operation_name)
        if operation.is_mutation and request.read_only:
            raise MutationByGetError
        given = Given(operation.variables, request.variables or {})
        plan = self._documents.plan(document, operation, given)
        if identity.role == "anon":
            plan = plan.signed_out
        bound = Bound([place.read(given) for place in plan.places], identity, self._cursor_secret)
        plan.check(bound, self._policy.max_nodes, self._policy.max_cost)
        # Last of all: what else is wrong with it is told by any way.
        if plan.hearing is not None and not watching:
            raise ApiError(
                "BAD_USER_INPUT",
                "A subscription needs a WebSocket (graphql-transport-ws), or `Accept: text/event-stream`.",
            )
        return _Prepared(document, operation, plan, bound, plan.bind(bound))

    def watch(self, request: Request, identity: Identity) -> Watch | None:
        """The subscription that a request asks for; None for anything else, and for what `answer` refuses.

        Raises UNAUTHENTICATED.
        """
        if "subscription" not in request.query:
            return None
        try:
            prepared = self._prepare(request, identity, watching=True)
        except Exception:  # `answer` says what it is
            return None
        if prepared.plan.hearing is None:
            return None
        if identity.role == "anon":
            raise _signed_out()
        return Watch(prepared.plan, prepared.bound)

    async def standing(self, identity: Identity) -> Standing:
        """Who a caller is in their community right now. Raises ApiError: FORBIDDEN for nobody."""
        (told,) = await self._database.run(identity, [_STANDING], read_only=True)
        is_member, is_admin = orjson.loads(told or b"[false, false]")
        if not is_member:
            raise ApiError(
                "FORBIDDEN",
                "You are acting in no community: your token names none in which you are an active member.",
            )
        return Standing(is_admin)

    async def look(self, watch: Watch, rows: Sequence[str] = ()) -> list[bytes]:
        """What a subscription tells now: one answer, or one for each of the rows that have changed.

        Raises ApiError: NOT_FOUND when there is nothing that the caller may see.
        """
        plan, (field,) = watch.plan, watch.plan.fields
        bound = watch.bound._replace(rows=rows)
        try:
            results = await self._database.run(bound.identity, plan.bind(bound), read_only=True)
        except Refusal as refusal:
            raise face_of(refusal, signed_in=True) from refusal
        value = results[-1]
        if watch.hearing.of_rows:
            return [plan.written([row]) for row in value.split(BETWEEN_ROWS.encode())] if value else []
        if value is None and not field.nullable:
            raise ApiError(
                "NOT_FOUND", "There is nothing here to watch, or nothing that you may see (any more)."
            )
        return [plan.written([value or b"null"])]

    async def _check_introspection(self, identity: Identity) -> None:
        if self._policy.introspection_for_all:
            return
        question = Statement("select private.is_community_admin()::text", [])
        if identity.role == "anon":
            raise ApiError(
                "UNAUTHENTICATED", "Introspection is for admins: sign in, or use the published schema."
            )
        if await self._database.run(identity, [question], read_only=True) != [b"true"]:
            raise ApiError("FORBIDDEN", "Introspection is for admins. Use the published schema.")

    async def _carry_out(
        self, prepared: _Prepared, request: Request, identity: Identity, *, compiled: bool
    ) -> Answer:
        plan = prepared.plan
        if identity.role == "anon" and (asked := _first_with_statements(plan)) is not None:
            # All but `viewer` belongs to a community. Postgres would say so too, at a cost that strangers choose.
            return _failed(plan, _signed_out(), asked)
        try:
            values = await self._run(prepared, identity)
            if compiled and not plan.needs_python:
                return Answer(Phase.EXECUTED, plan.written(values))
            return Answer(Phase.EXECUTED, self._executed(prepared, request, values))
        except Refusal as refusal:
            error = face_of(refusal, signed_in=identity.role != "anon")
            return _failed(plan, error, _field_at(plan, refusal.index))
        except ApiError as error:
            return _failed(plan, error)
        except GraphQLError as error:  # an argument of introspection that only its value shows to be wrong
            return _refused(error)
        except Exception as error:
            return _failed(plan, internal(error))

    async def _run(self, prepared: _Prepared, identity: Identity) -> list[bytes]:
        """The JSON of each root field; nothing for those that graphql-core answers."""
        plan, statements = prepared.plan, prepared.statements
        if not statements:
            return [root.constant or b"" for root in plan.fields]
        results = await self._database.run(identity, statements, read_only=not plan.is_mutation)
        values = []
        place = 0
        for root in plan.fields:
            place += len(root.templates)
            values.append(root.constant or (results[place - 1] if root.templates else b"") or b"null")
        return values

    def _executed(self, prepared: _Prepared, request: Request, values: Sequence[bytes]) -> bytes:
        data = {
            root.key: value
            for root, value in zip(prepared.plan.fields, values, strict=True)
            if not root.python
        }
        tree, name = prepared.document.tree(), prepared.operation.name
        return executed(self._model.schema, tree, name, request.variables or {}, data)


def _signed_out() -> ApiError:
    return ApiError("UNAUTHENTICATED", "Sign in first: send `Authorization: Bearer <access token>`.")


def _first_with_statements(plan: Plan) -> RootField | None:
    return next((field for field in plan.fields if field.templates), None)


def _field_at(plan: Plan, index: int) -> RootField | None:
    """The root field that the statement at a place belongs to."""
    for field in plan.fields:
        if index < len(field.templates):
            return field
        index -= len(field.templates)
    return None


def _refused(*errors: ApiError | GraphQLError, phase: Phase = Phase.REFUSED) -> Answer:
    code = errors[0].code if isinstance(errors[0], ApiError) else "BAD_USER_INPUT"
    return Answer(phase, orjson.dumps({"errors": [formatted(error) for error in errors]}), code)


def _failed(plan: Plan, error: ApiError, field: RootField | None = None) -> Answer:
    """The answer of an operation of which nothing took place: one transaction carries all of its fields."""
    if error.code in ("UNAVAILABLE", "INTERNAL"):
        return _refused(error)
    data = {f.key: None for f in plan.fields} if all(f.nullable for f in plan.fields) else None
    shown = {"errors": [formatted(error, [field.key] if field else None)], "data": data}
    return Answer(Phase.EXECUTED, orjson.dumps(shown), error.code)
