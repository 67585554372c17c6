"""What a run's events come to, counted anew here, beside what the database says: nothing lost, nothing doubled."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

from bench.database import Database
from bench.learners import Event

_EVENTS: LiteralString = """
    select e.user_id, e.event_id, e.block_id, e.value from public.progress_events as e where e.user_id = any(%s)
"""
_COMPLETIONS: LiteralString = """
    select c.user_id, c.block_id, c.value, c.event_count from public.block_completions as c where c.user_id = any(%s)
"""
_COURSES: LiteralString = """
    select p.user_id, p.course_id, p.done_required, p.earned from public.course_progress as p where p.user_id = any(%s)
"""
_BLOCKS: LiteralString = """
    select b.course_id, b.id, case when b.required then b.weight else 0 end
    from public.blocks as b
    where b.completion_mode = 'completable'
"""
_PEOPLE_AT_ONCE = 500

_Numbers = tuple[Decimal | int, ...]
_Log = dict[UUID, dict[UUID, tuple[UUID, Decimal]]]


@dataclass(frozen=True)
class Recount:
    """How many numbers and events are less than they should be, and how many more."""

    learners: int
    lost: int
    doubled: int


def recount(database: Database, sent: Iterable[Event]) -> Recount:
    """Of every learner that something was sent for, all that they ever did."""
    by_learner: dict[UUID, list[Event]] = defaultdict(list)
    for event in sent:
        by_learner[event.user_id].append(event)
    courses = _Courses(database)
    lost = doubled = 0
    for people in _parts(list(by_learner), _PEOPLE_AT_ONCE):
        log = _log(database, people)
        for user in people:
            told = {event.event_id: (event.block_id, Decimal(str(event.value))) for event in by_learner[user]}
            lost += len(told.keys() - log[user].keys())
            log[user].update(told)
        for found, right in [*_completions(database, log), *_sums(database, log, courses)]:
            lost += any(a < b for a, b in zip(found, right, strict=True))
            doubled += any(a > b for a, b in zip(found, right, strict=True))
    return Recount(len(by_learner), lost, doubled)


class _Courses:
    """The weights of the blocks of courses, none for one that is not required."""

    def __init__(self, database: Database) -> None:
        self.weights: dict[UUID, dict[UUID, Decimal]] = defaultdict(dict)
        self.of_block: dict[UUID, UUID] = {}
        for course, block, weight in database.run(_BLOCKS):
            self.weights[course][block] = weight
            self.of_block[block] = course

    def sums(self, course: UUID, best: dict[UUID, Decimal]) -> _Numbers:
        values = [(weight, best.get(block, Decimal(0))) for block, weight in self.weights[course].items()]
        return sum(value == 1 and weight > 0 for weight, value in values), sum(w * v for w, v in values)


def _log(database: Database, people: Sequence[UUID]) -> _Log:
    log: _Log = {user: {} for user in people}
    for user, event, block, value in database.run(_EVENTS, list(people)):
        log[user][event] = (block, value)
    return log


def _best(events: Iterable[tuple[UUID, Decimal]]) -> dict[UUID, Decimal]:
    best: dict[UUID, Decimal] = {}
    for block, value in events:
        best[block] = max(best.get(block, value), value)
    return best


def _completions(database: Database, log: _Log) -> Iterator[tuple[_Numbers, _Numbers]]:
    """Of each block value and number of events as they are found, and as they are right."""
    found = {
        (user, block): (value, number) for user, block, value, number in database.run(_COMPLETIONS, list(log))
    }
    right: dict[tuple[UUID, UUID], _Numbers] = {}
    for user, events in log.items():
        counts = Counter(block for block, _ in events.values())
        right |= {(user, block): (value, counts[block]) for block, value in _best(events.values()).items()}
    for key in found.keys() | right.keys():
        yield found.get(key, (0, 0)), right.get(key, (0, 0))


def _sums(database: Database, log: _Log, courses: _Courses) -> Iterator[tuple[_Numbers, _Numbers]]:
    """Of each course the blocks that are done and what is earned, as they are found, and as they are right."""
    found = {
        (user, course): (done, earned) for user, course, done, earned in database.run(_COURSES, list(log))
    }
    right: dict[tuple[UUID, UUID], _Numbers] = {}
    for user, events in log.items():
        best = _best(events.values())
        begun = {courses.of_block[block] for block in best}
        right |= {(user, course): courses.sums(course, best) for course in begun}
    for key in found.keys() | right.keys():
        yield found.get(key, (0, 0)), right.get(key, (0, 0))


def _parts(people: list[UUID], size: int) -> Iterator[list[UUID]]:
    return (people[start : start + size] for start in range(0, len(people), size))
