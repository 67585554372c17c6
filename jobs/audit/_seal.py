"""Appends to the chains what has been written since.

Entries are taken when their transactions have ended for good, so that nothing earlier can still come; in the order of
(xid, id). Each batch is one transaction that ends with a signed head: whatever kills the process, a chain is whole.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from jobs.audit._entries import (
    ENTRY_TEXT,
    HORIZON,
    AuditError,
    Connection,
    Progress,
    communities,
    connected,
    linked,
    value,
)
from jobs.audit._heads import Head, SigningKey, last_head, store

BATCH = 5_000

_LOCK = "select pg_advisory_xact_lock(hashtextextended('audit log of ' || %s::text, 0))"
# Without a bound below, those of transactions that may still be running are among them.
_BEHIND = "%(community)s, %(upto_xid)s::xid8, %(upto_id)s"
_WAITING = f"select count(*) from private.entries_to_seal({_BEHIND}, null, null)"  # noqa: S608 - of literals
_COUNT = f"select count(*) from private.entries_to_seal({_BEHIND}, %(below)s::xid8, null)"  # noqa: S608 - the same
_NEXT = f"""
select e.xid::text, e.id, {ENTRY_TEXT}
from private.entries_to_seal({_BEHIND}, %(below)s::xid8, %(batch)s) as e
"""  # noqa: S608 - the same
# No transaction has this number, so none that is seen is above it.
_ABOVE_ALL = 2**63


def seal(
    dsn: str,
    key: SigningKey,
    *,
    restored: bool = False,
    batch: int = BATCH,
    progress: Progress = lambda *_: None,
) -> int:
    """Seals all that can be, and says how many entries that was. `dsn` is that of role `postgres` or `gym_worker`.

    With `restored` the database has come from a dump, and this server counts its transactions anew: entries are taken
    whatever their transaction, and a new count begins.
    """
    sealed = 0
    with connected(dsn) as connection:
        for community in communities(connection):
            sealed += _seal_community(connection, community, key, restored, batch, progress)
    return sealed


def seal_community(dsn: str, key: SigningKey, community: UUID) -> int:
    """Seals what can be of one community."""
    with connected(dsn) as connection:
        return _seal_community(connection, community, key, False, BATCH, lambda *_: None)


def count_waiting(dsn: str) -> int:
    """How many entries are not sealed yet, those of transactions that have not ended for good among them."""
    with connected(dsn) as connection:
        heads = [last_head(connection, community) for community in communities(connection)]
        return sum(int(value(connection, _WAITING, _behind(head.community, head.upto))) for head in heads)


def _seal_community(
    connection: Connection, community: UUID, key: SigningKey, restored: bool, batch: int, progress: Progress
) -> int:
    step, sealed = f"Sealing {community}", 0
    # Looked at without the lock, for most have nothing new.
    waiting = _count(connection, last_head(connection, community), restored)
    if not waiting and not restored:
        return 0
    while True:
        progress(step, sealed, max(waiting, sealed))
        with connection.transaction():
            connection.execute(_LOCK, [community])
            head = last_head(connection, community)
            taken = _append(connection, head, key, restored, batch)
        sealed += taken
        if taken < batch:
            progress(step, sealed, sealed)
            return sealed


def _count(connection: Connection, head: Head, restored: bool) -> int:
    return int(value(connection, _COUNT, _bounds(connection, head, restored)))


def _bounds(connection: Connection, head: Head, restored: bool) -> dict[str, Any]:
    """Which entries are next: behind the head, and below what may still be written."""
    horizon = int(value(connection, HORIZON))
    if restored:
        return _behind(head.community, (0, UUID(int=0))) | _below(_ABOVE_ALL, horizon)
    if horizon < head.upto_xid:
        raise AuditError(
            f"This server's transactions ({horizon}) are behind those of the last seal ({head.upto_xid}): the "
            "database has come from a dump. Verify it, then seal once with --restored."
        )
    return _behind(head.community, head.upto) | _below(horizon, horizon)


def _behind(community: UUID, upto: tuple[int, UUID]) -> dict[str, Any]:
    return {"community": community, "upto_xid": str(upto[0]), "upto_id": upto[1]}


def _below(xid: int, horizon: int) -> dict[str, Any]:
    return {"below": str(xid), "horizon": horizon}


def _append(connection: Connection, head: Head, key: SigningKey, restored: bool, batch: int) -> int:
    """One batch behind a head, and the next head. Nothing when there is nothing."""
    bounds = _bounds(connection, head, restored)
    rows = connection.execute(_NEXT, {**bounds, "batch": batch}).fetchall()
    if not rows and not restored:
        return 0
    sequence, hashed = head.sequence, head.hash
    seals = []
    for xid, entry_id, text in rows:
        sequence, hashed = sequence + 1, linked(hashed, text)
        seals.append((xid, entry_id, hashed))
    if len(rows) < batch:
        upto = bounds["horizon"], UUID(int=0)
    elif restored:
        upto = head.upto  # not before all is sealed that came with the dump
    else:
        upto = int(rows[-1][0]), rows[-1][1]  # perhaps in the middle of a transaction
    unsigned = Head(
        *(head.community, head.number + 1, sequence, hashed, *upto),
        sealed_at=datetime.now(UTC),
        restored=restored,
    )
    store(connection, key.sign(unsigned), seals)
    return len(rows)
