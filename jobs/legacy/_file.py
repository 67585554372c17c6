"""Reads a file of legacy progress: CSV in UTF-8, plain or gzipped, with the names of its columns in the first line."""

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from unicodedata import normalize

from jobs.imports import ImportFailed, Progress, shortened

_NEEDED = ("learner", "course")
_ONE_OF = ("percent", "completed_at")
_KNOWN = {*_NEEDED, *_ONE_OF, "community"}
_RECORDS_BETWEEN_REPORTS = 500
_MOST_LINES = 2_000_000
_LONGEST_LINE = 1_000_000


@dataclass(frozen=True)
class Record:
    """A line by the names of its columns; `more` is what we do not know ourselves."""

    line: int
    fields: dict[str, str]
    more: dict[str, str]
    cells: list[str]
    # How many fields there are instead of as many as there are names.
    misfit: int | None = None


@dataclass(frozen=True)
class LegacyFile:
    name: str
    digest: str
    columns: tuple[str, ...]
    records: list[Record]


def read_file(path: Path, progress: Progress) -> LegacyFile:
    """The whole file, before anything is written. Raises ImportFailed when it is not to be read as one."""
    if path.exists() and not path.is_file():
        raise ImportFailed(f"{path} is no regular file.")
    try:
        digest = _digest(path)
        columns, records = _read(path, progress)
    except OSError as error:
        raise ImportFailed(f"{path} cannot be read ({error.strerror or error}).") from None
    except (EOFError, zlib.error):
        raise ImportFailed(f"{path.name}: the gzip data is damaged or cut off. Get the file again.") from None
    return LegacyFile(path.name, digest, columns, records)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, progress: Progress) -> tuple[tuple[str, ...], list[Record]]:
    step, size = f"Reading {path.name}", path.stat().st_size
    records: list[Record] = []
    columns: tuple[str, ...] = ()
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            raise ImportFailed(f"{path.name} is a spreadsheet, or another zip file. Save it as CSV in UTF-8.")
    with path.open("rb") as file, _text(file, path) as text:
        for line, cells in _lines(text, path.name):
            if not columns:
                columns = _checked_columns(cells, path.name)
            elif any(cells):
                records.append(_record(line, columns, cells))
            if len(records) > _MOST_LINES:
                raise ImportFailed(f"{path.name} has more than {_MOST_LINES:,} lines. Split it.")
            if len(records) % _RECORDS_BETWEEN_REPORTS == 0:
                progress(step, min(file.tell(), size), size)
    if not columns:
        raise ImportFailed(f"{path.name} is empty; expected is a line with the names of the columns.")
    if not records:
        raise ImportFailed(f"{path.name} has no lines after its first.")
    progress(step, size, size)
    return columns, records


def _text(file: BinaryIO, path: Path) -> io.TextIOWrapper:
    unpacked = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
    return io.TextIOWrapper(unpacked, encoding="utf-8-sig", newline="")


def _lines(text: io.TextIOWrapper, name: str) -> Iterator[tuple[int, list[str]]]:
    """The fields of each record, with the number of the line that it begins in: a quoted field may span several."""
    first = 1
    try:
        reader = csv.reader(_bounded(text, name), strict=True, delimiter=_delimiter(text))
        for fields in reader:
            # Composed, as most databases have it; some systems write umlauts as two characters.
            yield first, [normalize("NFC", field).strip() for field in fields]
            first = reader.line_num + 1
    except UnicodeDecodeError:
        raise ImportFailed(
            f"{name} is not text in UTF-8, in line {first} or soon after it. Save it as CSV in UTF-8."
        ) from None
    except csv.Error as error:
        raise ImportFailed(
            f"{name}, line {first}: this is not valid CSV ({error}); a quote may be left open."
        ) from None


def _bounded(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    """The lines of a file, which a small packed one could have without end."""
    number = 0
    while line := text.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise ImportFailed(f"{name}, line {number}: it is longer than {_LONGEST_LINE:,} characters.")
        if number > 2 * _MOST_LINES:
            raise ImportFailed(f"{name} has more than {2 * _MOST_LINES:,} lines. Split it.")
        yield line


def _delimiter(text: io.TextIOWrapper) -> str:
    """What stands between the names in the first line: spreadsheets write semicolons or tabs in many countries."""
    header = text.readline(_LONGEST_LINE)
    text.seek(0)

    def known_names(mark: str) -> int:
        return sum(name.strip(' "\r\n').lower() in _KNOWN for name in header.split(mark))

    return max(",;\t", key=known_names)


def _checked_columns(cells: list[str], name: str) -> tuple[str, ...]:
    columns = tuple(cell.lower() if cell.lower() in _KNOWN else cell for cell in cells)
    missing = [column for column in _NEEDED if column not in columns]
    if not set(_ONE_OF) & set(columns):
        missing.append("or ".join(f"{column} " for column in _ONE_OF).strip())
    if missing:
        raise ImportFailed(
            f"{name}, line 1: there is no column {', none '.join(missing)}; there are "
            f"{', '.join(map(shortened, filter(None, cells))) or 'no names'}. Rename them."
        )
    if repeated := sorted({column for column in columns if column and columns.count(column) > 1}):
        raise ImportFailed(
            f"{name}, line 1: column {', '.join(map(shortened, repeated))} is there more than once."
        )
    return columns


def _record(line: int, columns: tuple[str, ...], cells: list[str]) -> Record:
    named = dict(zip(columns, cells, strict=False))
    return Record(
        line,
        {column: named.get(column, "") for column in _KNOWN},
        {column: cell for column, cell in named.items() if column and column not in _KNOWN and cell},
        cells,
        len(cells) if len(cells) != len(columns) else None,
    )
