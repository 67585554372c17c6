"""Statements of the Experience API: who may send and read them, and that they stay."""

from uuid import uuid4

import pytest

from tests import cast
from tests.cast import Character
from tests.databases import Database
from tests.signing import token
from tests.stating import Xapi, error_of, statement

LEARNER, PEER, ADMIN = cast.LEARNER, cast.PEER, cast.ADMIN


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
async def test_signed_out_is_told_to_sign_in(xapi: Xapi, method: str) -> None:
    response = await xapi.send(method, None, json=statement(LEARNER), params={"statementId": str(uuid4())})

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-experience-api-version"] == "1.0.3"


@pytest.mark.parametrize("person", [cast.VISITOR, cast.NEWCOMER, cast.SUSPENDED])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_who_acts_in_no_community_is_refused(xapi: Xapi, person: Character, method: str) -> None:
    said = statement(person)
    params = {"statementId": said["id"]} if method != "POST" else {}

    response = await xapi.send(method, person, json=said, params=params)

    assert (response.status_code, error_of(response)["extensions"]["code"]) == (403, "FORBIDDEN")


async def test_a_token_that_does_not_hold_is_refused(xapi: Xapi) -> None:
    response = await xapi.send("GET", None, headers={"authorization": f"Bearer {token()}x"})

    assert response.status_code == 401


async def test_everybody_reads_their_own_and_admins_the_communitys(xapi: Xapi) -> None:
    mine, theirs, elsewhere = statement(LEARNER), statement(PEER), statement(cast.OTHER_LEARNER)
    for person, said in ((LEARNER, mine), (PEER, theirs), (cast.OTHER_LEARNER, elsewhere)):
        await xapi.stored(person, said)

    ids = {said["id"] for said in (mine, theirs, elsewhere)}
    seen = {
        person.name: ids & set(await xapi.listed(person))
        for person in (LEARNER, PEER, ADMIN, cast.SUPER_ADMIN, cast.OTHER_ADMIN, cast.OTHER_LEARNER)
    }
    assert seen == {
        "Lena": {mine["id"]},
        "Piet": {theirs["id"]},
        "Ada": {mine["id"], theirs["id"]},
        "Sue": {mine["id"], theirs["id"]},
        "Bert": {elsewhere["id"]},
        "Olga": {elsewhere["id"]},
    }
    for person, said in ((LEARNER, theirs), (ADMIN, elsewhere), (cast.OTHER_LEARNER, mine)):
        not_theirs = await xapi.get(person, statementId=said["id"])
        nothing = await xapi.get(person, statementId=str(uuid4()))
        assert not_theirs.status_code == nothing.status_code == 404
        assert not_theirs.json() == nothing.json()


async def test_statements_stay_as_they_were_sent(xapi: Xapi, database: Database) -> None:
    said = statement(LEARNER)
    await xapi.stored(LEARNER, said)

    for attempt in (
        "update public.xapi_statements set content = '{}'",
        "delete from public.xapi_statements",
        "truncate public.xapi_statements",
    ):
        with pytest.raises(Exception, match="stays as it was sent"):
            database.run(attempt)


async def test_a_member_who_is_deleted_takes_them_along(xapi: Xapi, database: Database) -> None:
    await xapi.stored(PEER, statement(PEER))

    database.run("delete from auth.users where id = %s", PEER.id)

    assert database.run("select from public.xapi_statements where user_id = %s", PEER.id) == []
