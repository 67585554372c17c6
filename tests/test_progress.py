"""Progress by GraphQL: whose it is, what is taken and what is refused, and what a client gets back."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests import cast
from tests.api import Api
from tests.course_documents import block, block_id, section
from tests.databases import Database
from tests.people import Person
from tests.progressing import (
    COMPLETIONS,
    COURSE,
    RECORD,
    course_progress,
    enroll,
    event,
    offer,
    program_progress,
    record,
    statuses,
    teach,
)

BLOCKS = (
    section(1),
    block(2, 1, weight=2),
    block(3, 1),
    block(4, required=False),
    block(5, completionMode="excluded"),
)


@pytest.fixture(autouse=True)
async def course(api: Api, as_admin: Person) -> str:
    """Two required blocks, of weight 2 and 1, in a section; one that is optional and one that never counts."""
    return await teach(api, as_admin, *BLOCKS)


async def test_signed_out_nobody_records_or_reads(api: Api, as_anon: Person, course: str) -> None:
    recorded = await api.ask(as_anon, RECORD, events=[event(2)])
    read = await api.ask(as_anon, COURSE, course=course)

    assert [recorded.code, read.code] == ["UNAUTHENTICATED", "UNAUTHENTICATED"]


async def test_an_anonymous_sign_in_records_nothing(api: Api, as_visitor: Person) -> None:
    assert (await api.ask(as_visitor, RECORD, events=[event(2)])).code == "FORBIDDEN"


async def test_learners_record_for_themselves_only(api: Api, as_learner: Person, course: str) -> None:
    reply = await api.ask(as_learner, RECORD, events=[event(2), event(3, userId=cast.PEER.id)])

    assert reply.code == "FORBIDDEN"
    assert (await course_progress(api, as_learner, course))["status"] == "NOT_STARTED"


async def test_a_course_is_completed_block_by_block(api: Api, as_learner: Person, course: str) -> None:
    begun = await course_progress(api, as_learner, course)
    first = (await record(api, as_learner, event(2)))["courses"][0]
    halfway = await course_progress(api, as_learner, course)
    second = await record(api, as_learner, event(3, 0.5))
    last = await record(api, as_learner, event(3))
    done = await course_progress(api, as_learner, course)

    assert (begun["status"], begun["percent"], begun["nextBlock"]) == ("NOT_STARTED", 0, {"id": block_id(2)})
    assert (first["doneRequired"], first["totalRequired"]) == (1, 2)
    assert (first["earned"], first["possible"], first["percent"]) == (2, 3, 66)
    assert halfway["nextBlock"] == {"id": block_id(3)}
    assert [b["status"] for b in halfway["blocks"]] == [
        "IN_PROGRESS", "COMPLETED", "NOT_STARTED", "NOT_STARTED", "NOT_APPLICABLE",
    ]  # fmt: skip
    assert halfway["blocks"][0]["value"] == 0.666666
    assert (second["courses"][0]["percent"], second["courses"][0]["status"]) == (83, "IN_PROGRESS")
    assert (last["courses"][0]["percent"], last["courses"][0]["status"]) == (100, "COMPLETED")
    assert (done["nextBlock"], done["blocks"][0]["status"]) == (None, "COMPLETED")
    assert done["completedAt"] == done["blocks"][2]["completedAt"]


async def test_nearly_done_is_not_done(api: Api, as_learner: Person) -> None:
    payload = await record(api, as_learner, event(2), event(3, 0.9999999))

    (told,) = payload["courses"]
    assert (told["status"], told["percent"], told["doneRequired"]) == ("IN_PROGRESS", 99, 1)


async def test_an_event_is_taken_once(api: Api, as_learner: Person, course: str) -> None:
    sent = event(2, 0.5, score=70, data={"answer": ["a", 1]})

    first = await record(api, as_learner, sent)
    again = await record(api, as_learner, sent, sent)
    other = await record(
        api, as_learner, {**sent, "value": 1}, {**sent, "score": 71}, {**sent, "blockId": block_id(3)}
    )

    assert statuses(first) == ["ACCEPTED"]
    assert statuses(again) == ["DUPLICATE", "DUPLICATE"]
    assert statuses(other) == ["CONFLICT"] * 3
    assert "id of its own" in other["results"][0]["reason"]
    reply = await api.ask(as_learner, COMPLETIONS, filter={"courseId": course})
    (completion,) = reply.data["blockCompletions"]["nodes"]
    assert (completion["value"], completion["eventCount"], completion["score"]) == (0.5, 1, 70)


async def test_a_time_is_the_same_in_another_zone(api: Api, as_learner: Person) -> None:
    sent = event(2, occurredAt="2026-11-01T10:00:00Z")

    await record(api, as_learner, sent)
    again = await record(api, as_learner, {**sent, "occurredAt": "2026-11-01T12:00:00+02:00"})

    assert statuses(again) == ["DUPLICATE"]


async def test_in_one_list_the_first_of_an_id_counts(api: Api, as_learner: Person) -> None:
    sent = event(2, 0.25)

    payload = await record(api, as_learner, sent, sent, {**sent, "value": 1})

    assert statuses(payload) == ["ACCEPTED", "DUPLICATE", "CONFLICT"]
    assert payload["courses"][0]["earned"] == 0.5


async def test_two_people_may_use_the_same_id(api: Api, as_learner: Person, as_peer: Person) -> None:
    sent = event(2)

    assert statuses(await record(api, as_learner, sent)) == ["ACCEPTED"]
    assert statuses(await record(api, as_peer, {**sent, "value": 0.5})) == ["ACCEPTED"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"blockId": block_id(99)}, "no block with this id"),
        ({"blockId": str(cast.DRAFT_BLOCK)}, "no block with this id"),
        ({"blockId": block_id(1)}, "Record the blocks in it"),
        ({"value": 1.01}, "value can be 0 to 1"),
        ({"value": -0.1}, "value can be 0 to 1"),
        ({"value": 1e300}, "value can be 0 to 1"),
        ({"score": 100.5}, "score can be 0 to 100"),
        ({"score": -1}, "score can be 0 to 100"),
        ({"occurredAt": "1969-12-31T23:59:59Z"}, "1970-01-01"),
        ({"attempt": 0}, "count from 1"),
        ({"attempt": 2}, "has not begun"),
        ({"data": {"text": "x" * 8_200}}, "8 KiB"),
    ],
)
async def test_a_wrong_event_is_refused_and_hinders_no_other(
    api: Api, as_learner: Person, given: dict[str, Any], why: str
) -> None:
    payload = await record(api, as_learner, event(2), {**event(3), **given}, event(3))

    assert statuses(payload) == ["ACCEPTED", "REJECTED", "ACCEPTED"]
    assert why in payload["results"][1]["reason"]
    assert payload["courses"][0]["status"] == "COMPLETED"


async def test_what_was_refused_may_be_sent_again(api: Api, as_learner: Person) -> None:
    sent = event(2)

    refused = await record(api, as_learner, {**sent, "value": 2})
    mended = await record(api, as_learner, sent)

    assert statuses(refused) + statuses(mended) == ["REJECTED", "ACCEPTED"]


@pytest.mark.parametrize("number", [0, 501])
async def test_a_list_has_1_to_500_events(api: Api, as_learner: Person, number: int) -> None:
    reply = await api.ask(as_learner, RECORD, events=[event(2) for _ in range(number)])

    assert (reply.code, reply.field) == ("BAD_USER_INPUT", "events")


async def test_blocks_that_do_not_count_are_kept(api: Api, as_learner: Person) -> None:
    payload = await record(api, as_learner, event(4), event(5))

    assert statuses(payload) == ["ACCEPTED", "ACCEPTED"]
    assert [r["reason"] is None for r in payload["results"]] == [True, False]
    assert (payload["courses"][0]["doneRequired"], payload["courses"][0]["percent"]) == (0, 0)
    assert payload["courses"][0]["status"] == "IN_PROGRESS"


async def test_a_clock_that_is_wrong_moves_little(
    api: Api, database: Database, as_learner: Person, course: str
) -> None:
    now = datetime.now(UTC)
    ahead, behind = (now + timedelta(days=400)).isoformat(), (now - timedelta(days=4000)).isoformat()

    await record(api, as_learner, event(2, occurredAt=ahead), event(3, occurredAt=behind))

    reply = await api.ask(as_learner, COMPLETIONS, filter={"courseId": course})
    nodes = reply.data["blockCompletions"]["nodes"]
    moments = {n["blockId"]: datetime.fromisoformat(n["completedAt"]) for n in nodes}
    assert now < moments[block_id(2)] < now + timedelta(minutes=6)
    assert now - timedelta(days=2) < moments[block_id(3)] < now
    assert database.run("select max(occurred_at)::date - current_date from public.progress_events") in (
        [(400,)],
        [(399,)],
    )


async def test_admins_record_for_many(api: Api, as_admin: Person, as_learner: Person, course: str) -> None:
    mixed = [
        event(2, userId=cast.LEARNER.id), event(2, userId=cast.PEER.id), event(2, userId=cast.SUSPENDED.id),
        event(2, userId=cast.OTHER_LEARNER.id), event(2, userId=uuid4()),
    ]  # fmt: skip

    payload = await record(api, as_admin, *mixed)

    assert statuses(payload) == ["ACCEPTED", "ACCEPTED", "REJECTED", "REJECTED", "REJECTED"]
    assert len({r["reason"] for r in payload["results"][2:]}) == 1
    assert {c["member"]["userId"] for c in payload["courses"]} == {str(cast.LEARNER.id), str(cast.PEER.id)}
    assert (await course_progress(api, as_learner, course))["percent"] == 66
    assert (await course_progress(api, as_admin, course, user=cast.PEER.id))["percent"] == 66


async def test_nobody_sees_anothers_progress_but_their_admins(
    api: Api, as_learner: Person, as_peer: Person, as_other_community: Person, as_admin: Person, course: str
) -> None:
    await record(api, as_learner, event(2))

    assert await course_progress(api, as_peer, course, user=cast.LEARNER.id) is None
    assert await course_progress(api, as_other_community, course, user=cast.LEARNER.id) is None
    assert await course_progress(api, as_other_community, course) is None
    for somebody, seen in ((as_peer, 0), (as_other_community, 0), (as_admin, 1), (as_learner, 1)):
        reply = await api.ask(somebody, COMPLETIONS, filter={"courseId": course})
        assert reply.data["blockCompletions"]["totalCount"] == seen


async def test_another_communitys_block_is_no_block(api: Api, as_other_learner: Person) -> None:
    theirs = await record(api, as_other_learner, event(2))
    nobodys = await record(api, as_other_learner, event(uuid4()))

    assert statuses(theirs) == statuses(nobodys) == ["REJECTED"]
    assert theirs["results"][0]["reason"] == nobodys["results"][0]["reason"]


async def test_a_program_goes_with_its_courses(
    api: Api, as_admin: Person, as_learner: Person, course: str
) -> None:
    second = await teach(api, as_admin, block(11), block(12))
    program = await offer(api, as_admin, course, second)

    assert await program_progress(api, as_learner, program) is None
    await enroll(api, as_learner, program)
    begun = await program_progress(api, as_learner, program)
    await record(api, as_learner, event(2), event(3), event(11))
    going = await program_progress(api, as_learner, program)
    await record(api, as_learner, event(12))
    done = await program_progress(api, as_learner, program)

    assert (begun["status"], begun["percent"]) == ("NOT_STARTED", 0)
    assert [m["course"]["id"] for m in begun["missing"]] == [course, second]
    assert (going["status"], going["percent"]) == ("IN_PROGRESS", 75)
    (missing,) = going["missing"]
    assert missing["description"] == 'Complete the course "Taught": 1 of its 2 required blocks are done.'
    assert (done["status"], done["percent"], done["missing"]) == ("COMPLETED", 100, [])
    assert done["enrollment"]["status"] == "COMPLETED"
    assert done["completedAt"] == done["enrollment"]["completedAt"]
    assert [c["status"] for c in done["courses"]] == ["COMPLETED", "COMPLETED"]


async def test_recording_is_one_call_and_one_answer(api: Api, as_learner: Person) -> None:
    reply = await api.ask(as_learner, RECORD, events=[event(2), event(3)])

    assert len(reply.statements) == 2  # the function, and what became of it


async def test_what_has_lapsed_is_not_completed_and_takes_progress(
    api: Api, as_admin: Person, as_learner: Person, database: Database, course: str
) -> None:
    """The clock has not said so yet: all is done, and the enrolment only waits for its end."""
    program = await offer(api, as_admin, course)
    await enroll(api, as_learner, program)
    database.run(
        "update public.program_enrollments set expires_at = now() - interval '1 minute' where program_id = %s",
        program,
    )

    recorded = await record(api, as_learner, event(2), event(3))

    shown = await program_progress(api, as_learner, program)
    assert statuses(recorded) == ["ACCEPTED", "ACCEPTED"]
    assert (await course_progress(api, as_learner, course))["status"] == "COMPLETED"
    assert (shown["enrollment"]["status"], shown["enrollment"]["completedAt"]) == ("ACTIVE", None)
