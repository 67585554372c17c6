"""What is no statement: refused with its place, and nothing stored."""

import json
from typing import Any

import pytest

from tests import cast
from tests.databases import Database
from tests.stating import ADL, SOME_ID, Said, Xapi, account, count, error_of, statement

LEARNER, PEER = cast.LEARNER, cast.PEER


def broken(**parts: Any) -> Said:
    """A statement with other parts; what is None is left out."""
    return {key: value for key, value in {**statement(LEARNER), **parts}.items() if value is not None}


ACTIVITY = {"id": "http://x.example/a"}
BROKEN: list[tuple[Any, str]] = [
    (broken(actor=None), "actor"),
    (broken(verb=None), "verb"),
    (broken(object=None), "object"),
    (broken(id="x"), "id"),
    (broken(id=7), "id"),
    (broken(more=1), "more"),
    (broken(Verb={"id": f"{ADL}passed"}), "Verb"),
    (broken(verb={"id": "completed"}), "verb.id"),
    (broken(verb={"id": ""}), "verb.id"),
    (broken(verb={"id": "http://x.example/" + "a" * 2_000}), "verb.id"),
    (broken(verb={"id": f"{ADL}passed", "display": {"not a tag": "x"}}), "verb.display.not a tag"),
    (broken(verb={"id": f"{ADL}passed", "display": {"en": 1}}), "verb.display.en"),
    (broken(actor={}), "actor"),
    (broken(actor={"name": "Lena"}), "actor"),
    (broken(actor={**account(LEARNER), "mbox": "mailto:lena@cast.test"}), "actor"),
    (broken(actor={"mbox": "lena@cast.test"}), "actor.mbox"),
    (broken(actor={"account": {"name": str(LEARNER.id)}}), "actor.account.homePage"),
    (broken(actor={"account": {"name": 1, "homePage": "http://x.example"}}), "actor.account.name"),
    (broken(actor={**account(LEARNER), "objectType": "agent"}), "actor.objectType"),
    (broken(actor={"objectType": "Group"}), "actor"),
    (broken(object={}), "object.id"),
    (broken(object={"id": "no scheme"}), "object.id"),
    (broken(object={"id": 1}), "object.id"),
    (broken(object={**ACTIVITY, "objectType": "Thing"}), "object.objectType"),
    (broken(object={**ACTIVITY, "objectType": ["Activity"]}), "object.objectType"),
    (
        broken(object={**ACTIVITY, "definition": {"interactionType": "x"}}),
        "object.definition.interactionType",
    ),
    (
        broken(object={**ACTIVITY, "definition": {"choices": [{"id": "a"}, {"id": "a"}]}}),
        "object.definition.choices",
    ),
    (broken(object={"objectType": "StatementRef", "id": "x"}), "object.id"),
    (broken(object={"objectType": "SubStatement", **broken(id=None, object=ACTIVITY)}), ""),
    (broken(object={"objectType": "SubStatement", **broken(object=ACTIVITY)}), "object.id"),
    (
        broken(
            object={
                "objectType": "SubStatement",
                **broken(id=None, object={"objectType": "SubStatement", **broken(id=None)}),
            }
        ),
        "object.object",
    ),
    (broken(result={"score": {"scaled": 1.1}}), "result.score.scaled"),
    (broken(result={"score": {"scaled": "0.5"}}), "result.score.scaled"),
    (broken(result={"score": {"scaled": True}}), "result.score.scaled"),
    (broken(result={"score": {"raw": 5, "max": 4}}), "result.score.raw"),
    (broken(result={"score": {"min": 5, "max": 4}}), "result.score.min"),
    (broken(result={"completion": "true"}), "result.completion"),
    (broken(result={"success": 1}), "result.success"),
    (broken(result={"duration": "1 hour"}), "result.duration"),
    (broken(result={"duration": "P"}), "result.duration"),
    (broken(result={"duration": "PT"}), "result.duration"),
    (broken(result={"extensions": {"progress": 1}}), "result.extensions.progress"),
    (broken(result={"score": None}), "result.score"),
    (broken(result=[]), "result"),
    (broken(context={"registration": "x"}), "context.registration"),
    (broken(context={"language": "not a tag"}), "context.language"),
    (broken(context={"team": account(PEER)}), "context.team.objectType"),
    (broken(context={"contextActivities": {"cousin": ACTIVITY}}), "context.contextActivities.cousin"),
    (broken(context={"contextActivities": [ACTIVITY]}), "context.contextActivities"),
    (broken(context={"platform": "x"}, object={"objectType": "Agent", **account(PEER)}), "context.platform"),
    (broken(timestamp="yesterday"), "timestamp"),
    (broken(timestamp="2026-02-30T09:00:00Z"), "timestamp"),
    (broken(timestamp="2026-10-01T09:00:00-00:00"), "timestamp"),
    (broken(timestamp="2026-10-01"), "timestamp"),
    (broken(timestamp="2026-10-01T09:00:00+99:00"), "timestamp"),
    (broken(timestamp=1_790_000_000), "timestamp"),
    (broken(stored="x"), "stored"),
    (broken(version="0.9"), "version"),
    (broken(version="1.1.0"), "version"),
    (broken(authority="x"), "authority"),
    (broken(attachments=[{"usageType": "http://x.example"}]), "attachments.0.display"),
    (
        broken(
            attachments=[
                {
                    "usageType": "http://x.example",
                    "display": {},
                    "contentType": "text/plain",
                    "length": 1,
                    "sha2": "a" * 64,
                }
            ]
        ),
        "attachments.0.fileUrl",
    ),
    (1, ""),
    ("x", ""),
    (None, ""),
]


