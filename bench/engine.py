"""`make bench`: this server against PostGraphile, a conventional server and bare SQL, on one database."""

import argparse
import fcntl
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

from bench import peers, report
from bench.callers import Caller, make_callers
from bench.database import Database, running_database, settle
from bench.equality import check_answers
from bench.errors import BenchError
from bench.floor import make_floor
from bench.memory import Memory, measure_memory
from bench.peers import Peer
from bench.processes import Neighbours, end_what_is_left, resident_mb
from bench.report import Results
from bench.rounds import Contest, Measurement, Plan, measure_http_only, run_rounds, warm_up
from bench.scenarios import OUR_DOCUMENTS, Scenario, read_scenarios
from local.errors import LocalError

FOLDER = Path(__file__).parent.parent / ".bench"
# A document that is new each time cannot be prepared; two callers are one statement to pgbench.
_WITHOUT_FLOOR = {"cold", "two_identities"}
_SERVERS = (peers.ours, peers.postgraphile, peers.conventional)

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    for number in _STOPS:
        signal.signal(number, _stop)
    try:
        _run(_arguments())
    except (BenchError, LocalError) as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("Stopped.") from None
    finally:
        end_what_is_left()


def _stop(*_: object) -> NoReturn:
    """The first Ctrl-C ends everything in order; a second one must not get in the way of that."""
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of OULAD to import; default: synthetic data")
    parser.add_argument("--documents", type=Path, help="folder of documents; default: the benchmark's own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--only", nargs="+", help="names of documents")
    parser.add_argument("--memory", type=float, default=1.0, help="share of the memory run; 0 for none")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> None:
    began = time.monotonic()
    FOLDER.mkdir(exist_ok=True)
    FOLDER.chmod(0o755)  # Postgres's own account passes through
    with ExitStack() as stack:
        stack.enter_context(_alone(FOLDER / "lock"))
        peers.install_postgraphile(FOLDER, _say)
        database = stack.enter_context(running_database(FOLDER / "database", options.data, _say))
        callers = make_callers(database)
        scenarios = read_scenarios(options.documents or OUR_DOCUMENTS, callers)
        scenarios = [scenario for scenario in scenarios if scenario.name in (options.only or [scenario.name])]
        _say("Starting the servers")
        servers = [stack.enter_context(start(FOLDER, database.url)) for start in _SERVERS]
        results = _measure(options, database, callers, scenarios, servers)
    _tell_results(options, results)
    _say(f"Took {(time.monotonic() - began) / 60:.1f} minutes.")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two at a time would measure each other. The kernel unlocks the file when the process ends, however it ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(
                "Another benchmark is running in this checkout. Wait for it, or stop it."
            ) from None
        yield


def _measure(
    options: argparse.Namespace,
    database: Database,
    callers: list[Caller],
    scenarios: list[Scenario],
    servers: list[Peer],
) -> Results:
    plan = Plan(options.rounds, options.seconds, options.connections)
    _say("Comparing their answers")
    contests = [_contest(scenario, servers, plan, own=not options.documents) for scenario in scenarios]
    _say("Warming up")
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
        _say(f"  {scenario.name}: without {' and '.join(left_out)}")
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
    _say("Measuring memory: 200,000 requests with 5,000 distinct documents")
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
    usual = not (options.data or options.documents)
    report.write_figures(results, "make bench" if usual else "make bench " + _other_than_usual(options))
    if usual:
        report.write_page(results)


def _other_than_usual(options: argparse.Namespace) -> str:
    """By the names of the folders alone: a path is one machine's."""
    given = {"DATA": options.data, "DOCUMENTS": options.documents}
    return " ".join(f"{name}={folder.resolve().name}" for name, folder in given.items() if folder)


def _tell(where: str, scenario: str, name: str, measured: Measurement) -> None:
    latency = f"p50 {measured.p50_ms:6.1f} ms  p99 {measured.p99_ms:6.1f} ms" if measured.p50_ms else " " * 28
    server = f"{measured.server_us:6.0f}" if measured.server_us is not None else "      "
    _say(
        f"{where}  {scenario:<15}{name:<13}{measured.per_second:9,.0f} req/s  {latency}"
        f"  CPU µs {server} + {measured.postgres_us:5.0f}"
        + (f"  (load generator {measured.load_us:.0f})" if measured.load_us is not None else "")
    )


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
