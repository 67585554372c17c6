"""What becomes of a statement that somebody tries: the rows it touched, or the error as its sender sees it."""

from typing import Any

import psycopg
from psycopg.rows import TupleRow

from tests.people import Person

NO_PRIVILEGE = "42501"


def attempt(person: Person, statement: str, *parameters: Any) -> str:
    """Leaves nothing behind; says `3 rows`, or the SQLSTATE with the message."""
    with person.transaction() as connection:
        return attempt_on(connection, statement, *parameters)


def attempt_on(connection: psycopg.Connection[TupleRow], statement: str, *parameters: Any) -> str:
    """The same as whoever the connection is now: for many attempts in a row."""
    try:
        with connection.transaction(force_rollback=True):
            return f"{connection.execute(statement, parameters or None).rowcount} rows"
    except psycopg.Error as error:
        return f"{error.sqlstate}: {error.diag.message_primary}"


def refusal(person: Person, statement: str, *parameters: Any) -> str:
    """The SQLSTATE that refuses it; empty when nothing does."""
    code, _, _ = attempt(person, statement, *parameters).partition(":")
    return "" if code.endswith("rows") else code
