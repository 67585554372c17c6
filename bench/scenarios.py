"""What is asked: a folder of documents, `NAME.graphql` for us and `NAME.postgraphile.graphql` for PostGraphile.

Variables get their values by name (`callers.py`), or from `NAME.variables.json`. Two names mean more than their
document: `cold` is rewritten so that no request has the text of another, and two callers take turns in
`two_identities`.
"""

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from graphql import (
    FieldNode,
    GraphQLError,
    NameNode,
    Node,
    NonNullTypeNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    Visitor,
    parse,
    print_ast,
    visit,
)

from bench.callers import Caller
from bench.errors import BenchError

OUR_DOCUMENTS = Path(__file__).with_name("documents")

_VARIANTS = 200
_ORDERS = 50
_NUMBER = "_NUMBER_"
_HEAD = (
    "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    "Content-Type: application/json\r\nAccept: application/json\r\nContent-Length: {length}\r\n\r\n"
)


@dataclass(frozen=True)
class Document:
    """A document in one server's words."""

    path: Path
    text: str

    @cached_property
    def operation(self) -> OperationDefinitionNode:
        definitions = parse(self.text).definitions
        return next(d for d in definitions if isinstance(d, OperationDefinitionNode))

    @cached_property
    def variables(self) -> dict[str, bool]:
        """Its variables without a default, and whether they must be given."""
        definitions = self.operation.variable_definitions or ()
        return {
            d.variable.name.value: isinstance(d.type, NonNullTypeNode)
            for d in definitions
            if d.default_value is None
        }

    @cached_property
    def meanings(self) -> dict[str, str]:
        """What a variable stands for by where it is used: an argument `id` of `program` for a `programId`."""
        found: dict[str, str] = {}
        for selected in self.operation.selection_set.selections:
            if isinstance(selected, FieldNode):
                for argument in selected.arguments or ():
                    found |= _meanings(argument.value, argument.name.value, selected.name.value)
        return found

    @cached_property
    def rewritings(self) -> list[str]:
        """The same document with its fields in other orders, and places for a number in all names."""
        return [print_ast(visit(parse(self.text), _Rewriting(order))) for order in range(_ORDERS)]


@dataclass(frozen=True)
class Ask:
    """A request before it becomes bytes."""

    caller: Caller
    query: str
    variables: dict[str, Any]

    @property
    def bytes(self) -> bytes:
        body = json.dumps({"query": self.query, "variables": self.variables}).encode()
        return _HEAD.format(token=self.caller.token, length=len(body)).encode() + body


