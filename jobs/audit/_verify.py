"""Computes the chains again and names, for each community, the first thing that is not as it was sealed."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import UUID

from jobs.audit._entries import ENTRY_TEXT, GENESIS, Connection, Progress, communities, connected, linked
from jobs.audit._heads import Head, heads_of

_STEP = 1_000
# Each entry by one look-up, which a join need not be: nobody knows how old the planner's statistics are.
_SEALS = f"""
    select s.sequence, s.entry_id, s.hash, (
        select {ENTRY_TEXT} from public.audit_entries as e
        where e.community_id = s.community_id and e.xid = s.entry_xid and e.id = s.entry_id
    )
    from private.audit_seals as s
    where s.community_id = %s
    order by s.sequence
"""  # noqa: S608 - nothing but what stands in _entries.py
_ADDED = """
    select e.id, (
        select coalesce(max(s.sequence), 0) from private.audit_seals as s
        where s.community_id = e.community_id and (s.entry_xid, s.entry_id) < (e.xid, e.id)
    )
    from public.audit_entries as e
    where e.community_id = %s and (e.xid, e.id) <= (%s::xid8, %s) and (
        select s.sequence from private.audit_seals as s
        where s.community_id = e.community_id and s.entry_id = e.id and s.entry_xid = e.xid
    ) is null
    order by e.xid, e.id
    limit 1
