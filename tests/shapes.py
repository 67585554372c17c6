"""Every shape that the schema allows, as documents: what is added to the schema is asked by itself.

From each root field along every path of fields that are more than a column; each connection in every order, with
every filter, from its beginning and from a cursor. Only what nothing could guess stands in tables here, and a gap in
one raises KeyError.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    get_named_type,
)

from resolvers.model import Model
from resolvers.sources import Column
from tests import cast, crowd

# Fields of a path below its root; a longer path repeats what shorter ones have.
DEEPEST = 3
# Of the connections inside the outermost one.
INNER_FIRST = 10

IDS = {"program": crowd.PROGRAM, "course": crowd.COURSE, "exportCourse": crowd.COURSE}
# Of root fields that a function answers.
ARGUMENTS = {
    "previewMove": {"programId": f'"{cast.RENEWED}"', "fromVersion": "1"},
    "programProgress": {"programId": f'"{crowd.PROGRAM}"', "userId": f'"{cast.LEARNER.id}"'},
    "courseProgress": {"courseId": f'"{crowd.COURSE}"', "userId": f'"{cast.LEARNER.id}"'},
}
# What many rows of Alpha have, and what few or none have, where the values are not listed by an enum.
FREQUENT: Mapping[str, Any] = {
    "search": "e",
    "programId": crowd.PROGRAM,
    "userId": cast.LEARNER.id,
    "actorId": cast.ADMIN.id,
    "action": "program.updated",
    "objectType": "program",
    "objectId": crowd.PROGRAM,
    "requestId": crowd.REQUEST,
    "from": "2025-01-01T00:00:00Z",
    "until": "2027-01-01T00:00:00Z",
    "cohortId": crowd.COHORT,
    "batchId": crowd.BATCH,
    "overdue": False,
    "dueBefore": "2100-01-01T00:00:00Z",
    "courseId": crowd.BEGUN_COURSE,
    "blockId": crowd.BEGUN_BLOCK,
    "attempt": 1,
    "completed": True,
    "contentId": crowd.BEGUN_COURSE,
    "open": False,
}
RARE: Mapping[str, Any] = {
    "search": "no such text",
    "programId": cast.OPEN_TO_ALL,
    "userId": cast.ADMIN.id,
    "actorId": cast.LEARNER.id,
    "action": "program.mislaid",
    "objectType": "umbrella",
    "objectId": cast.DRAFT,
    "requestId": "none",
    "from": "2099-01-01T00:00:00Z",
    "until": "1999-01-01T00:00:00Z",
    "cohortId": cast.OPEN_COHORT,
    "batchId": cast.COURSE,
    "overdue": True,
    "dueBefore": "2020-01-01T00:00:00Z",
    "courseId": cast.COURSE,
    "blockId": cast.BLOCKS[1],
    "attempt": 7,
    "completed": False,
    "contentId": cast.COURSE,
    "open": True,
}

PAGE = "edges { cursor node { %s } } pageInfo { startCursor endCursor }"
MORE = "pageInfo { hasNextPage }"
COUNT = "totalCount"

Path = tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """A document; of its variables, `first` is how long the outermost list is, `after` continues the innermost."""

    path: Path
    name: str
    document: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    continues: bool = False
    rare: bool = False

    @property
    def has_first(self) -> bool:
        return "$first" in self.document

    @property
    def filters(self) -> frozenset[str]:
        return frozenset(self.variables.get("filter", ()))

    @property
    def cursors_document(self) -> str:
        """A document that gives the cursors which continue this one."""
        return self.document.replace(MORE, "pageInfo { endCursor }")


def paths(model: Model) -> list[Path]:
    """Of all fields that are more than a column, the shortest first."""
    root = _root(model)
    return sorted(
        (path for name in root.fields for path in _longer(model, root, (name,), frozenset())), key=len
    )


def mutation_document(model: Model, name: str) -> str:
    """A mutation with the variable `input`, and all that its payload has."""
    assert model.schema.mutation_type is not None
    asked = model.schema.mutation_type.fields[name]
    payload = _target(asked)
    assert payload is not None
    writer = _Writer(model, "")
    writer.variables["first"] = "Int"  # taken: all lists of the payload are inner ones
    inside = " ".join(writer.everything(payload, field) for field in payload.fields)
    kind = asked.args["input"].type
    return f"mutation ($input: {kind}) {{ {name}(input: $input) {{ {inside} }} }}"


def shapes_of(model: Model, path: Path) -> Iterator[Shape]:
    """What can be asked at the end of a path: of a connection, its variants on the first path that leads there."""
    name, last = ".".join(path), _last(model, path)
    if len(path) == 1:
        yield Shape(path, f"{name} and all below", _document(model, path, "", everything=True))
    if not _is_connection(last):
        yield Shape(path, name, _document(model, path, ""))
    elif path != _first_path(model, path):
        yield Shape(path, name, _document(model, path, PAGE))
    else:
        yield from _variants(model, path, name)


def _variants(model: Model, path: Path, name: str) -> Iterator[Shape]:
    arguments = _last(model, path).args
    page, more, count = (_document(model, path, selection) for selection in (PAGE, MORE, COUNT))
    yield Shape(path, f"how many {name}", count)
    for label, variables in [("", {}), *_orders(arguments), *_frequent_filters(arguments)]:
        yield Shape(path, f"{name}{label}", page, variables)
        yield Shape(path, f"{name}{label} after", page, variables, continues=True)
        yield Shape(path, f"more {name}{label}", more, variables)
        yield Shape(path, f"more {name}{label} after", more, variables, continues=True)
    for label, variables in _rare_filters(arguments):
        yield Shape(path, f"{name}{label}", page, variables, rare=True)
        yield Shape(path, f"how many {name}{label}", count, variables, rare=True)


def table_at(model: Model, path: Path) -> str:
    """The table whose rows a path ends with."""
    target = _target(_last(model, path))
    table = model.types[target.name].table if target is not None else None
    assert table is not None
    return table.name.removeprefix("public.")


def _longer(
    model: Model, owner: GraphQLObjectType, path: Path, met: frozenset[tuple[str, str]]
) -> Iterator[Path]:
    yield path
    met |= {(owner.name, path[-1])}
    target = _target(owner.fields[path[-1]])
    if target is not None and len(path) <= DEEPEST:
        for name in _steps(model, target):
            if (target.name, name) not in met:
                yield from _longer(model, target, (*path, name), met)


def _first_path(model: Model, path: Path) -> Path:
    """The shortest path that ends with the same field."""
    return next(p for p in paths(model) if p[-1] == path[-1] and _owner(model, p) is _owner(model, path))


def _steps(model: Model, owner: GraphQLObjectType) -> list[str]:
    fields = model.types[owner.name].fields
    return [name for name, asked in fields.items() if not isinstance(asked.source, Column)]


def _columns(model: Model, owner: GraphQLObjectType) -> str:
    fields = model.types[owner.name].fields
    return " ".join(name for name, asked in fields.items() if isinstance(asked.source, Column))


def _root(model: Model) -> GraphQLObjectType:
    assert model.schema.query_type is not None
    return model.schema.query_type


def _owner(model: Model, path: Path) -> GraphQLObjectType:
    """The type that the last field of a path is a field of."""
    owner = _root(model)
    for name in path[:-1]:
        target = _target(owner.fields[name])
        assert target is not None
        owner = target
    return owner


def _last(model: Model, path: Path) -> GraphQLField:
    asked: GraphQLField = _owner(model, path).fields[path[-1]]
    return asked


def _target(asked: GraphQLField) -> GraphQLObjectType | None:
    """The type of the objects that a field leads to, which for a connection are those on its pages."""
    named = get_named_type(asked.type)
    if isinstance(named, GraphQLObjectType) and _is_connection(asked):
        named = get_named_type(named.fields["nodes"].type)
    return named if isinstance(named, GraphQLObjectType) else None


def _is_connection(asked: GraphQLField) -> bool:
    named = get_named_type(asked.type)
    return isinstance(named, GraphQLObjectType) and "pageInfo" in named.fields


def _orders(arguments: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    fields = _input_fields(arguments, "orderBy")
    if fields:
        for choice in product(*(_values(named) or () for named in fields.values())):
            yield f" by {' '.join(choice)}", {"order": dict(zip(fields, choice, strict=True))}


def _frequent_filters(arguments: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    fields = _input_fields(arguments, "filter")
    frequent = {name: _values(named) or FREQUENT[name] for name, named in fields.items()}
    for name, value in frequent.items():
        yield f" with {name}", {"filter": {name: value}}
    if len(fields) > 1:
        yield " with all filters", {"filter": frequent}


def _rare_filters(arguments: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, named in _input_fields(arguments, "filter").items():
        for value in _values(named) or [RARE[name]]:
            yield f" with {name} {value}", {"filter": {name: value}}


def _input_fields(arguments: Mapping[str, Any], name: str) -> dict[str, Any]:
    if name not in arguments:
        return {}
    named = get_named_type(arguments[name].type)
    assert isinstance(named, GraphQLInputObjectType)
    return {name: get_named_type(asked.type) for name, asked in named.fields.items()}


def _values(named: Any) -> list[str] | None:
    return list(named.values) if isinstance(named, GraphQLEnumType) else None


def _document(model: Model, path: Path, selection: str, *, everything: bool = False) -> str:
    """A query along a path, with all columns on the way; at the end of a connection's, the selection."""
    writer = _Writer(model, selection)
    asked = writer.everything(_root(model), path[0]) if everything else writer.field(_root(model), path)
    declared = ", ".join(f"${name}: {kind}" for name, kind in writer.variables.items())
    return f"query ({declared}) {{ {asked} }}" if declared else f"{{ {asked} }}"


