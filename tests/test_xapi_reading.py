"""Reading lists of statements: filters, order, pages, and what cannot be asked."""

import pytest

from tests import cast
from tests.cast import Character
from tests.stating import ADL, SOME_ID, Xapi, error_of, statement

LEARNER, PEER, ADMIN = cast.LEARNER, cast.PEER, cast.ADMIN


async def test_lists_are_filtered_and_ordered(xapi: Xapi) -> None:
    mine = [statement(LEARNER, verb, f"http://x.example/{n % 2}") for n, verb in enumerate("aabb")]
    for said in mine:
        said["verb"]["id"] = f"http://x.example/{said['verb']['id'][-1]}"
        await xapi.stored(LEARNER, said)
    ids = [said["id"] for said in mine]
    stored = [(await xapi.one(LEARNER, one))["stored"] for one in ids]

    assert (await xapi.listed(LEARNER))[:4] == ids[::-1]
    assert (await xapi.listed(LEARNER, ascending="true", since=stored[0])) == ids[1:]
    assert await xapi.listed(LEARNER, verb="http://x.example/a") == [ids[1], ids[0]]
    assert await xapi.listed(LEARNER, activity="http://x.example/1", format="exact") == [ids[3], ids[1]]
    assert await xapi.listed(LEARNER, since=stored[0], until=stored[2]) == [ids[2], ids[1]]
    assert await xapi.listed(LEARNER, verb="http://x.example/none", attachments="false") == []
    assert await xapi.listed(ADMIN, verb="http://x.example/a", activity="http://x.example/1") == [ids[1]]


@pytest.mark.parametrize("ascending", ["true", "false"])
@pytest.mark.parametrize("person", [LEARNER, ADMIN], ids=["learner", "admin"])
async def test_more_goes_through_all_of_them_once(xapi: Xapi, person: Character, ascending: str) -> None:
    many = await xapi.stored(LEARNER, *(statement(LEARNER, "juggled") for _ in range(7)))
    many += await xapi.stored(LEARNER, *(statement(LEARNER, "juggled") for _ in range(4)))

    response = await xapi.get(person, verb=f"{ADL}juggled", limit=3, ascending=ascending)
    seen = []
    while True:
        page = response.json()
        seen += [said["id"] for said in page["statements"]]
        if not page["more"]:
            break
        response = await xapi.send("GET", person, page["more"])

    assert seen == (many if ascending == "true" else many[::-1])


async def test_more_is_for_who_asked(xapi: Xapi) -> None:
    await xapi.stored(LEARNER, *(statement(LEARNER) for _ in range(3)))
    more = (await xapi.get(LEARNER, limit=1)).json()["more"]

    for person in (PEER, ADMIN, cast.OTHER_LEARNER):
        assert (await xapi.send("GET", person, more)).status_code == 400
    for forged in (more[:-2], more[:-1] + ("A" if more[-1] != "A" else "B"), "/xapi/statements?more=%C3%A9"):
        assert (await xapi.send("GET", LEARNER, forged)).status_code == 400
    assert (await xapi.send("GET", LEARNER, f"{more}&limit=3")).status_code == 400


async def test_a_page_has_a_hundred_at_the_most(xapi: Xapi) -> None:
    await xapi.stored(LEARNER, *(statement(LEARNER) for _ in range(102)))

    for limit in ({}, {"limit": "0"}, {"limit": "100000000000"}):
        assert len(await xapi.listed(LEARNER, **limit)) == 100


@pytest.mark.parametrize(
    "params",
    [
        {"statementId": "x"},
        {"statementId": ""},
        {"voidedStatementId": "x"},
        {"statementId": SOME_ID, "voidedStatementId": SOME_ID},
        {"statementId": SOME_ID, "limit": "1"},
        {"statementId": SOME_ID, "verb": "http://x.example/a"},
        {"verb": "completed"},
        {"verb": "http://x.example/\x00"},
        {"activity": ""},
        {"activity": "http://x.example/" + "a" * 2_000},
        {"since": "yesterday"},
        {"until": "2026-02-30T00:00:00Z"},
        {"limit": "-1"},
        {"limit": "1.5"},
        {"limit": "²"},
        {"ascending": "TRUE"},
        {"more": "x"},
        {"format": "ids"},
        {"attachments": "true"},
        {"agent": "{}"},
        {"registration": SOME_ID},
        {"related_agents": "true"},
        {"StatementId": SOME_ID},
    ],
    ids=str,
)
async def test_what_cannot_be_asked_is_refused(xapi: Xapi, params: dict[str, str]) -> None:
    response = await xapi.get(LEARNER, **params)

    assert response.status_code == 400
    assert error_of(response)["extensions"]["field"]


@pytest.mark.parametrize(
    "query", ["statementId=%FF", "verb=http://x/a&verb=http://x/b", "&".join(["a=1"] * 40)]
)
async def test_parameters_that_cannot_be_read_are_refused(xapi: Xapi, query: str) -> None:
    assert (await xapi.send("GET", LEARNER, f"/xapi/statements?{query}")).status_code == 400
