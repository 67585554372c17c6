"""Somebody of two communities signs in, switches and refreshes, as front ends do it."""

from pathlib import Path
from typing import Any

import jwt

from local.keys import Keys
from tests.api import Api, api_of
from tests.cast import ALPHA, BETA
from tests.databases import Database
from tests.people import Person
from tests.sign_in import Server

SWITCH = "mutation ($id: UUID!) { switchCommunity(input: {communityId: $id}) { community { id name } } }"
_SEEN = "{ viewer { community { name } } programs { nodes { id } } }"
_JOIN = """
insert into public.memberships (community_id, user_id, display_name, joined_at)
select c.community_id, u.id, 'Somebody', now() + c.place * interval '1 second'
from auth.users as u, unnest(%s::uuid[]) with ordinality as c (community_id, place)
where u.email = %s
"""


async def seen_before_and_after(database: Database, folder: Path) -> list[tuple[str, set[str]]]:
    """The community and the programs that they see: with the first token, still with it, and with the next."""
    with Server(database.cluster, database.name, Keys.make_once(folder)) as server:
        email = server.add()
        database.run(_JOIN, [ALPHA, BETA], email)
        session = server.sign_in(email).json()
        first = _bearer(database, session)
        async with api_of(database) as api:
            before = await _seen(api, first)
            switched = (await api.ask(first, SWITCH, id=BETA)).data["switchCommunity"]["community"]
            assert switched == {"id": str(BETA), "name": "Beta"}
            still = await _seen(api, first)
            following = _bearer(database, server.refresh(session["refresh_token"]).json())
            return [before, still, await _seen(api, following)]


def _bearer(database: Database, session: dict[str, Any]) -> Person:
    """With the claims of the token that the sign-in issued."""
    claims = jwt.decode(session["access_token"], options={"verify_signature": False})
    return Person(database, "authenticated", claims)


async def _seen(api: Api, person: Person) -> tuple[str, set[str]]:
    data = (await api.ask(person, _SEEN)).data
    return data["viewer"]["community"]["name"], {node["id"] for node in data["programs"]["nodes"]}
