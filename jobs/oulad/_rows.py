"""What the records of a folder become: the rows of our tables."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from jobs.oulad._blocks import trees
from jobs.oulad._ids import id_of
from jobs.oulad._records import Folder, Presentation, Registration

Row = tuple[Any, ...]

_SOURCE = "From the Open University Learning Analytics Dataset (Kuzilek, Hlosta, Zdrahal 2017), CC BY 4.0."


def communities(folder: Folder) -> Iterator[Row]:
    for module in _presentations_of(folder):
        name = f"Open University {module}"
        yield _community_id(module), f"oulad-{module.lower()}", name, "Europe/London"


def programs(folder: Folder) -> Iterator[Row]:
    for module, presentations in _presentations_of(folder).items():
        weeks = -(-max(p.length for p in presentations) // 7)
        first_day = presentations[0].day(0)
        yield _community_id(module), _program_id(module), f"Module {module}", _SOURCE, weeks, first_day


def courses(folder: Folder) -> Iterator[Row]:
    for p in folder.presentations:
        description = f"Starts on {p.day(0):%Y-%m-%d} and lasts {p.length} days. {_SOURCE}"
        yield _community_id(p.module), _course_id(p), f"{p.module} {p.code}", description


def course_versions(folder: Folder) -> Iterator[Row]:
    for p in folder.presentations:
        yield _community_id(p.module), _course_id(p), p.day(0)


def assignments(folder: Folder) -> Iterator[Row]:
    for module, presentations in _presentations_of(folder).items():
        for place, p in enumerate(presentations, start=1):
            assignment = id_of("assignment", module, p.code)
            yield _community_id(module), assignment, _program_id(module), _course_id(p), place


def blocks(folder: Folder) -> Iterator[Row]:
    for p, tree in trees(folder):
        for position, block in enumerate(tree, start=1):
            yield _community_id(p.module), _course_id(p), *block, position


def users(folder: Folder) -> Iterator[Row]:
    for student in dict.fromkeys(r.student for r in folder.registrations):
        yield _person_id(student), f"oulad-{student}@students.invalid"


def memberships(folder: Folder) -> Iterator[Row]:
    joined: dict[tuple[str, int], datetime] = {}
    for r in folder.registrations:
        key = r.presentation.module, r.student
        joined[key] = min(joined.get(key, r.enrolled_at), r.enrolled_at)
    for (module, student), joined_at in joined.items():
        membership = id_of("membership", module, student)
        yield _community_id(module), membership, _person_id(student), f"Student {student}", joined_at


def enrollments(folder: Folder) -> Iterator[Row]:
    """In order of time, numbered by it: the database counts a person's attempts as they come."""
    ordered = sorted(folder.registrations, key=_time)
    last = {(r.presentation.module, r.student): r for r in ordered}
    for place, r in enumerate(ordered, start=1):
        p = r.presentation
        is_last = last[p.module, r.student] is r
        status = "withdrawn" if r.withdrawn_at else "active" if is_last else "expired"
        key = _community_id(p.module), id_of("enrollment", p.module, p.code, r.student)
        times = r.enrolled_at, p.day(p.length), r.withdrawn_at
        yield *key, _program_id(p.module), _person_id(r.student), status, *times, place


def _presentations_of(folder: Folder) -> dict[str, list[Presentation]]:
    """By module, each module's in order of time."""
    modules = defaultdict(list)
    for p in sorted(folder.presentations, key=lambda p: (p.module, p.day(0))):
        modules[p.module].append(p)
    return modules


def _time(r: Registration) -> tuple[Any, ...]:
    return r.presentation.day(0), r.presentation.module, r.student


def _community_id(module: str) -> UUID:
    return id_of("community", module)


def _program_id(module: str) -> UUID:
    return id_of("program", module)


def _course_id(p: Presentation) -> UUID:
    return id_of("course", p.module, p.code)


def _person_id(student: int) -> UUID:
    return id_of("person", student)
