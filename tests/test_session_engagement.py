"""Engagement: what the score is made of, when there is none, and that it is what docs/sessions.md says."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import cast
from tests.api import Api
from tests.databases import Database
from tests.people import Person
from tests.sessioning import going_on, sessions

FILL = """
update public.learning_sessions
set active = %s::int4multirange, heartbeats = %s, active_seconds = (
    select sum(upper(r) - lower(r)) from unnest(%s::int4multirange) as r
)
where id = %s
"""
EVENT = """
insert into public.progress_events (
    community_id, user_id, event_id, course_id, block_id, attempt, value, occurred_at, counted_at
)
select s.community_id, s.user_id, %s, %s, %s, 1, 0.5, t.at, t.at
from public.learning_sessions as s, lateral (select s.started_at + %s * interval '1 second' as at) as t
where s.id = %s
"""


def been(database: Database, seconds: int, active: str, *, heartbeats: int, events: list[int]) -> UUID:
    """A session of so many seconds, with events after so many of them."""
    session = going_on(database, age=seconds)
    database.run(FILL, active, heartbeats, active, session)
    for after in events:
        database.run(EVENT, uuid4(), cast.COURSE, cast.BLOCKS[1], after, session)
    return session


async def estimate(api: Api, person: Person, session: UUID) -> tuple[Any, dict[str, float]]:
    """Of a session: the engagement, and the values of its components."""
    (shown,) = [s for s in await sessions(api, person) if s["id"] == str(session)]
    told = shown["engagement"]
    assert shown["engagementScore"] == told["score"]
    assert told["formulaVersion"] == "1"
    return told, {part["kind"]: part["value"] for part in told["components"]}


async def test_the_example_of_the_documentation(
    api: Api, database: Database, as_learner: Person, as_admin: Person
) -> None:
    """Forty minutes: 20 active, a break of 15, 2 active, and 3 more of which nothing is known; three events."""
    session = been(database, 2400, "{[0,1200),[2100,2220)}", heartbeats=66, events=[300, 1100, 2200, 2500])

    told, parts = await estimate(api, as_learner, session)

    assert parts == {"ACTIVE_SHARE": 0.55, "STEADINESS": 0.909, "RECORDED": 0.682}
    assert sum(part["weight"] for part in told["components"]) == 1
    assert (told["score"], told["evidence"]) == (66, "ENOUGH")
    assert await estimate(api, as_admin, session) == (told, parts)


@pytest.mark.parametrize(
    ("active", "heartbeats", "score"),
    [
        ("{[0,179)}", 6, None),
        ("{[0,180)}", 5, None),
        ("{[0,180)}", 6, 70),
        ("{}", 100, None),
    ],
)
async def test_without_evidence_there_is_no_score(
    api: Api, database: Database, as_learner: Person, active: str, heartbeats: int, score: int | None
) -> None:
    session = going_on(database, age=180)
    database.run(
        FILL.replace("sum(", "coalesce(sum(").replace("lower(r))", "lower(r)), 0)"),
        active,
        heartbeats,
        active,
        session,
    )

    told, parts = await estimate(api, as_learner, session)

    assert (told["score"], told["evidence"]) == (score, "NOT_ENOUGH" if score is None else "ENOUGH")
    assert bool(parts) == (score is not None)


async def test_the_greatest_and_the_least(
    api: Api, database: Database, as_learner: Person, as_peer: Person
) -> None:
    best = been(database, 600, "{[0,600)}", heartbeats=30, events=[10, 300, 310])

    assert (await estimate(api, as_learner, best))[0]["score"] == 100

    worst = going_on(database, age=43_000, user=cast.PEER.id)
    scattered = "{" + ",".join(f"[{n * 200},{n * 200 + 2})" for n in range(90)) + "}"
    database.run(FILL, scattered, 90, scattered, worst)
    told, parts = await estimate(api, as_peer, worst)
    assert (told["score"], parts["STEADINESS"], parts["RECORDED"]) == (0, 0, 0)


async def test_breaks_of_a_minute_do_not_interrupt(api: Api, database: Database, as_learner: Person) -> None:
    session = been(database, 1000, "{[0,90),[150,240),[301,390)}", heartbeats=20, events=[])

    _, parts = await estimate(api, as_learner, session)

    assert parts["STEADINESS"] == round(180 / 269, 3)


async def test_only_the_persons_own_events_count(api: Api, database: Database, as_learner: Person) -> None:
    session = been(database, 600, "{[0,600)}", heartbeats=30, events=[])
    theirs = going_on(database, age=600, user=cast.PEER.id)
    database.run(EVENT, uuid4(), cast.COURSE, cast.BLOCKS[1], 100, theirs)

    _, parts = await estimate(api, as_learner, session)

    assert parts["RECORDED"] == 0


def test_nobody_is_told_of_anothers_engagement(as_learner: Person, as_peer: Person, as_admin: Person) -> None:
    """Not even with a row of their own making."""
    forged = """select count(*) from private.engagement(
        jsonb_populate_record(null::public.learning_sessions, jsonb_build_object(
            'community_id', %s::text, 'user_id', %s::text, 'started_at', now(), 'last_seen_at', now(),
            'active_seconds', 600, 'heartbeats', 60, 'active', '{[0,600)}')))"""

    found = [p.sql(forged, cast.ALPHA, cast.LEARNER.id) for p in (as_learner, as_peer, as_admin)]

    assert found == [[(1,)], [(0,)], [(1,)]]
    assert as_admin.sql(forged, cast.BETA, cast.OTHER_LEARNER.id) == [(0,)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, 1500), max_size=12))
def test_steady_seconds_are_those_that_plain_python_counts(
    shared_database: Database, edges: set[int]
) -> None:
    ends = sorted(edges)[: len(edges) // 2 * 2]
    ranges = list(zip(ends[::2], ends[1::2], strict=True))
    stretches: list[list[tuple[int, int]]] = []
    for since, until in ranges:
        if stretches and since - stretches[-1][-1][1] <= 60:
            stretches[-1].append((since, until))
        else:
            stretches.append([(since, until)])
    expected = sum(until - since for s in stretches for since, until in s if s[-1][1] - s[0][0] >= 180)

    text = "{" + ",".join(f"[{since},{until})" for since, until in ranges) + "}"
    found = shared_database.run("select private.steady_seconds(%s::int4multirange)", text)

    assert found == [(expected,)]