@pytest.mark.parametrize(
    ("said", "place"), BROKEN, ids=[f"{n} {place}" for n, (_, place) in enumerate(BROKEN)]
)
async def test_what_is_malformed_is_refused_with_its_place(
    xapi: Xapi, database: Database, said: Any, place: str
) -> None:
    before = count(database)

    response = await xapi.post(LEARNER, said)
    listed = await xapi.post(LEARNER, [statement(LEARNER), statement(LEARNER), said])

    if isinstance(said, dict) and not place:
        assert response.status_code == 200
        return
    assert response.status_code == listed.status_code == 400
    extensions = {"code": "BAD_USER_INPUT", **({"field": place} if place else {})}
    assert error_of(response)["extensions"] == extensions
    assert error_of(listed)["extensions"]["field"] == (f"2.{place}" if place else "2")
    assert error_of(listed)["message"].startswith("2")
    assert count(database) == before


GOOD = statement(LEARNER, "juggled", id=SOME_ID)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b"\xff",
        b"\xef\xbb\xbf{}",
        json.dumps(GOOD).encode("utf-16"),
        json.dumps(GOOD).replace("juggled", "\\ud800").encode(),
        json.dumps(GOOD).replace("juggled", "\\u0000").encode(),
        json.dumps({**GOOD, "result": {"response": "a\x00b"}}).encode(),
        json.dumps({**GOOD, "result": {"extensions": {"http://x.example/a": {"\x00": 1}}}}).encode(),
        json.dumps(GOOD).replace('"verb"', '"verb": {"id": "http://x.example/a"}, "verb"', 1).encode(),
        b"[" * 500 + b"]" * 500,
        b"[" * 100_000 + b"]" * 100_000,
        json.dumps({**GOOD, "result": {"score": {"raw": 1}}}).replace(": 1}", ": NaN}").encode(),
        json.dumps({**GOOD, "result": {"score": {"raw": 1}}}).replace(": 1}", ": 1e400}").encode(),
        json.dumps({**GOOD, "result": {"score": {"raw": 1}}}).replace(": 1}", f": {'9' * 5_000}}}").encode(),
        json.dumps({**GOOD, "result": {"score": {"raw": 1}}}).replace(": 1}", ": 1e-99999}").encode(),
        json.dumps({**GOOD, "result": {"response": "x" * 70_000}}).encode(),
        json.dumps({**GOOD, "result": {"extensions": {"http://x.example/a": [1] * 3_000}}})
        .replace(" 1,", "1e300,")
        .encode(),
    ],
    ids=range(20),
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_broken_bodies_are_refused(xapi: Xapi, database: Database, body: bytes, method: str) -> None:
    before = count(database)
    send = xapi.post(LEARNER, body) if method == "POST" else xapi.put(LEARNER, body, GOOD["id"])

    response = await send

    assert (response.status_code, error_of(response)["extensions"]["code"]) == (400, "BAD_USER_INPUT")
    assert len(response.content) < 2_000
    assert count(database) == before


async def test_deep_and_large_extensions_within_the_limits_are_kept(xapi: Xapi) -> None:
    deep: Any = 1
    for _ in range(90):
        deep = [deep]
    extensions = {
        "http://x.example/a": {"deep": deep, "large": 10**300, "small": 1.5e-300, "é": "ü" * 20_000}
    }
    said = {**statement(LEARNER), "result": {"extensions": extensions}}

    await xapi.stored(LEARNER, said)

    assert (await xapi.one(LEARNER, said["id"]))["result"]["extensions"] == extensions
