"""The measuring: each server under the same load for some seconds, in turn, round after round."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench import load
from bench.database import Database, settle
from bench.floor import Floor
from bench.peers import Peer
from bench.processes import children_for_a_while, cpu_ns
from bench.scenarios import Scenario

FLOOR = "pgbench"
HTTP_ONLY = "http"

_WARM_UP = {"postgraphile": 5.0}
_USUAL_WARM_UP = 2.0
_MOST_COLD_PER_SECOND = 4_000


@dataclass(frozen=True)
class Plan:
    """How long, how often, over how many connections."""

    rounds: int
    seconds: float
    connections: int


@dataclass(frozen=True)
class Measurement:
    """One server under one load. CPU is microseconds a request."""

    per_second: float
    p50_ms: float | None
    p99_ms: float | None
    server_us: float | None
    postgres_us: float
    load_us: float | None

    @property
    def sum_us(self) -> float:
        return (self.server_us or 0) + self.postgres_us


@dataclass
class Contest:
    """A scenario, who takes part, and what has been measured: by name of the server, a measurement each round."""

    scenario: Scenario
    peers: list[Peer]
    floor: Floor | None
    results: dict[str, list[Measurement]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.scenario.name

    def median(self, name: str) -> Measurement:
        """Of each figure for itself."""
        rounds = self.results[name]
        return Measurement(*(_median([getattr(one, figure) for one in rounds]) for figure in _FIGURES))  # type: ignore[arg-type]

    def requests(self, peer: Peer, seconds: float) -> tuple[list[bytes], bool]:
        """What to send, and whether only once: a document that was never seen is so only the first time."""
        if not self.scenario.is_cold:
            return self.scenario.requests(peer.dialect), False
        number = int(seconds * _MOST_COLD_PER_SECOND)
        start = self.asked.get(peer.name, 1_000)  # the first ones have been compared
        self.asked[peer.name] = start + number
        return self.scenario.requests(peer.dialect, number, start), True


_FIGURES = tuple(Measurement.__dataclass_fields__)


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


Tell = Callable[[str, str, str, Measurement], None]


def warm_up(contests: list[Contest], plan: Plan) -> None:
    for contest in contests:
        for peer in contest.peers:
            seconds = min(_WARM_UP.get(peer.name, _USUAL_WARM_UP), 2 * plan.seconds + 1)
            _load(contest, peer, plan, seconds)


def run_rounds(contests: list[Contest], database: Database, plan: Plan, tell: Tell) -> None:
    for number in range(1, plan.rounds + 1):
        for contest in contests:
            for name, measurement in _round(contest, database, plan):
                contest.results.setdefault(name, []).append(measurement)
                tell(f"round {number}/{plan.rounds}", contest.name, name, measurement)


def _round(contest: Contest, database: Database, plan: Plan) -> Iterator[tuple[str, Measurement]]:
    for peer in contest.peers:
        yield peer.name, _measured(contest, peer, database, plan)
        if contest.scenario.is_mutation:
            settle(database)
    if contest.floor is not None:
        yield FLOOR, _measured_floor(contest.floor, database, plan)
        if contest.scenario.is_mutation:
            settle(database)


def _measured(contest: Contest, peer: Peer, database: Database, plan: Plan) -> Measurement:
    server, postgres = cpu_ns(peer.pid), cpu_ns(database.pid)
    done = _load(contest, peer, plan, plan.seconds)
    return _measurement(done, cpu_ns(peer.pid) - server, cpu_ns(database.pid) - postgres)


def _load(contest: Contest, peer: Peer, plan: Plan, seconds: float) -> load.Load:
    requests, once = contest.requests(peer, seconds)
    return load.run(load.Job(peer.port, requests, plan.connections, seconds, once=once))


def _measurement(done: load.Load, server: int, postgres: int) -> Measurement:
    return Measurement(
        per_second=done.per_second,
        p50_ms=done.p50_ms,
        p99_ms=done.p99_ms,
        server_us=server / 1000 / done.requests,
        postgres_us=postgres / 1000 / done.requests,
        load_us=done.own_cpu_us,
    )


def _measured_floor(floor: Floor, database: Database, plan: Plan) -> Measurement:
    before = cpu_ns(database.pid)
    with children_for_a_while(database.pid):
        number, per_second = floor.run(database, connections=plan.connections, seconds=plan.seconds)
    return Measurement(per_second, None, None, None, (cpu_ns(database.pid) - before) / 1000 / number, None)


def measure_http_only(peer: Peer, database: Database, plan: Plan) -> Measurement:
    """Our server without GraphQL: what HTTP alone costs."""
    server, postgres = cpu_ns(peer.pid), cpu_ns(database.pid)
    request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n"
    done = load.run(load.Job(peer.port, [request], plan.connections, plan.seconds))
    return _measurement(done, cpu_ns(peer.pid) - server, cpu_ns(database.pid) - postgres)
