"""The cache keeps to its bounds, whatever is put into it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers.cache import Cache

pytestmark = pytest.mark.any_postgres


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 60))))
def test_it_stays_within_number_and_weight_and_keeps_the_newest(puts: list[tuple[int, int]]) -> None:
    cache: Cache[int, int] = Cache(most=5, heaviest=100)
    weights: dict[int, int] = {}

    for key, weight in puts:
        cache.keep(key, weight, weight)
        weights[key] = weight
        kept = [key for key in weights if cache.find(key) is not None]
        assert len(kept) == len(cache) <= 5
        assert sum(weights[key] for key in kept) <= 100
        assert cache.find(key) == weight


def test_what_was_not_asked_for_longest_goes_first() -> None:
    cache: Cache[str, str] = Cache(most=2, heaviest=100)
    for key in ("a", "b"):
        cache.keep(key, key, 1)

    cache.find("a")
    cache.keep("c", "c", 1)

    assert [cache.find(key) for key in ("a", "b", "c")] == ["a", None, "c"]
