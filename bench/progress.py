"""`make bench-progress`: progress recorded and asked for, in two hundred communities; nothing lost or doubled."""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import load, peers
from bench.command import FOLDER, carry_out, say, whole
from bench.database import Database, Script, running_database, settle
from bench.errors import BenchError
from bench.learners import Learners, request, shuffled_writers
from bench.load import Job, Load
from bench.peers import ROOT, Peer
from bench.processes import Neighbours, cpu_ns
from bench.recount import Recount, recount
from bench.report import machine, write_json, write_table

_DATA = Path(__file__).with_name("progress.sql")
_LEARNERS = 5_000
_RATE = 500
_LIST = 100
_FEW = 4  # connections of a closed loop
_USUAL = 2_000_000


@dataclass(frozen=True)
class Size:
    """How much is done of everything."""

    completions: int
    small: int
    rounds: int = 5
    round_seconds: float = 2.0
    single_seconds: int = 30
    lists: int = 600
    read_seconds: float = 8.0
    writers: int = 1_000
    people: int = 500
    events: int = 40


_QUICK = Size(60_000, 20_000, 2, 1.0, 5, 60, 2.0, 200, 50, 20)


@dataclass(frozen=True)
class Site:
    """A database with a server before it, and who learns there."""

    name: str
    database: Database
    server: Peer
    learners: Learners


@dataclass(frozen=True)
class Measured:
    """One line of the table: events are those of one request."""

    name: str
    load: Load
    server_us: float
    postgres_us: float
    events: int = 0
    wal_bytes: float = 0.0
    index_bytes: float = 0.0

    @property
    def sum_us(self) -> float:
        return self.server_us + self.postgres_us

    @property
    def events_per_second(self) -> float:
        return self.load.per_second * self.events


