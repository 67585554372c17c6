"""The tree of a course: a section for its assessments, then one for each type of activity."""

import re
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from jobs.oulad._ids import id_of
from jobs.oulad._records import EXAM, Assessment, Folder, Presentation, Resource

ASSESSMENTS = "Assessments"


class Block(NamedTuple):
    id: UUID
    parent_id: UUID | None
    kind: str
    title: str
    weight: Decimal
    required: bool
    completion_mode: str


def trees(folder: Folder) -> Iterator[tuple[Presentation, list[Block]]]:
    """Each presentation's blocks in their reading order."""
    assessments, resources = defaultdict(list), defaultdict(list)
    for assessment in folder.assessments:
        assessments[assessment.presentation].append(assessment)
    for resource in folder.resources:
        resources[resource.presentation].append(resource)
    for p in folder.presentations:
        yield p, [*_assessment_section(p, assessments[p]), *_resource_sections(p, resources[p])]


def _assessment_section(p: Presentation, assessments: list[Assessment]) -> Iterator[Block]:
    if not assessments:
        return
    section = id_of("section", p.module, p.code, "assessments")
    required = required_of(assessments)
    yield _section(section, ASSESSMENTS, required=bool(required))
    for a in sorted(assessments, key=lambda a: (p.length if a.date is None else a.date, a.id)):
        block_id = id_of("assessment", p.module, p.code, a.id)
        weight = a.weight or Decimal(1)  # of blocks it is more than 0
        title = f"{a.type} {a.id}"
        yield Block(block_id, section, a.type.lower(), title, weight, a.id in required, "completable")


def required_of(assessments: list[Assessment]) -> set[int]:
    """Which of a presentation's assessments its course asks for: the coursework that has a weight.

    Exams are beside it: the authors of the data weigh them apart, 100 to the coursework's 100, and most modules' are
    sat elsewhere and not among the submissions, so that nobody could ever complete a course that asks for them.
    Coursework without a weight is optional, unless there is no other; and an exam is asked for when it is all there is.
    """
    coursework = [a for a in assessments if a.type != EXAM]
    weighted = [a for a in coursework if a.weight]
    return {a.id for a in weighted or coursework or assessments}


def _resource_sections(p: Presentation, resources: list[Resource]) -> Iterator[Block]:
    by_kind = defaultdict(list)
    for resource in resources:
        by_kind[_kind(resource)].append(resource)
    for kind, alike in sorted(by_kind.items()):
        section = id_of("section", p.module, p.code, "resources", kind)
        yield _section(section, kind, required=False)
        for r in sorted(alike, key=lambda r: r.id):
            block_id = id_of("resource", p.module, p.code, r.id)
            title = f"{r.activity_type} {r.id}"
            yield Block(block_id, section, kind, title, Decimal(1), False, "completable")


def _section(section: UUID, title: str, *, required: bool) -> Block:
    return Block(section, None, "section", title, Decimal(1), required, "aggregator")


def _kind(resource: Resource) -> str:
    return re.sub("[^a-z0-9]", "_", resource.activity_type.lower())
