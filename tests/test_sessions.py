"""Learning sessions: whose they are, how they begin and end, and that their seconds are counted once and no further
than the server's clock."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from tests import cast
from tests.api import Api
from tests.attempts import refusal
from tests.databases import Database
from tests.people import Person, put_on
from tests.sessioning import (
    END,
    HEARTBEAT,
    SESSIONS,
    START,
    Heartbeat,
    active,
    beat,
    end,
    going_on,
    seconds_of,
    sessions,
    start,
)

MINUTE, HOUR = 60, 3600
BEATEN = "select public.heartbeat_session(%s)"
NO_SESSION = "You have no session with this id in your community."


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_signed_out_nobody_has_sessions(api: Api, as_anon: Person) -> None:
    given = {"id": cast.SESSION}
    replies = [
        await api.ask(as_anon, START, input={}),
        await api.ask(as_anon, HEARTBEAT, input={**given, "counter": 1, "visibleSeconds": 20}),
        await api.ask(as_anon, END, input=given),
        await api.ask(as_anon, SESSIONS),
    ]

    assert {reply.code for reply in replies} == {"UNAUTHENTICATED"}


@pytest.mark.parametrize("who", ["visitor", "suspended", "super_admin"])
async def test_only_active_members_start_sessions(api: Api, request: pytest.FixtureRequest, who: str) -> None:
    person: Person = request.getfixturevalue(f"as_{who}")

    reply = await api.ask(person, START, input={})

    assert (reply.code, reply.error["message"]) == (
        "FORBIDDEN",
        "Only active members of a community have learning sessions in it.",
    )


@pytest.mark.parametrize("who", ["peer", "admin", "super_admin", "other_learner", "suspended"])
async def test_nobody_changes_anothers_session(
    api: Api, database: Database, request: pytest.FixtureRequest, who: str
) -> None:
    person: Person = request.getfixturevalue(f"as_{who}")
    theirs = going_on(database, age=MINUTE)

    for session in (theirs, uuid4()):
        replies = [
            await beat(api, person, session, 1, 20),
            await api.ask(person, END, input={"id": session}),
        ]
        assert {reply.code for reply in replies} == {"FORBIDDEN" if who == "suspended" else "NOT_FOUND"}
    assert database.run(
        "select heartbeats, ended_at from public.learning_sessions where id = %s", theirs
    ) == [(0, None)]


def test_nobody_writes_sessions_but_by_their_functions(as_learner: Person, as_admin: Person) -> None:
    for person in (as_learner, as_admin):
        for statement in (
            "update public.learning_sessions set active_seconds = 3600",
            "insert into public.learning_sessions (community_id, user_id) values (auth.uid(), auth.uid())",
            "delete from public.learning_sessions",
            f"select private.end_idle_sessions('{cast.ALPHA}', 1)",
        ):
            assert refusal(person, statement).startswith("42501")


async def test_learners_see_their_own_admins_everybodys(
    api: Api, as_learner: Person, as_admin: Person, as_super_admin: Person, as_other_community: Person
) -> None:
    mine, all_of_them = await sessions(api, as_learner), await sessions(api, as_admin)
    elsewhere = await sessions(api, as_other_community)

    assert [s["id"] for s in mine] == [str(cast.SESSION)]
    assert {s["id"] for s in all_of_them} == {str(cast.SESSION), str(cast.PEER_SESSION)}
    assert await sessions(api, as_super_admin) == all_of_them
    assert [s["id"] for s in elsewhere] == [str(cast.OTHER_SESSION)]
    assert await sessions(api, as_learner, userId=cast.PEER.id) == []
    assert mine[0]["member"] == {"userId": str(cast.LEARNER.id)}


async def test_filters(api: Api, database: Database, as_admin: Person) -> None:
    going, silent = (
        going_on(database, age=HOUR, silent=silent, user=user, tabs=[0])
        for user, silent in ((cast.LEARNER.id, 60), (cast.PEER.id, 31 * MINUTE))
    )
    past = {str(cast.SESSION), str(cast.PEER_SESSION)}
    day = "2026-10-01T09:00:00Z"

    async def found(**conditions: Any) -> set[str]:
        return {s["id"] for s in await sessions(api, as_admin, **conditions)}

    assert await found(open=True) == {str(going)}
    assert await found(open=False) == {*past, str(silent)}
    assert await found(userId=cast.PEER.id) == {str(cast.PEER_SESSION), str(silent)}
    assert await found(contentId=cast.COURSE) == past
    assert await found(contentId=cast.COURSE, userId=cast.LEARNER.id) == {str(cast.SESSION)}
    assert await found(**{"from": day, "until": "2026-10-01T09:00:01Z"}) == past
    assert await found(until=day) == set()


async def test_a_session_from_start_to_end(api: Api, as_learner: Person) -> None:
    started = await start(api, as_learner, cast.BLOCKS[1])
    session = started["session"]
    beaten = (await beat(api, as_learner, session["id"], 1, 20)).data["heartbeatSession"]["session"]
    ended = await end(api, as_learner, session["id"])
    again = await end(api, as_learner, session["id"])
    late = await beat(api, as_learner, session["id"], 2, 20)

    assert (started["tab"], session["contentId"]) == (1, str(cast.BLOCKS[1]))
    assert session["endedAt"] is None
    assert beaten["activeSeconds"] <= 1  # no more than have passed
    assert moment(ended["startedAt"]) < moment(ended["endedAt"])
    assert again == ended
    assert (late.code, late.error["message"]) == (
        "FAILED_PRECONDITION",
        "This session has ended. Start a new one with startSession.",
    )
    assert (await start(api, as_learner))["session"]["id"] != session["id"]


async def test_a_heartbeat_is_one_statement(api: Api, as_learner: Person) -> None:
    session = (await start(api, as_learner))["session"]["id"]

    reply = await beat(api, as_learner, session, 1, 20)

    assert len(reply.statements) == 2  # the function, and what became of it


@pytest.mark.parametrize("content", [cast.COURSE, cast.BLOCKS[2]])
async def test_what_it_is_about_is_in_the_community(api: Api, as_learner: Person, content: UUID) -> None:
    assert (await start(api, as_learner, content))["session"]["contentId"] == str(content)


@pytest.mark.parametrize(
    "content",
    [cast.DRAFT_COURSE, cast.DRAFT_BLOCK, cast.DROPPED_BLOCK, cast.OTHER_COURSE, cast.PUBLISHED, uuid4()],
)
async def test_what_nobody_may_see_is_not_there(api: Api, as_learner: Person, content: UUID) -> None:
    reply = await api.ask(as_learner, START, input={"contentId": content})

    assert (reply.code, reply.field) == ("NOT_FOUND", "contentId")
    assert reply.error["message"] == "There is no block or course with this id in your community."


@pytest.mark.parametrize("content", [cast.DRAFT_COURSE, cast.DRAFT_BLOCK])
async def test_admins_try_drafts(api: Api, as_admin: Person, content: UUID) -> None:
    assert (await start(api, as_admin, content))["session"]["contentId"] == str(content)


@pytest.mark.parametrize(
    ("first", "second", "covering"),
    [
        (cast.BLOCKS[1], cast.BLOCKS[1], cast.BLOCKS[1]),
        (cast.BLOCKS[1], cast.BLOCKS[2], cast.COURSE),
        (cast.COURSE, cast.BLOCKS[1], cast.COURSE),
        (cast.BLOCKS[1], cast.SECOND_COURSE, None),
        (cast.BLOCKS[1], None, None),
        (None, None, None),
    ],
)
async def test_a_second_tab_joins_and_the_content_covers_both(
    api: Api, as_learner: Person, first: UUID, second: UUID, covering: UUID
) -> None:
    for one, other in ((first, second), (second, first)):
        begun, joined = await start(api, as_learner, one), await start(api, as_learner, other)

        assert joined["session"]["id"] == begun["session"]["id"]
        assert (begun["tab"], joined["tab"]) == (1, 2)
        assert joined["session"]["contentId"] == (covering and str(covering))
        await end(api, as_learner, begun["session"]["id"])


async def test_a_person_in_two_communities_has_sessions_in_both(api: Api, as_traveller: Person) -> None:
    elsewhere = as_traveller.claiming(app_metadata={"community_id": str(cast.BETA)})

    here, there = await start(api, as_traveller), await start(api, elsewhere)

    assert here["session"]["id"] != there["session"]["id"]
    assert (await beat(api, elsewhere, here["session"]["id"], 1, 20)).code == "NOT_FOUND"
    assert len(await sessions(api, as_traveller)) == len(await sessions(api, elsewhere)) == 1


async def test_seconds_come_from_heartbeats_and_gaps_count_a_minute(
    api: Api, database: Database, as_learner: Person
) -> None:
    session = going_on(database, age=HOUR)

    counted = [
        await active(api, as_learner, session, counter, visible, elapsedSeconds=elapsed)
        for counter, visible, elapsed in (
            (1, 20, 20), (2, 20.5, 40.5), (3, 19.5, 60), (4, 600, 660), (5, 0, 680), (6, 5.5, 700),
        )
    ]  # fmt: skip

    assert counted == [20, 40, 60, 120, 120, 126]


async def test_two_tabs_at_once_count_once(api: Api, database: Database, as_learner: Person) -> None:
    session = going_on(database, age=HOUR, tabs=[0, 30])

    assert await active(api, as_learner, session, 1, 60, elapsedSeconds=60) == 60
    assert await active(api, as_learner, session, 1, 60, tab=2, elapsedSeconds=60) == 90
    assert await active(api, as_learner, session, 2, 30, tab=2, elapsedSeconds=30) == 90


async def test_the_same_heartbeat_again_changes_nothing(
    api: Api, database: Database, as_learner: Person
) -> None:
    session = going_on(database, age=HOUR, silent=MINUTE)
    row = "select to_jsonb(s) from public.learning_sessions as s where id = %s"

    await beat(api, as_learner, session, 1, 20, elapsedSeconds=100)
    first = database.run(row, session)
    await beat(api, as_learner, session, 1, 20, elapsedSeconds=100)
    await beat(api, as_learner, session, 1, 60, elapsedSeconds=2000)

    assert database.run(row, session) == first
    ended = await end(api, as_learner, session)
    again = await beat(api, as_learner, session, 1, 20, elapsedSeconds=100)
    assert again.data["heartbeatSession"]["session"] == ended


@pytest.mark.parametrize("visible", [60, 61, 10**9, 1e300])
@pytest.mark.parametrize("elapsed", [0, 25.0, 10**9, 1e300, None])
async def test_a_client_that_lies_gets_no_more_than_has_passed(
    api: Api, database: Database, as_learner: Person, visible: float, elapsed: float | None
) -> None:
    session = going_on(database, age=30)

    for counter in range(1, 20):
        counted = await active(api, as_learner, session, counter, visible, elapsedSeconds=elapsed)

    passed = database.run(
        "select extract(epoch from now() - started_at) from public.learning_sessions where id = %s", session
    )
    assert counted <= passed[0][0] < 60
    assert counted == {0: 0, 25.0: 25}.get(elapsed or 0 if elapsed is not None else -1, counted)
    assert counted >= 30 or elapsed in (0, 25.0)


async def test_a_tab_claims_nothing_from_before_it_joined(
    api: Api, database: Database, as_learner: Person
) -> None:
    session = going_on(database, age=HOUR, tabs=[0, HOUR - 10])

    assert await active(api, as_learner, session, 1, 60, tab=2) in (10, 11)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"counter": 0}, "counter"),
        ({"counter": 1_000_001}, "counter"),
        ({"visibleSeconds": -0.1}, "visibleSeconds"),
        ({"elapsedSeconds": -1}, "elapsedSeconds"),
        ({"tab": 0}, "tab"),
        ({"tab": 2}, "tab"),
        ({"tab": 501}, "tab"),
    ],
)
async def test_what_cannot_be_is_refused(
    api: Api, database: Database, as_learner: Person, changed: dict[str, Any], field: str
) -> None:
    session = going_on(database, age=HOUR)

    reply = await api.ask(
        as_learner, HEARTBEAT, input={"id": session, "counter": 1, "visibleSeconds": 20, **changed}
    )

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", field)


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_no_number_of_postgres_is_too_large(database: Database, as_learner: Person, value: str) -> None:
    """GraphQL has no such numbers; REST takes them as text."""
    session = going_on(database, age=30)
    told = {"id": str(session), "counter": 1, "visible_seconds": value, "elapsed_seconds": value}

    as_learner.sql(BEATEN, Jsonb(told))

    ((counted,),) = database.run("select active_seconds from public.learning_sessions where id = %s", session)
    assert 30 <= counted < 60


async def test_too_many_heartbeats_are_refused(api: Api, database: Database, as_learner: Person) -> None:
    session = going_on(database, age=50)

    replies = [await beat(api, as_learner, session, counter, 1) for counter in range(1, 40)]

    taken = [reply for reply in replies if "errors" not in reply.json]
    assert 30 <= len(taken) < 39
    assert replies[-1].code == "FAILED_PRECONDITION"
    assert "every 15 to 30 seconds" in replies[-1].error["message"]


async def test_after_half_an_hour_of_silence_it_has_ended(
    api: Api, database: Database, as_learner: Person
) -> None:
    session = going_on(database, age=HOUR, silent=31 * MINUTE)
    began_to_be_silent = timedelta(minutes=29)

    shown = (await sessions(api, as_learner, open=False))[0]
    reply = await beat(api, as_learner, session, 1, 20)
    next_one = (await start(api, as_learner))["session"]
    ended = await end(api, as_learner, session)

    assert (reply.code, reply.error["message"]) == (
        "FAILED_PRECONDITION",
        "This session ended with its last heartbeat, for nothing followed. Start a new one with startSession.",
    )
    assert next_one["id"] != str(session)
    assert shown["id"] == ended["id"] == str(session)
    assert shown["endedAt"] == ended["endedAt"]
    assert moment(ended["endedAt"]) - moment(ended["startedAt"]) == began_to_be_silent


async def test_ending_a_silent_session_ends_it_when_the_silence_began(
    api: Api, database: Database, as_learner: Person
) -> None:
    session = going_on(database, age=HOUR, silent=40 * MINUTE)

    ended = await end(api, as_learner, session)

    assert moment(ended["endedAt"]) - moment(ended["startedAt"]) == timedelta(minutes=20)


async def test_a_heartbeat_within_half_an_hour_goes_on(
    api: Api, database: Database, as_learner: Person
) -> None:
    session = going_on(database, age=HOUR, silent=29 * MINUTE)

    assert await active(api, as_learner, session, 1, 20) in (20, 21)
    assert (await start(api, as_learner))["session"]["id"] == str(session)


async def test_no_session_is_longer_than_twelve_hours(
    api: Api, database: Database, as_learner: Person
) -> None:
    session = going_on(database, age=12 * HOUR + 20 * MINUTE, silent=25 * MINUTE)

    reply = await beat(api, as_learner, session, 1, 20)
    ended = await end(api, as_learner, session)

    assert reply.code == "FAILED_PRECONDITION"
    assert "12 hours" in reply.error["message"]
    assert moment(ended["endedAt"]) - moment(ended["startedAt"]) == timedelta(hours=12)


async def test_a_session_of_twelve_hours_or_many_tabs_is_not_joined(
    api: Api, database: Database, as_learner: Person, as_peer: Person
) -> None:
    for person, user, age, tabs in (
        (as_learner, cast.LEARNER.id, 12 * HOUR + 1, 1),
        (as_peer, cast.PEER.id, HOUR, 500),
    ):
        old = going_on(database, age=age, silent=5, user=user, tabs=[0] * tabs)
        started = await start(api, person)
        assert started["tab"] == 1
        assert started["session"]["id"] != str(old)
        assert len(await sessions(api, person, open=True)) == 1


def test_the_worker_ends_silent_sessions_when_their_silence_began(database: Database) -> None:
    for user, community, silent in (
        (cast.LEARNER.id, cast.ALPHA, 31 * MINUTE),
        (cast.PEER.id, cast.ALPHA, 10 * HOUR),
        (cast.SUSPENDED.id, cast.ALPHA, 50 * MINUTE),
        (cast.ADMIN.id, cast.ALPHA, 29 * MINUTE),
        (cast.OTHER_LEARNER.id, cast.BETA, 45 * MINUTE),
    ):
        going_on(database, age=silent + MINUTE, silent=silent, user=user, community=community)
    sweep = "select private.end_idle_sessions(%s, %s)"
    asked = (
        (cast.ALPHA, -1),
        (cast.ALPHA, 0),
        (cast.ALPHA, 2),
        (cast.ALPHA, 100),
        (cast.BETA, 100),
        (cast.BETA, 100),
    )

    counts = [database.run_as("gym_worker", sweep, community, most)[0][0] for community, most in asked]

    assert counts == [0, 0, 2, 1, 1, 0]
    ended = "select ended_at = last_seen_at, ended_at - started_at from public.learning_sessions where ended_at > %s"
    assert database.run(ended, datetime(2026, 10, 2)) == [(True, timedelta(minutes=1))] * 4
    assert database.run("select count(*) from public.learning_sessions where ended_at is null") == [(2,)]


def test_a_session_that_somebody_writes_now_is_left_alone(database: Database, as_learner: Person) -> None:
    session = going_on(database, age=HOUR, silent=30 * MINUTE - 1)
    sweep = f"select private.end_idle_sessions('{cast.ALPHA}', 100)"
    told = {"id": str(session), "counter": 1, "visible_seconds": 20}

    with as_learner.transaction() as connection:
        connection.execute(BEATEN, [Jsonb(told)])
        database.run("select pg_sleep(1.1)")
        assert database.run_as("gym_worker", sweep) == [(0,)]

    assert database.run_as("gym_worker", sweep) == [(0,)]


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[float], list[Heartbeat], list[Heartbeat]]:
    """When tabs joined, their heartbeats, and all of these as they arrive: in any order, some of them repeated."""
    joined = [0.0, *draw(st.lists(st.integers(0, 3000).map(lambda n: n / 4), max_size=3))]
    quarters = st.integers(0, 2880).map(lambda n: n / 4)
    made = [
        Heartbeat(tab, counter, draw(quarters) / 6, draw(quarters))
        for tab in range(1, len(joined) + 1)
        for counter in range(1, draw(st.integers(0, 12)) + 1)
    ]
    again = draw(st.lists(st.sampled_from(made), max_size=8)) if made else []
    return joined, made, draw(st.permutations(made + again))


@contextmanager
def at_work(database: Database, person: Person) -> Iterator[psycopg.Connection[TupleRow]]:
    """Somebody's transaction, of which nothing stays."""
    with database.connect() as connection, connection.transaction(force_rollback=True):
        put_on(connection, person.role, person.claims_text)
        yield connection