@dataclass(frozen=True)
class Results:
    """All that was measured in one run; `costs` by document of the small site and the large one."""

    measured: dict[str, Measured]
    costs: dict[str, tuple[float, float]]
    writers: Measured
    recount: Recount
    neighbours: float
    import_seconds: float | None


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-progress", description=__doc__)
    parser.add_argument("--completions", type=whole, default=_USUAL)
    parser.add_argument("--data", type=Path, help="folder of OULAD, whose import with progress is timed, too")
    parser.add_argument("--quick", action="store_true", help="a little of everything; writes nothing")
    options = parser.parse_args()
    carry_out(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    began = time.monotonic()
    size = _QUICK if options.quick else Size(options.completions, min(200_000, options.completions // 10))
    seconds = _import_seconds(options.data) if options.data else None
    with ExitStack() as stack:
        small = _site(stack, "small", size.small)
        large = _site(stack, "large", size.completions)
        data = _described(large.database)
        neighbours = Neighbours([s.pid for site in (small, large) for s in (site.database, site.server)])
        costs = _costs(small, large, size)
        measured = {one.name: one for one in _measure(large, size)}
        writers = _write_at_once(large, size)
        counted = recount(large.database, large.learners.sent)
        results = Results(measured, costs, writers, counted, neighbours.share, seconds)
    table = _table(results, size, data)
    print(f"\n{table}\n", flush=True)
    if not options.quick:
        _write(options, results, table, data)
    say(f"Took {(time.monotonic() - began) / 60:.1f} minutes.")


def _site(stack: ExitStack, name: str, completions: int) -> Site:
    began = time.monotonic()
    folder = FOLDER / f"progress-{name}"
    script = Script(_DATA, "supabase_admin", {"bench.completions": str(completions)})
    database = stack.enter_context(running_database(folder / "database", script, say))
    settle(database)
    _check_made(database)
    server = stack.enter_context(peers.ours(folder, database.url))
    say(f"  {name}: {_described(database)}, in {time.monotonic() - began:.0f} s")
    return Site(name, database, server, Learners(database, _LEARNERS))


def _check_made(database: Database) -> None:
    """The data are what recording would have left: counting some people anew finds no difference, and moves nothing."""
    ((different, moved),) = database.run("""
        with counted as materialized (
            select m.community_id, m.user_id, private.recompute_progress(m.community_id, m.user_id) as different
            from (select m.* from public.memberships as m order by md5(m.user_id::text) limit 200) as m
        )
        select (select sum(c.different) from counted as c), (
            select count(*) from public.program_progress as p where p.updated_at = now()
        )
    """)
    if different or moved:
        raise BenchError(
            f"The data are not as recording would leave them: {different} sums, {moved} programs."
        )


def _measured(name: str, site: Site, job: Job, events: int = 0) -> Measured:
    before = (cpu_ns(site.server.pid), cpu_ns(site.database.pid), _written(site.database))
    done = load.run(job)
    server, postgres = cpu_ns(site.server.pid) - before[0], cpu_ns(site.database.pid) - before[1]
    wal, indexes = (now - then for now, then in zip(_written(site.database), before[2], strict=True))
    told = max(1, events * done.requests)
    measured = Measured(
        name,
        done,
        server / 1e3 / done.requests,
        postgres / 1e3 / done.requests,
        events,
        wal / told,
        indexes / told,
    )
    say(
        f"  {name:<28}{done.per_second:8,.0f} req/s  p50 {done.p50_ms:6.1f} ms  p95 {done.p95_ms:6.1f} ms"
        f"  p99 {done.p99_ms:6.1f} ms  CPU µs {measured.server_us:7,.0f} + {measured.postgres_us:7,.0f}"
        + (f"  {measured.events_per_second:8,.0f} events/s" if events > 1 else "")
        + (f"  {done.busy} times told to come back" if done.busy else "")
    )
    return measured


def _written(database: Database) -> tuple[int, int]:
    """Bytes of the log of all changes, and of the indexes on what each event is written to."""
    ((wal, indexes),) = database.run("""
        select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint,
            pg_indexes_size('public.progress_events') + pg_indexes_size('public.block_completions')
    """)
    return wal, indexes


def _reads(learners: Learners) -> dict[str, list[bytes]]:
    some = [learners.take() for _ in range(min(1_000, len(learners.all)))]
    return {
        "course progress": [
            request(one.caller, "course_progress", {"courseId": str(one.course_id)}) for one in some
        ],
        "program progress": [
            request(one.caller, "program_progress", {"programId": str(one.program_id)}) for one in some
        ],
    }


def _costs(small: Site, large: Site, size: Size) -> dict[str, tuple[float, float]]:
    """CPU time of a request in turn here and there, round after round; medians."""
    say("Costs in the small database and in the large one, in turn")
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(size.rounds + 1):
        for site in (small, large):
            for name, cost in _round(site, size.round_seconds):
                if number:  # the first round warms up
                    found.setdefault(name, {}).setdefault(site.name, []).append(cost)
    return {
        name: (statistics.median(by["small"]), statistics.median(by["large"])) for name, by in found.items()
    }


def _round(site: Site, seconds: float) -> Iterator[tuple[str, float]]:
    # More than can be answered meanwhile: no event is sent twice.
    singles = site.learners.single(int(seconds * 3_000))
    name = "record one"
    measured = _measured(
        f"{name}, {site.name}", site, Job(site.server.port, singles, _FEW, seconds, once=True)
    )
    site.learners.take_back(len(singles) - measured.load.requests)
    yield name, measured.sum_us
    for name, requests in _reads(site.learners).items():
        yield (
            name,
            _measured(f"{name}, {site.name}", site, Job(site.server.port, requests, _FEW, seconds)).sum_us,
        )


def _measure(site: Site, size: Size) -> Iterator[Measured]:
    settle(site.database)
    say(f"{_RATE} requests a second")
    port, learners = site.server.port, site.learners
    singles = learners.single(_RATE * size.single_seconds)
    yield _measured("record one", site, Job(port, singles, 100, rate=_RATE, patient=True), 1)
    for name, documents in _reads(learners).items():
        yield _measured(name, site, Job(port, documents, 2, size.read_seconds))
    say(f"Lists of {_LIST} events")
    of_one = learners.of_one(size.lists, _LIST)
    yield _measured("record 100 of one learner", site, Job(port, of_one, _FEW, once=True), _LIST)
    of_many = learners.of_many(size.lists, _LIST)
    yield _measured("record 100 of many, by admins", site, Job(port, of_many, _FEW, once=True), _LIST)


def _write_at_once(site: Site, size: Size) -> Measured:
    """Many writers beside each other through a server with many connections. They come back when it is busy; any other
    error would end the run."""
    say(f"{size.writers} writers at the same time")
    requests = shuffled_writers(site.learners, size.people, size.events)
    with peers.ours(FOLDER / "progress-writers", site.database.url, DATABASE_CONNECTIONS="64") as server:
        writers = Site(site.name, site.database, server, site.learners)
        job = Job(server.port, requests, size.writers, once=True, patient=True)
        return _measured("record 5, shuffled", writers, job, 5)


def _import_seconds(folder: Path) -> float:
    """How long the import takes with what people submitted."""
    command = [sys.executable, str(ROOT / "cli.py"), "import-oulad", str(folder), "--with-progress"]
    with running_database(FOLDER / "progress-import" / "database", None, say) as database:
        say(f"Importing {folder} with progress")
        environment = {**os.environ, "DATABASE_URL": database.url, "ADMIN_DATABASE_URL": database.admin_url}
        began = time.monotonic()
        done = subprocess.run(command, env=environment, check=False)
        if done.returncode:
            raise BenchError("The import failed; the lines above say why.")
        return time.monotonic() - began


def _described(database: Database) -> str:
    ((communities, members, completions, events, largest),) = database.run("""
        select (select count(*) from public.communities), (select count(*) from public.memberships),
            sum(c.completions), (select count(*) from public.progress_events), max(c.completions)
        from (select count(*) as completions from public.block_completions group by community_id) as c
    """)
    return (
        f"{completions:,} completions by {events:,} events of {members:,} members in {communities} communities,"
        f" {largest / completions:.0%} of them in one"
    )


def _table(results: Results, size: Size, data: str) -> str:
    rows: list[Sequence[str]] = [
        (
            *("", "requests/s", "events/s", "p50 ms", "p95 ms", "p99 ms", "server µs", "Postgres µs"),
            *("WAL bytes an event", "index bytes an event"),
        ),
        ("---", *["--:"] * 9),
        *(_row(one) for one in results.measured.values()),
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    costs = [("CPU µs a request", "small", "large", "large ÷ small"), ("---", "--:", "--:", "--:")]
    costs += [(name, f"{a:,.0f}", f"{b:,.0f}", f"{b / a:.2f}") for name, (a, b) in results.costs.items()]
    cost_table = "\n".join(f"| {' | '.join(row)} |" for row in costs)
    counted = results.recount
    lines = [
        f"{size.writers:,} writers at once, {size.people * size.events:,} events of {size.people} learners, a tenth of"
        f" them sent twice: {results.writers.events_per_second:,.0f} a second, no error;"
        f" {results.writers.load.busy:,} times one was asked to come back a second later. Counted anew, all that the"
        f" {counted.learners:,} learners of this run ever did: {counted.lost} lost, {counted.doubled} doubled.",
        f"Large: {data}. Small: {size.small:,} completions. {machine()}."
        f" Other programs took {results.neighbours:.0%} of the machine meanwhile.",
    ]
    if results.import_seconds is not None:
        lines.insert(0, f"`import-oulad --with-progress`: {results.import_seconds:.0f} s.")
    return "\n\n".join([table, cost_table, *lines])


def _row(one: Measured) -> Sequence[str]:
    times = (f"{value:.1f}" for value in (one.load.p50_ms, one.load.p95_ms, one.load.p99_ms))
    events = f"{one.events_per_second:,.0f}" if one.events else ""
    written = (f"{one.wal_bytes:,.0f}", f"{one.index_bytes:,.0f}") if one.events else ("", "")
    costs = (f"{one.server_us:,.0f}", f"{one.postgres_us:,.0f}")
    return one.name, f"{one.load.per_second:,.0f}", events, *times, *costs, *written


def _figures(results: Results) -> dict[str, float]:
    measured = results.measured
    single, one, many = (
        measured[name]
        for name in ("record one", "record 100 of one learner", "record 100 of many, by admins")
    )
    figures = {
        "single_p99_ms": single.load.p99_ms,
        "batch_events_per_s": min(one.events_per_second, many.events_per_second),
        "read_p95_ms": max(measured[name].load.p95_ms for name in ("course progress", "program progress")),
        "cost_large_vs_small": max(large / small for small, large in results.costs.values()),
        "lost": results.recount.lost,
        "doubled": results.recount.doubled,
        "single_cpu_us": single.sum_us,
        "learner_batch_events_per_s": one.events_per_second,
        "admin_batch_events_per_s": many.events_per_second,
        "wal_bytes_per_event": one.wal_bytes,
        "index_bytes_per_event": one.index_bytes,
    }
    if results.import_seconds is not None:
        figures["import_seconds"] = results.import_seconds
    return {name: round(value, 2) for name, value in figures.items()}


def _write(options: argparse.Namespace, results: Results, table: str, data: str) -> None:
    told = [f"DATA={options.data.resolve().name}"] if options.data else []
    told += [f"COMPLETIONS={options.completions}"] if options.completions != _USUAL else []
    write_json("progress", _figures(results), " ".join(["make bench-progress", *told]), data)
    if options.completions == _USUAL:
        write_table("progress", table)


if __name__ == "__main__":
    main()
