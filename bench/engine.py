"""`make bench`: this server against PostGraphile, a conventional server and bare SQL, on one database."""

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import peers, report
from bench.callers import Caller, make_callers
from bench.command import FOLDER, carry_out, positive, say, whole
from bench.database import SYNTHETIC, Database, running_database, settle
from bench.equality import check_answers
from bench.floor import make_floor
from bench.memory import Memory, measure_memory
from bench.peers import Peer
from bench.processes import Neighbours, resident_mb
from bench.report import Results
from bench.rounds import Contest, Measurement, Plan, measure_http_only, run_rounds, warm_up
from bench.scenarios import OUR_DOCUMENTS, Scenario, read_scenarios

# A document that is new each time cannot be prepared; two callers are one statement to pgbench.
_WITHOUT_FLOOR = {"cold", "two_identities"}
_ROUNDS, _SECONDS = 5, 2.0
_SERVERS = (peers.ours, peers.postgraphile, peers.conventional)


def main() -> None:
    options = _arguments()
    carry_out(lambda: _run(options))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of OULAD to import; default: synthetic data")
    parser.add_argument("--documents", type=Path, help="folder of documents; default: the benchmark's own")
    parser.add_argument("--rounds", type=whole, default=_ROUNDS)
    parser.add_argument("--seconds", type=positive, default=_SECONDS, help="length of one measurement")
    parser.add_argument("--connections", type=whole, default=16)
    parser.add_argument("--only", nargs="+", help="names of documents")
    parser.add_argument(
        "--memory", type=float, help="share of the memory run; 0 for none; default: all of a full run"
    )
    options = parser.parse_args()
    if options.memory is None:
        options.memory = min(1.0, options.rounds * options.seconds / (_ROUNDS * _SECONDS))
    return options


def _run(options: argparse.Namespace) -> None:
    began = time.monotonic()
    read_scenarios(
        options.documents or OUR_DOCUMENTS, []
    )  # what is wrong with them is said before the long work
    with ExitStack() as stack:
        peers.install_postgraphile(FOLDER, say)
        database = stack.enter_context(running_database(FOLDER / "database", options.data or SYNTHETIC, say))
        callers = make_callers(database)
        scenarios = read_scenarios(options.documents or OUR_DOCUMENTS, callers)
        scenarios = [scenario for scenario in scenarios if scenario.name in (options.only or [scenario.name])]
        say("Starting the servers")
        servers = [stack.enter_context(start(FOLDER, database.url)) for start in _SERVERS]
        results = _measure(options, database, callers, scenarios, servers)
    _tell_results(options, results)
    say(f"Took {(time.monotonic() - began) / 60:.1f} minutes.")


def _measure(
    options: argparse.Namespace,
    database: Database,
    callers: list[Caller],
    scenarios: list[Scenario],
    servers: list[Peer],
) -> Results:
    plan = Plan(options.rounds, options.seconds, options.connections)
    say("Comparing their answers")
    contests = [_contest(scenario, servers, plan, own=not options.documents) for scenario in scenarios]
    say("Warming up")
    settle(database)
    warm_up(contests, plan)
    neighbours = Neighbours([database.pid, *(server.pid for server in servers)])
    run_rounds(contests, database, plan, _tell)
    return Results(
        contests,
        neighbours=neighbours.share,
        http_only=measure_http_only(servers[0], database, plan),
        resident_mb={server.name: resident_mb(server.pid) for server in servers},
        memory=_memory(servers[0], callers, options),
        plan=plan,
        data=_described(database, options.data),
    )


def _contest(scenario: Scenario, servers: list[Peer], plan: Plan, *, own: bool) -> Contest:
    able = check_answers(scenario, servers, documents_are_ours=own)
    left_out = [server.title for server in servers if server not in able]
    if left_out:
        say(f"  {scenario.name}: without {' and '.join(left_out)}")
    floor = (
        None
        if scenario.name in _WITHOUT_FLOOR
        else make_floor(scenario, FOLDER / "pgbench", plan.connections)
    )
    return Contest(scenario, able, floor)


def _memory(server: Peer, callers: Sequence[Caller], options: argparse.Namespace) -> Memory | None:
    if not options.memory:
        return None
    # Our own document whatever was measured: growth does not depend on what is asked.
    cold = next(scenario for scenario in read_scenarios(OUR_DOCUMENTS, callers) if scenario.is_cold)
    say("Measuring memory: 200,000 requests with 5,000 distinct documents")
    return measure_memory(server, cold, options.connections, options.memory)


def _described(database: Database, folder: Path | None) -> str:
    ((communities, members, programs, enrollments),) = database.run("""
        select (select count(*) from public.communities), (select count(*) from public.memberships),
            (select count(*) from public.programs), (select count(*) from public.program_enrollments)
    """)
    kind = "synthetic" if folder is None else "OULAD"
    return (
        f"{kind}: {communities:,} communities, {members:,} members, {programs:,} programs,"
        f" {enrollments:,} enrolments"
    )


def _tell_results(options: argparse.Namespace, results: Results) -> None:
    print(f"\n{report.text(results)}\n", flush=True)
    if options.only:
        return
    unusual = _other_than_usual(options)
    report.write_figures(results, f"make bench {unusual}".strip())
    if not unusual:
        report.write_page(results)


def _other_than_usual(options: argparse.Namespace) -> str:
    """By the names of the folders alone: a path is one machine's."""
    folders = {"DATA": options.data, "DOCUMENTS": options.documents}
    told = [f"{name}={folder.resolve().name}" for name, folder in folders.items() if folder]
    if options.rounds != _ROUNDS:
        told.append(f"ROUNDS={options.rounds}")
    if options.seconds != _SECONDS:
        told.append(f"SECONDS={options.seconds:g}")
    return " ".join(told)


def _tell(where: str, scenario: str, name: str, measured: Measurement) -> None:
    latency = f"p50 {measured.p50_ms:6.1f} ms  p99 {measured.p99_ms:6.1f} ms" if measured.p50_ms else " " * 28
    server = f"{measured.server_us:6.0f}" if measured.server_us is not None else "      "
    say(
        f"{where}  {scenario:<15}{name:<13}{measured.per_second:9,.0f} req/s  {latency}"
        f"  CPU µs {server} + {measured.postgres_us:5.0f}"
        + (f"  (load generator {measured.load_us:.0f})" if measured.load_us is not None else "")
    )


if __name__ == "__main__":
    main()
