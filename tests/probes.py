"""Tries every command on every kind of row under everybody's identity, and notes what succeeds."""

from dataclasses import replace

import psycopg
from psycopg.rows import TupleRow

from tests import cast
from tests.databases import Database
from tests.matrix import COMMANDS, NOTHING, Cells
from tests.people import Person, signed_in, signed_out
from tests.records import RECORDS, Record

Connection = psycopg.Connection[TupleRow]

_CHANGEABLE = """
select attname from pg_attribute
where attrelid = to_regclass(%s) and attnum > 0 and has_column_privilege(attrelid, attnum, 'update')
"""


def personas(database: Database) -> dict[str, Person]:
    return {
        "learner": signed_in(database, cast.LEARNER),
        "admin": signed_in(database, cast.ADMIN),
        "super admin": signed_in(database, cast.SUPER_ADMIN),
        "other community's admin": signed_in(database, cast.OTHER_ADMIN),
        "suspended": signed_in(database, cast.SUSPENDED),
        "anonymous sign-in": signed_in(database, cast.VISITOR),
        "signed out": signed_out(database),
    }


def reached(database: Database) -> Cells:
    """By table, row and persona: the commands that did something. Leaves the database as it was."""
    cells: Cells = {}
    for persona, person in personas(database).items():
        with person.transaction() as connection:
            for record in RECORDS:
                cells[record.table, record.row, persona] = _reach(connection, record)
    return cells


def probed_tables() -> set[str]:
    return {record.table for record in RECORDS}


def statement(record: Record, command: str) -> str:
    return {
        "select": f"select from {record.table} where {record.where}",
        "insert": f"insert into {record.table} {record.insert}",
        "update": f"update {record.table} set {record.change} where {record.where}",
        "delete": f"delete from {record.table} where {record.where}",
    }[command]


def succeeds(connection: Connection, statement: str) -> bool:
    """Whether it touched a row; only a refusal may stop it, not a mistake in the statement."""
    try:
        with connection.transaction(force_rollback=True):
            return connection.execute(statement).rowcount > 0
    except psycopg.Error as error:
        if not _is_refusal(error.sqlstate or ""):
            raise
        return False


def _is_refusal(sqlstate: str) -> bool:
    """By a privilege or policy, by a rule of ours, or by a constraint: what is named is in another community."""
    return sqlstate == "42501" or sqlstate[:2] in ("PT", "23")


def _reach(connection: Connection, record: Record) -> str:
    return ", ".join(command for command in COMMANDS if _can(connection, record, command)) or NOTHING


def _can(connection: Connection, record: Record, command: str) -> bool:
    if succeeds(connection, statement(record, command)):
        return True
    # Other columns than the one that the record changes may be open, perhaps by mistake.
    columns = connection.execute(_CHANGEABLE, (record.table,)) if command == "update" else ()
    changes = [replace(record, change=f"{column} = {column}") for (column,) in columns]
    return any(succeeds(connection, statement(change, "update")) for change in changes)
