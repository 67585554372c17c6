"""Our way of running the standard's rules against graphql-core's: the same errors, at the same places."""

import re

import pytest
from graphql import GraphQLError, parse, specified_rules, validate
from hypothesis import given, settings
from hypothesis import strategies as st

from resolvers.validation import errors_of
from schema import model

SCHEMA = model().schema
FULL = """
query Full($id: UUID!, $first: Int = 3, $filter: ProgramFilter, $deep: Boolean!) {
  viewer { id ...Who @include(if: $deep) }
  one: program(id: $id) { ...Short enrollments(first: $first, after: "x") { nodes { id member { ... { role } } } } }
  programs(filter: $filter, orderBy: {field: TITLE, direction: DESC}) { ... on ProgramConnection { totalCount } }
}
fragment Who on Viewer { displayName email }
fragment Short on Program { id title status createdBy { displayName } }
"""
# One document and more for each rule that can be broken in a schema without interfaces, unions and subscriptions.
BROKEN = [
    "type Query { id: ID } { viewer { id } }",
    "subscription { viewer { id } }",
    "subscription { enrollmentChanged { id } other: enrollmentChanged { id } }",
    "query A { viewer { id } } query A { viewer { id } }",
    "{ viewer { id } } query B { viewer { id } }",
    "query ($x: Nothing) { program(id: $x) { id } }",
    "fragment F on UUID { id } { viewer { ...F } }",
    "query ($x: Program) { program(id: $x) { id } }",
    "{ viewer }",
    "{ viewer { id { more } } }",
    "{ viewer { nothing } }",
    "fragment F on Viewer { id } fragment F on Viewer { email } { viewer { ...F } }",
    "{ viewer { ...Missing } }",
    "fragment F on Viewer { id } { viewer { id } }",
    "fragment F on Program { id } { viewer { ...F ... on Program { id } } }",
    "fragment F on Viewer { ...G } fragment G on Viewer { ...F } { viewer { ...F } }",
    "query ($a: Int, $a: Int) { programs(first: $a) { totalCount } }",
    "{ programs(first: $a) { totalCount } }",
    "query ($a: Int) { viewer { id } }",
    "{ viewer @nothing { id } }",
    "query @skip(if: true) { viewer { id } }",
    "{ viewer { id @skip(if: true) @skip(if: false) } }",
    "{ viewer(nothing: 1) { id @skip(unless: true) } }",
    '{ programs(first: 1, first: 2, after: "x") { totalCount } }',
    '{ programs(first: "one", filter: {status: [NONE], nothing: 1}) { totalCount } }',
    "{ program { id @include } }",
    "query ($a: Int) { program(id: $a) { id } }",
    "{ viewer { id: email id } programs(first: 1) { totalCount } programs(first: 2) { totalCount } }",
    "{ programs(orderBy: {field: TITLE, field: TITLE}) { totalCount } }",
    "{ programs(orderBy: {direction: ASC}) { totalCount } }",
    "query ($a: Boolean) { viewer { id @skip(if: $a) } }",
    "{ viewer { ... @defer { id } } }",
    "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
]
TOKENS = re.compile(r'\.\.\.|[A-Za-z_]+|\d+|"[^"]*"|\$|\S')
PIECES = sorted({*TOKENS.findall(FULL), *(token for text in BROKEN for token in TOKENS.findall(text))})


def shown(errors: list[GraphQLError]) -> list[object]:
    return [error.formatted for error in errors]


def both(text: str, most: int) -> tuple[list[object], list[object]]:
    document = parse(text)
    theirs = validate(SCHEMA, document, max_errors=most, hide_suggestions=True)
    return shown(errors_of(SCHEMA, document, most=most)), shown(theirs)


@pytest.mark.parametrize("text", BROKEN)
def test_each_rule_finds_what_it_finds(text: str) -> None:
    ours, theirs = both(text, most=100)

    assert ours == theirs != []


def test_the_documents_break_every_rule_that_this_schema_has_a_use_for() -> None:
    def breaks(rule: type) -> bool:
        return any(validate(SCHEMA, parse(text), [rule]) for text in BROKEN)

    unbroken = {rule.__name__ for rule in specified_rules if not breaks(rule)}

    # It has all three kinds of operations.
    assert {name for name in unbroken if "Stream" not in name} == {"KnownOperationTypesRule"}


def test_a_valid_document_has_no_errors() -> None:
    assert both(FULL, most=100) == ([], [])


@settings(max_examples=500, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 150), st.sampled_from(["drop", "put", "insert"]), st.sampled_from(PIECES)),
        min_size=1,
        max_size=5,
    ),
    most=st.sampled_from([1, 5, 100]),
)
def test_documents_with_mistakes_get_the_same_errors(changes: list[tuple[int, str, str]], most: int) -> None:
    tokens = TOKENS.findall(FULL)
    for place, what, piece in changes:
        at = place % len(tokens)
        if what == "insert":
            tokens.insert(at, piece)
        else:
            tokens[at : at + 1] = [piece] if what == "put" else []
    try:
        parse(" ".join(tokens))
    except GraphQLError:
        return  # no document
    ours, theirs = both(" ".join(tokens), most)

    assert ours == theirs
