"""Jobs: who sees them, and that what is due is done once, again when it fails, and by somebody else after a kill."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobs.audit import SigningKey, verify
from jobs.worker import Worker, install
from jobs.worker._tasks import Task
from tests import cast
from tests.api import Api
from tests.databases import Database
from tests.people import Person

RUNS = "{ jobRuns { totalCount nodes { task status attempt did error } } }"
KEY = SigningKey(Ed25519PrivateKey.generate())
# Its triggers find their tables by the search path.
HURRY = """set local search_path = procrastinate;
update procrastinate_jobs set scheduled_at = now() where status = 'todo' and scheduled_at > now()"""
LAPSE = "update public.program_enrollments set expires_at = now() - interval '1 hour' where id = %s"


@pytest.fixture
def queue(database: Database) -> Database:
    install(database.dsn())
    return database


@asynccontextmanager
async def working(database: Database, tasks: dict[str, Task] | None = None) -> AsyncIterator[Worker]:
    worker = Worker(database.dsn("gym_worker"), KEY, tasks=tasks, look_every=0.2)
    await worker.open()
    try:
        yield worker
    finally:
        await worker.close()


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come to that"
        await asyncio.sleep(0.1)


def runs(database: Database, task: str) -> list[tuple[Any, ...]]:
    query = "select status, attempt, did, error from public.job_runs where task = %s order by started_at"
    return database.run(query, task)


async def test_runs_are_for_admins(
    api: Api, as_anon: Person, as_learner: Person, as_admin: Person, as_other_community: Person
) -> None:
    assert (await api.ask(as_anon, RUNS)).code == "UNAUTHENTICATED"
    assert (await api.ask(as_learner, RUNS)).data["jobRuns"]["totalCount"] == 0
    for admin in (as_admin, as_other_community):
        (run,) = (await api.ask(admin, RUNS)).data["jobRuns"]["nodes"]
        assert run == {"task": "rest", "status": "RUNNING", "attempt": 1, "did": None, "error": None}


def test_only_the_worker_may_ask_what_is_due(database: Database) -> None:
    for role in ("gym_api", "authenticated", "anon", "service_role"):
        with database.connect("supabase_admin") as connection:
            connection.execute(f"set role {role}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select private.due_jobs()")


def test_the_queue_is_made_once_and_for_the_worker_alone(database: Database) -> None:
    assert [install(database.dsn()), install(database.dsn())] == [True, False]

    assert database.run_as("gym_worker", "select count(*) from procrastinate.procrastinate_jobs") == [(0,)]
    for role in ("gym_api", "authenticated", "anon", "service_role"):
        with database.connect("supabase_admin") as connection:
            connection.execute(f"set role {role}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select from procrastinate.procrastinate_jobs")


def test_an_older_queue_is_brought_up_to_date(database: Database) -> None:
    """From the version before its last migration; only the newer ones are run."""
    install(database.dsn())
    database.run("comment on schema procrastinate is 'The queue of jobs: procrastinate 3.9.0.'")

    assert install(database.dsn())

    ((told,),) = database.run("select obj_description(to_regnamespace('procrastinate'), 'pg_namespace')")
    assert "3.9.0" not in told


async def test_what_is_due_is_done(queue: Database) -> None:
    queue.run(LAPSE, cast.ENROLLMENT)

    async with working(queue):
        await until(lambda: runs(queue, "advance_enrollments") == [("succeeded", 1, 1, None)])
        await until(lambda: queue.run("select from private.progress_queue") == [])
        await until(lambda: verify(queue.dsn()) == [] and len(runs(queue, "seal_audit_log")) >= 2)

    assert queue.run("select status from public.program_enrollments where id = %s", cast.ENROLLMENT) == [
        ("expired",)
    ]
    sealed = "select count(*) from private.audit_seals where community_id = %s"
    assert queue.run(sealed, cast.ALPHA)[0][0] > 0
    left = "select status from procrastinate.procrastinate_jobs where status not in ('todo', 'doing')"
    assert queue.run(left) == [], "what has succeeded leaves the queue"


async def test_what_fell_due_while_nobody_worked_is_made_up_for(queue: Database) -> None:
    async with working(queue, {}):
        await asyncio.sleep(0.5)
    queue.run(LAPSE, cast.ENROLLMENT)

    async with working(queue):
        await until(lambda: runs(queue, "advance_enrollments") != [])


async def test_two_workers_do_a_thing_once(queue: Database) -> None:
    queue.run(LAPSE, cast.ENROLLMENT)

    async with working(queue), working(queue):
        await until(lambda: runs(queue, "advance_enrollments") != [])
        await asyncio.sleep(1)

    assert [run[0] for run in runs(queue, "advance_enrollments") if run[2]] == ["succeeded"]


async def test_what_fails_is_tried_again_and_its_text_is_kept_from_admins(queue: Database) -> None:
    tried: list[UUID] = []

    async def fails(_: psycopg.AsyncConnection[Any], community: UUID) -> int:
        tried.append(community)
        if len(tried) == 1:
            raise ValueError("somebody's secret")
        return 7

    queue.run(LAPSE, cast.ENROLLMENT)

    async with working(queue, {"advance_enrollments": fails}):
        await until(lambda: len(runs(queue, "advance_enrollments")) >= 1 and bool(tried))
        await until(lambda: runs(queue, "advance_enrollments")[0][0] == "failed")
        jobs = "select status::text, attempts, scheduled_at > now() from procrastinate.procrastinate_jobs"
        await until(lambda: ("todo", 1, True) in queue.run(jobs))
        queue.run(HURRY)
        await until(lambda: len(runs(queue, "advance_enrollments")) >= 2)

    assert runs(queue, "advance_enrollments")[0] == ("failed", 1, None, "ValueError")
    assert runs(queue, "advance_enrollments")[1][:3] == ("succeeded", 2, 7)


async def test_what_never_succeeds_is_given_up_and_rests(queue: Database) -> None:
    async def fails(_: psycopg.AsyncConnection[Any], __: UUID) -> int:
        raise ValueError

    queue.run(LAPSE, cast.ENROLLMENT)

    async with working(queue, {"advance_enrollments": fails}):

        def dead() -> bool:
            queue.run(HURRY)
            return any(run[0] == "dead" for run in runs(queue, "advance_enrollments"))

        await until(dead, seconds=40)
        tries = len(runs(queue, "advance_enrollments"))
        await asyncio.sleep(1)

    assert tries == 6
    assert [run[0] for run in runs(queue, "advance_enrollments")] == ["failed"] * 5 + ["dead"]
    due = "select task from private.due_jobs() where task = 'advance_enrollments'"
    assert queue.run(due) == []
    queue.run("update public.job_runs set finished_at = now() - interval '2 hours' where status = 'dead'")
    assert queue.run(due) == [("advance_enrollments",)]


async def test_a_killed_workers_job_is_taken_up_by_another(queue: Database, tmp_path: Path) -> None:
    queue.run(LAPSE, cast.ENROLLMENT)
    script = tmp_path / "worker.py"
    script.write_text(SLEEPER)
    arguments = [sys.executable, str(script), queue.dsn("gym_worker")]
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        arguments, cwd=Path(__file__).parent.parent, env={**os.environ, "PYTHONPATH": "."}
    )
    try:
        await until(lambda: [run[0] for run in runs(queue, "advance_enrollments")] == ["running"], seconds=30)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    async with working(queue):
        await until(lambda: len(runs(queue, "advance_enrollments")) == 2, seconds=40)
        await until(lambda: runs(queue, "advance_enrollments")[1][0] == "succeeded")

    killed, again = runs(queue, "advance_enrollments")
    assert killed[0] == "failed"
    assert "ended in the middle" in killed[3]
    assert again[2] == 1


# A worker that takes the job and never ends it.
SLEEPER = """
import asyncio, sys
from jobs.worker import Worker

async def sleeps(connection, community):
    await asyncio.sleep(600)

asyncio.run(Worker(sys.argv[1], None, tasks={"advance_enrollments": sleeps}, look_every=0.2).run())
"""


async def test_a_database_that_goes_away_is_waited_for(queue: Database) -> None:
    async with working(queue) as worker:
        await until(lambda: worker.problem is None)
        queue.run_as(
            "supabase_admin",
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'gym_worker' "
            "and datname = current_database()",
        )
        queue.run(LAPSE, cast.ENROLLMENT)

        await until(lambda: any(run[2] for run in runs(queue, "advance_enrollments")), seconds=30)


async def test_without_a_queue_the_worker_says_so(database: Database) -> None:
    async with working(database) as worker:
        await until(lambda: worker.problem is not None and "install-jobs" in worker.problem)


def test_old_runs_are_forgotten(database: Database) -> None:
    database.run(
        "update public.job_runs set started_at = now() - interval '31 days' where community_id = %s",
        cast.BETA,
    )

    assert database.run_as("gym_worker", "select private.forget_old_job_runs()") == [(1,)]
    assert [row[0] for row in database.run("select community_id from public.job_runs")] == [cast.ALPHA]
