"""Completion criteria: database and JSON Schema agree on their form, and errors say where in them."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from psycopg.types.json import Jsonb

from tests import cast
from tests.api import Api
from tests.databases import Database
from tests.people import Person
from tests.reviewed import ROOT
from tests.structures import assign, course

SCHEMA = json.loads((ROOT / "docs/schemas/criteria.schema.json").read_text())
FORM = "select field, message from private.criteria_form_problem(%s)"

ids = st.uuids().flatmap(lambda value: st.sampled_from([str(value), str(value).upper()]))
leaves = st.one_of(
    st.fixed_dictionaries({"course": ids}),
    st.fixed_dictionaries({"milestone": ids}),
    st.fixed_dictionaries(
        {"group": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)}
    ),
)
# What is nearly right, and what is not at all.
oddities: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, 0, "", [], {}, {"all": []}, {"all": {}}, {"any": None}, {"of": [{"group": "a"}]}),
        *(
            {"course": 1},
            {"course": str(uuid4()) + "\n"},
            {"course": uuid4().hex},
            {"group": ""},
            {"group": "x" * 101},
        ),
        *(
            {"group": "x" * 100},
            {"group": "a", "course": str(uuid4())},
            {"atLeast": 1},
            {"Course": str(uuid4())},
        ),
        *({"all": [{"group": "a"}] * 201}, {"all": [{"group": "a"}], "any": [{"group": "a"}]}),
    ]
)
counts = st.one_of(st.integers(-1, 3), st.sampled_from([1.0, 1.5, 200, 201, "1", None, True]))


def _nodes(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(parts, min_size=1, max_size=3)
    return st.one_of(
        st.fixed_dictionaries({"all": lists}),
        st.fixed_dictionaries({"any": lists}),
        st.fixed_dictionaries({"atLeast": counts, "of": lists}),
    )


def nested(level: int) -> Any:
    return {"group": "a"} if level == 1 else {"all": [nested(level - 1)]}


criteria = st.one_of(
    st.recursive(leaves, _nodes, max_leaves=10),
    st.recursive(st.one_of(leaves, leaves, oddities), _nodes, max_leaves=10),
    st.integers(1, 8).map(nested),
)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_database_and_schema_agree_on_what_is_well_formed(database: Database) -> None:
    validator = Draft202012Validator(SCHEMA)
    seen = set()
    with database.connect() as connection:

        @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
        @given(criteria)
        def compare(value: Any) -> None:
            problem = connection.execute(FORM, (Jsonb(value),)).fetchone()
            seen.add(problem is None)
            assert (problem is None) == validator.is_valid(value), (value, problem)

        compare()
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({}, "completionCriteria"),
        ({"course": "x"}, "completionCriteria.course"),
        ({"all": [{"group": "Core"}, {"course": str(cast.DRAFT_COURSE)}]}, "completionCriteria.all.1.course"),
        ({"all": [{"group": "Core"}, {"any": [{"group": "core"}]}]}, "completionCriteria.all.1.any.0.group"),
        ({"any": [{"milestone": str(uuid4())}]}, "completionCriteria.any.0.milestone"),
        ({"atLeast": 2, "of": [{"group": "Core"}]}, "completionCriteria.atLeast"),
        ({"atLeast": 0, "of": [{"group": "Core"}]}, "completionCriteria.atLeast"),
        ({"atLeast": 1, "of": [{"all": []}]}, "completionCriteria.of.0.all"),
        (nested(6), "completionCriteria.all.0.all.0.all.0.all.0.all.0"),
        ({"all": [{"any": [{"group": "Core"}] * 150}] * 2}, "completionCriteria.all.1.any.50.group"),
        ("everything", "completionCriteria"),
    ],
)
async def test_a_mistake_in_criteria_is_named_by_its_place(
    api: Api, as_admin: Person, database: Database, value: Any, field: str
) -> None:
    everything = "select * from public.program_versions order by program_id, version"
    before = database.run(everything)

    reply = await assign(
        api, as_admin, cast.DRAFT, course(cast.COURSE, group="Core"), completionCriteria=value
    )

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", field)
    assert database.run(everything) == before


@pytest.mark.parametrize(
    "value", [{"course": str(cast.COURSE).upper()}, {"any": [{"group": "Core"}] * 200}, nested(5)]
)
async def test_good_criteria_are_kept_as_they_are(
    api: Api, as_admin: Person, database: Database, value: Any
) -> None:
    value = json.loads(json.dumps(value).replace('"a"', '"Core"'))

    await assign(api, as_admin, cast.DRAFT, course(cast.COURSE, group="Core"), completionCriteria=value)

    stored = "select completion_criteria from public.program_versions where program_id = %s"
    assert database.run(stored, cast.DRAFT) == [(value,)]


async def test_criteria_stay_until_they_are_cleared(api: Api, as_admin: Person, database: Database) -> None:
    async def stored(**more: Any) -> Any:
        (await assign(api, as_admin, cast.DRAFT, course(cast.COURSE), **more)).data["assignCourses"]
        query = "select completion_criteria from public.program_versions where program_id = %s"
        return database.run(query, cast.DRAFT)[0][0]

    criteria = {"course": str(cast.COURSE)}
    assert await stored(completionCriteria=criteria) == criteria
    assert await stored() == criteria
    gone = await assign(api, as_admin, cast.DRAFT, course(cast.SECOND_COURSE))
    assert (gone.code, gone.field) == ("BAD_USER_INPUT", "completionCriteria.course")
    assert await stored(completionCriteria=None) is None


def test_whoever_writes_criteria_writes_good_ones(as_admin: Person) -> None:
    change = "update public.program_versions set completion_criteria = %s where program_id = %s"
    with pytest.raises(Exception, match="Give an object"):
        as_admin.sql(change, Jsonb({"code": "1 = 1"}), UUID(str(cast.DRAFT)))