@dataclass(frozen=True)
class Scenario:
    """One line of the table."""

    name: str
    documents: dict[str, Document]
    callers: Sequence[Caller]
    fixed: dict[str, Any]

    @property
    def is_cold(self) -> bool:
        return self.name == "cold"

    @property
    def is_mutation(self) -> bool:
        return self.documents["ours"].operation.operation.value == "mutation"

    @property
    def needs_variables(self) -> bool:
        """Whether its requests differ from each other."""
        return bool(self.documents["ours"].variables)

    def speaks(self, dialect: str) -> bool:
        return dialect in self.documents

    def asks(self, dialect: str, count: int = _VARIANTS, start: int = 0) -> Iterator[Ask]:
        """Requests in one server's words; those of equal numbers ask the same of all servers."""
        document = self.documents[dialect]
        for number in range(start, start + count):
            caller = self.callers[number % len(self.callers)]
            yield Ask(caller, self._text(document, number), self._variables(document, caller, number))

    def requests(self, dialect: str, count: int = _VARIANTS, start: int = 0) -> list[bytes]:
        return [ask.bytes for ask in self.asks(dialect, count, start)]

    def _text(self, document: Document, number: int) -> str:
        if not self.is_cold:
            return document.text
        return document.rewritings[number % _ORDERS].replace(_NUMBER, str(number))

    def _variables(self, document: Document, caller: Caller, number: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, must in document.variables.items():
            if name in self.fixed:
                values[name] = _filled(self.fixed[name], caller, number)
            elif (known := caller.knows(name, document.meanings.get(name))) is not None:
                values[name] = caller.take(known, number)
            elif must:
                raise BenchError(
                    f"{document.path.name} needs the variable ${name}, which the benchmark has no values for."
                    f" Give them in {self.name}.variables.json, or use another name for an id, as $programId."
                )
        return values


def read_scenarios(folder: Path, callers: Sequence[Caller]) -> list[Scenario]:
    if not folder.is_dir():
        raise BenchError(f"There is no folder {folder}. DOCUMENTS names one with files like point.graphql.")
    paths = sorted(path for path in folder.glob("*.graphql") if "." not in path.stem)
    if not paths:
        raise BenchError(f"There are no documents in {folder}: give a folder with files like point.graphql.")
    scenarios = [_read(path, callers) for path in paths]
    return sorted(scenarios, key=lambda scenario: _place(scenario.name))


# The order of the table; other documents come behind, by name.
_ORDER = ("point", "list", "nested", "rows", "mutation", "cold", "two_identities")


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def _read(path: Path, callers: Sequence[Caller]) -> Scenario:
    ours = Document(path, path.read_text())
    theirs = path.with_suffix(".postgraphile.graphql")
    variables = path.with_suffix(".variables.json")
    documents = {"ours": ours}
    if theirs.exists():
        documents["postgraphile"] = Document(theirs, theirs.read_text())
    for document in documents.values():
        try:
            document.operation  # noqa: B018 - the property parses
        except GraphQLError as error:
            raise BenchError(f"{document.path.name} is no GraphQL: {error.message}") from None
        except StopIteration:
            raise BenchError(f"{document.path.name} has no operation, only fragments. Add one.") from None
    both = callers if path.stem == "two_identities" else callers[:1]
    fixed = _fixed(variables) if variables.exists() else {}
    return Scenario(path.stem, documents, both, fixed)


def _fixed(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise BenchError(f"{path.name} is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise BenchError(f"{path.name} is no JSON object of variables by their names.")
    return values


def _filled(value: Any, caller: Caller, number: int) -> Any:
    """The same value with ids in the place of texts like "$programId"."""
    match value:
        case dict():
            return {name: _filled(inner, caller, number) for name, inner in value.items()}
        case list():
            return [_filled(inner, caller, number) for inner in value]
        case str() if re.fullmatch(r"\$\w+", value):
            return caller.take(value[1:], number)
    return value


# The verbs of mutations, and what PostGraphile says behind the name of the table.
_NOT_THE_TABLE = re.compile(r"^(update|publish|archive|restore|delete|withdraw)(?=[A-Z])|By[A-Z].*$")


def _meanings(value: ValueNode, name: str, field: str) -> dict[str, str]:
    if isinstance(value, VariableNode):
        table = _NOT_THE_TABLE.sub("", field)
        meaning = f"{table[:1].lower()}{table[1:]}Id" if name in ("id", "rowId") else name
        return {value.name.value: meaning}
    found: dict[str, str] = {}
    if isinstance(value, ObjectValueNode):
        for inner in value.fields:
            found |= _meanings(inner.value, inner.name.value, field)
    return found


class _Rewriting(Visitor):
    """Renames what has no fields of its own, and shuffles; by the keys in the answer, which all servers share."""

    def __init__(self, order: int) -> None:
        super().__init__()
        self._order = order

    def leave_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> Node:
        return replace(node, name=NameNode(value=f"Cold{_NUMBER}"))

    def leave_field(self, node: FieldNode, *_: Any) -> Node | None:
        return None if node.selection_set else replace(node, alias=NameNode(value=f"{_key(node)}{_NUMBER}"))

    def leave_selection_set(self, node: SelectionSetNode, *_: Any) -> Node:
        shuffled = sorted(node.selections, key=lambda s: _key(s) if isinstance(s, FieldNode) else "")
        random.Random(self._order).shuffle(shuffled)
        return replace(node, selections=tuple(shuffled))


def _key(field: FieldNode) -> str:
    return (field.alias or field.name).value
