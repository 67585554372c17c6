"""Fields that SQL functions answer: with arguments, lists and JSON, and mutations with several things to tell."""

import json
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any

import pytest
import strawberry
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig

from resolvers.model import build
from resolvers.sources import (
    changed,
    changed_id,
    changed_rows,
    changed_value,
    from_function,
    mutation,
    table,
)
from schema.programs import Program
from schema.scalars import SCALARS
from tests import cast
from tests.api import Api, api_of
from tests.databases import Database
from tests.people import Person

FUNCTIONS = """
create function public.echo(arguments jsonb) returns jsonb stable language sql as 'select arguments';
create function public.counted(arguments jsonb) returns table (place integer, name text, program_id uuid)
stable language sql as $$
    select n, format('number %s', n), (arguments ->> 'id')::uuid
    from generate_series(1, (arguments ->> 'most')::integer) as n order by n desc
$$;
create function public.one_of_them(arguments jsonb) returns table (place integer, name text, program_id uuid)
stable language sql as $$ select * from public.counted(arguments) as c where c.place = 2 $$;
create function public.do_much(input jsonb) returns jsonb volatile language sql as $$
    select jsonb_build_object('program_id', input -> 'id', 'how', input -> 'how', 'many', 3, 'kept', input -> 'kept')
$$;
create function public.done(told jsonb) returns table (place integer, name text, program_id uuid)
stable language sql as $$
    select n, told ->> 'how', (told ->> 'program_id')::uuid from generate_series((told ->> 'many')::integer, 1, -1) as n
$$;
grant execute on all functions in schema public to authenticated;
"""


@strawberry.enum
class How(Enum):
    FAST = "fast"
    SLOW = "slow"


@table("public.counted")
@strawberry.type
class Counted:
    place: int
    name: str
    program_id: strawberry.ID


@table("public.done")
@strawberry.type
class Done(Counted):
    pass


@strawberry.input
class DoMuchInput:
    id: strawberry.ID
    how: How = How.FAST
    kept: JSON | None = strawberry.UNSET


@strawberry.type
class DoMuchPayload:
    program: Program | None = changed(part="program_id")
    program_id: strawberry.ID = changed_id(part="program_id")
    how: How = changed_value("how")
    many: int = changed_value("many")
    kept: JSON | None = changed_value("kept")
    done: list[Done] = changed_rows("public.done")


@strawberry.type
class Query:
    echo: JSON = from_function(
        "public.echo", "All of it.", camel_case=(JSON | None, "Anything."), how=(How | None, "How.")
    )
    counted: list[Counted] = from_function(
        "public.counted", "Some.", id=(strawberry.ID, "Of whom."), most=(int, "How many.")
    )
    one_of_them: Counted | None = from_function(
        "public.one_of_them", "The second.", id=(strawberry.ID, "Of whom."), most=(int, "How many.")
    )


@strawberry.type
class Mutation:
    do_much: DoMuchPayload | None = mutation("public.do_much", DoMuchInput)


@pytest.fixture
async def api(database: Database) -> AsyncIterator[Api]:
    database.run(FUNCTIONS)
    schema = strawberry.Schema(Query, Mutation, config=StrawberryConfig(scalar_map=SCALARS))
    async with api_of(database, schema=build(schema)) as api:
        yield api


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1.5,
        10**30,
        'quotes " and \\ and \n and \x1f and é and 😀',
        [],
        {},
        {"camelCase": [1, {"Inner Name": None}], "a_b": "FAST", "1.10": [[[]]]},
    ],
)
async def test_json_goes_through_as_it_is(api: Api, as_learner: Person, value: Any) -> None:
    reply = await api.ask(as_learner, "query ($v: JSON) { echo(camelCase: $v, how: SLOW) }", v=value)

    assert reply.data["echo"] == {"how": "slow", "camel_case": value}


