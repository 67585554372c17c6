"""Subscriptions answer again when their answer changes: to whom, when, how often; and they end when nothing is seen."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from resolvers.errors import ApiError
from resolvers.identity import Identity
from resolvers.live.groups import _who
from tests import cast
from tests.api import Api, api_of
from tests.course_documents import block
from tests.databases import Database
from tests.people import Person
from tests.progressing import OVERRIDE, act, enroll, event, offer, record, teach
from tests.watching import ENROLLMENTS, PROGRESS, House, house_of

LENA = str(cast.LEARNER.id)
DUE = """update public.program_enrollments set due_at = now() + interval '1 day'
    where user_id = %s and program_id = %s"""


@pytest.fixture
async def house(api: Api) -> AsyncIterator[House]:
    async with house_of(api) as house:
        yield house


@pytest.fixture
async def course(api: Api, as_admin: Person) -> str:
    return await teach(api, as_admin, block(1), block(2), block(3, required=False))


@pytest.fixture
async def program(api: Api, as_admin: Person, as_learner: Person, course: str) -> str:
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)
    return program


async def test_the_first_answer_comes_at_once_and_others_when_they_differ(
    api: Api, house: House, as_learner: Person, program: str
) -> None:
    seat = await house.seat(as_learner, PROGRESS, program=program)
    first = await seat.next()

    await record(api, as_learner, event(1))
    half = await seat.next()
    await record(api, as_learner, event(1), event(3))
    nothing_new = await seat.is_silent()
    await record(api, as_learner, event(2))

    assert first == {"status": "NOT_STARTED", "percent": 0.0, "courses": [{"percent": 0.0}]}
    assert half == {"status": "IN_PROGRESS", "percent": 50.0, "courses": [{"percent": 50.0}]}
    assert nothing_new
    assert (await seat.next())["status"] == "COMPLETED"


async def test_what_admins_do_is_told_as_well(
    api: Api, house: House, as_admin: Person, course: str, program: str
) -> None:
    seat = await house.seat(as_admin, PROGRESS, program=program, user=LENA)
    await seat.next()

    done = {"userId": LENA, "blockId": event(1)["blockId"], "value": 1, "reason": "Seen"}
    await act(api, as_admin, OVERRIDE, **done)
    overridden = await seat.next()
    await teach(api, as_admin, block(1), block(2), block(4), course_id=course)

    assert overridden["percent"] == 50
    assert await seat.is_silent()  # the enrolment stays in its version


async def test_those_who_watch_the_same_share_a_look(
    api: Api, house: House, as_admin: Person, as_learner: Person, program: str
) -> None:
    same = [await house.seat(as_admin, PROGRESS, program=program, user=LENA) for _ in range(20)]
    other = await house.seat(as_learner, PROGRESS, program=program)
    for seat in (*same, other):
        await seat.next()
    api.database.seen.clear()

    await record(api, as_learner, event(1))
    told = [await seat.next() for seat in (*same, other)]

    looks = [s for s in api.database.seen if "private.program_progress" in s.sql]
    assert len(looks) == 2
    assert [value["percent"] for value in told] == [50.0] * 21


async def test_a_later_one_hears_what_is_known_without_a_look(
    api: Api, house: House, as_learner: Person, program: str
) -> None:
    await (await house.seat(as_learner, PROGRESS, program=program)).next()
    api.database.seen.clear()

    later = await (await house.seat(as_learner, PROGRESS, program=program)).next()

    assert (later["percent"], api.database.seen) == (0.0, [])


async def test_whoever_leaves_costs_nothing_more(
    api: Api, house: House, as_learner: Person, program: str
) -> None:
    seat = await house.seat(as_learner, PROGRESS, program=program)
    await seat.next()
    house.leave(seat)
    api.database.seen.clear()

    await record(api, as_learner, event(1))
    await asyncio.sleep(0.1)

    assert [s for s in api.database.seen if "private.program_progress" in s.sql] == []


async def test_whoever_comes_as_the_last_one_leaves_hears_all(
    api: Api, house: House, as_admin: Person, as_learner: Person, program: str
) -> None:
    async def come_and_go() -> None:
        house.leave(await house.seat(as_admin, PROGRESS, program=program, user=LENA))

    _, seat = await asyncio.gather(come_and_go(), house.seat(as_learner, PROGRESS, program=program))
    await seat.next()

    await record(api, as_learner, event(1))

    assert (await seat.next())["percent"] == 50


async def test_what_is_nobodys_to_see_is_not_there_to_watch(
    house: House, as_peer: Person, as_other_community: Person, as_suspended: Person, program: str
) -> None:
    for person, user in (
        (as_peer, None),
        (as_peer, LENA),
        (as_other_community, LENA),
        (as_other_community, None),
        (as_suspended, LENA),
    ):
        seat = await house.seat(person, PROGRESS, program=program, user=user)

        assert (await seat.end_code(), seat.told.empty()) == ("NOT_FOUND", True)


async def test_signed_out_nothing_is_watched(house: House, as_anon: Person, program: str) -> None:
    with pytest.raises(ApiError) as refused:
        await house.seat(as_anon, PROGRESS, program=program)

    assert refused.value.code == "UNAUTHENTICATED"


@pytest.mark.parametrize("document", [PROGRESS, ENROLLMENTS])
async def test_a_membership_that_ends_silences_it(
    house: House, database: Database, as_learner: Person, program: str, document: str
) -> None:
    seat = await house.seat(as_learner, document, program=program)
    if document == PROGRESS:
        await seat.next()

    database.run("update public.memberships set status = 'left' where user_id = %s", LENA)
    code = await asyncio.wait_for(seat.end_code(), 1)
    database.run(
        "update public.program_enrollments set due_at = now() where user_id = %s and program_id = %s",
        LENA,
        program,
    )

    assert code in ("NOT_FOUND", "FORBIDDEN")
    assert seat.told.empty()


async def test_an_admin_who_is_none_any_more_sees_nothing_more_of_others(
    house: House, database: Database, as_admin: Person, program: str
) -> None:
    watching = await house.seat(as_admin, PROGRESS, program=program, user=LENA)
    hearing = await house.seat(as_admin, ENROLLMENTS, program=program)
    await watching.next()

    # Somebody else stays an admin: the last one cannot go.
    database.run("update public.memberships set role = 'community_admin' where user_id = %s", cast.PEER.id)
    database.run("update public.memberships set role = 'end_user' where user_id = %s", cast.ADMIN.id)

    assert await watching.end_code() == "NOT_FOUND"
    await asyncio.sleep(0.1)
    database.run(
        "update public.program_enrollments set due_at = now() where user_id = %s and program_id = %s",
        LENA,
        program,
    )
    assert await hearing.is_silent()


async def test_transactions_that_overtake_each_other_are_all_told(
    api: Api, house: House, database: Database, as_admin: Person, as_peer: Person, program: str
) -> None:
    await enroll(api, as_peer, program)
    hearing = await house.seat(as_admin, ENROLLMENTS, program=program)
    await asyncio.sleep(0.1)

    with database.connect() as slow:
        # Written first and seen last: in the outbox, its row has a lower number than the other.
        slow.execute(DUE, [cast.PEER.id, program])
        database.run(DUE, LENA, program)
        first = await hearing.next()
        between = await hearing.is_silent(0.05)
    second = await hearing.next()

    assert [heard["member"]["userId"] for heard in (first, second)] == [LENA, str(cast.PEER.id)]
    assert between


def _record_with_sql(person: Person, number: int) -> None:
    with person.transaction() as connection:
        told = {
            "event_id": str(uuid4()),
            "block_id": event(number)["blockId"],
            "value": 1,
            "occurred_at": "2026-11-01T09:00:00Z",
        }
        connection.execute("select public.record_progress(%s)", [Jsonb({"events": [told]})])


async def test_a_long_transaction_keeps_nobody_from_hearing(
    api: Api, house: House, database: Database, as_learner: Person, as_admin: Person, program: str
) -> None:
    seat = await house.seat(as_learner, PROGRESS, program=program)
    hearing = await house.seat(as_admin, ENROLLMENTS, program=program)
    await seat.next()

    with database.connect() as importing:
        importing.execute(
            "insert into public.program_enrollments (community_id, program_id, user_id) values (%s, %s, %s)",
            [cast.ALPHA, program, cast.PEER.id],
        )
        await record(api, as_learner, event(1))
        meanwhile = (await seat.next())["percent"]
        unheard = await hearing.is_silent()
    imported = await hearing.next()

    assert (meanwhile, unheard) == (50.0, True)
    assert imported["member"]["userId"] == str(cast.PEER.id)


async def test_each_change_of_an_enrolment_is_told_to_those_who_see_it(
    api: Api,
    house: House,
    database: Database,
    as_admin: Person,
    as_learner: Person,
    as_peer: Person,
    as_other_community: Person,
    program: str,
) -> None:
    seats = {
        who: await house.seat(person, ENROLLMENTS, program=program)
        for who, person in {
            "admin": as_admin,
            "learner": as_learner,
            "peer": as_peer,
            "other": as_other_community,
        }.items()
    }
    elsewhere = await house.seat(as_admin, ENROLLMENTS, program=str(cast.PUBLISHED))
    await asyncio.sleep(0.1)

    await enroll(api, as_peer, program)
    heard = [await seats["admin"].next()]
    database.run("update public.program_enrollments set status = 'paused' where program_id = %s", program)
    heard += [await seats["admin"].next() for _ in range(2)]

    assert [(h["member"]["userId"], h["status"]) for h in heard[:1]] == [(str(cast.PEER.id), "ACTIVE")]
    assert {(h["member"]["userId"], h["status"]) for h in heard[1:]} == {
        (str(cast.PEER.id), "PAUSED"),
        (LENA, "PAUSED"),
    }
    assert [(await seats["peer"].next())["status"] for _ in range(2)] == ["ACTIVE", "PAUSED"]
    assert (await seats["learner"].next())["status"] == "PAUSED"
    for seat in (*seats.values(), elsewhere):
        assert await seat.is_silent(0.05)


async def test_what_changes_as_soon_as_it_is_watched_is_heard(
    house: House, database: Database, as_admin: Person, as_learner: Person, program: str
) -> None:
    for person in (as_admin, as_learner):
        seat = await house.seat(person, ENROLLMENTS, program=program)
        # Before the server could know whose enrolments they see: in this turn of the loop.
        database.run(DUE, LENA, program)

        assert (await seat.next())["member"]["userId"] == LENA


def test_sessions_of_one_person_are_one_and_ways_to_sign_in_are_not() -> None:
    def told(**claims: Any) -> bytes:
        return _who(Identity("authenticated", json.dumps({"sub": LENA, **claims}), cast.LEARNER.id, None, 0))

    password = {"method": "password", "timestamp": 1}
    first = told(exp=1, session_id="a", amr=[password])

    assert told(exp=2, session_id="b", amr=[{**password, "timestamp": 2}]) == first
    for other in (
        {"amr": [password, {"method": "totp", "timestamp": 1}]},
        {"aal": "aal2", "amr": [password]},
    ):
        assert told(**other) != first


async def test_every_process_hears_of_every_write(
    api: Api, database: Database, house: House, as_learner: Person, program: str
) -> None:
    async with api_of(database) as elsewhere, house_of(elsewhere) as second:
        seats = [await h.seat(as_learner, PROGRESS, program=program) for h in (house, second)]
        for seat in seats:
            await seat.next()

        await record(api, as_learner, event(1))

        assert [(await seat.next())["percent"] for seat in seats] == [50.0, 50.0]


async def test_losing_the_database_is_survived_and_nothing_is_missed(
    house: House, database: Database, as_learner: Person, as_admin: Person, program: str
) -> None:
    seat = await house.seat(as_learner, PROGRESS, program=program)
    hearing = await house.seat(as_admin, ENROLLMENTS, program=program)
    await seat.next()
    await asyncio.sleep(0.1)

    database.run_as(
        "supabase_admin",
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
        " and usename = 'gym_api'",
    )
    _record_with_sql(as_learner, 1)
    database.run("update public.program_enrollments set status = 'paused' where program_id = %s", program)

    values = [await seat.next()]
    assert values[-1]["percent"] == 50.0
    assert (await hearing.next())["status"] == "PAUSED"
