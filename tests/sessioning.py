"""Learning sessions: the documents, and what they come to, counted second by second in plain Python."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any
from uuid import UUID, uuid4

from tests import cast
from tests.api import Api, Reply
from tests.databases import Database
from tests.people import Person

FIELDS = "id member { userId } contentId startedAt endedAt activeSeconds engagementScore"
ENGAGEMENT = "engagement { score evidence formulaVersion components { kind value weight } }"
START = f"""mutation ($input: StartSessionInput!) {{ startSession(input: $input) {{
    tab session {{ {FIELDS} {ENGAGEMENT} }} }} }}"""
HEARTBEAT = f"""mutation ($input: HeartbeatSessionInput!) {{ heartbeatSession(input: $input) {{
    session {{ {FIELDS} }} }} }}"""
END = f"mutation ($input: EndSessionInput!) {{ endSession(input: $input) {{ session {{ {FIELDS} }} }} }}"
SESSIONS = f"""query ($filter: SessionFilter) {{ learningSessions(filter: $filter, first: 100) {{
    totalCount nodes {{ {FIELDS} {ENGAGEMENT} }} }} }}"""

# A session of somebody that has been going on for so many seconds, with tabs that joined after so many of them each.
_GOING_ON = """
insert into public.learning_sessions (id, community_id, user_id, started_at, last_seen_at, tabs)
values (
    %(id)s, %(community)s, %(user)s, now() - %(age)s * interval '1 second', now() - %(silent)s * interval '1 second',
    array(select now() - %(age)s * interval '1 second' + t * interval '1 second' from unnest(%(tabs)s::float[]) as t)
)
"""


@dataclass(frozen=True)
class Heartbeat:
    """One of a tab; `elapsed` is counted from when the tab joined."""

    tab: int
    counter: int
    visible: float
    elapsed: float

    def given(self, session: UUID) -> dict[str, Any]:
        """As the function takes it."""
        return {
            "id": str(session),
            "tab": self.tab,
            "counter": self.counter,
            "visible_seconds": self.visible,
            "elapsed_seconds": self.elapsed,
        }


def seconds_of(heartbeats: Iterable[Heartbeat], joined: Sequence[float], age: float) -> set[int]:
    """The seconds of a session that these claim, each once; `joined` is when its tabs did, `age` how old it is now."""
    claimed: set[int] = set()
    for heartbeat in heartbeats:
        begin = joined[heartbeat.tab - 1]
        until = min(begin + heartbeat.elapsed, age)
        since = max(until - min(heartbeat.visible, 60), begin)
        claimed |= set(range(floor(since), floor(until)))
    return claimed


def going_on(
    database: Database,
    *,
    age: float,
    silent: float = 0,
    tabs: Iterable[float] = (0,),
    user: UUID = cast.LEARNER.id,
    community: UUID = cast.ALPHA,
) -> UUID:
    """The id of a session that somebody has been in."""
    session = uuid4()
    given = {"id": session, "community": community, "user": user, "age": age, "silent": silent}
    with database.connect() as connection:
        connection.execute(_GOING_ON, {**given, "tabs": list(tabs)})
    return session


async def start(api: Api, person: Person, content: object = None) -> Any:
    """The payload."""
    given = {"contentId": content} if content else {}
    return (await api.ask(person, START, input=given)).data["startSession"]


async def beat(api: Api, person: Person, session: object, counter: int, visible: float, **more: Any) -> Reply:
    given = {"id": session, "counter": counter, "visibleSeconds": visible, **more}
    return await api.ask(person, HEARTBEAT, input=given)


async def active(api: Api, person: Person, session: object, counter: int, visible: float, **more: Any) -> Any:
    """The active seconds after a heartbeat."""
    reply = await beat(api, person, session, counter, visible, **more)
    return reply.data["heartbeatSession"]["session"]["activeSeconds"]


async def end(api: Api, person: Person, session: object) -> Any:
    """The session afterwards."""
    return (await api.ask(person, END, input={"id": session})).data["endSession"]["session"]


async def sessions(api: Api, person: Person, **conditions: Any) -> list[Any]:
    reply = await api.ask(person, SESSIONS, filter=conditions)
    found = reply.data["learningSessions"]
    assert found["totalCount"] == len(found["nodes"])
    return list(found["nodes"])