async def test_json_may_stand_in_the_document(api: Api, as_learner: Person) -> None:
    query = 'query ($v: JSON) { echo(camelCase: {camelCase: [1, 2.50, SOME, "x", null, $v]}) }'

    assert (await api.ask(as_learner, query, v={"aB": 1})).data["echo"] == {
        "camel_case": {"camelCase": [1, 2.5, "SOME", "x", None, {"aB": 1}]}
    }


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("a\x00b", ""),
        ({"a\x00": 1}, ""),
        (["\\u0000 \x00"], ".0"),
        ({"blocks": [{"title": "x"}, {"title": "\x00"}]}, ".blocks.1.title"),
        ({"x" * 99: ["\x00"]}, f".{'x' * 60}.0"),
        ("\ud800", ""),
    ],
)
async def test_json_that_postgres_cannot_hold_is_refused(
    api: Api, as_learner: Person, value: Any, place: str
) -> None:
    reply = await api.ask(as_learner, "query ($v: JSON) { echo(camelCase: $v) }", v=value)

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", f"camelCase{place}")
    assert reply.error["message"].startswith(f"camelCase{place} ")


async def test_what_only_looks_like_a_nul_is_no_nul(api: Api, as_learner: Person) -> None:
    reply = await api.ask(as_learner, "query ($v: JSON) { echo(camelCase: $v) }", v="\\u0000")

    assert reply.data["echo"] == {"camel_case": "\\u0000"}


async def test_numbers_too_large_for_json_are_refused(api: Api, as_learner: Person) -> None:
    reply = await api.ask(as_learner, f"{{ echo(camelCase: {'9' * 5000}) }}")

    assert reply.code == "BAD_USER_INPUT"


async def test_a_function_gives_rows_in_their_places(api: Api, as_learner: Person) -> None:
    query = f'{{ counted(id: "{cast.PUBLISHED}", most: 3) {{ name place programId }} }}'

    reply = await api.ask(as_learner, query)

    assert [row["place"] for row in reply.data["counted"]] == [1, 2, 3]
    assert list(reply.data["counted"][0].values()) == ["number 1", 1, str(cast.PUBLISHED)]
    assert len(reply.statements) == 1


@pytest.mark.parametrize(("most", "found"), [(1, None), (2, {"name": "number 2"})])
async def test_a_function_gives_one_row_or_none(api: Api, as_learner: Person, most: int, found: Any) -> None:
    query = f'query ($n: Int!) {{ oneOfThem(id: "{cast.PUBLISHED}", most: $n) {{ name }} }}'

    assert (await api.ask(as_learner, query, n=most)).data["oneOfThem"] == found


async def test_a_function_with_arguments_is_not_for_strangers(api: Api, as_anon: Person) -> None:
    assert (await api.ask(as_anon, "{ echo(how: FAST) }")).code == "UNAUTHENTICATED"


async def test_a_mutation_tells_several_things(api: Api, as_learner: Person) -> None:
    query = """mutation ($input: DoMuchInput!) { doMuch(input: $input) {
        programId how many kept program { title } done { place name } } }"""
    kept = {"camelCase": [1.5, "😀"]}

    reply = await api.ask(as_learner, query, input={"id": cast.PUBLISHED, "how": "SLOW", "kept": kept})

    assert json.dumps(reply.data["doMuch"]) == json.dumps(
        {
            "programId": str(cast.PUBLISHED),
            "how": "SLOW",
            "many": 3,
            "kept": kept,
            "program": {"title": "Summer"},
            "done": [{"place": n, "name": "slow"} for n in (1, 2, 3)],
        }
    )
    assert len(reply.statements) == 2


async def test_what_a_mutation_did_not_change_is_null(api: Api, as_learner: Person) -> None:
    query = """mutation ($input: DoMuchInput!) { doMuch(input: $input) { kept program { title } } }"""

    reply = await api.ask(as_learner, query, input={"id": "d0000000-0000-4000-8000-00000000ffff"})

    assert reply.data["doMuch"] == {"kept": None, "program": None}
