"""`make bench-scale`: what an admin of one very large community waits for, and the plans that Postgres makes of it."""

import argparse
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from bench import load, peers
from bench.callers import make_callers
from bench.command import FOLDER, carry_out, positive, say, whole
from bench.database import Database, Script, running_database, settle
from bench.floor import statements_of
from bench.load import Load
from bench.peers import Peer
from bench.report import machine, write_json, write_table
from bench.scenarios import OUR_DOCUMENTS, Scenario, read_scenarios
from resolvers.plan import Statement

_DATA = Script(Path(__file__).with_name("scale.sql"))
_DOCUMENTS = OUR_DOCUMENTS / "scale"
_RESULTS = Path(__file__).with_name("results")
_WARM_UP_SECONDS = 2.0
_KINDS = ("stats", "list")


@dataclass(frozen=True)
class Timed:
    """One document: how long its answers took, and how Postgres carried it out."""

    name: str
    load: Load
    plan: str


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-scale", description=__doc__)
    parser.add_argument("--seconds", type=positive, default=8.0, help="length of one measurement")
    parser.add_argument("--connections", type=whole, default=2, help="admins who ask at the same time")
    parser.add_argument("--only", nargs="+", help="names of documents")
    options = parser.parse_args()
    carry_out(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    began = time.monotonic()
    with ExitStack() as stack:
        database = stack.enter_context(running_database(FOLDER / "database", _DATA, say))
        scenarios = read_scenarios(_DOCUMENTS, make_callers(database))
        say(f"Made in {time.monotonic() - began:.0f} s: {_described(database)}")
        settle(database)
        server = stack.enter_context(peers.ours(FOLDER, database.url))
        wanted = [scenario for scenario in scenarios if scenario.name in (options.only or [scenario.name])]
        timed = [_timed(scenario, server, database, options) for scenario in wanted]
        table = _table(timed, f"{_described(database)}. {machine()}; {options.connections} at a time.")
        print(f"\n{table}\n", flush=True)
        if not options.only:
            _write(timed, table, _described(database))
    say(f"Took {(time.monotonic() - began) / 60:.1f} minutes.")


def _timed(scenario: Scenario, server: Peer, database: Database, options: argparse.Namespace) -> Timed:
    def asked(seconds: float) -> Load:
        job = load.Job(server.port, scenario.requests("ours"), options.connections, seconds)
        return load.run(job)

    asked(_WARM_UP_SECONDS)
    timed = Timed(scenario.name, asked(options.seconds), _explained(scenario, database))
    say(f"{timed.name:<28} p50 {timed.load.p50_ms:6.1f} ms  p95 {timed.load.p95_ms:6.1f} ms")
    return timed


def _explained(scenario: Scenario, database: Database) -> str:
    """The plan of the first request, with what it read."""
    identity, *statements = statements_of(next(scenario.asks("ours")))
    with psycopg.connect(database.url, prepare_threshold=None) as connection:
        connection.execute(*_with_values(identity))
        return "\n".join(
            line
            for statement in statements
            for (line,) in connection.execute(_explain(connection, statement)).fetchall()
        )


def _with_values(statement: Statement) -> tuple[bytes, list[str | None]]:
    text, values = statement.sql, list(statement.parameters)
    for number in range(len(values), 0, -1):
        text = text.replace(f"${number}", "%s")
    return text.encode(), values


def _explain(connection: psycopg.Connection, statement: Statement) -> sql.Composed:
    connection.execute(sql.SQL("deallocate all; prepare asked as {}").format(sql.SQL(statement.sql)))
    values = sql.SQL(", ").join(sql.Literal(value) for value in statement.parameters)
    given = sql.SQL(" ({})").format(values) if statement.parameters else sql.SQL("")
    options = sql.SQL("explain (analyze, buffers, costs off, summary off) execute asked{}")
    return options.format(given)


def _described(database: Database) -> str:
    ((members, programs, enrollments),) = database.run("""
        select m.members, p.programs, e.enrollments
        from (select community_id, count(*) as members from public.memberships group by 1 order by 2 desc limit 1) as m
        join (select community_id, count(*) as programs from public.programs group by 1) as p using (community_id)
        join (select community_id, count(*) as enrollments from public.program_enrollments group by 1) as e
            using (community_id)
    """)
    return f"one community with {members:,} members, {programs:,} programs and {enrollments:,} enrolments"


def _table(timed: list[Timed], about: str) -> str:
    rows = ["| document | p50 ms | p95 ms | p99 ms | requests/s |", "| --- | --: | --: | --: | --: |"]
    rows += [
        f"| {one.name.replace('_', ' ')} | {one.load.p50_ms:.1f} | {one.load.p95_ms:.1f} | {one.load.p99_ms:.1f}"
        f" | {one.load.per_second:,.0f} |"
        for one in timed
    ]
    return "\n".join([*rows, "", about[0].upper() + about[1:]])


def _write(timed: list[Timed], table: str, data: str) -> None:
    figures = {
        f"{kind}_p95_ms": round(max(one.load.p95_ms for one in timed if one.name.startswith(kind)), 1)
        for kind in _KINDS
    } | {f"{one.name}_p95_ms": round(one.load.p95_ms, 1) for one in timed}
    write_json("scale", figures, "make bench-scale", data)
    plans = [f"## {one.name}\n\n```\n{one.plan}\n```" for one in timed]
    page = "# How Postgres carries out what `make bench-scale` asks\n\n" + "\n\n".join(plans) + "\n"
    (_RESULTS / "scale-plans.md").write_text(page)
    write_table("scale", table)


if __name__ == "__main__":
    main()
