"""What statements come to: the same as events, and kept with the reason where they come to nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from tests import cast
from tests.api import Api
from tests.course_documents import block_id
from tests.databases import Database
from tests.people import Person
from tests.progressing import completions, course_progress, event, record, teach
from tests.stating import BLOCKS, CMI5, PROGRESS, REASON, VIDEO_PROGRESS, Said, Xapi, account, kept, statement

LEARNER, PEER, ADMIN = cast.LEARNER, cast.PEER, cast.ADMIN


@pytest.fixture
async def course(api: Api, as_admin: Person) -> str:
    return await teach(api, as_admin, *BLOCKS)


SCALED = {"score": {"scaled": 0.755}}
MAPPED: list[tuple[str, Said, float, float | None, bool | None]] = [
    ("completed", {}, 1, None, None),
    ("completed", {"completion": True, **SCALED}, 1, 75.5, None),
    ("completed", {"completion": False}, 0, None, None),
    ("passed", {"success": True, **SCALED}, 1, 75.5, None),
    ("passed", {"success": False, **SCALED}, 0, 75.5, None),
    ("failed", {"success": False, "completion": True, **SCALED}, 0, 75.5, None),
    (f"{CMI5}satisfied", {}, 1, None, None),
    ("progressed", {"extensions": {PROGRESS: 40}}, 0.4, None, None),
    ("progressed", {"extensions": {PROGRESS: 1}}, 0.01, None, None),
    ("progressed", {"extensions": {PROGRESS: 100}}, 1, None, None),
    ("progressed", {"extensions": {VIDEO_PROGRESS: 0.25}}, 0.25, None, None),
    ("progressed", {"extensions": {VIDEO_PROGRESS: 1}}, 1, None, None),
    ("answered", {"success": True, "score": {"raw": 3, "min": 1, "max": 5}}, 0, 50, True),
    ("answered", {"success": False, "completion": True}, 1, None, False),
    ("answered", {"response": "42"}, 0, None, None),
    ("scored", {"score": {"raw": 3, "max": 4}}, 0, 75, None),
    ("scored", {"score": {"raw": 3}}, 0, None, None),
    ("scored", {"score": {"scaled": -0.5}, "completion": True}, 1, 0, None),
    ("experienced", {}, 0, None, None),
    ("launched", {}, 0, None, None),
    ("attempted", {}, 0, None, None),
    ("initialized", {"extensions": {PROGRESS: 10}}, 0.1, None, None),
]


@pytest.mark.parametrize(("verb", "result", "value", "score", "correct"), MAPPED)
async def test_a_statement_does_what_its_event_does(
    xapi: Xapi,
    api: Api,
    database: Database,
    course: str,
    as_learner: Person,
    as_peer: Person,
    verb: str,
    result: Said,
    value: float,
    score: float | None,
    correct: bool | None,
) -> None:
    when = datetime.now(UTC).isoformat()
    said = {**statement(LEARNER, verb, timestamp=when), **({"result": result} if result else {})}
    more = {"score": score, "correct": correct, "occurredAt": when}

    await xapi.stored(LEARNER, said)
    told = await record(api, as_peer, event(2, value, **{k: v for k, v in more.items() if v is not None}))

    assert told["results"][0]["status"] == "ACCEPTED"
    assert kept(database, said) == ("accepted", None)
    done = (await completions(api, as_learner))[block_id(2)]
    also_done = (await completions(api, as_peer))[block_id(2)]
    for found in (done, also_done):
        del found["member"]
        found["completedAt"] = found["completedAt"] and found["completedAt"][:19]
    assert done == also_done
    assert done["value"] == value
    same = await course_progress(api, as_learner, course), await course_progress(api, as_peer, course)
    numbers = [{key: value for key, value in told.items() if key in NUMBERS} for told in same]
    assert numbers[0] == numbers[1]


NUMBERS = {"status", "doneRequired", "totalRequired", "earned", "possible", "percent", "nextBlock"}


@pytest.mark.usefixtures("course")
@pytest.mark.parametrize(
    "address", ["urn:uuid:{}", "https://x.example/courses/7/blocks/{}", "HTTPS://x/blocks/{}"]
)
async def test_a_block_is_named_in_two_ways(xapi: Xapi, api: Api, as_learner: Person, address: str) -> None:
    await xapi.stored(LEARNER, statement(LEARNER, block=address.format(block_id(2).upper())))

    assert (await completions(api, as_learner))[block_id(2)]["value"] == 1


@pytest.mark.usefixtures("course")
async def test_when_it_happened_and_when_it_came_are_two_clocks(xapi: Xapi, database: Database) -> None:
    happened = datetime.now(UTC) - timedelta(hours=5)
    said, untimed = statement(LEARNER, timestamp=happened.isoformat()), statement(LEARNER, block=3)

    await xapi.stored(LEARNER, said, untimed)

    events = database.run("select event_id::text, occurred_at from public.progress_events")
    statements = database.run("select id::text, stored_at from public.xapi_statements")
    times, stored = ({one: moment for one, moment in rows} for rows in (events, statements))  # noqa: C416
    assert times[said["id"]] == happened
    assert stored[said["id"]] > happened + timedelta(hours=4)
    assert times[untimed["id"]] == stored[untimed["id"]]


@pytest.mark.usefixtures("course")
@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        (statement(LEARNER, block=99), "rejected", "There is no block with this id"),
        (statement(LEARNER, block=1), "rejected", "complete when what is in it is"),
        (statement(LEARNER, block=5), "accepted", "this block never counts"),
        (statement(LEARNER, timestamp="1850-01-01T00:00:00Z"), "rejected", "occurredAt can be"),
        (statement(LEARNER, "progressed", result={"extensions": {PROGRESS: 101}}), "rejected", "0 to 1"),
        (statement(LEARNER, "progressed"), None, "does not say how far"),
        (statement(LEARNER, f"{CMI5}waived"), None, "Only admins waive"),
        (statement(LEARNER, "http://x.example/verbs/juggled"), None, None),
        (statement(LEARNER, "terminated"), None, None),
        (statement(LEARNER, block="http://x.example/blocks/2"), None, None),
        (statement(LEARNER, object=account(PEER) | {"objectType": "Agent"}), None, None),
    ],
    ids=range(11),
)
async def test_what_does_not_count_is_kept_with_its_reason(
    xapi: Xapi, database: Database, said: Said, status: str | None, words: str | None
) -> None:
    await xapi.stored(LEARNER, said, counting := statement(LEARNER, block=3))

    found, reason = kept(database, said)
    assert (found, words is None) == (status, reason is None)
    assert words is None or words in (reason or "")
    assert kept(database, counting) == ("accepted", None)
    assert (await xapi.one(LEARNER, said["id"]))["verb"] == said["verb"]


@pytest.mark.usefixtures("course")
async def test_admins_waive_with_a_reason(
    xapi: Xapi, api: Api, database: Database, as_learner: Person
) -> None:
    waived = statement(LEARNER, f"{CMI5}waived", result={"extensions": {REASON: "Administrative"}})
    without = statement(LEARNER, f"{CMI5}waived", block=3)

    await xapi.stored(ADMIN, waived, without)

    done = await completions(api, as_learner)
    assert done[block_id(2)]["value"] == 1
    assert block_id(3) not in done
    assert "waives without a reason" in (kept(database, without)[1] or "")


@pytest.mark.usefixtures("course")
async def test_an_event_with_the_id_of_a_statement_is_one_event(
    xapi: Xapi, api: Api, database: Database, as_learner: Person
) -> None:
    when = datetime.now(UTC).isoformat()
    same, other = (statement(LEARNER, block=number, timestamp=when) for number in (2, 3))
    sent = [
        event(2, 1, eventId=same["id"], occurredAt=when),
        event(4, 1, eventId=other["id"], occurredAt=when),
    ]
    await record(api, as_learner, *sent)

    await xapi.stored(LEARNER, same, other)

    assert kept(database, same) == ("duplicate", None)
    assert kept(database, other)[0] == "conflict"


@pytest.mark.usefixtures("course")
async def test_failing_after_passing_takes_nothing_away(xapi: Xapi, api: Api, as_learner: Person) -> None:
    passed = statement(LEARNER, "passed", result={"score": {"scaled": 0.8}})
    failed = statement(LEARNER, "failed", result={"score": {"scaled": 0.3}})

    await xapi.stored(LEARNER, passed)
    await xapi.stored(LEARNER, failed)

    done = (await completions(api, as_learner))[block_id(2)]
    assert (done["value"], done["score"], done["eventCount"]) == (1, 80, 2)


async def test_a_course_is_completed_by_statements(
    xapi: Xapi, api: Api, course: str, as_learner: Person
) -> None:
    await xapi.stored(LEARNER, *(statement(LEARNER, block=number) for number in (2, 3, 4)))

    told = await course_progress(api, as_learner, course)
    assert (told["status"], told["percent"]) == ("COMPLETED", 100)
