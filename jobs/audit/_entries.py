"""What of an entry is hashed, and how.

The text is composed here and not by a function of the database: whoever could replace that one could make any log
look right.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow

Connection: TypeAlias = psycopg.Connection[TupleRow]
# Told of each step: what it is, how much is done, how much there is to do.
Progress: TypeAlias = Callable[[str, int, int], None]

GENESIS = bytes(32)

# What is not below this may belong to a transaction that is still running.
HORIZON = "select pg_snapshot_xmin(pg_current_snapshot())::text"

# Should entries ever be hashed in another way, the text begins with another word. jsonb has one text for a value. What
# no trigger writes has a text of its own too, so that nobody can exchange it: a time before Christ or without end, and
# JSON's null where there should be none.
ENTRY_TEXT = """
(
    jsonb_build_array(
        'audit entry 1', e.community_id, e.id, e.xid::text,
        case when isfinite(e.occurred_at) then
            to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
            || case when e.occurred_at < '0001-01-01 00:00:00+00' then ' BC' else '' end
        else e.occurred_at::text end,
        e.actor_id, e.acting_as, e.action, e.object_type, e.object_id, e.object_key, e.before, e.after, e.changed,
        e.reason, e.request_id
    )
    || case
        when 'null' in (e.object_key, e.before, e.after)
            then jsonb_build_array(e.object_key = 'null', e.before = 'null', e.after = 'null')
        else '[]'
    end
)::text
"""

_COMMUNITIES = "select c from private.audited_communities() as c order by c"


class AuditError(Exception):
    """What stands in the way; the message says what to do."""


@contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    """A connection without a limit of time; what the database refuses is an AuditError."""
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("set statement_timeout = 0")
            # Else a function in another schema, for arguments of just these types, would be called instead.
            connection.execute("set search_path = pg_catalog, pg_temp")
            yield connection
    except psycopg.Error as error:
        raise AuditError(_explanation(error)) from error


def _explanation(error: psycopg.Error) -> str:
    said = error.diag.message_primary or " ".join(str(error).split())
    match error:
        case psycopg.errors.UndefinedTable() | psycopg.errors.InvalidSchemaName():
            return "The database does not have the audit log. Apply the migrations first."
        case psycopg.errors.InsufficientPrivilege():
            return f"{said}. Give the address of the database as role postgres."
        case psycopg.ProgrammingError() if error.sqlstate is None:
            # Its own words would repeat the address, with the password in it.
            return "The database's address is not like postgresql://user:password@host:port/name. Correct it."
    return f"The database cannot be used: {said}. Do it again when it can: what is sealed stays sealed."


def linked(previous: bytes, text: str) -> bytes:
    """The hash of an entry in the chain."""
    return sha256(previous + text.encode()).digest()


def communities(connection: Connection) -> list[UUID]:
    """Those with anything in the log or in a chain."""
    return [community for (community,) in connection.execute(_COMMUNITIES)]


def value(connection: Connection, query: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """The one value of a query."""
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None
