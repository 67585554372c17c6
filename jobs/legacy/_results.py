"""What became of each line, as a file for people and their programs."""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from jobs.imports import ImportFailed
from jobs.legacy._file import Record

RAISED, KEPT, THERE, REFUSED = "raised", "kept", "there already", "refused"


class Result(NamedTuple):
    line: int
    outcome: str
    reason: str | None = None
    percent_before: int | None = None
    percent_after: int | None = None


@contextmanager
def results_file(path: Path) -> Iterator[IO[str]]:
    """Appears whole under its name when all is done; that it can be written is known before anything is done."""
    partial = path.with_name(f".{path.name}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "Is a directory")
        # For nobody else: it names people.
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ImportFailed(
            f"The results cannot be written to {path} ({error.strerror}). Name another file with --results."
        ) from None
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_results(file: IO[str], records: Iterable[Record], results: dict[int, Result]) -> None:
    """In the order of the file that was read, each with whom and what it named."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ("line", "learner", "course", "outcome", "reason", "percent_before", "percent_after"),
    )
    for record in records:
        result = results[record.line]
        named = (_unquoted(record.fields[column]) for column in ("learner", "course"))
        writer.writerow(
            (
                result.line,
                *named,
                result.outcome,
                result.reason,
                result.percent_before,
                result.percent_after,
            )
        )


def _unquoted(text: str) -> str:
    """Spreadsheets take what begins like this for a formula, and would run it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def reasons(results: Iterable[Result]) -> Counter[str]:
    return Counter(result.reason for result in results if result.reason)
