"""The dirt in a folder that people should know of: what was loaded in another form than it was written."""

from collections import defaultdict
from collections.abc import Iterator

from jobs.oulad._blocks import required_of
from jobs.oulad._records import EXAM, Assessment, Folder, Registration


def notes_on(folder: Folder) -> Iterator[tuple[int, str]]:
    """How many rows, and what is the matter with them. Nothing is dropped, no date is moved."""
    registrations, assessments = folder.registrations, folder.assessments
    yield sum(r.registered is None for r in registrations), "registrations without a date, taken as of day 0"
    yield sum(map(_withdrawn_before_it_began, registrations)), "enrolments withdrawn before they began"
    yield (
        sum(r.result == "Withdrawn" and r.unregistered is None for r in registrations),
        "people with the result Withdrawn and no date for it, not taken as withdrawn",
    )
    yield (
        sum(r.result != "Withdrawn" and r.unregistered is not None for r in registrations),
        "people with a date of unregistration and another result, taken as withdrawn",
    )
    yield sum(a.date is None for a in assessments), "assessments without a date, placed on the last day"
    yield from _notes_on_what_is_required(assessments)
    yield from _notes_on_submissions(folder)


def _notes_on_what_is_required(assessments: list[Assessment]) -> Iterator[tuple[int, str]]:
    by_presentation = defaultdict(list)
    for a in assessments:
        by_presentation[a.presentation].append(a)
    asked_for = set().union(*map(required_of, by_presentation.values()))
    required = [a for a in assessments if a.id in asked_for]
    optional = [a for a in assessments if a.id not in asked_for]
    yield (
        sum(a.type == EXAM for a in optional),
        "exams, optional beside coursework",
    )
    yield sum(a.weight == 0 for a in optional), "assessments of weight 0, optional and with weight 1"
    yield (
        sum(a.weight == 0 for a in required),
        "assessments of weight 0, required with weight 1 where no coursework has any",
    )


def _notes_on_submissions(folder: Folder) -> Iterator[tuple[int, str]]:
    registrations = {(r.presentation, r.student): r for r in folder.registrations}
    submissions = [(s, registrations.get((s.assessment.presentation, s.student))) for s in folder.submissions]
    yield sum(s.score is None for s, _ in submissions), "submissions without a score"
    yield (
        sum(s.banked for s, _ in submissions),
        "submissions banked, carried over from an earlier presentation",
    )
    yield (
        sum(
            r is not None and r.withdrawn_at is not None and s.submitted_at > r.withdrawn_at
            for s, r in submissions
        ),
        "submissions after their people had withdrawn, taken all the same",
    )
    yield sum(r is None for _, r in submissions), "submissions of people not registered in that presentation"


def _withdrawn_before_it_began(r: Registration) -> bool:
    return r.withdrawn_at is not None and r.withdrawn_at < r.enrolled_at
