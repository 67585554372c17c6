"""Whose statements are taken: learners' own, and from admins those of members."""

from uuid import uuid4

import pytest

from tests import cast
from tests.api import Api
from tests.course_documents import block_id
from tests.databases import Database
from tests.people import Person
from tests.progressing import completions, teach
from tests.signing import ISSUER
from tests.stating import BLOCKS, Said, Xapi, account, count, error_of, statement

LEARNER, PEER, ADMIN = cast.LEARNER, cast.PEER, cast.ADMIN


@pytest.fixture
async def course(api: Api, as_admin: Person) -> str:
    return await teach(api, as_admin, *BLOCKS)


async def test_learners_state_what_they_did_and_nobody_elses(xapi: Xapi, database: Database) -> None:
    before = count(database)
    for actor in (
        *(account(PEER), account(cast.OTHER_LEARNER), account(uuid4()), account("Lena")),
        *({"mbox": f"mailto:{PEER.email}"}, {"mbox": "mailto:nobody@cast.test"}),
        *({"mbox_sha1sum": "a" * 40}, {"openid": "https://lena.example"}),
        {"objectType": "Group", "member": [account(LEARNER)]},
        {"objectType": "Group", **account(LEARNER)},
    ):
        response = await xapi.post(LEARNER, [statement(LEARNER), statement(LEARNER, actor=actor)])

        error = error_of(response)
        assert (response.status_code, error["extensions"]["field"]) == (403, "1.actor"), actor
        assert error["message"].startswith("1: The actor is not you.")
    assert count(database) == before


@pytest.mark.parametrize(
    "actor",
    [
        account(LEARNER),
        account(str(LEARNER.id).upper()),
        {"mbox": f"mailto:{LEARNER.email}"},
        {"objectType": "Agent", "name": "L", "mbox": "mailto:LENA@cast.test"},
    ],
)
async def test_an_actor_is_told_by_account_or_confirmed_address(xapi: Xapi, actor: Said) -> None:
    said = statement(LEARNER, actor=actor)

    await xapi.stored(LEARNER, said)

    assert (await xapi.one(LEARNER, said["id"]))["actor"] == actor


async def test_an_address_that_is_not_confirmed_names_nobody(xapi: Xapi, database: Database) -> None:
    database.run("update auth.users set email_confirmed_at = null where id = %s", LEARNER.id)

    response = await xapi.post(LEARNER, statement(LEARNER, actor={"mbox": f"mailto:{LEARNER.email}"}))

    assert response.status_code == 403


@pytest.mark.usefixtures("course")
async def test_admins_state_what_members_did(xapi: Xapi, api: Api, as_peer: Person) -> None:
    by_account = statement(PEER)
    by_address = statement(PEER, block=3, actor={"mbox": f"mailto:{PEER.email}"})

    await xapi.stored(ADMIN, by_account, by_address)

    done = await completions(api, as_peer)
    assert done[block_id(2)]["value"] == done[block_id(3)]["value"] == 1
    shown = await xapi.one(PEER, by_account["id"])
    assert shown["authority"]["account"] == {"homePage": ISSUER, "name": str(ADMIN.id)}


async def test_admins_are_not_told_who_exists_elsewhere(xapi: Xapi) -> None:
    answers = [
        error_of(await xapi.post(ADMIN, statement(ADMIN, actor=actor)))
        for actor in (
            *(account(cast.OTHER_LEARNER), account(uuid4()), account(cast.SUSPENDED), account("x")),
            *({"mbox": f"mailto:{cast.OTHER_LEARNER.email}"}, {"mbox": "mailto:nobody@cast.test"}),
        )
    ]

    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["extensions"]["code"] == "FORBIDDEN"


async def test_two_with_one_id_are_no_list(xapi: Xapi, database: Database) -> None:
    said, before = statement(LEARNER), count(database)

    response = await xapi.post(LEARNER, [said, said])

    assert (response.status_code, error_of(response)["extensions"]["field"]) == (400, "1.id")
    assert count(database) == before
