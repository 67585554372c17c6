"""`make bench-live`: from a commit to those who watch; what watching costs writers, and what each connection holds."""

import argparse
import json
import random
import resource
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from bench import load, peers
from bench.callers import Caller, make_token
from bench.command import FOLDER, carry_out, say
from bench.database import Database, Script, running_database, settle
from bench.learners import Learner, Learners
from bench.load import Job
from bench.peers import Peer
from bench.processes import Neighbours, cpu_ns, resident_mb
from bench.report import machine, write_json, write_table
from bench.watchers import Client, Watch, Watchers

_DATA = Path(__file__).with_name("progress.sql")
_PROGRESS = """subscription ($program: UUID!, $user: UUID) { progress(programId: $program, userId: $user) {
    percent status courses { earned percent } } }"""
_TABLES = ("block_completions", "course_progress", "program_progress", "program_enrollments")


@dataclass(frozen=True)
class Size:
    """How much is done of everything."""

    completions: int = 200_000
    watching: int = 500
    rate: int = 100
    seconds: int = 30
    connected: int = 10_000
    touched: int = 1_000
    touches: int = 20
    streams: int = 2_000
    rounds: int = 7
    round_seconds: float = 2.0


_QUICK = Size(20_000, 50, 50, 4, 300, 100, 4, 200, 2, 1.0)


@dataclass
class Site:
    database: Database
    server: Peer
    learners: Learners
    values: defaultdict[UUID, int] = field(default_factory=lambda: defaultdict(int))

    def client(self, learner: Learner, caller: Caller | None = None) -> Client:
        variables: dict[str, Any] = {"program": str(learner.program_id)}
        if caller is not None:
            variables["user"] = str(learner.user_id)
        return Client((caller or learner.caller).token, _PROGRESS, variables)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-live", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a little of everything; writes nothing")
    options = parser.parse_args()
    carry_out(lambda: _run(_QUICK if options.quick else Size(), write=not options.quick))


def _run(size: Size, *, write: bool) -> None:
    began = time.monotonic()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        site = _site(stack, size)
        neighbours = Neighbours([site.database.pid, site.server.pid])
        say("From a commit to those who watch")
        figures = _latency(site, size)
        say("Many connected")
        with _fresh(site, "live-sockets") as fresh:
            figures |= _fan_out(fresh, size)
        say("The same for fifty admins")
        figures |= _shared(site, size)
        say("Event streams")
        with _fresh(site, "live-streams") as fresh:
            figures |= _streams(fresh, size)
        say("What writers pay")
        figures |= _overhead(site, size)
        share = neighbours.share
        data = f"{size.completions:,} completions in 200 communities"
    table = _table(figures, size, data, share)
    print(f"\n{table}\n", flush=True)
    if write:
        write_json("live", figures, "make bench-live", data)
        write_table("live", table)
    say(f"Took {(time.monotonic() - began) / 60:.1f} minutes.")


def _site(stack: ExitStack, size: Size) -> Site:
    folder = FOLDER / "live"
    script = Script(_DATA, "supabase_admin", {"bench.completions": str(size.completions)})
    database = stack.enter_context(running_database(folder / "database", script, say))
    with psycopg.connect(database.cluster.dsn("supabase_admin", "bench"), autocommit=True) as connection:
        connection.execute("alter database bench set track_functions = 'pl'")
    settle(database)
    server = stack.enter_context(_server("live", database))
    return Site(database, server, Learners(database, 5_000))


def _server(name: str, database: Database) -> AbstractContextManager[Peer]:
    """Without jobs: what they do meanwhile is not what is measured."""
    return peers.ours(FOLDER / name, database.url, MAX_SOCKETS_PER_USER="100000", RUN_JOBS="false")


@contextmanager
def _fresh(site: Site, name: str) -> Iterator[Site]:
    """With a server of its own, which has not had memory for others before."""
    with _server(name, site.database) as server:
        yield replace(site, server=server)


