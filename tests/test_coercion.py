"""Our coercion against graphql-core's: the same value, or no answer."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import graphql
import pytest
from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLField,
    OperationDefinitionNode,
    build_schema,
    parse,
    parse_type,
    type_from_ast,
    validate,
)
from graphql.execution.values import get_argument_values, get_variable_values
from hypothesis import given, settings
from hypothesis import strategies as st

from resolvers.arguments import Place
from resolvers.coercion import Coercers, UnsureError
from resolvers.documents import Request
from resolvers.variables import MOST_ERRORS, Given, InvalidError, Variables, shaping_variables
from schema import model
from tests.api import Api, identity_of
from tests.people import Person

SCHEMA = build_schema(
    """
    scalar JSON
    enum Colour { RED GREEN }
    input Inner { id: ID!, tags: [String!], colour: Colour = GREEN, deep: [[Int]] }
    input Tree { name: String, below: [Tree!] }
    input Choice @oneOf { id: ID, name: String }
    input Outer {
        inner: Inner!, others: [Inner], ratio: Float, on: Boolean! = true, any: JSON, tree: Tree, by: Choice
    }
    type Query {
        f(
            id: ID!, n: Int = 7, n2: Int! = 8, xs: [Int], ys: [Int!]!, colour: Colour,
            outer: Outer, by: Choice, any: JSON
        ): Int
    }
    """
)
FIELD = SCHEMA.query_type.fields["f"] if SCHEMA.query_type else GraphQLField(graphql.GraphQLInt)

TYPES = [
    *(
        "Int",
        "Int!",
        "Float",
        "Float!",
        "String!",
        "Boolean",
        "ID",
        "ID!",
        "JSON",
        "JSON!",
        "Colour",
        "Colour!",
    ),
    *("[Int]", "[Int!]!", "[[Int!]]", "Inner", "[Inner!]", "Tree", "Choice", "Outer", "Outer!"),
]
OURS = [
    "UUID!",
    "[UUID!]",
    "DateTime",
    "ProgramFilter",
    "ProgramOrder",
    "CreateProgramInput!",
    "AssignCoursesInput!",
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.sampled_from([-(2**31), 2**31 - 1, 2**31, 2**53, 2**53 + 1, 2**63, 1.0, 1e400, 0.5, -0.0]),
    st.floats(),
    st.sampled_from(
        ["RED", "red", "DRAFT", "TITLE", "DESC", "", "1", "123e4567-e89b-12d3-a456-426614174000"]
    ),
    st.sampled_from(["2026-01-31T12:00:00Z", "2026-02-31T12:00:00Z", "2026-01-31"]),
    st.text(max_size=4),
)
NAMES = [
    *("id", "tags", "colour", "deep", "name", "below", "inner", "others", "ratio", "on", "any", "tree", "by"),
    *(
        "status",
        "search",
        "field",
        "direction",
        "title",
        "durationWeeks",
        "programId",
        "courses",
        "courseId",
        "required",
    ),
]
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


def fitting(type_text: str) -> st.SearchStrategy[Any]:
    """Values that the type accepts, mostly: noise alone would never meet an object with all that it needs."""
    inner = st.fixed_dictionaries(
        {"id": st.text(max_size=3) | st.integers(0, 9)},
        optional={
            "tags": st.lists(st.text(max_size=2), max_size=2) | st.text(max_size=2),
            "colour": st.sampled_from(["RED", "GREEN", "BLUE", None]),
            "deep": st.lists(st.lists(st.integers(0, 3) | st.none(), max_size=2) | st.none(), max_size=2),
        },
    )
    choice = st.fixed_dictionaries({}, optional={"id": st.text(max_size=2), "name": scalars})
    outer = st.fixed_dictionaries(
        {"inner": inner},
        optional={
            "others": st.lists(inner | st.none(), max_size=2) | inner,
            "ratio": st.floats() | st.integers(),
            "on": st.booleans() | st.none(),
            "any": values,
            "tree": st.fixed_dictionaries({}, optional={"name": st.text(max_size=2), "below": st.just([{}])}),
            "by": choice,
        },
    )
    made = {"Inner": inner, "[Inner!]": st.lists(inner, max_size=2) | inner, "Choice": choice, "Outer": outer}
    return values | made.get(type_text.removesuffix("!"), values)


def both_ways(schema: graphql.GraphQLSchema, definition: str, raw: dict[str, Any]) -> tuple[Any, Any, bool]:
    """What graphql-core makes of the variables, what we do, and whether we had to ask."""
    (operation,) = parse(f"query ({definition}) {{ __typename }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    nodes = operation.variable_definitions or ()
    theirs = get_variable_values(schema, nodes, raw, max_errors=MOST_ERRORS, hide_suggestions=True)
    variables = Variables(schema, Coercers(), nodes, ())
    try:
        variables.coerce(raw, {})
        asked = False
    except UnsureError:
        asked = True
    try:
        ours: Any = Given(variables, raw).coerced
    except InvalidError as error:
        ours = [e.message for e in error.errors]
    expected = [e.message for e in theirs[:MOST_ERRORS]] if isinstance(theirs, list) else theirs.coerced
    return expected, ours, asked


@settings(max_examples=600, deadline=None)
@given(data=st.data(), type_text=st.sampled_from(TYPES))
def test_variables_come_to_what_graphql_core_makes_of_them(data: st.DataObject, type_text: str) -> None:
    raw = data.draw(st.just({}) | st.fixed_dictionaries({"x": fitting(type_text)}))

    theirs, ours, asked = both_ways(SCHEMA, f"$x: {type_text}", raw)

    assert repr(ours) == repr(theirs)
    if isinstance(theirs, list):
        assert asked, "an invalid value was taken without asking"


@settings(max_examples=300, deadline=None)
@given(data=st.data(), type_text=st.sampled_from(OURS))
def test_so_do_variables_of_this_schema(data: st.DataObject, type_text: str) -> None:
    raw = data.draw(st.just({}) | st.fixed_dictionaries({"x": values}))

    theirs, ours, _ = both_ways(model().schema, f"$x: {type_text}", raw)

    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize(
    ("definition", "raw"),
    [
        ("$x: Int", {"x": 3}),
        ("$x: Int", {}),
        ("$x: Int", {"x": None}),
        ("$x: Int! = 4", {}),
        ("$x: [Int!]!", {"x": 4}),
        ("$x: [Int!] = [1, 2]", {}),
        ("$x: Float!", {"x": 3}),
        ("$x: Colour", {"x": "RED"}),
        ("$x: Outer!", {"x": {"inner": {"id": "a", "tags": ["b"]}, "others": [None, {"id": "c"}]}}),
        ('$x: Inner = {id: "a"}', {}),
    ],
)
def test_ordinary_values_are_not_asked_about(definition: str, raw: dict[str, Any]) -> None:
    theirs, ours, asked = both_ways(SCHEMA, definition, raw)

    assert not asked
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("definition", ["$x: Int! = 4", "$x: Inner = {id: 3}", "$x: Tree", "$x: Choice"])
@pytest.mark.parametrize("raw", [{}, {"x": None}, {"x": {"id": "a"}}, {"x": {"name": "b", "below": []}}])
def test_defaults_and_odd_types_agree(definition: str, raw: dict[str, Any]) -> None:
    theirs, ours, _ = both_ways(SCHEMA, definition, raw)

    assert repr(ours) == repr(theirs)


ARGUMENTS = [
    'id: "a", ys: 1',
    "id: $id, ys: $ys",
    "id: $id, ys: [1, $n, 3], n: $n, n2: $n",
    "id: $id, ys: [], xs: [$n, null, $n]",
    "id: $id, ys: $ys, xs: $ys, n: null, n2: 3",
    "id: $id, ys: [], colour: $colour, outer: {inner: {id: $id, tags: $tags, colour: $colour}, others: [$inner]}",
    "id: $id, ys: [], outer: {inner: $inner, on: $on, ratio: $n, any: {a: [$n, {b: $id}]}}",
    "id: $id, ys: [], outer: $outer, by: {id: $id}",
    "id: $id, ys: [], by: {name: $id}, any: [$n, $colour]",
    'id: $id, ys: [], outer: {inner: {id: 4, deep: [[$n], 2, null]}, tree: {name: $id, below: {name: "x"}}}',
]
DEFINITIONS = (
    "($id: ID! = 9, $n: Int = 5, $ys: [Int!]! = [2], $colour: Colour, $tags: [String!], $inner: Inner,"
    " $on: Boolean = false, $outer: Outer)"
)


@settings(max_examples=400, deadline=None)
@given(
    text=st.sampled_from(ARGUMENTS),
    raw=st.fixed_dictionaries(
        {},
        optional={
            "id": st.sampled_from(["b", None, 3]),
            "n": st.sampled_from([6, None]),
            "ys": st.sampled_from([[7], 8, [None], None]),
            "colour": st.sampled_from(["RED", None]),
            "tags": st.sampled_from([["t"], None]),
            "inner": fitting("Inner"),
            "on": st.sampled_from([True, None]),
            "outer": fitting("Outer"),
        },
    ),
)
def test_arguments_come_to_what_graphql_core_makes_of_them(text: str, raw: dict[str, Any]) -> None:
    (operation,) = parse(f"query {DEFINITIONS} {{ f({text}) }}", no_location=True).definitions
    assert isinstance(operation, OperationDefinitionNode)
    (node,) = operation.selection_set.selections
    assert isinstance(node, FieldNode)
    nodes = operation.variable_definitions or ()
    variable_values = get_variable_values(SCHEMA, nodes, raw)
    if isinstance(variable_values, list):
        return

    def ours() -> Any:
        return Place(FIELD, node).read(Given(Variables(SCHEMA, Coercers(), nodes, ()), raw))

    def theirs() -> Any:
        return get_argument_values(FIELD, node, variable_values, hide_suggestions=True)

    assert outcome(ours) == outcome(theirs)


def outcome(read: Callable[[], Any]) -> str:
    try:
        return repr(read())
    except GraphQLError as error:
        return error.message


def test_the_documents_of_the_arguments_are_valid() -> None:
    """Otherwise the comparison above would be of nonsense."""
    for text in ARGUMENTS:
        used = [d for d in DEFINITIONS.strip("()").split(", $") if f"${d.lstrip('$').split(':')[0]}" in text]
        definitions = ", ".join(f"${d.lstrip('$')}" for d in used)
        document = f"query ({definitions}) {{ f({text}) }}" if used else f"{{ f({text}) }}"
        errors = validate(SCHEMA, parse(document))
        assert not [e.message for e in errors if "of type" not in e.message], document


def test_a_type_that_contains_itself_is_left_to_graphql_core() -> None:
    coerce = Coercers().of(type_from_ast(SCHEMA, parse_type("Tree!")))  # type: ignore[arg-type]

    with pytest.raises(UnsureError):
        coerce({"below": [{"below": [{"below": []}]}]})


def test_only_what_shapes_the_sql_tells_plans_apart() -> None:
    document = parse(
        "query ($a: Boolean!, $b: ProgramFilter, $c: String, $d: Int, $e: UUID!, $s: String) {"
        " programs(filter: $b, after: $c, first: $d) { nodes { id @skip(if: $a) } }"
        " more: programs(filter: {search: $s}) { totalCount } program(id: $e) { id } }"
    )

    assert shaping_variables(document) == {"a", "b", "c", "s"}


async def test_a_cached_operation_does_not_enter_graphql_core(api: Api, as_admin: Person) -> None:
    query = """
        query ($id: UUID!, $filter: ProgramFilter, $first: Int, $order: ProgramOrder, $deep: Boolean!) {
          program(id: $id) { id title }
          programs(filter: $filter, first: $first, orderBy: $order) {
            nodes { id enrollments @include(if: $deep) { totalCount } }
          }
        }"""
    variables = {
        "id": "123e4567-e89b-12d3-a456-426614174000",
        "filter": {"status": ["PUBLISHED"], "search": "a"},
        "order": {"field": "TITLE", "direction": "DESC"},
        "deep": True,
    }
    create = "mutation ($input: CreateProgramInput!) { createProgram(input: $input) { program { title } } }"
    entered: set[str] = set()
    package = str(Path(graphql.__file__).parent)

    def notice(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(package):
            entered.add(frame.f_code.co_qualname)

    for request in (
        Request(query, variables=variables),
        Request(create, variables={"input": {"title": "New"}}),
    ):
        for again in (False, True):
            entered.clear()
            sys.setprofile(notice)
            try:
                answer = await api.engine.answer(request, identity_of(as_admin))
            finally:
                sys.setprofile(None)
            assert "errors" not in json.loads(answer.body)
            assert bool(entered) is not again, entered
