"""How submissions become progress: as events, by the way that all events take."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any, LiteralString

import psycopg

from jobs.imports import Progress
from jobs.oulad._ids import id_of
from jobs.oulad._records import Folder, Presentation, Submission
from jobs.oulad._totals import ImportTotals

EVENTS = "progress_events"
_AT_ONCE = 500

# They were made in this transaction, too late for anybody else to look at them.
_LOOK_AT_WHAT_THERE_IS: LiteralString = """
    analyze public.memberships, public.program_enrollments, public.block_identities, public.blocks
"""

_RECORD: LiteralString = """
    select r ->> 'status', r ->> 'reason', count(*)
    from jsonb_array_elements(private.record_events(%s, %s) -> 'results') as r
    group by 1, 2
"""

# Recording leaves enrolments alone that are over. These were not when the submissions were made: they keep what their
# presentation has come to, and later ones are not there yet.
_SEE_HOW_FAR_ENDED_ENROLLMENTS_CAME: LiteralString = """
    select private.begin_course_progress(e.ended), private.evaluate_enrollments(e.ended)
    from (
        select array_agg(e order by e.id) as ended
        from public.program_enrollments as e
        where e.community_id = %s and e.id = any (%s) and e.status in ('withdrawn', 'expired')
    ) as e
    where e.ended is not null
"""

_KEPT = "submissions kept and not counted"
_TOLD = {
    "rejected": "submissions left out",
    "conflict": "submissions that differ from what was imported before, which stays",
}


def record_submissions(
    cursor: psycopg.Cursor[Any], folder: Folder, totals: ImportTotals, progress: Progress
) -> None:
    """Presentation by presentation, in order of time. The same submission is the same event at every import."""
    results: Counter[tuple[str, str | None]] = Counter()
    done = 0
    cursor.execute(_LOOK_AT_WHAT_THERE_IS)
    for presentation, submissions in _by_presentation(folder):
        community = id_of("community", presentation.module)
        new = False
        for first in range(0, len(submissions), _AT_ONCE):
            progress("Recording submissions", done, len(folder.submissions))
            some = submissions[first : first + _AT_ONCE]
            for status, reason, count in cursor.execute(_RECORD, [community, _events(some)]):
                results[status, reason] += count
                new = new or status == "accepted"
            done += len(some)
        if new:
            enrollments = [
                id_of("enrollment", presentation.module, presentation.code, student)
                for student in {s.student for s in submissions}
            ]
            cursor.execute(_SEE_HOW_FAR_ENDED_ENROLLMENTS_CAME, [community, enrollments])
    progress("Recording submissions", done, done)
    _tell(results, totals)


def _by_presentation(folder: Folder) -> Iterator[tuple[Presentation, list[Submission]]]:
    """Each with its submissions, those of one person together: what follows from them is worked out once then."""
    by_presentation = defaultdict(list)
    for submission in folder.submissions:
        by_presentation[submission.assessment.presentation].append(submission)
    for presentation in sorted(by_presentation, key=lambda p: (p.day(0), p.module)):
        yield presentation, sorted(by_presentation[presentation], key=attrgetter("student", "submitted"))


def _events(submissions: list[Submission]) -> str:
    return json.dumps(
        [
            {
                "user_id": str(person),
                "event_id": str(id_of("submission", s.assessment.id, student)),
                "block_id": str(_block_id(s)),
                "value": 1,
                "score": s.score,
                "data": {"is_banked": s.banked},
                "occurred_at": s.submitted_at.isoformat(),
            }
            for student, alike in groupby(submissions, key=attrgetter("student"))
            for person in (id_of("person", student),)
            for s in alike
        ]
    )


def _block_id(s: Submission) -> object:
    p = s.assessment.presentation
    return id_of("assessment", p.module, p.code, s.assessment.id)


def _tell(results: Counter[tuple[str, str | None]], totals: ImportTotals) -> None:
    by_status: Counter[str] = Counter()
    for (status, reason), count in sorted(results.items(), key=str):
        by_status[status] += count
        if status == "conflict":
            totals.note(count, _TOLD[status])
        elif reason is not None:
            totals.note(count, f"{_TOLD.get(status, _KEPT)} ({reason.rstrip('.')})")
    totals.created[EVENTS] = by_status["accepted"]
    totals.there_already[EVENTS] = by_status["duplicate"] + by_status["conflict"]
