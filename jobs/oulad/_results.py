"""Writes people's results as a file of legacy progress: what an earlier system would have told of their courses."""

import csv
from pathlib import Path

from jobs.imports import Progress
from jobs.oulad._files import read_folder
from jobs.oulad._ids import id_of
from jobs.oulad._records import Registration

COLUMNS = ("community", "learner", "course", "percent", "completed_at", "final_result")
_COMPLETED = ("Pass", "Distinction")


def write_results(folder: Path, target: Path, progress: Progress = lambda *_: None) -> int:
    """Gives how many. Who passed has completed on the last day; how far the others came, the results do not tell."""
    content = read_folder(folder, progress)
    with target.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(map(_line, content.registrations))
    return len(content.registrations)


def _line(registration: Registration) -> tuple[object, ...]:
    p = registration.presentation
    completed = registration.result in _COMPLETED
    return (
        f"oulad-{p.module.lower()}",
        id_of("person", registration.student),
        id_of("course", p.module, p.code),
        100 if completed else 0,
        p.day(p.length).date() if completed else "",
        registration.result,
    )
