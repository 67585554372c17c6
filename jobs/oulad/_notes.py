"""The dirt in a folder that people should know of: what was loaded in another form than it was written."""

from collections.abc import Iterator

from jobs.oulad._records import Folder, Registration


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
    yield sum(a.weight == 0 for a in assessments), "assessments of weight 0, optional and with weight 1"


def _withdrawn_before_it_began(r: Registration) -> bool:
    return r.withdrawn_at is not None and r.withdrawn_at < r.enrolled_at
