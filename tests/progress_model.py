"""What progress comes to, computed from the events alone, all of them at once: in plain Python, and differently."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from math import floor
from typing import Any

from tests.course_documents import Document

_MILLIONTH = Decimal("0.000001")


@dataclass(frozen=True)
class Numbers:
    """A course's sums."""

    done: int
    total: int
    earned: Decimal
    possible: Decimal

    @property
    def complete(self) -> bool:
        return 0 < self.total == self.done

    @property
    def percent(self) -> int:
        if self.complete:
            return 100
        return min(99, floor(100 * self.earned / self.possible)) if self.possible else 0


def floored(value: float) -> Decimal:
    return Decimal(repr(value)).quantize(_MILLIONTH, ROUND_DOWN)


def first_of_each_id(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events that are taken of a list: the first one of each id."""
    taken: dict[str, dict[str, Any]] = {}
    for event in events:
        taken.setdefault(event["event_id"], event)
    return list(taken.values())


def best_values(events: Iterable[dict[str, Any]]) -> dict[str, Decimal]:
    """By block the greatest value."""
    best: dict[str, Decimal] = {}
    for event in events:
        value = floored(event["value"])
        best[event["block_id"]] = max(best.get(event["block_id"], value), value)
    return best


def numbers(blocks: Iterable[Document], best: dict[str, Decimal]) -> Numbers:
    """The sums of a course of these blocks."""
    required = [
        (block["id"], Decimal(repr(block.get("weight", 1))))
        for block in blocks
        if block.get("required", True) and block.get("completionMode", "completable") == "completable"
    ]
    values = {block: best.get(block, Decimal(0)) for block, _ in required}
    return Numbers(
        done=sum(value == 1 for value in values.values()),
        total=len(required),
        earned=sum((weight * values[block] for block, weight in required), Decimal(0)),
        possible=sum((weight for _, weight in required), Decimal(0)),
    )
