"""The scalars whose rules are stricter than Strawberry's own."""

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from strawberry import scalar
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

from resolvers.json_text import JsonValue

_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


def parse_date_time(value: Any) -> datetime:
    """A point in time from RFC 3339 text with an offset. Raises ValueError for anything else."""
    match = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('expected RFC 3339 with an offset, like "2026-01-31T12:00:00Z"')
    date, time, fraction, offset = match.groups()
    micros = (fraction or ".0")[:7]
    try:
        moment = datetime.fromisoformat(f"{date}T{time}{micros}{'+00:00' if offset in 'Zz' else offset}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("there is no such date or time") from error


def parse_uuid(value: Any) -> UUID:
    """A UUID from its canonical text. Raises ValueError for anything else, also for braces and bare digits."""
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError('expected a UUID like "123e4567-e89b-12d3-a456-426614174000"')
    return UUID(value)


def _as_it_is(value: Any) -> Any:
    return value


# The compiled data hold the text that Postgres wrote.
SCALARS: dict[object, ScalarDefinition] = {
    datetime: scalar(
        name="DateTime",
        description="A point in time as RFC 3339 with an offset; answers are in UTC, with microseconds and `Z`.",
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc3339",
        serialize=_as_it_is,
        parse_value=parse_date_time,
    ),
    UUID: scalar(
        name="UUID",
        description="A UUID in its canonical form of 36 characters.",
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc9562",
        serialize=_as_it_is,
        parse_value=parse_uuid,
    ),
    JSON: scalar(
        name="JSON",
        description="Any JSON value. In a document it may also be written as GraphQL values.",
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc8259",
        serialize=JsonValue,
        parse_value=JsonValue,
    ),
}