@contextmanager
def _watching(site: Site, clients: Sequence[Client], *, by_stream: bool = False) -> Iterator[Watchers]:
    watchers = Watchers(Watch(site.server.port, clients, by_stream))
    try:
        yield watchers
    finally:
        watchers.close()
        time.sleep(1)


class _Writer:
    """Records what learners did over a connection of its own, and notes when each commit was over."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._connection = psycopg.connect(site.database.url)

    def write(self, learner: Learner) -> int:
        """The moment after the commit."""
        # A little more each time, so that the answer is another one.
        self._site.values[learner.user_id] += 1
        told = {
            "event_id": str(uuid4()),
            "block_id": str(learner.blocks[0]),
            "value": min(0.99, self._site.values[learner.user_id] * 0.001),
            "occurred_at": "2026-06-01T12:00:00Z",
        }
        claims = {
            "sub": str(learner.user_id),
            "role": "authenticated",
            "app_metadata": {"community_id": str(learner.caller.community_id)},
        }
        with self._connection.transaction():
            self._connection.execute(
                "select set_config('request.jwt.claims', %s, true), set_config('role', 'authenticated', true)",
                [json.dumps(claims)],
            )
            self._connection.execute("select public.record_progress(%s)", [Jsonb({"events": [told]})])
        return time.monotonic_ns()

    def close(self) -> None:
        self._connection.close()


def _latency(site: Site, size: Size) -> dict[str, float]:
    """Each of many learners watches their own progress, and they learn in turn."""
    people = _able(site, site.learners.all)[: size.watching]
    writes = size.rate * size.seconds
    committed: list[tuple[int, int]] = []

    def write_all() -> None:
        writer = _Writer(site)
        start = time.monotonic()
        for number in range(writes):
            time.sleep(max(0.0, start + number / size.rate - time.monotonic()))
            place = number % len(people)
            committed.append((place, writer.write(people[place])))
        writer.close()

    with _watching(site, [site.client(one) for one in people]) as watchers:
        thread = threading.Thread(target=write_all)
        server, postgres = cpu_ns(site.server.pid), cpu_ns(site.database.pid)
        thread.start()
        came = watchers.arrivals(writes, size.seconds + 5)
        thread.join()
        server, postgres = cpu_ns(site.server.pid) - server, cpu_ns(site.database.pid) - postgres
    late = sorted(_waits(committed, came))
    say(f"  {len(late)} of {writes} arrived")
    return {
        "p50_ms": round(statistics.median(late), 2),
        "p99_ms": round(late[int(len(late) * 0.99)], 2),
        "arrived": len(late),
        "written": writes,
        "server_us_per_update": round(server / 1e3 / writes, 1),
        "postgres_us_per_update": round(postgres / 1e3 / writes, 1),
    }


def _waits(committed: Sequence[tuple[int, int]], came: Sequence[tuple[int, int]]) -> Iterator[float]:
    """Milliseconds from each commit to the first arrival at its learner that is not of an earlier one."""
    arrivals: defaultdict[int, list[int]] = defaultdict(list)
    for place, moment in came:
        arrivals[place].append(moment)
    for place, moment in committed:
        if arrivals[place]:
            yield (arrivals[place].pop(0) - moment) / 1e6


def _fan_out(site: Site, size: Size) -> dict[str, float]:
    """Many are connected; of those, some are touched by each change: one admin has as many windows open."""
    watched, *others = _of_largest(site)
    admin = _admins(site, watched.caller.community_id, 2)
    some = [site.client(watched, admin[0])] * size.touched
    chance = random.Random(7)
    rest = [site.client(chance.choice(others), admin[1]) for _ in range(size.connected - size.touched)]
    with _watching(site, [*some[:50], *rest[:50]]):
        few = resident_mb(site.server.pid)
    with _watching(site, [*some, *rest]) as watchers:
        many = resident_mb(site.server.pid)
        lasts = []
        writer = _Writer(site)
        for _ in range(size.touches):
            moment = writer.write(watched)
            came = watchers.arrivals(size.touched)
            lasts.append((max(at for _, at in came) - moment) / 1e6)
            time.sleep(0.1)
        writer.close()
    return {
        "last_of_1000_ms": round(statistics.median(lasts), 1),
        "last_of_1000_worst_ms": round(max(lasts), 1),
        "kb_per_websocket": round((many - few) * 1024 / (size.connected - 100), 2),
    }


def _shared(site: Site, size: Size) -> dict[str, float]:
    """A thousand sockets of fifty admins watch the same."""
    watched = _of_largest(site)[0]
    admins = _admins(site, watched.caller.community_id, 50)
    clients = [site.client(watched, admins[n % 50]) for n in range(size.touched)]
    with _watching(site, clients) as watchers:
        writer = _Writer(site)
        before = _looks(site)
        for _ in range(size.touches):
            writer.write(watched)
            watchers.arrivals(len(clients))
        looks = _looks(site) - before
        writer.close()
    return {"looks_per_change": round(looks / size.touches, 2)}


def _streams(site: Site, size: Size) -> dict[str, float]:
    watched = _of_largest(site)[0]
    admin = _admins(site, watched.caller.community_id, 1)[0]
    clients = [site.client(watched, admin)] * size.streams
    with _watching(site, clients[:100], by_stream=True):
        few = resident_mb(site.server.pid)
    with _watching(site, clients, by_stream=True):
        many = resident_mb(site.server.pid)
    return {"kb_per_sse": round((many - few) * 1024 / (size.streams - 100), 2)}


def _overhead(site: Site, size: Size) -> dict[str, float]:
    """The same writes with the outbox, without it, and with NOTIFY instead; in turns."""
    rates: defaultdict[str, list[float]] = defaultdict(list)
    with _watching(site, [site.client(site.learners.all[0])]):
        for _ in range(size.rounds):
            for way, switch in _ways().items():
                with psycopg.connect(
                    site.database.cluster.dsn("supabase_admin", "bench"), autocommit=True
                ) as connection:
                    connection.execute(switch)
                requests = site.learners.single(int(2_000 * size.round_seconds))
                rates[way].append(load.run(Job(site.server.port, requests, 8, size.round_seconds)).per_second)
    outbox, none, notify = (statistics.median(rates[way]) for way in ("outbox", "none", "notify"))
    with psycopg.connect(site.database.cluster.dsn("supabase_admin", "bench"), autocommit=True) as connection:
        connection.execute(_ways()["outbox"])
    return {
        "writer_overhead": round(none / outbox, 3),
        "notify_overhead": round(none / notify, 3),
        "writes_per_s": round(outbox, 1),
    }


def _switch(teller: str, how: str) -> str:
    """SQL that has changes told another way, or not at all."""
    return "; ".join(
        f"alter table public.{table} {how} trigger {table}_{teller}_{event}"
        for table in _TABLES
        for event in ("insert", "update")
    )


_NOTIFYING: LiteralString = """
    create or replace function private.notify_changes() returns trigger
    security definer set search_path = '' language plpgsql as $$
    begin
        perform pg_catalog.pg_notify('changes', c.community_id || ' ' || c.user_id) from changed as c;
        return null;
    end $$
