"""Courses in a version of a program: in their order, in groups, one after the other."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import cast
from tests.api import Api
from tests.people import Person
from tests.structures import assign, course

ONE, TWO, THREE = cast.COURSE, cast.SECOND_COURSE, cast.DRAFT_COURSE


async def test_prerequisites_and_groups_are_shown_with_their_courses(api: Api, as_admin: Person) -> None:
    reply = await assign(
        api,
        as_admin,
        cast.DRAFT,
        course(ONE, group="Core"),
        course(TWO, ONE, group="Core"),
        course(THREE, TWO, ONE, group="More", required=False),
        groups=[{"name": "Core", "atLeast": 2}],
    )

    program = reply.data["assignCourses"]["program"]
    assert [[p["course"]["id"] for p in a["prerequisites"]] for a in program["courseAssignments"]] == [
        [],
        [str(ONE)],
        [str(ONE), str(TWO)],
    ]
    assert [
        (g["name"], g["atLeast"], [a["course"]["id"] for a in g["courseAssignments"]])
        for g in program["courseGroups"]
    ] == [("Core", 2, [str(ONE), str(TWO)]), ("More", 1, [str(THREE)])]
    assert program["version"] == 1


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(edges=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=6))
async def test_prerequisites_are_taken_exactly_when_there_is_an_order(
    api: Api, as_admin: Person, edges: set[tuple[int, int]]
) -> None:
    ids = (ONE, TWO, THREE)
    courses = [course(ids[n], *(ids[before] for after, before in edges if after == n)) for n in range(3)]

    reply = await assign(api, as_admin, cast.DRAFT, *courses)

    closure = set(edges)
    for _ in ids:
        closure |= {(a, d) for a, b in closure for c, d in closure if b == c}
    assert ("errors" in reply.json) == any((n, n) in closure for n in range(3))