"""


@dataclass(frozen=True)
class Finding:
    """What is wrong first in one community: where in its chain, with which entry if with one."""

    community: UUID
    sequence: int
    entry: UUID | None
    what: str

    def __str__(self) -> str:
        entry = f", entry {self.entry}" if self.entry else ""
        return f"community {self.community}, sequence {self.sequence}{entry}: {self.what}"


class _WrongError(Exception):
    """Ends the look at one community."""

    def __init__(self, sequence: int, entry: UUID | None, what: str) -> None:
        super().__init__(what)
        self.sequence, self.entry, self.what = sequence, entry, what


def verify(
    dsn: str,
    *,
    public_keys: Collection[bytes] = (),
    kept: Iterable[Head] = (),
    progress: Progress = lambda *_: None,
) -> list[Finding]:
    """Empty when all is as it was sealed. `dsn` is that of role `postgres`.

    With `public_keys`, heads that another key has signed are found too; with `kept`, heads that were stored
    elsewhere, also chains that are shorter or other than they were then.
    """
    kept = list(kept)
    findings = []
    with connected(dsn) as connection, connection.transaction():
        # One moment for all: what is sealed meanwhile is not looked at.
        connection.execute("set transaction isolation level repeatable read, read only")
        found = communities(connection)
        for community in dict.fromkeys(chain(found, (head.community for head in kept))):
            theirs = [head for head in kept if head.community == community]
            try:
                _Chain(connection, community, public_keys, theirs).check(progress)
            except _WrongError as wrong:
                findings.append(Finding(community, wrong.sequence, wrong.entry, wrong.what))
    return findings


class _Chain:
    """One community's chain, walked from its beginning."""

    def __init__(
        self, connection: Connection, community: UUID, public_keys: Collection[bytes], kept: list[Head]
    ) -> None:
        self._connection = connection
        self._community = community
        self._public_keys = public_keys
        self._heads = heads_of(connection, community)
        self._kept = sorted(kept, key=lambda head: head.sequence)
        self._sequence, self._hash = 0, GENESIS

    def check(self, progress: Progress) -> None:
        """Raises _WrongError for what is wrong first."""
        step, last = f"Verifying {self._community}", self._heads[-1] if self._heads else Head(self._community)
        self._check_signatures()
        heads, kept = iter(self._heads), iter(self._kept)
        head, theirs = self._pass_heads(heads, None), self._pass_kept(kept, None)
        for sequence, entry, hashed, text in self._seals():
            if sequence != self._sequence + 1:
                raise _WrongError(self._sequence + 1, None, "the seal is missing")
            self._check_seal(sequence, entry, hashed, text)
            self._sequence, self._hash = sequence, hashed
            head, theirs = self._pass_heads(heads, head), self._pass_kept(kept, theirs)
            if sequence % _STEP == 0:
                progress(step, sequence, max(sequence, last.sequence))
        self._check_end(head, theirs, last)
        self._check_kept_are_there()
        self._check_nothing_added(last)
        progress(step, self._sequence, self._sequence)

    def _seals(self) -> Iterator[tuple[Any, ...]]:
        with self._connection.cursor(name="seals") as cursor:
            cursor.itersize = _STEP
            yield from cursor.execute(_SEALS, [self._community])

    def _check_seal(self, sequence: int, entry: UUID, hashed: bytes, text: str | None) -> None:
        if text is None:
            raise _WrongError(sequence, entry, "the entry is missing")
        if linked(self._hash, text) != hashed:
            what = "the entry is not the one that was sealed here: it, or the order of the seals, was changed"
            raise _WrongError(sequence, entry, what)

    def _check_signatures(self) -> None:
        sequence = 0
        for number, head in enumerate(self._heads, 1):
            if head.number != number:
                raise _WrongError(sequence, None, f"head {number} is missing")
            sequence = head.sequence
            if not head.is_genuine():
                raise _WrongError(sequence, None, f"the signature of head {number} does not hold")
            if self._public_keys and head.public_key not in self._public_keys:
                raise _WrongError(sequence, None, f"head {number} is signed by another key, {head.key_id}")
        for head in self._kept:
            if not head.is_genuine() or (self._public_keys and head.public_key not in self._public_keys):
                raise _WrongError(head.sequence, None, f"the kept head {head.number} is not genuine")

    def _pass_heads(self, heads: Iterator[Head], head: Head | None) -> Head | None:
        """The next head that the walk has not come to yet; those at this place must have its hash."""
        head = head or next(heads, None)
        while head is not None and head.sequence <= self._sequence:
            if (head.sequence, head.hash) != (self._sequence, self._hash):
                raise _WrongError(self._sequence, None, f"head {head.number} was signed for another chain")
            head = next(heads, None)
        return head

    def _pass_kept(self, kept: Iterator[Head], head: Head | None) -> Head | None:
        head = head or next(kept, None)
        while head is not None and head.sequence <= self._sequence:
            if head.hash != self._hash:
                raise _WrongError(
                    self._sequence, None, f"the chain is another one than at the kept head {head.number}"
                )
            head = next(kept, None)
        return head

    def _check_end(self, head: Head | None, theirs: Head | None, last: Head) -> None:
        if head is not None:
            what = f"the seals are missing from here on: head {head.number} was signed at {head.sequence}"
            raise _WrongError(self._sequence + 1, None, what)
        if self._sequence > last.sequence:
            what = "no head is signed for the seals from here on: it was removed, or they were added"
            raise _WrongError(last.sequence + 1, None, what)
        if theirs is not None:
            what = f"the chain ends before the kept head {theirs.number} at {theirs.sequence}: its end is missing"
            raise _WrongError(self._sequence + 1, None, what)

    def _check_kept_are_there(self) -> None:
        """Heads that seal no entry are no place in the chain: those after a restore say only that it was one."""
        there = {head.number: head for head in self._heads}
        for kept in sorted(self._kept, key=lambda head: head.number):
            head = there.get(kept.number)
            if head is None:
                raise _WrongError(kept.sequence, None, f"the kept head {kept.number} is missing")
            if (head.sequence, head.hash, head.upto) != (kept.sequence, kept.hash, kept.upto):
                raise _WrongError(kept.sequence, None, f"head {kept.number} is another one than the kept one")

    def _check_nothing_added(self, last: Head) -> None:
        parameters = [self._community, str(last.upto_xid), last.upto_id]
        row = self._connection.execute(_ADDED, parameters).fetchone()
        if row is not None:
            entry, sequence = row
            what = "the entry was added after its time had been sealed; it would stand behind this place"
            raise _WrongError(sequence, entry, what)
