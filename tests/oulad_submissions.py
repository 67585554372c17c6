"""How far everybody is by what they have submitted: as it is stored, and as the files say without the importer."""

from collections import defaultdict
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, TypeAlias

from tests.databases import Database
from tests.oulad_folders import read

# Module, presentation, student.
Learner: TypeAlias = tuple[str, str, str]

# What a learner did and what came of it, without what depends on when it was imported.
_OF_THE_DAY = {
    "progress_events": "received_at",
    "block_completions": "id,created_at",
    "course_progress": "updated_at,version",
    "program_progress": "updated_at",
}
_STORED_PERCENTS = """
    select upper(split_part(c.slug, '-', 2)), split_part(k.title, ' ', 2), split_part(m.display_name, ' ', 2), s.percent
    from unnest(%s::text[], %s::text[]) as wanted (course, student)
    join public.courses as k on k.title = wanted.course
    join public.communities as c on c.id = k.community_id and c.slug like 'oulad-%%'
    join public.memberships as m
        on m.community_id = k.community_id and m.display_name = 'Student ' || wanted.student
    cross join lateral private.version_shown(m.community_id, m.user_id, k.id) as v (version)
    cross join lateral private.course_state(m.community_id, m.user_id, k.id, v.version) as s
"""


def stored_percents(database: Database, folder: Path) -> dict[Learner, int]:
    """Of everybody who is registered, in the course of their presentation, as clients are shown it."""
    rows = read(folder, "studentRegistration")
    courses = [f"{row['code_module']} {row['code_presentation']}" for row in rows]
    found = database.run(_STORED_PERCENTS, courses, [row["id_student"] for row in rows])
    return {(module, code, student): percent for module, code, student, percent in found}


def expected_percents(folder: Path) -> dict[Learner, int]:
    return {learner: _floored(share) for learner, share in _shares(folder).items()}


def _floored(share: Fraction) -> int:
    return floor(100 * share)


def _shares(folder: Path) -> dict[Learner, Fraction]:
    """Of everybody who is registered: how much of the coursework they have handed in."""
    weights, run_of = _weights(folder)
    done: dict[Learner, Fraction] = defaultdict(Fraction)
    for row in read(folder, "studentAssessment"):
        run = run_of[row["id_assessment"]]
        done[(*run, row["id_student"])] += weights[run].get(row["id_assessment"], Fraction())
    return {
        learner: done[learner] / sum(weights[learner[:2]].values())
        for row in read(folder, "studentRegistration")
        for learner in [(row["code_module"], row["code_presentation"], row["id_student"])]
    }


def _weights(folder: Path) -> tuple[dict[tuple[str, str], dict[str, Fraction]], dict[str, tuple[str, str]]]:
    """By presentation what its assessments count for; and the presentations of them."""
    run_of = {}
    weights: dict[tuple[str, str], dict[str, Fraction]] = defaultdict(dict)
    for row in read(folder, "assessments"):
        run = run_of[row["id_assessment"]] = row["code_module"], row["code_presentation"]
        if row["assessment_type"] != "Exam":
            weights[run][row["id_assessment"]] = Fraction(row["weight"])
    for run, some in weights.items():
        if not any(some.values()):
            weights[run] = dict.fromkeys(some, Fraction(1))
    return weights, run_of


def expected_enrollments(folder: Path) -> dict[Learner, tuple[str, int]]:
    """Status and percent of every enrolment: one presentation is enough, so the best of those that count.

    For who is still enrolled, all of them; for whom it was over, those until then, if they took part in it at all.
    """
    shares = _shares(folder)
    registrations = read(folder, "studentRegistration")
    left = {_learner(row): row["date_unregistration"] not in ("", "?") for row in registrations}
    _, run_of = _weights(folder)
    took_part = {
        (*run_of[row["id_assessment"]], row["id_student"]) for row in read(folder, "studentAssessment")
    }
    runs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for module, code, student in sorted(shares):  # 2013B is before 2013J
        runs[module, student].append(code)
    expected = {}
    for learner in shares:
        module, code, student = learner
        codes = runs[module, student]
        if left[learner] or code != codes[-1]:
            until_then = [shares[module, c, student] for c in codes if c <= code]
            percent = min(99, _floored(max(until_then))) if learner in took_part else 0
            expected[learner] = "withdrawn" if left[learner] else "expired", percent
        else:
            percent = _floored(max(shares[module, c, student] for c in codes))
            expected[learner] = "completed" if percent == 100 else "active", percent
    return expected


def _learner(row: dict[str, str]) -> Learner:
    return row["code_module"], row["code_presentation"], row["id_student"]


def stored_enrollments(database: Database) -> dict[Learner, tuple[str, int]]:
    """Told apart by when their presentations end."""
    rows = database.run(
        """
        select upper(split_part(c.slug, '-', 2)), e.due_at, split_part(m.display_name, ' ', 2), e.status, p.percent
        from public.program_progress as p
        join public.program_enrollments as e on e.community_id = p.community_id and e.id = p.enrollment_id
        join public.memberships as m on m.community_id = e.community_id and m.user_id = e.user_id
        join public.communities as c on c.id = p.community_id and c.slug like 'oulad-%'
        """
    )
    return {
        (module, f"{due.year - (due.month < 9)}{'J' if due.month < 9 else 'B'}", student): (status, percent)
        for module, due, student, status, percent in rows
    }


def differences(database: Database, every: int = 1) -> list[tuple[Any, ...]]:
    """What counting anew finds to be different, for every so many learners."""
    with database.connect() as connection:
        found = connection.execute(
            """
            select m.display_name, private.recompute_progress(m.community_id, m.user_id) as different
            from (
                select m.*, row_number() over (order by m.display_name) as nth
                from public.memberships as m
                join public.communities as c on c.id = m.community_id and c.slug like 'oulad-%%'
            ) as m
            where nth %% %s = 0
            """,
            [every],
        ).fetchall()
        connection.rollback()
    assert found
    return [row for row in found if row[1]]


def progress_snapshot(database: Database) -> list[tuple[Any, ...]]:
    """Number and digest of all rows about progress, table by table."""
    digests = [
        f"""
        select '{table}', count(*), md5(string_agg(content, ',' order by content))
        from (
            select (to_jsonb(t) - '{{{left_out}}}'::text[])::text as content
            from public.{table} as t
            where community_id in (select id from public.communities where slug like 'oulad-%')
        ) as contents
        """
        for table, left_out in _OF_THE_DAY.items()
    ]
    return database.run(" union all ".join(digests))
