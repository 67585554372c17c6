"""The real server while what it stands on dies, stands still or is too much: everybody has one answer, their own."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from jobs.worker import install
from tests import cast
from tests.databases import Database, build_template, running_cluster
from tests.fire import EVERYBODY, PROGRAMS, WHO, WHOSE, Asker, is_about, load
from tests.servers import ROOT, Server, free_port, serving
from tests.signing import ISSUER, SECRET

CREATE = "mutation ($title: String!) { createProgram(input: {title: $title}) { program { title } } }"
NEVER_LOGGED = ("Traceback", "never retrieved", "Exception")


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """On a server of its own: these tests crash it. Its port stays the same when it is started again."""
    with running_cluster() as cluster:
        database = build_template(cluster)
        cluster._wanted_port = cluster.port
        # What is committed here is there after a crash of Postgres, as it is everywhere but in tests.
        database.run_as("supabase_admin", "alter role gym_api set synchronous_commit = on")
        yield database


@contextmanager
def serving_on(database: Database, folder: Path, **environment: str) -> Iterator[Server]:
    with serving(folder, None, **environment_on(database), **environment) as server:
        yield server


def environment_on(database: Database) -> dict[str, str]:
    """With time limits that end nothing during a test."""
    limits = {"STATEMENT_TIMEOUT_MS": "60000", "LOCK_TIMEOUT_MS": "60000"}
    own = {"DATABASE_URL": database.dsn("gym_api"), "JWT_SECRET": SECRET, "JWT_ISSUER": ISSUER}
    return own | limits


@pytest.fixture(scope="module")
def server(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving_on(database, folder) as server:
        yield server
        output = server.stop()
    assert not [line for line in output.splitlines() for word in NEVER_LOGGED if word in line]


def backends(database: Database, condition: str = "true") -> list[int]:
    rows = database.run_as(
        "supabase_admin",  # others do not see what is being run
        "select pid from pg_stat_activity where usename = 'gym_api' and datname = current_database()"
        f" and {condition} order by pid",
    )
    return [pid for (pid,) in rows]


async def backends_of(database: Database, condition: str = "true") -> list[int]:
    """Also when Postgres is just coming up."""
    while True:
        try:
            return await asyncio.to_thread(backends, database, condition)
        except psycopg.OperationalError:
            await asyncio.sleep(0.05)


async def eventually(condition: Callable[[], Any], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - a database has no events to wait for
            await asyncio.sleep(0.02)


async def terminate_all(database: Database) -> None:
    for pid in await backends_of(database):
        await asyncio.to_thread(database.run_as, "supabase_admin", "select pg_terminate_backend(%s)", pid)


async def kill_one(database: Database) -> None:
    """Postgres then ends all others too, and recovers."""
    os.kill((await backends_of(database))[0], signal.SIGKILL)


@contextmanager
def programs_locked(database: Database) -> Iterator[None]:
    """Whoever reads programs waits meanwhile; whoever reads only themselves does not."""
    with psycopg.connect(database.dsn()) as connection:
        connection.execute("lock table public.programs in access exclusive mode")
        yield
        connection.rollback()


async def works_for_everybody(server: Server, database: Database) -> None:
    async with load(server.url, database, clients=6) as asked:
        await eventually(lambda: asked.outcomes()["right"] >= 30)
    assert set(asked.outcomes()) <= {"right", "refused for now"}


async def test_whoever_asks_while_connections_die_gets_their_own_answer_or_one_clear_error(
    server: Server, database: Database
) -> None:
    async with load(server.url, database) as asked:
        for kill in (terminate_all, terminate_all, kill_one, terminate_all, kill_one):
            await asyncio.sleep(0.5)
            await kill(database)
        await asyncio.sleep(0.5)

    assert asked.outcomes()["right"] > 50
    assert set(asked.outcomes()) <= {"right", "refused for now"}
    await works_for_everybody(server, database)


async def test_no_write_takes_place_twice_and_each_says_what_became_of_it(
    server: Server, database: Database
) -> None:
    said: dict[str, str] = {}
    stopped = False

    async def keep_creating(asker: Asker, number: int) -> None:
        while not stopped:
            title = f"{asker.person.name} {number} {len(said)}"
            said[title] = "asked"
            reply = await asker.ask(CREATE, title=title)
            assert reply.code is None or reply.is_refusal_for_now, reply
            said[title] = "done" if reply.code is None else reply.message
        asker.leave()

    creators = [Asker(server.url, database, who) for who in (cast.ADMIN, cast.OTHER_ADMIN) * 3]
    tasks = [asyncio.create_task(keep_creating(asker, number)) for number, asker in enumerate(creators)]
    for kill in (terminate_all, terminate_all, kill_one, terminate_all, kill_one):
        await asyncio.sleep(0.4)
        await kill(database)
    await asyncio.sleep(0.4)
    stopped = True
    await asyncio.gather(*tasks, return_exceptions=True)

    rows = database.run("delete from public.programs where created_by is not null returning title")
    for task in tasks:
        task.result()
    there = Counter(title for (title,) in rows)
    assert all(there[title] == 1 for title, outcome in said.items() if outcome == "done")
    assert all(there[title] <= 1 for title, outcome in said.items() if "Read whether" in outcome)
    assert all(there[title] == 0 for title, outcome in said.items() if "Try again" in outcome)
    assert Counter(said.values())["done"] > 20


async def test_a_slow_request_is_beside_fast_ones_and_not_before_them(
    server: Server, database: Database
) -> None:
    slow = [Asker(server.url, database, cast.ADMIN) for _ in range(8)]
    with programs_locked(database):
        asking = [asyncio.create_task(asker.ask(PROGRAMS)) for asker in slow]
        await eventually(lambda: backends(database, "wait_event_type = 'Lock'"))
        async with load(server.url, database, clients=6, query=WHO, people=EVERYBODY[3:]) as others:
            await asyncio.sleep(3)

    replies = [await task for task in asking]
    for asker in slow:
        asker.leave()
    assert set(others.outcomes()) == {"right"}
    assert max(reply.seconds for _, reply in others.replies) < 2.5, "none waited for the lock"
    assert {reply.code for reply in replies} <= {None, "UNAVAILABLE"}


async def test_a_hundred_who_hang_up_leave_nothing_running(server: Server, database: Database) -> None:
    leaving = [Asker(server.url, database, EVERYBODY[n % 6]) for n in range(100)]
    with programs_locked(database):
        for asker in leaving:
            await asker.send(PROGRAMS)
        await eventually(lambda: backends(database, "wait_event_type = 'Lock'"))

        for asker in leaving:
            asker.leave()

        # The lock is still there, and no time limit ends them so soon.
        await eventually(lambda: not backends(database, "wait_event_type = 'Lock'"), seconds=10)
    await works_for_everybody(server, database)


async def test_two_thousand_at_once_have_one_answer_each(server: Server, database: Database) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4_500:
        pytest.skip("This machine does not allow as many open files.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = open_files(server)
    askers = [Asker(server.url, database, EVERYBODY[n % 6]) for n in range(2_000)]

    try:
        async with asyncio.timeout(60):
            replies = await asyncio.gather(*(asker.ask(WHOSE) for asker in askers))
    finally:
        for asker in askers:
            asker.leave()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    answered = [(asker.person, reply) for asker, reply in zip(askers, replies, strict=True) if not reply.code]
    assert all(reply.is_refusal_for_now for reply in replies if reply.code)
    assert all(is_about(person, reply) for person, reply in answered)
    assert len(answered) > 200
    await eventually(lambda: open_files(server) <= before + 5)


def open_files(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd")) if Path("/proc/self/fd").exists() else 0


async def test_a_database_that_comes_back_is_used_again(server: Server, database: Database) -> None:
    asker = Asker(server.url, database, cast.ADMIN)

    await asyncio.to_thread(database.cluster.stop)
    try:
        refused = [await asker.ask(WHOSE) for _ in range(3)]
        ready = await asyncio.to_thread(httpx.get, f"{server.url}/readyz")
    finally:
        await asyncio.to_thread(database.cluster.start)
    began = time.monotonic()
    while (reply := await asker.ask(WHOSE)).code is not None:
        assert reply.is_refusal_for_now
        assert time.monotonic() - began < 20
        await asyncio.sleep(0.05)

    asker.leave()
    assert all(reply.is_refusal_for_now for reply in refused)
    assert refused[-1].seconds < 2, "what is known to be gone is not waited for"
    assert ready.json()["problems"] == ["The database cannot be reached. Try again in a moment."]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_who_has_asked_before_the_end_is_answered_and_who_comes_later_is_not(
    database: Database, tmp_path: Path, workers: str
) -> None:
    with serving_on(database, tmp_path, WORKERS=workers) as server:
        with programs_locked(database):
            askers = [Asker(server.url, database, who) for who in EVERYBODY]
            asking = [asyncio.create_task(asker.ask(PROGRAMS)) for asker in askers]
            await eventually(lambda: backends(database, "wait_event_type = 'Lock'"))
            await asyncio.sleep(0.2)

            server.process.send_signal(signal.SIGTERM)
            await eventually(lambda: refuses(server))

        replies = await asyncio.gather(*asking)
        for asker in askers:
            asker.leave()
        await eventually(lambda: server.process.poll() is not None)
        output = server.stop()

    assert [reply.code for reply in replies] == [None] * 6
    assert server.process.returncode == 0
    assert not [line for line in output.splitlines() for word in NEVER_LOGGED if word in line]


def refuses(server: Server) -> bool:
    try:
        httpx.get(f"{server.url}/healthz", timeout=1)
    except httpx.ConnectError:
        return True
    except httpx.TransportError:  # taken, and then left without an answer
        return False
    return False


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_processes_that_are_only_starting_end_as_promptly(
    database: Database, tmp_path: Path, seconds: float
) -> None:
    process = subprocess.Popen(
        [sys.executable, "cli.py", "serve", "--workers", "2"],
        cwd=ROOT,
        env=os.environ | environment_on(database) | {"PORT": str(free_port()), "DATA_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("GraphQL"):
            break
    time.sleep(seconds)

    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=15)  # uvicorn alone took its 30 seconds for a health check

    assert "Traceback" not in output


@pytest.mark.parametrize(("fate", "seconds"), [(signal.SIGKILL, 12), (signal.SIGSTOP, 25)])
def test_a_server_ends_promptly_also_when_its_database_does_not_answer_any_more(
    database: Database, tmp_path: Path, fate: signal.Signals, seconds: float
) -> None:
    install(database.dsn())
    with serving_on(database, tmp_path, WORKER_DATABASE_URL=database.dsn("gym_worker")) as server:
        processes = postgres(database)
        try:
            for pid in processes:
                os.kill(pid, fate)
            time.sleep(1)

            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(timeout=60)
            took = time.monotonic() - began
        finally:
            for pid in processes:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            database.cluster.stop()
            database.cluster.start()

    assert server.process.returncode == 0
    assert took < seconds


def postgres(database: Database) -> list[int]:
    """The server's first process, and those that serve somebody."""
    first = int((database.cluster.data / "postmaster.pid").read_text().split()[0])
    query = (
        "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
    )
    return [first, *(pid for (pid,) in database.run_as("supabase_admin", query))]