class _Writer:
    def __init__(self, model: Model, selection: str) -> None:
        self.model = model
        self.selection = selection
        self.variables: dict[str, str] = {}

    def field(self, owner: GraphQLObjectType, path: Path) -> str:
        name, rest = path[0], path[1:]
        asked = owner.fields[name]
        target = _target(asked)
        arguments = self._arguments(name, asked, last=not rest)
        if target is None:
            return f"{name}{arguments}"
        inside = _columns(self.model, target)
        if rest:
            inside = f"{inside} {self.field(target, rest)}"
        if _is_connection(asked):
            inside = f"nodes {{ {inside} }}" if rest else self.selection.replace("%s", inside)
        return f"{name}{arguments} {{ {inside} }}"

    def everything(self, owner: GraphQLObjectType, name: str, levels: int = 3) -> str:
        """A field and, some levels down, all fields below it."""
        asked = owner.fields[name]
        target = _target(asked)
        arguments = self._arguments(name, asked, last=False)
        if target is None:
            return f"{name}{arguments}"
        steps = _steps(self.model, target) if levels > 1 else []
        inside = " ".join(
            [_columns(self.model, target), *(self.everything(target, s, levels - 1) for s in steps)]
        )
        if _is_connection(asked):
            inside = f"nodes {{ {inside} }}"
        return f"{name}{arguments} {{ {inside} }}"

    def _arguments(self, name: str, asked: GraphQLField, *, last: bool) -> str:
        given = dict(ARGUMENTS.get(name, {}))
        if "id" in asked.args:
            given["id"] = f'"{IDS[name]}"'
        if "first" in asked.args:
            given["first"] = str(INNER_FIRST) if "first" in self.variables else "$first"
            self.variables["first"] = "Int"
        for argument, variable in (("after", "after"), ("filter", "filter"), ("orderBy", "order")):
            if last and argument in asked.args:
                given[argument] = f"${variable}"
                self.variables[variable] = get_named_type(asked.args[argument].type).name
        return f"({', '.join(f'{n}: {value}' for n, value in given.items())})" if given else ""
