"""What compiles to what: statements counted, fields merged, pages turned, and hostile documents refused."""

import time
from dataclasses import replace
from typing import Any

import pytest
from graphql import get_introspection_query

from tests import cast
from tests.api import POLICY, Api, api_of
from tests.databases import Database
from tests.people import Person

TITLES = """query ($first: Int, $after: String, $order: ProgramOrder, $filter: ProgramFilter) {
    programs(first: $first, after: $after, orderBy: $order, filter: $filter) {
        edges { cursor node { id title } } nodes { id } totalCount
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


async def test_a_query_is_one_statement_a_root_field_however_deep_it_goes(api: Api, as_admin: Person) -> None:
    deep = """{ viewer { id memberships { community { name } } }
        programs { nodes { title createdBy { displayName } stats { enrolled }
            courseAssignments { course { title blocks { title } } }
            enrollments { totalCount nodes { member { email } program { title enrollments { totalCount } } } } } }
        again: programs { totalCount } }"""

    reply = await api.ask(as_admin, deep)

    assert len(reply.data) == 3
    assert len(reply.statements) == 3


async def test_a_mutation_is_its_call_and_its_projection(api: Api, as_learner: Person) -> None:
    reply = await api.ask(as_learner, 'mutation { createProgram(input: {title: "x"}) { program { title } } }')

    assert len(reply.statements) == 2


async def test_fields_with_one_response_key_are_merged_across_fragments(api: Api, as_admin: Person) -> None:
    query = f"""query ($yes: Boolean!, $no: Boolean = false) {{
        program(id: "{cast.PUBLISHED}") {{ ...Title courseAssignments {{ id }} title
            ... on Program @include(if: $yes) {{ courseAssignments {{ sequenceOrder course {{ id }} }} }}
            ... @skip(if: $yes) {{ status }} createdAt @include(if: $no) name: title __typename
            courseAssignments {{ course {{ title kind: __typename }} }} }} __typename }}
        fragment Title on Program {{ title a: title }}"""

    program = (await api.ask(as_admin, query, yes=True)).data["program"]

    assert list(program) == ["title", "a", "courseAssignments", "name", "__typename"]
    assert list(program["courseAssignments"][0]) == ["id", "sequenceOrder", "course"]
    assert list(program["courseAssignments"][0]["course"]) == ["id", "title", "kind"]


async def test_one_document_serves_every_value_of_its_conditions(api: Api, as_admin: Person) -> None:
    query = "query ($c: Boolean!) { programs { totalCount @include(if: $c) nodes @skip(if: $c) { id } } }"

    assert list((await api.ask(as_admin, query, c=True)).data["programs"]) == ["totalCount"]
    assert list((await api.ask(as_admin, query, c=False)).data["programs"]) == ["nodes"]


async def test_aliases_of_one_connection_have_their_own_arguments(api: Api, as_admin: Person) -> None:
    query = """{ programs(first: 1, orderBy: {field: TITLE}) { nodes { title } }
        last: programs(first: 1, orderBy: {field: TITLE, direction: DESC}) { nodes { title } }
        none: programs(filter: {status: [], search: "x"}) { totalCount nodes { title } } }"""

    data = (await api.ask(as_admin, query)).data

    assert data["programs"]["nodes"] != data["last"]["nodes"]
    assert data["none"] == {"totalCount": 0, "nodes": []}


@pytest.mark.parametrize(
    "order", [None, *({"field": f, "direction": d} for f in ("TITLE", "UPDATED_AT") for d in ("ASC", "DESC"))]
)
async def test_pages_follow_each_other_without_gap_or_repeat(api: Api, as_admin: Person, order: Any) -> None:
    whole = (await api.ask(as_admin, TITLES, first=100, order=order)).data["programs"]
    seen, after = [], None
    for _ in range(20):
        page = (await api.ask(as_admin, TITLES, first=2, order=order, after=after)).data["programs"]
        assert page["totalCount"] == whole["totalCount"]
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
        seen += page["edges"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break

    assert seen == whole["edges"]
    assert len(seen) == whole["totalCount"] >= 5


async def test_a_page_of_none_says_whether_there_are_any(api: Api, as_admin: Person) -> None:
    page = (await api.ask(as_admin, TITLES, first=0)).data["programs"]

    assert page["nodes"] == []
    assert page["pageInfo"] == {
        "hasNextPage": True,
        "hasPreviousPage": False,
        "startCursor": None,
        "endCursor": None,
    }


async def test_cursors_are_refused_for_another_list_order_filter_or_tenant(
    api: Api, as_admin: Person, as_other_community: Person
) -> None:
    cursor = (await api.ask(as_admin, TITLES, first=1)).data["programs"]["pageInfo"]["endCursor"]
    forged = cursor[:40] + ("A" if cursor[40] != "A" else "B") + cursor[41:]
    misuses: list[tuple[Person, dict[str, Any]]] = [
        (as_other_community, {"after": cursor}),
        (as_admin, {"after": cursor, "order": {"field": "TITLE"}}),
        (as_admin, {"after": cursor, "filter": {"status": ["DRAFT"]}}),
        *(
            (as_admin, {"after": bad})
            for bad in (forged, "", "x", "é", cursor[:-4], cursor * 2, "\x00", "W10")
        ),
    ]

    for person, variables in misuses:
        reply = await api.ask(person, TITLES, **variables)
        assert (reply.code, reply.field) == ("BAD_USER_INPUT", "after"), variables


@pytest.mark.parametrize("first", [-1, 101, 10**9])
async def test_first_is_0_to_100(api: Api, as_admin: Person, first: int) -> None:
    reply = await api.ask(as_admin, TITLES, first=first)

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", "first")


async def test_first_null_is_the_default(api: Api, as_admin: Person) -> None:
    assert (await api.ask(as_admin, TITLES, first=None)).body == (await api.ask(as_admin, TITLES)).body


async def test_introspection_runs_beside_compiled_fields(api: Api, as_admin: Person) -> None:
    query = (
        '{ programs { totalCount } __type(name: "Program") { name kind } __schema { queryType { name } } }'
    )

    data = (await api.ask(as_admin, query)).data

    assert data["programs"]["totalCount"] >= 5
    assert data["__type"] == {"name": "Program", "kind": "OBJECT"}


NESTED = (
    "{ programs { nodes { enrollments { nodes { program { enrollments { nodes { program { enrollments { nodes {\
 program { id } } } } } } } } } } } }"
)


def doubling(levels: int, body: str) -> str:
    """A document of fragments that each ask for the next one twice; `body` says how, with {next} for its name."""
    fragments = (
        f"fragment F{n} on Program {{ {body.replace('{next}', f'F{n + 1}')} }}" for n in range(levels)
    )
    return " ".join(
        ["{ programs { nodes { ...F0 } } }", *fragments, f"fragment F{levels} on Program {{ id }}"]
    )


BOMB = doubling(
    23, "viewerEnrollment { program { ...{next} } } b: viewerEnrollment { program { ...{next} } }"
)
FLAT_BOMB = doubling(24, "...{next} ... on Program { ...{next} }")


@pytest.mark.parametrize(
    "hostile",
    [
        NESTED,
        BOMB,
        FLAT_BOMB,
        "{" + " ".join(f"a{n}: __typename" for n in range(31)) + "}",
        "{ programs { nodes {" + " ".join(f"a{n}: id" for n in range(31)) + "} } }",
        "{ viewer { id } programs { totalCount }"
        + " ".join(f"a{n}: viewer {{ id }}" for n in range(9))
        + "}",
        "{ programs(first: 100) { nodes { enrollments(first: 100) { nodes { id } } } } }",
        "{ programs { totalCount } " + "viewer { id } " * 400 + "}",
        "{ viewer {" + " id" * 3000 + "} }",
        "{ viewer { id" + " @include(if: true)" * 60 + "} }",
        "{ viewer { ...V } } fragment V on Viewer { id }" + " { viewer { ...V } }" * 60,
    ],
)
async def test_a_document_over_a_limit_is_refused_before_it_costs_anything(
    api: Api, as_admin: Person, hostile: str
) -> None:
    started = time.process_time()
    reply = await api.ask(as_admin, hostile)
    spent = time.process_time() - started

    assert reply.code == "LIMIT_EXCEEDED"
    assert reply.statements == []
    # Two runs. Exponential work on 24 levels would take minutes; this bound only tells the two apart.
    assert spent < 2


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "{",
        "{ nope }",
        "{ viewer }",
        "{ viewer { id { x } } }",
        "{ program { id } }",
        '{ program(id: "x") { id } }',
        "{ program(id: 5) { id } }",
        '{ programs(filter: {status: "DRAFT"}) { totalCount } }',
        "{ programs(filter: {nope: 1}) { totalCount } }",
        "query A { viewer { id } } query B { viewer { id } }",
        "subscription { progress { id } }",
        "fragment F on Program { id }",
        "{ viewer { ...F } } fragment F on Viewer { ...F }",
        "query ($id: UUID!) { program(id: $id) { id } }",
        "query ($x: Nope) { viewer { id } }",
        "\ufeff{ viewer",
        "type Query { x: Int }",
    ],
)
async def test_a_wrong_document_is_refused_with_an_error_and_no_data(
    api: Api, as_admin: Person, wrong: str
) -> None:
    reply = await api.ask(as_admin, wrong)

    errors = reply.json["errors"]
    assert "data" not in reply.json
    assert {error["extensions"]["code"] for error in errors} == {"BAD_USER_INPUT"}
    assert not any("Did you mean" in error["message"] for error in errors)
    assert reply.statements == []


async def test_at_most_five_errors_are_shown(api: Api, as_admin: Person) -> None:
    reply = await api.ask(as_admin, "{" + " ".join(f"nope{n}" for n in range(10)) + "}")

    assert len(reply.json["errors"]) == 5


async def test_variables_are_checked_as_graphql_says(api: Api, as_admin: Person) -> None:
    query = "query ($id: UUID!) { program(id: $id) { id } }"

    bad: object
    for bad in (None, 5, "x", [], {}, str(cast.DRAFT).replace("-", ""), "{" + str(cast.DRAFT) + "}", "\x00"):
        reply = await api.ask(as_admin, query, id=bad)
        assert reply.code == "BAD_USER_INPUT", bad
        assert reply.statements == []


async def test_one_plan_serves_many_callers(
    api: Api, as_admin: Person, as_learner: Person, as_other_community: Person
) -> None:
    query = "{ viewer { id } programs(orderBy: {field: TITLE}) { nodes { id } } }"
    answers: dict[str, set[bytes]] = {}
    for _ in range(7):
        for name, person in (("a", as_admin), ("l", as_learner), ("o", as_other_community)):
            answers.setdefault(name, set()).add((await api.ask(person, query)).body)

    assert all(len(bodies) == 1 for bodies in answers.values())
    assert len(set.union(*answers.values())) == 3


async def test_an_error_does_not_repeat_all_that_was_sent(api: Api, as_admin: Person) -> None:
    for reply in (
        await api.ask(as_admin, "{ " + "x" * 100_000 + " }"),
        await api.ask(as_admin, "query ($id: UUID!) { program(id: $id) { id } }", id="y" * 100_000),
    ):
        assert len(reply.error["message"]) <= 500


async def test_in_production_introspection_is_for_admins(
    database: Database, as_admin: Person, as_learner: Person, as_anon: Person
) -> None:
    async with api_of(database, replace(POLICY, introspection_for_all=False)) as api:
        for query in (
            "{ __schema { queryType { name } } }",
            '{ ...F } fragment F on Query { __type(name: "X") { name } }',
        ):
            assert "errors" not in (await api.ask(as_admin, query)).json
            assert (await api.ask(as_learner, query)).code == "FORBIDDEN"
            assert (await api.ask(as_anon, query)).code == "UNAUTHENTICATED"
        assert (await api.ask(as_learner, "{ __typename }")).data == {"__typename": "Query"}


HEAVY = """{ viewer { enrollments(first: 100) { nodes { program { enrollments(first: 40) { nodes { program {
    a: description b: description } } } } } } } }"""
COMPUTED = """{ programs(first: 100) { nodes { enrollments(first: 40) { nodes { program {
    stats { enrolled } } } } } } }"""


@pytest.mark.parametrize("costly", [HEAVY, COMPUTED])
async def test_what_is_long_or_computed_counts_for_more_than_a_column(
    api: Api, as_admin: Person, costly: str
) -> None:
    reply = await api.ask(as_admin, costly)

    assert reply.code == "LIMIT_EXCEEDED"
    assert "cost" in reply.error["message"]
    assert reply.statements == []


async def test_a_page_of_none_does_no_work_for_what_is_in_it(
    api: Api, as_admin: Person, database: Database
) -> None:
    """Rows that are not shown are not made: nothing inside is even evaluated."""
    statement = (
        await api.ask(as_admin, "{ programs(first: 0) { nodes { stats { enrolled } } } }")
    ).statements[0]

    plan = "\n".join(
        row
        for (row,) in database.run(
            "explain (analyze, costs off, timing off, summary off) " + statement.replace("$1::integer", "0")
        )
    )

    assert "program_stats" in plan
    assert "(never executed)" in plan


@pytest.mark.parametrize(
    "nothing_decides",
    [
        "query ($x: Boolean = true) { viewer { id @skip(if: $x) } }",
        "query ($x: Boolean = true) { programs @include(if: $x) { totalCount } }",
        "query ($x: Boolean = true) { __schema @skip(if: $x) { queryType { name } } }",
        "query ($x: Boolean = true) { __schema { queryType { name @include(if: $x) } } }",
        'query ($x: String = "Program") { __type(name: $x) { name } }',
        'mutation ($x: Boolean = true) { createProgram(input: {title: "x"}) @skip(if: $x) { program { id } } }',
    ],
)
async def test_null_where_a_value_is_needed_is_refused_and_nothing_done(
    api: Api, as_admin: Person, database: Database, nothing_decides: str
) -> None:
    before = database.run("select count(*) from public.programs")

    reply = await api.ask(as_admin, nothing_decides, x=None)

    assert reply.code == "BAD_USER_INPUT"
    assert database.run("select count(*) from public.programs") == before


async def test_arguments_are_checked_also_when_nothing_but_the_count_is_asked_for(
    api: Api, as_admin: Person
) -> None:
    for wrong in ("first: 1000", "first: -5", 'after: "garbage"'):
        reply = await api.ask(as_admin, f"{{ programs({wrong}) {{ totalCount }} }}")
        assert reply.code == "BAD_USER_INPUT", wrong


async def test_a_value_that_is_repeated_in_a_filter_counts_once(api: Api, as_admin: Person) -> None:
    query = "query ($s: [EnrollmentStatus!]) { enrollments(filter: {status: $s}) { totalCount } }"

    once = await api.ask(as_admin, query, s=["ACTIVE", "PAUSED"])
    often = await api.ask(as_admin, query, s=["ACTIVE", "PAUSED"] * 5_000)

    assert once.body == often.body


async def test_strangers_reach_no_sql(api: Api, as_anon: Person) -> None:
    reply = await api.ask(as_anon, "{ viewer { id } programs { totalCount } }")

    assert (reply.code, reply.error["path"]) == ("UNAUTHENTICATED", ["programs"])
    assert reply.statements == []


async def test_a_question_about_the_schema_has_a_cost_too(api: Api, as_admin: Person) -> None:
    """Python answers it while everybody waits: aliases and types within types multiply."""
    inner = "fields { args { name type { name } } type { name ofType { name } } }"
    repeated = " ".join(f"a{n}: fields {{ type {{ {inner} }} }}" for n in range(14))

    assert (
        "errors" not in (await api.ask(as_admin, get_introspection_query(input_value_deprecation=True))).json
    )
    assert (await api.ask(as_admin, f"{{ __schema {{ types {{ {repeated} }} }} }}")).code == "LIMIT_EXCEEDED"
