"""Does the server's memory end somewhere? 200,000 requests with 5,000 distinct documents, most of them from a few."""

import random
from dataclasses import dataclass

from bench import load
from bench.peers import Peer
from bench.processes import resident_mb
from bench.scenarios import Scenario

REQUESTS = 200_000
_FIRST = REQUESTS // 10
_DOCUMENTS = 5_000
_POPULAR = 200
# One request in ten asks any of the documents, the others a popular one: caches fill early, and then turn over.
_RARE = 0.1


@dataclass(frozen=True)
class Memory:
    """Resident memory, in MB."""

    requests: int
    after_first_mb: float
    at_end_mb: float

    @property
    def growth_mb(self) -> float:
        return self.at_end_mb - self.after_first_mb


def measure_memory(peer: Peer, cold: Scenario, connections: int, share: float = 1) -> Memory:
    requests = cold.requests(peer.dialect, _DOCUMENTS)
    order = _order(int(REQUESTS * share))
    first = int(_FIRST * share)

    def send(numbers: list[int]) -> float:
        load.run(load.Job(peer.port, requests, connections, order=numbers, once=True))
        return resident_mb(peer.pid)

    return Memory(len(order), send(order[:first]), send(order[first:]))


def _order(count: int) -> list[int]:
    chance = random.Random(1)
    return [chance.randrange(_DOCUMENTS if chance.random() < _RARE else _POPULAR) for _ in range(count)]
