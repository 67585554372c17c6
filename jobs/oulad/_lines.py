"""Strict reading of one CSV file, gzipped or plain, line by line and within bounds."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from jobs.imports import Problems, Progress, shortened
from jobs.oulad._columns import BadLineError, Column, Line

_LONGEST_LINE = 10_000
_LINES_BETWEEN_REPORTS = 500
_CHUNK = 65_536


class _UnreadableError(Exception):
    """The file cannot be read any further than before this line."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"line {number}: {why}")


def read_lines(
    path: Path, columns: Sequence[Column[Any]], problems: Problems, progress: Progress
) -> Iterator[Line]:
    """The lines after the header that have as many fields as it; blank ones are passed over."""
    try:
        yield from _read_lines(path, columns, problems, progress)
    except _UnreadableError as error:
        problems.add(f"{path.name}, {error}.")
    except OSError as error:
        problems.add(f"{path.name} cannot be read ({error.strerror}).")


def _read_lines(
    path: Path, columns: Sequence[Column[Any]], problems: Problems, progress: Progress
) -> Iterator[Line]:
    names: list[str] = []
    for number, raw in _raw_lines(path, progress):
        try:
            fields = _fields(raw)
            if number == 1:
                names = _checked_header(fields, columns)
            elif fields:
                yield Line(path.name, number, _by_name(names, fields))
        except BadLineError as bad:
            if number == 1:
                raise _UnreadableError(1, str(bad)) from None
            problems.add(f"{path.name}, line {number}: {bad}.")
    if not names:
        raise _UnreadableError(1, "the file is empty; expected is a line with the names of the columns")


def _raw_lines(path: Path, progress: Progress) -> Iterator[tuple[int, bytes]]:
    step, size = f"Reading {path.name}", path.stat().st_size
    with path.open("rb") as file, _unpacked(file, path) as stream:
        number = 1
        # Bounded: a damaged file may have no line ends at all, and a small gzip file can unpack to gigabytes.
        while raw := stream.readline(_LONGEST_LINE + 1):
            if len(raw) > _LONGEST_LINE:
                raise _UnreadableError(number, f"the line is longer than {_LONGEST_LINE:,} bytes")
            if number % _LINES_BETWEEN_REPORTS == 1:
                progress(step, file.tell(), size)
            yield number, raw
            number += 1
    progress(step, size, size)


def _unpacked(file: BinaryIO, path: Path) -> BinaryIO | gzip.GzipFile:
    if path.suffix != ".gz":
        return file
    _check_packed(file)
    file.seek(0)
    return gzip.GzipFile(fileobj=file)


def _check_packed(file: BinaryIO) -> None:
    """Before a line is looked at: a checksum at the end may tell that all of them are garbled."""
    number = 1
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            while chunk := stream.read1(_CHUNK):
                number += chunk.count(b"\n")
    except (gzip.BadGzipFile, EOFError, zlib.error):
        why = "the gzip data is damaged or cut off, here or before; get the file again"
        raise _UnreadableError(number, why) from None


def _fields(raw: bytes) -> list[str]:
    if b"\0" in raw:
        raise BadLineError("there is a NUL byte; expected is text in UTF-8")
    try:
        text = raw.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise BadLineError(f"byte {error.start + 1} is not UTF-8") from None
    try:
        # Line by line: no field of these files spans lines, and an open quote must not swallow the rest.
        return next(csv.reader((text,), strict=True), [])
    except csv.Error:
        raise BadLineError(f"{shortened(text)} is not valid CSV; a quote may be left open") from None


def _checked_header(names: list[str], columns: Sequence[Column[Any]]) -> list[str]:
    wanted = [column.name for column in columns]
    if missing := [name for name in wanted if name not in names]:
        raise BadLineError(
            f"column {', '.join(missing)} is missing; the line is {shortened(','.join(names))}"
        )
    if repeated := [name for name in wanted if names.count(name) > 1]:
        raise BadLineError(f"column {', '.join(repeated)} is there more than once")
    return names


def _by_name(names: list[str], fields: list[str]) -> dict[str, str]:
    if len(fields) != len(names):
        raise BadLineError(f"there are {len(fields)} fields; expected are {len(names)}, as in line 1")
    return dict(zip(names, fields, strict=True))
