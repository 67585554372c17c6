"""The columns of a CSV file: how a field's text becomes a value, and what is said when it does not."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from jobs.imports import shortened

T = TypeVar("T")


class BadLineError(Exception):
    """One line cannot be used; those after it still can."""


@dataclass(frozen=True)
class Column(Generic[T]):
    """`read` raises ValueError for a text that is not what is `expected`."""

    name: str
    read: Callable[[str], T]
    expected: str


@dataclass(frozen=True)
class Line:
    """One line's fields by the names of their columns; line 1 is the header."""

    file: str
    number: int
    fields: dict[str, str]

    def __getitem__(self, column: Column[T]) -> T:
        text = self.fields[column.name]
        try:
            return column.read(text)
        except ValueError:
            found = (
                f"{column.name} {shortened(text)} is not" if text else f"{column.name} is empty; expected is"
            )
            raise self.bad(f"{found} {column.expected}") from None

    def bad(self, what: str) -> BadLineError:
        return BadLineError(f"{self.file}, line {self.number}: {what}.")


def matching(name: str, pattern: str, expected: str) -> Column[str]:
    compiled = re.compile(pattern, re.ASCII)

    def read(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError
        return text

    return Column(name, read, expected)


def one_of(name: str, *values: str) -> Column[str]:
    return matching(name, "|".join(map(re.escape, values)), f"one of {', '.join(values)}")


def whole(name: str, least: int, most: int) -> Column[int]:
    # Not int() alone: it takes '1_000', ' 7' and the digits of other scripts.
    digits = matching(name, r"-?\d{1,18}", f"a whole number from {least} to {most}")

    def read(text: str) -> int:
        number = int(digits.read(text))
        if not least <= number <= most:
            raise ValueError
        return number

    return Column(name, read, digits.expected)


def optional(column: Column[T]) -> Column[T | None]:
    # The copy of the data set in the UCI repository writes '?' where the original leaves a field empty.
    def read(text: str) -> T | None:
        return None if text in ("", "?") else column.read(text)

    return Column(column.name, read, f"{column.expected}, or empty")
