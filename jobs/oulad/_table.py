"""The form in which each table's share of an import is written down."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import LiteralString, NamedTuple

from jobs.oulad._records import Folder
from jobs.oulad._rows import Row


class Step(NamedTuple):
    """A statement beside the insert. How many rows it meets is told in these words, unless there are none."""

    statement: LiteralString
    told_as: str | None = None


@dataclass(frozen=True)
class Table:
    """Its rows go to a temporary table, `staged_<name>`, with these columns; `insert` takes the new ones."""

    name: str
    rows: Callable[[Folder], Iterator[Row]]
    columns: tuple[str, ...]
    insert: LiteralString
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    schema: str = "public"
    # So many rows go in first, for statistics. Its triggers look into it for every row, and as long as it is thought
    # to be empty they go through all of it each time.
    first: int | None = None