"""


def _ways() -> dict[str, Any]:
    """SQL that has changes told in each of the ways that are compared."""
    triggers = "; ".join(
        f"drop trigger if exists {table}_notify_{event} on public.{table}; create trigger {table}_notify_{event}"
        f" after {event} on public.{table} referencing new table as changed for each statement"
        " execute function private.notify_changes()"
        for table in _TABLES
        for event in ("insert", "update")
    )
    made = f"{_NOTIFYING}; {triggers}"
    return {
        "outbox": f"{made}; {_switch('notify', 'disable')}; {_switch('tell', 'enable')}",
        "none": f"{made}; {_switch('notify', 'disable')}; {_switch('tell', 'disable')}",
        "notify": f"{made}; {_switch('notify', 'enable')}; {_switch('tell', 'disable')}",
    }


def _of_largest(site: Site) -> list[Learner]:
    return _able(site, max(site.learners.by_community.values(), key=len))


def _able(site: Site, learners: Sequence[Learner]) -> list[Learner]:
    """Those who have a required block left that they have not begun: their next one."""
    wanted: dict[UUID, UUID] = dict(
        site.database.run(
            """
            select e.user_id, min(b.id::text)::uuid
            from public.program_enrollments as e
            join public.program_course_assignments as a
                on a.community_id = e.community_id and a.program_id = e.program_id and a.version = e.program_version
            join public.blocks as b
                on b.community_id = a.community_id and b.course_id = a.course_id and b.version = a.course_version
            where e.user_id = any (%s) and e.status = 'active' and b.required and b.completion_mode = 'completable'
                and not exists (
                    select from public.block_completions as c
                    where c.community_id = e.community_id and c.user_id = e.user_id and c.course_id = b.course_id
                        and c.attempt = 1 and c.block_id = b.id
                )
            group by e.user_id
            """,
            [learner.user_id for learner in learners],
        )
    )
    return [
        replace(learner, blocks=[wanted[learner.user_id]])
        for learner in learners
        if learner.user_id in wanted
    ]


def _admins(site: Site, community: UUID, number: int) -> list[Caller]:
    found = site.database.run(
        """
        update public.memberships set role = 'community_admin'
        where community_id = %s and user_id in (
            select user_id from public.memberships where community_id = %s order by user_id limit %s
        )
        returning user_id
        """,
        community,
        community,
        number,
    )
    return [Caller(community, make_token(community, user, f"{user}@bench.test"), {}) for (user,) in found]


def _looks(site: Site) -> int:
    """How often somebody's progress was asked for: Postgres counts the calls of the function."""
    time.sleep(11)  # backends that rest tell what they counted after ten seconds
    ((calls,),) = site.database.run(
        "select coalesce(sum(calls), 0)::bigint from pg_stat_user_functions where funcname = 'program_progress'"
    )
    return int(calls)


