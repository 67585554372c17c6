"""A cache with an end: the most recently used entries, up to a number and a weight."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """Keeps at most `most` entries that weigh at most `heaviest` together; drops what was not asked for longest."""

    def __init__(self, most: int, heaviest: int) -> None:
        self._most = most
        self._heaviest = heaviest
        self.weight = 0
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key) -> Value | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def values(self) -> Iterator[Value]:
        return (value for value, _ in self._entries.values())

    def keep(self, key: Key, value: Value, weight: int) -> None:
        _, replaced = self._entries.pop(key, (None, 0))
        self._entries[key] = (value, weight)
        self.weight += weight - replaced
        while len(self._entries) > self._most or self.weight > self._heaviest:
            _, (_, dropped) = self._entries.popitem(last=False)
            self.weight -= dropped
