"""The worker: looks for what is due, lets procrastinate run it, and takes back what a dead worker has left."""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import psycopg_pool
import structlog
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job

from jobs.audit import SigningKey
from jobs.worker._install import SCHEMA, current
from jobs.worker._tasks import Task, advance_enrollments, advance_progress, end_idle_sessions, sealing

log = structlog.get_logger(__name__)

# How often it is looked for what is due, and for jobs that a dead worker has left.
_LOOK_EVERY = 2.0
_HEARTBEAT_EVERY, _DEAD_AFTER = 2.0, 10.0
_TRIES = 6
# How long one step waits for a connection. By itself the pool would wait for half a minute, and so would each step of
# the end.
_CONNECTED_WITHIN = 3
_ENDS_WITHIN = (4.0, 0.5, 0.5, 0.5)
_FORGET_EVERY = timedelta(minutes=1)
_LOOKING = "select pg_try_advisory_xact_lock(hashtextextended('looking for jobs that are due', 0))"
_QUEUED = "select lock from procrastinate.procrastinate_jobs where status in ('todo', 'doing')"
_MADE_FOR = "select obj_description(to_regnamespace(%s), 'pg_namespace')"


class WorkerError(Exception):
    """What keeps the worker from starting; the message says what to do."""


class _LaterEachTime(BaseRetryStrategy):
    """5 seconds after the first try, then 10, 20, 40, 80; not after the last."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        del exception
        if job.attempts + 1 >= _TRIES:
            return None
        return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=5 * 2**job.attempts))


class Worker:
    """Runs what is due until it is stopped. `dsn` is that of role `gym_worker`."""

    def __init__(
        self,
        dsn: str,
        audit_key: SigningKey | None,
        *,
        prepared_statements: bool = True,
        tasks: Mapping[str, Task] | None = None,
        look_every: float = _LOOK_EVERY,
    ) -> None:
        self._dsn = dsn
        self._options: dict[str, Any] = {"connect_timeout": _CONNECTED_WITHIN}
        if not prepared_statements:
            self._options["prepare_threshold"] = None
        self._tasks = dict(tasks) if tasks is not None else _usual_tasks(dsn, audit_key)
        self._look_every = look_every
        self._running: asyncio.Task[None] | None = None
        self._forgot_at = datetime.min.replace(tzinfo=UTC)
        self.problem: str | None = "The worker is starting."

    async def open(self) -> None:
        """Starts working, beside what the process does otherwise."""
        self._running = asyncio.create_task(self.run())

    async def close(self) -> None:
        """Stops; a job that is running is taken up again later, by whoever works then."""
        if self._running is not None:
            for seconds in _ENDS_WITHIN:
                # Again: what ends asks the database once more, and each time ends one wait for an answer.
                self._running.cancel()
                done, _ = await asyncio.wait({self._running}, timeout=seconds)
                if done:
                    return

    async def run(self) -> None:
        """Works, whatever becomes of the database meanwhile: what is lost is due again when it is back."""
        wait = 1.0
        while True:
            try:
                await self._work()
            except (psycopg.Error, psycopg_pool.PoolTimeout, ConnectorException, OSError) as error:
                problem = f"The database cannot be used: {type(error).__name__}."
            except WorkerError as error:
                problem = str(error)
            if problem != self.problem:
                log.warning("no jobs are run", reason=problem)
            wait = 1.0 if self.problem is None else min(2 * wait, 30.0)
            self.problem = problem
            await asyncio.sleep(wait)

    async def _work(self) -> None:
        async with AsyncExitStack() as stack:
            connection = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, **self._options)
            await stack.enter_async_context(connection)
            await _require_queue(connection)
            app = self._app()
            await stack.enter_async_context(app.open_async())
            group = await stack.enter_async_context(_AllOrNone())
            group.start(self._look(app, connection))
            group.start(
                app.run_worker_async(
                    concurrency=2,
                    fetch_job_polling_interval=self._look_every / 2,
                    abort_job_polling_interval=60.0,
                    listen_notify=False,  # poolers in transaction mode have no LISTEN, and this is quick enough
                    delete_jobs="successful",
                    install_signal_handlers=False,
                    shutdown_graceful_timeout=2.0,
                    update_heartbeat_interval=_HEARTBEAT_EVERY,
                    stalled_worker_timeout=_DEAD_AFTER,
                )
            )
            self.problem = None
            await group.first_end()

    def _app(self) -> App:
        connector = PsycopgConnector(
            conninfo=self._dsn, min_size=1, max_size=4, timeout=_CONNECTED_WITHIN, kwargs=self._options
        )
        app = App(connector=connector)
        for name, task in self._tasks.items():
            register = app.task(name=name, pass_context=True, retry=_LaterEachTime())
            register(self._recorded(name, task))
        return app

    def _recorded(self, name: str, task: Task) -> Any:
        """The task as procrastinate calls it: with a connection of its own, and each try written down."""

        async def carry_out(context: JobContext, community: str) -> None:
            job = context.job
            connection = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, **self._options)
            async with connection:
                begin = "select private.begin_job_run(%s, %s, %s, %s)"
                row = await (
                    await connection.execute(begin, (community, name, job.id, job.attempts + 1))
                ).fetchone()
                run = row[0] if row else None
                end = "select private.end_job_run(%s, %s, %s, %s, %s)"
                try:
                    did = await task(connection, UUID(community))
                except Exception as error:
                    status = "dead" if job.attempts + 1 >= _TRIES else "failed"
                    log.warning("a job failed", task=name, community=community, status=status, exc_info=error)
                    with suppress(psycopg.Error):
                        await connection.execute(end, (community, run, status, None, _kind_of(error)))
                    raise
                await connection.execute(end, (community, run, "succeeded", did, None))

        return carry_out

    async def _look(self, app: App, connection: psycopg.AsyncConnection) -> None:
        """Queues what is due, and again what a dead worker has left."""
        while True:
            for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=_DEAD_AFTER):
                log.warning("a job is taken up again", task=job.task_name, job=job.id)
                await app.job_manager.retry_job(job, retry_at=datetime.now(UTC))
            async with connection.transaction():
                await self._queue_what_is_due(app, connection)
            if datetime.now(UTC) - self._forgot_at > _FORGET_EVERY:
                await connection.execute("select private.forget_old_job_runs()")
                await connection.execute("select private.forget_old_changes()")
                self._forgot_at = datetime.now(UTC)
            await asyncio.sleep(self._look_every)

    async def _queue_what_is_due(self, app: App, connection: psycopg.AsyncConnection) -> None:
        """Each job once: not while it waits or runs. One worker at a time looks, so that no two queue the same."""
        row = await (await connection.execute(_LOOKING)).fetchone()
        if row != (True,):
            return
        queued = {lock for (lock,) in await (await connection.execute(_QUEUED)).fetchall()}
        due = await (await connection.execute("select task, community_id from private.due_jobs()")).fetchall()
        for name, community in due:
            key = f"{name} {community}"
            if name in self._tasks and key not in queued:
                task = app.tasks[name].configure(lock=key, queueing_lock=key)
                await task.defer_async(community=str(community))


class _AllOrNone:
    """Things that go on together: when one ends, all do."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "_AllOrNone":
        return self

    def start(self, work: Any) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def first_end(self) -> None:
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _require_queue(connection: psycopg.AsyncConnection) -> None:
    row = await (await connection.execute(_MADE_FOR, [SCHEMA])).fetchone()
    told = ".".join(map(str, current()))
    if row is None or row[0] is None:
        raise WorkerError("The queue of jobs is not there. Make it: .venv/bin/python cli.py install-jobs")
    if f"procrastinate {told}." not in row[0]:
        raise WorkerError(
            f"The queue of jobs is not the one of procrastinate {told}. Bring it up to date: "
            ".venv/bin/python cli.py install-jobs"
        )


def _usual_tasks(dsn: str, audit_key: SigningKey | None) -> dict[str, Task]:
    tasks: dict[str, Task] = {
        "advance_enrollments": advance_enrollments,
        "advance_progress": advance_progress,
        "end_idle_sessions": end_idle_sessions,
    }
    if audit_key is not None:
        tasks["seal_audit_log"] = sealing(dsn, audit_key)
    return tasks


def _kind_of(error: BaseException) -> str:
    """The kind of an error; its text may quote what somebody wrote."""
    state = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} ({state})" if state else type(error).__name__


def run(worker: Worker) -> None:
    """Works until the process is told to end."""

    async def until_told() -> None:
        working = asyncio.create_task(worker.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, working.cancel)
        with suppress(asyncio.CancelledError):
            await working

    asyncio.run(until_told())