def _table(figures: dict[str, float], size: Size, data: str, share: float) -> str:
    wanted = [
        (
            f"commit to subscriber, {size.watching} watching, {size.rate} writes a second: p50 / p99",
            "8 / 20 ms",
            f"{figures['p50_ms']} / {figures['p99_ms']} ms",
        ),
        (
            f"the last of {size.touched:,} that one event touches, {size.connected:,} connected: median / worst",
            "60 ms",
            f"{figures['last_of_1000_ms']} / {figures['last_of_1000_worst_ms']} ms",
        ),
        ("memory of a WebSocket", "30 KB", f"{figures['kb_per_websocket']} KB"),
        ("memory of an event stream", "8 KB", f"{figures['kb_per_sse']} KB"),
        (
            f"queries a change, {size.touched:,} sockets of 50 admins on the same",
            "50",
            f"{figures['looks_per_change']}",
        ),
        (
            "writes without the outbox ÷ with it; ÷ with NOTIFY instead",
            "1.15",
            f"{figures['writer_overhead']}; {figures['notify_overhead']}",
        ),
    ]
    rows = ["| | wanted | reached |", "|---|--:|--:|", *(f"| {' | '.join(row)} |" for row in wanted)]
    told = (
        f"Of {figures['written']:,.0f} writes {figures['arrived']:,.0f} were told one by one; each costs the server"
        f" {figures['server_us_per_update']:.0f} µs and Postgres {figures['postgres_us_per_update']:.0f} µs, the write"
        f" itself included. {data}. {machine()}. Other programs took {share:.0%} of the machine meanwhile."
    )
    return "\n".join([*rows, "", told])


if __name__ == "__main__":
    main()
