"""Who learns in the progress benchmark, what they do next, and what of it was sent."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, cycle, islice
from typing import Any, LiteralString
from uuid import UUID, uuid5

from bench.callers import Caller, make_token
from bench.database import Database
from bench.errors import BenchError
from bench.scenarios import OUR_DOCUMENTS, Ask

_DOCUMENTS = OUR_DOCUMENTS / "progress"
_EVENTS_OF_THIS_RUN = UUID("00c2c64b-92d0-4d5f-a5d3-3ea2a7a0f1f5")
_OCCURRED_AT = "2026-06-01T12:00:00Z"

# In an order that is no table's, so that the people of all communities come in turn.
_LEARNERS: LiteralString = """
    select e.community_id, e.user_id, e.program_id, b.ids, b.course_id
    from public.program_enrollments as e
    cross join lateral (
        select array_agg(b.id order by a.sequence_order, b.position) as ids,
            (array_agg(b.course_id order by a.sequence_order, b.position))[1] as course_id
        from public.program_course_assignments as a
        join public.blocks as b
            on b.community_id = a.community_id and b.course_id = a.course_id and b.version = a.course_version
        where a.community_id = e.community_id and a.program_id = e.program_id and a.version = e.program_version
            and b.completion_mode = 'completable' and not exists (
                select from public.block_completions as c
                where c.community_id = e.community_id and c.user_id = e.user_id and c.course_id = b.course_id
                    and c.attempt = 1 and c.block_id = b.id and c.value = 1
            )
    ) as b
    where e.id in (
        select e.id from public.program_enrollments as e where e.status = 'active' order by md5(e.id::text) limit %s
    )
    order by md5(e.id::text)
"""
_ADMINS: LiteralString = """
    select m.community_id, min(m.user_id::text)::uuid
    from public.memberships as m
    where m.role = 'community_admin'
    group by m.community_id
"""


@dataclass(frozen=True)
class Event:
    """Something that somebody did."""

    event_id: UUID
    user_id: UUID
    block_id: UUID
    value: float

    def as_input(self, *, names_user: bool) -> dict[str, Any]:
        told = {
            "eventId": str(self.event_id),
            "blockId": str(self.block_id),
            "value": self.value,
            "occurredAt": _OCCURRED_AT,
            "score": 80,
            "correct": True,
        }
        return told | {"userId": str(self.user_id)} if names_user else told


@dataclass(frozen=True)
class Learner:
    """Somebody in a program, with the blocks of it that they have not completed, in reading order."""

    caller: Caller
    user_id: UUID
    program_id: UUID
    course_id: UUID
    blocks: Sequence[UUID]
    done: Iterator[int] = field(default_factory=count)

    def next_block(self) -> UUID:
        """From the beginning again when all are done."""
        return self.blocks[next(self.done) % len(self.blocks)]


class Learners:
    """Learners of all communities in turn; makes requests of what they do, and remembers the events."""

    def __init__(self, database: Database, most: int) -> None:
        self.all = [
            Learner(_caller(community, user), user, program, course, blocks)
            for community, user, program, blocks, course in database.run(_LEARNERS, most)
        ]
        self._admins = {community: _caller(community, user) for community, user in database.run(_ADMINS)}
        self.sent: list[Event] = []
        self._turn, self._number = count(), count()

    @cached_property
    def by_community(self) -> dict[UUID, list[Learner]]:
        found = defaultdict(list)
        for learner in self.all:
            found[learner.caller.community_id].append(learner)
        return found

    @cached_property
    def _turns(self) -> dict[UUID, Iterator[Learner]]:
        return {community: cycle(people) for community, people in self.by_community.items()}

    def take(self) -> Learner:
        return self.all[next(self._turn) % len(self.all)]

    def with_blocks_left(self, number: int, blocks: int) -> list[Learner]:
        able = [learner for learner in self.all if len(learner.blocks) >= blocks]
        if len(able) < number:
            raise BenchError(
                f"Only {len(able)} learners have {blocks} blocks left: ask for more completions."
            )
        return able[:number]

    def event(self, learner: Learner, value: float = 1) -> Event:
        event_id = uuid5(_EVENTS_OF_THIS_RUN, str(next(self._number)))
        self.sent.append(Event(event_id, learner.user_id, learner.next_block(), value))
        return self.sent[-1]

    def take_back(self, number: int) -> None:
        """The last events that were made were not sent."""
        del self.sent[len(self.sent) - number :]

    def single(self, number: int) -> list[bytes]:
        """One event a request, every tenth of half a block."""
        takers = (self.take() for _ in range(number))
        return [
            recorded(learner.caller, [self.event(learner, 1 if n % 10 else 0.5)])
            for n, learner in enumerate(takers)
        ]

    def of_one(self, number: int, events: int) -> list[bytes]:
        """Lists of what one learner did."""
        return [
            recorded(learner.caller, [self.event(learner) for _ in range(events)])
            for learner in self.with_blocks_left(number, events)
        ]

    def of_many(self, number: int, events: int) -> list[bytes]:
        """Lists that admins send, of as many learners as there are, a community as often as it has learners."""
        communities = random.Random(2).choices(self.all, k=number)
        return [self._of_some(learner.caller.community_id, events) for learner in communities]

    def _of_some(self, community: UUID, events: int) -> bytes:
        """Of those whose turn it is."""
        people = islice(self._turns[community], events)
        return self.by_admin(community, [self.event(one) for one in people])

    def by_admin(self, community: UUID, events: Sequence[Event]) -> bytes:
        return recorded(self._admins[community], events, for_others=True)


def recorded(caller: Caller, events: Sequence[Event], *, for_others: bool = False) -> bytes:
    document = "record_for_many" if for_others else "record"
    told = [event.as_input(names_user=for_others) for event in events]
    return request(caller, document, {"events": told})


def request(caller: Caller, document: str, variables: dict[str, Any]) -> bytes:
    return Ask(caller, (_DOCUMENTS / f"{document}.graphql").read_text(), variables).bytes


def shuffled_writers(learners: Learners, people: int, events: int) -> list[bytes]:
    """What people and, for a fifth of it, their admins send in lists of five: one event in ten twice, in no order."""
    chance = random.Random(3)
    chosen = {one.user_id: one for one in learners.with_blocks_left(people, events)}
    told = [learners.event(one, chance.choice([0.5, 1])) for one in chosen.values() for _ in range(events)]
    told += chance.sample(told, len(told) // 10)
    chance.shuffle(told)
    own: dict[UUID, list[Event]] = defaultdict(list)
    by_admins: dict[UUID, list[Event]] = defaultdict(list)
    for event in told:
        if chance.random() < 0.2:
            by_admins[chosen[event.user_id].caller.community_id].append(event)
        else:
            own[event.user_id].append(event)
    requests = [recorded(chosen[user].caller, part) for user, all_ in own.items() for part in _fives(all_)]
    requests += [
        learners.by_admin(community, part) for community, all_ in by_admins.items() for part in _fives(all_)
    ]
    chance.shuffle(requests)
    return requests


def _fives(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    return (events[start : start + 5] for start in range(0, len(events), 5))


def _caller(community: UUID, user: UUID) -> Caller:
    return Caller(community, make_token(community, user, f"{user}@bench.test"), {})
