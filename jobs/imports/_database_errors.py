"""The database's refusals in words."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from jobs.imports._problems import ImportFailed


@contextmanager
def explained() -> Iterator[None]:
    """Stands around the whole transaction: when an error arrives here, that has been rolled back."""
    try:
        yield
    except psycopg.Error as error:
        raise ImportFailed(_explanation(error)) from error


def _explanation(error: psycopg.Error) -> str:
    match error:
        case psycopg.errors.UndefinedTable() | psycopg.errors.InvalidSchemaName():
            return "The database does not have our tables. Apply the migrations, then import again."
        case psycopg.errors.InsufficientPrivilege():
            return f"{_said(error)}. Import as role postgres; nothing was loaded."
        case psycopg.OperationalError():
            # It may have gone away at the very end; importing again is right in any case.
            return f"The database cannot be used: {_said(error)}. Import again when it can."
        case psycopg.ProgrammingError() if error.sqlstate is None:
            # Its own words would repeat the address, with the password in it.
            return "The database's address is not like postgresql://user:password@host:port/name. Correct it."
        case _:
            return f"The database refused: {_said(error)}. Nothing was loaded."


def _said(error: psycopg.Error) -> str:
    said = error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__
    detail = error.diag.message_detail
    return (f"{said} ({detail.rstrip('.')})" if detail else said).rstrip(".")
