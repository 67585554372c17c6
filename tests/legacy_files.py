"""Files of legacy progress, their import as the command does it, and all that progress there is."""

import csv
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs.legacy import import_legacy
from jobs.legacy._import import Import
from tests.databases import Database

HEADER = "learner,course,percent,completed_at"
_STATE = {
    "courses": "select * from public.course_progress order by user_id, course_id, version, attempt",
    "programs": "select * from public.program_progress order by enrollment_id",
    "enrollments": "select id, status, completed_at from public.program_enrollments order by id",
    "completions": "select * from public.block_completions order by user_id, block_id, attempt",
    "events": "select * from public.progress_events order by user_id, event_id",
    "attempts": "select * from public.course_attempts order by user_id, course_id, attempt",
    "lines": "select line, user_id, course_id, percent, completed_at, data from public.legacy_progress "
    "where attempt < 9 order by line, user_id",
}
_TIMES = {"updated_at"}


def written(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join((header, *lines)) + "\n")
    return path


def imported(database: Database, path: Path, **more: Any) -> Import:
    given = {"community": "alpha", **more}
    return import_legacy(database.dsn(), path, results_of(path), **given)


def results_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.results.csv")


def outcomes(done: Import) -> list[tuple[str, int | None, int | None]]:
    """In the order of the lines."""
    found = sorted(done.results.values())
    return [(result.outcome, result.percent_before, result.percent_after) for result in found]


def results_in(path: Path) -> list[dict[str, str]]:
    with results_of(path).open(newline="") as file:
        return list(csv.DictReader(file))


def state(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All that progress is, but for when it was written."""
    found = {}
    for name, query in _STATE.items():
        rows = database.run(f"select to_jsonb(s) from ({query}) as s")
        found[name] = [{key: value for key, value in row.items() if key not in _TIMES} for (row,) in rows]
    return found


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