def beaten(connection: psycopg.Connection[TupleRow], session: UUID, sent: Sequence[Heartbeat]) -> TupleRow:
    """What is stored of a session after heartbeats."""
    for heartbeat in sent:
        connection.execute(BEATEN, [Jsonb(heartbeat.given(session))])
    row = connection.execute(
        """select active_seconds, heartbeats, (select array_agg(n order by n) from unnest(active) as r,
           generate_series(lower(r), upper(r) - 1) as n) from public.learning_sessions where id = %s""",
        [session],
    ).fetchone()
    assert row is not None
    return row


@pytest.fixture
def hour(database: Database) -> UUID:
    """A session of the learner's, an hour old, of four tabs."""
    return going_on(database, age=HOUR, tabs=[0] * 4)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams())
def test_any_order_repetition_and_overlap_give_the_union(
    database: Database,
    as_learner: Person,
    hour: UUID,
    stream: tuple[list[float], list[Heartbeat], list[Heartbeat]],
) -> None:
    joined, made, sent = stream
    expected = seconds_of(made, joined, HOUR)
    tabs = """update public.learning_sessions set tabs = array(
        select started_at + t * interval '1 second' from unnest(%s::float[]) as t) where id = %s"""

    with at_work(database, as_learner) as connection:
        connection.execute("reset role")
        connection.execute(tabs, [joined, hour])
        connection.execute("set local role authenticated")
        counted, heartbeats, seconds = beaten(connection, hour, sent)

    assert set(seconds or ()) == expected
    assert (counted, heartbeats) == (len(expected), len(made))


