"""What the lines of a file say, with the communities that they are about; or why they say nothing."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from jobs.imports import ImportFailed, shortened
from jobs.legacy._file import LegacyFile, Record

_PERCENT = re.compile(r"([0-9]{1,3}(?:[.,][0-9]{1,20})?)\s?%?")
_DAY_FIRST = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}.*)?")
_MOST_DATA = 8192


class _BadLineError(Exception):
    pass


@dataclass(frozen=True)
class Community:
    id: UUID
    slug: str
    zone: ZoneInfo


@dataclass(frozen=True)
class Row:
    """`percent` has three decimals, as it is kept."""

    line: int
    community: UUID
    learner: str
    course: str
    percent: Decimal
    completed_at: datetime | None
    data: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        return {
            "line": self.line,
            "learner": self.learner,
            "course": self.course,
            "percent": str(self.percent),
            "completed_at": self.completed_at and self.completed_at.isoformat(),
            "data": self.data or None,
        }


@dataclass(frozen=True)
class Refused:
    line: int
    reason: str


def rows_of(file: LegacyFile, communities: Iterable[Community], default: str | None) -> list[Row | Refused]:
    """`default` is the community of lines that name none, by slug or id."""
    return _Reader(communities, default, file.columns).rows(file.records)


class _Reader:
    def __init__(self, communities: Iterable[Community], default: str | None, columns: Sequence[str]) -> None:
        self._width = len(columns)
        self._communities = {str(key): c for c in communities for key in (c.id, c.slug)}
        self._default = default
        if default is None:
            if "community" not in columns:
                raise ImportFailed(
                    "Say which community it is about: --community SLUG, or a column community."
                )
        elif default.lower() not in self._communities:
            raise ImportFailed(f"There is no community {shortened(default)}. Name it by its slug or its id.")

    def rows(self, records: list[Record]) -> list[Row | Refused]:
        return [self._row(record) for record in records]

    def _row(self, record: Record) -> Row | Refused:
        try:
            if record.misfit is not None:
                raise _BadLineError(
                    f"The line has {record.misfit} fields, and line 1 has {self._width}. "
                    "Put what has a separator in it in quotes."
                )
            community = self._community(record.fields["community"])
            completed_at = _completed_at(record.fields["completed_at"], community.zone)
            return Row(
                record.line,
                community.id,
                _name(record, "learner"),
                _name(record, "course"),
                _percent(record.fields["percent"], completed_at),
                completed_at,
                _data(record.more),
            )
        except _BadLineError as bad:
            return Refused(record.line, str(bad))

    def _community(self, told: str) -> Community:
        name = (told or self._default or "").lower()
        if not name:
            raise _BadLineError("The line names no community.")
        if name not in self._communities:
            raise _BadLineError(f"There is no community {shortened(name)}.")
        return self._communities[name]


def _name(record: Record, column: str) -> str:
    name = record.fields[column]
    if not name:
        raise _BadLineError(f"The line names no {column}.")
    if "\0" in name:
        raise _BadLineError(f"{column} holds a NUL character.")
    return name


def _percent(text: str, completed_at: datetime | None) -> Decimal:
    if not text:
        if completed_at is None:
            raise _BadLineError("The line has neither percent nor completed_at.")
        return Decimal(100)
    match = _PERCENT.fullmatch(text)
    if match is None or (number := Decimal(match[1].replace(",", "."))) > 100:
        raise _BadLineError(f"percent {shortened(text)} is not a number from 0 to 100.")
    # Floored, for a floor must not promise more than there was.
    return number // Decimal("0.001") * Decimal("0.001")


def _completed_at(text: str, zone: ZoneInfo) -> datetime | None:
    """Without an offset it is in the community's time zone, without a time the beginning of that day."""
    if not text:
        return None
    try:
        moment = _moment(text)
        if moment.year < 1970:
            raise ValueError
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _BadLineError(
            f"completed_at {shortened(text)} is not a date like 2026-01-31 or 2026-01-31T12:00:00Z, from 1970 on."
        ) from None


def _moment(text: str) -> datetime:
    if day_first := _DAY_FIRST.fullmatch(text):
        day, month, year = map(int, day_first.groups())
        return datetime(year, month, day)
    # Not all that Python takes for ISO 8601, as weeks and days of a year.
    if not _ISO.fullmatch(text):
        raise ValueError
    return datetime.fromisoformat(text)


def _data(more: dict[str, str]) -> dict[str, str]:
    text = json.dumps(more, ensure_ascii=False)
    if any("\0" in part for pair in more.items() for part in pair):
        raise _BadLineError("A field holds a NUL character.")
    if len(text.encode()) > _MOST_DATA:
        raise _BadLineError(f"The further columns hold more than {_MOST_DATA:,} bytes.")
    return more
