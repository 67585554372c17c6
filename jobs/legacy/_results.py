"""What became of each line, as a file for people and their programs."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from jobs.imports import ImportFailed
from jobs.legacy._file import LegacyFile

_QUOTED = re.compile(r"'.*'|\".*\"|(?<=has )[0-9]+", re.DOTALL)

RAISED, KEPT, THERE, REFUSED = "raised", "kept", "there already", "refused"


class Result(NamedTuple):
    line: int
    outcome: str
    reason: str | None = None
    percent_before: int | None = None
    percent_after: int | None = None


def refuse_overwriting(source: Path, target: Path) -> None:
    """Raises ImportFailed when the results would take the place of something that is no file of results."""
    for taken in (target, _partial(target)):
        if taken.exists() and taken.samefile(source):
            raise ImportFailed(
                "The results would overwrite the file itself. Name another file with --results."
            )
        if taken.is_symlink() or (taken.exists() and not taken.is_file()):
            raise ImportFailed(f"{taken} is no regular file. Name another file with --results.")


@contextmanager
def results_file(path: Path) -> Iterator[IO[str]]:
    """Appears whole under its name when all is done; that it can be written is known before anything is done."""
    partial = _partial(path)
    try:
        partial.unlink(missing_ok=True)
        # For nobody else: it names people.
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
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


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def write_results(file: IO[str], source: LegacyFile, results: dict[int, Result]) -> None:
    """In the order of the file that was read, each before what stood there: to be mended, and imported again."""
    # All in quotes: a bare carriage return would begin a new row.
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    try:
        writer.writerow((*Result._fields, *source.columns))
        for record in source.records:
            writer.writerow((*results[record.line], *map(_unquoted, record.cells)))
        file.flush()
    except OSError as error:
        raise ImportFailed(
            f"The results cannot be written ({error.strerror}). What is imported stays; import the file again for them."
        ) from None


def _unquoted(text: str) -> str:
    """Spreadsheets take what begins like this for a formula, and would run it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def reasons(results: Iterable[Result]) -> Counter[str]:
    """How often each is there, whatever it quotes."""
    return Counter(_QUOTED.sub("…", result.reason) for result in results if result.reason)