def test_tabs_at_the_same_moment_lose_nothing_and_double_nothing(
    database: Database, as_learner: Person
) -> None:
    joined = [0, 7, 300, 555]
    session = going_on(database, age=HOUR, tabs=joined)
    streams = [
        [Heartbeat(tab, counter, 20, counter * 20 + tab) for counter in range(1, 31)] for tab in range(1, 5)
    ]

    def one_tab(sent: list[Heartbeat]) -> None:
        for heartbeat in [*sent[::2], *sent[1::2], *sent[:5]]:
            as_learner.sql(BEATEN, Jsonb(heartbeat.given(session)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one_tab, streams * 2))

    stored = database.run(
        "select active_seconds, heartbeats from public.learning_sessions where id = %s", session
    )
    made = [heartbeat for sent in streams for heartbeat in sent]
    assert stored == [(len(seconds_of(made, joined, HOUR)), len(made))]


def test_tabs_that_start_at_the_same_moment_share_a_session(as_learner: Person) -> None:
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: as_learner.sql("select public.start_session('{}')")[0][0], range(8)))

    assert len({payload["session_id"] for payload in told}) == 1
    assert sorted(payload["tab"] for payload in told) == list(range(1, 9))


def test_a_heartbeat_touches_no_index(database: Database, as_learner: Person) -> None:
    """It finds room on the page of its row, so that none of the indexes learns of it."""
    session = going_on(database, age=HOUR)
    question = (
        "select n_tup_upd, n_tup_hot_upd from pg_stat_xact_user_tables where relname = 'learning_sessions'"
    )

    with at_work(database, as_learner) as connection:
        for counter in range(1, 6):
            beaten(connection, session, [Heartbeat(1, counter, 20, counter * 20)])
        assert connection.execute(question).fetchone() == (5, 5)


def test_who_goes_takes_their_sessions_along(database: Database) -> None:
    database.run("delete from public.memberships where user_id = %s", cast.PEER.id)

    assert database.run("select count(*) from public.learning_sessions where user_id = %s", cast.PEER.id) == [
        (0,)
    ]


async def test_a_suspended_member_is_shown_to_have_left_off(
    api: Api, database: Database, as_learner: Person, as_admin: Person
) -> None:
    session = (await start(api, as_learner))["session"]["id"]
    database.run("update public.memberships set status = 'suspended' where user_id = %s", cast.LEARNER.id)

    assert (await beat(api, as_learner, session, 1, 20)).code == "FORBIDDEN"
    assert (await api.ask(as_learner, END, input={"id": session})).code == "FORBIDDEN"
    silent = """update public.learning_sessions
        set started_at = started_at - interval '1 hour', last_seen_at = started_at - interval '1 hour' where id = %s"""
    database.run(silent, session)
    (shown,) = await sessions(api, as_admin, userId=cast.LEARNER.id, **{"from": "2026-10-02T00:00:00Z"})
    assert shown["endedAt"] == shown["startedAt"]
