"""The commands: to serve, to run the jobs, to import, to print the schema, and `audit` with its own."""

import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn
from uuid import UUID

import psycopg
import typer
import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.markup import escape

from app import create_app, make_worker
from jobs import audit, legacy, oulad
from jobs import worker as jobs_worker
from jobs.imports import ImportFailed, shown
from local.audit_key import audit_key_file
from local.demo import DEMO_PASSWORD, SIGN_INS, load_demo
from local.errors import LocalError
from local.platform import Platform, attach, has_database, start
from resolvers.live.connections import SocketProtocol
from resolvers.logs import configure_logs
from resolvers.protocol import GuardedHttpProtocol
from resolvers.workers import run
from schema import strawberry_schema
from settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
audit_app = typer.Typer(no_args_is_help=True, help="Seals and verifies the audit log; see docs/audit.md.")
app.add_typer(audit_app, name="audit")
console = Console(stderr=True)


@app.command()
def serve(
    workers: Annotated[
        int | None, typer.Option(help="Server processes; default: WORKERS.", min=1, max=64)
    ] = None,
) -> None:
    """Serves; without DATABASE_URL also starts the local database, migrates it and loads the demo once."""
    settings = Settings()
    _require_free_port(settings)
    # uvicorn passes the signal on when it has shut down, and by default that would end us before Postgres has stopped.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    if settings.database_url is not None:
        _check_database(settings.database_url)
        _report(f"GraphQL  {settings.local_url}/graphql")
        _serve(settings, workers)
        return
    with start(settings, _report) as platform:
        jobs_worker.install(platform.admin_database_url)
        import_with_progress = partial(oulad.import_oulad, with_progress=True)
        load_demo(platform.admin_database_url, platform.auth_database_url, import_with_progress, _report)
        _print_addresses(settings, platform)
        _serve(settings, workers)
    _report("Stopped.")


@app.command()
def worker() -> None:
    """Runs the jobs, in a process of its own: set RUN_JOBS=false for the server beside it. Ctrl-C ends it."""
    settings = Settings()
    configure_logs(settings.log_level)
    url = settings.worker_database_url
    if url is None and settings.database_url is not None:
        raise LocalError(
            "DATABASE_URL is set: set WORKER_DATABASE_URL too, the same database as role gym_worker."
        )
    _report("Running jobs; Ctrl-C ends it.")
    jobs_worker.run(make_worker(settings, url or attach(settings).worker_database_url))


@app.command("install-jobs")
def install_jobs() -> None:
    """Makes the queue of jobs in the database, or brings it up to date; as role postgres, after the migrations."""
    with _admin_database(Settings()) as dsn:
        done = jobs_worker.install(dsn)
    _report("The queue of jobs is made." if done else "The queue of jobs is there already.")


@app.command("import-oulad")
def import_oulad(
    folder: Annotated[Path, typer.Argument(help="Folder with the OULAD files, .csv or .csv.gz.")],
    with_progress: Annotated[
        bool, typer.Option("--with-progress", help="Takes studentAssessment too: who has submitted what.")
    ] = False,
) -> None:
    """Imports the Open University Learning Analytics Dataset, whole or not at all; again, it adds what is new."""
    with _admin_database(Settings()) as dsn:
        oulad.run(folder, dsn, console, with_progress=with_progress)


@app.command("oulad-results")
def oulad_results(
    folder: Annotated[Path, typer.Argument(help="Folder with the OULAD files, .csv or .csv.gz.")],
    file: Annotated[Path, typer.Argument(help="The file to write: one for import-legacy.")],
) -> None:
    """Writes how OULAD's people did, as an earlier system would tell it: input for import-legacy."""
    try:
        with shown(console) as progress:
            count = oulad.write_results(folder, file, progress)
    except FileExistsError:
        raise ImportFailed(f"{file} is there already. Name another file.") from None
    except OSError as error:
        raise ImportFailed(f"{file} cannot be written ({error.strerror}).") from None
    _report(f"{count:,} results are in {file}.")


@app.command("import-legacy")
def import_legacy(
    file: Annotated[
        Path,
        typer.Argument(help="CSV with learner, course, percent, completed_at; further columns are kept."),
    ],
    community: Annotated[
        str | None, typer.Option(help="Slug or id; or else the file has a column community.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Where each line's result goes; default: beside it, a.csv.results.csv of a.csv."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Does and tells all of it, and writes nothing.")
    ] = False,
) -> None:
    """Imports course progress of an earlier system, as a floor; again, it goes on where it was."""
    with _admin_database(_of_a_database(Settings())) as dsn:
        legacy.run_import(file, dsn, console, community=community, results=results, dry_run=dry_run)


@app.command("undo-legacy")
def undo_legacy(
    batch: Annotated[UUID | None, typer.Argument(help="What the import told; without it, a list.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Does and tells all of it, and writes nothing.")
    ] = False,
) -> None:
    """Takes an import of legacy progress back; without a batch, lists what there is."""
    with _admin_database(_of_a_database(Settings())) as dsn:
        legacy.run_undo(batch, dsn, console, dry_run=dry_run)


@audit_app.command("seal")
def audit_seal(
    restored: Annotated[
        bool,
        typer.Option(
            "--restored", help="Once, after the database was restored from a dump on another server."
        ),
    ] = False,
) -> None:
    """Appends what has been written since to the hash chains, and signs their heads."""
    settings = Settings()
    key = _audit_key(settings)
    with _admin_database(settings) as dsn:
        audit.run_seal(dsn, key, console, restored=restored)


@audit_app.command("verify")
def audit_verify(
    public_key: Annotated[
        list[str] | None,
        typer.Option(
            help="A key that heads may be signed with, as PEM or a file; may be given several times."
        ),
    ] = None,
    head: Annotated[
        Path | None, typer.Option(help="File of heads that were kept elsewhere, from `audit heads`.")
    ] = None,
) -> None:
    """Computes the chains again; names what is not as it was sealed, and ends with 1 then."""
    with _admin_database(Settings()) as dsn:
        if not audit.run_verify(dsn, console, public_keys=public_key or (), head_file=head):
            raise SystemExit(1)


@audit_app.command("heads")
def audit_heads() -> None:
    """Prints the newest head of each community, to be kept where nobody can change it."""
    with _admin_database(Settings()) as dsn:
        audit.print_heads(dsn)


@audit_app.command("public-key")
def audit_public_key() -> None:
    """Prints the public key that the heads are verified with."""
    audit.print_public_key(_audit_key(Settings()))


@app.command("print-schema")
def print_schema() -> None:
    """Prints the GraphQL schema."""
    print(strawberry_schema().as_str())


def main() -> None:
    """Runs a command; what the user can mend is one line, not a traceback."""
    try:
        app()
    except ValidationError as error:
        wrong = (
            f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']} (it is {e['input']!r})"
            for e in error.errors()
        )
        _end_with("; ".join(wrong))
    except SettingsError as error:
        _end_with(f'{error}. Lists are JSON, like ["https://app.example.org"].')
    except (LocalError, ImportFailed, audit.AuditError, ValueError) as error:
        _end_with(str(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _end_with(message: str) -> NoReturn:
    # A message may quote a file, in which rich would take brackets for its own.
    console.print(f"Error: {escape(message)}", style="red", highlight=False, soft_wrap=True)
    raise SystemExit(1)


@contextmanager
def _admin_database(settings: Settings) -> Iterator[str]:
    """The address of the database as role `postgres`."""
    if settings.admin_database_url is not None:
        yield settings.admin_database_url
    elif settings.database_url is not None:
        raise LocalError(
            "DATABASE_URL is set: set ADMIN_DATABASE_URL too, the same database as role postgres."
        )
    else:
        with _running_or_started(settings) as dsn:
            yield dsn


def _of_a_database(settings: Settings) -> Settings:
    """For what needs people to be there: no database is made for it."""
    if settings.admin_database_url is None and settings.database_url is None and not has_database(settings):
        raise LocalError(
            f"There is no database in {settings.data_dir}. Start one with `make run`, or set DATA_DIR."
        )
    return settings


def _audit_key(settings: Settings) -> audit.SigningKey:
    if settings.audit_signing_key is not None:
        return audit.SigningKey.read(settings.audit_signing_key)
    if settings.environment == "production":
        raise LocalError("Set AUDIT_SIGNING_KEY: an Ed25519 key in PEM, or a file that holds one.")
    return audit.SigningKey.read(str(audit_key_file(settings.data_dir)))


@contextmanager
def _running_or_started(settings: Settings) -> Iterator[str]:
    """The local database as role `postgres`: the one that `make run` keeps up, or one for this command alone."""
    try:
        running = attach(settings)
    except LocalError:
        with start(settings, _report) as platform:
            yield platform.admin_database_url
    else:
        yield running.admin_database_url


def _check_database(url: str) -> None:
    """Refuses an address that cannot be right. A server that does not answer yet may come up later."""
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            found = connection.execute(
                "select rolsuper or rolbypassrls from pg_roles where rolname = current_user"
            )
            if found.fetchone() == (True,):
                raise LocalError("DATABASE_URL names a role that bypasses row level security. Use gym_api.")
    except psycopg.ProgrammingError as error:
        raise LocalError(f"DATABASE_URL is no address of Postgres: {error}".strip()) from None
    except psycopg.OperationalError as error:
        said = str(error).strip()
        if "FATAL:" in said and not any(passing in said for passing in _PASSING):
            raise LocalError(f"The database refuses DATABASE_URL: {said}") from None
        _report(f"The database does not answer yet: {said}")


# What Postgres refuses for a while only.
_PASSING = ("starting up", "shutting down", "recovery", "too many", "remaining connection slots")


def _require_free_port(settings: Settings) -> None:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise LocalError(
                f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. Set PORT or HOST to another."
            ) from error


def _print_addresses(settings: Settings, platform: Platform) -> None:
    name = "GraphQL and GraphiQL" if settings.environment == "development" else "GraphQL"
    console.print(f"{name:<22}{settings.local_url}/graphql", highlight=False, soft_wrap=True)
    console.print(f"Supabase URL          {settings.local_url}", highlight=False, soft_wrap=True)
    console.print(f"Publishable key       {platform.publishable_key}", highlight=False, soft_wrap=True)
    console.print(f"Postgres              {platform.admin_database_url}", highlight=False, soft_wrap=True)
    console.print(f"Demo sign-ins, all with the password {DEMO_PASSWORD}:", highlight=False, soft_wrap=True)
    for email, role in SIGN_INS.items():
        console.print(f"  {email:<22}{role}", highlight=False, soft_wrap=True)
    console.print("Ctrl-C stops the server and the database; the data stay.", highlight=False, soft_wrap=True)


def _report(message: str) -> None:
    console.print(message, highlight=False, soft_wrap=True)


def _serve(settings: Settings, workers: int | None) -> None:
    _raise_file_limit()
    workers = workers or settings.workers
    if workers > 1:
        create_app(settings)  # what is wrong with the settings is said here, once, and not by each process
    config = uvicorn.Config(
        "app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=workers,
        http=GuardedHttpProtocol,
        ws=SocketProtocol,
        ws_max_size=settings.max_body_bytes,
        ws_per_message_deflate=False,  # some hundred kilobytes a connection
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # only the local sign-in asks for the client's address
        # Longer than any request may take: whoever has asked before the end gets an answer.
        timeout_graceful_shutdown=settings.statement_timeout_ms // 1000 + 8,
        timeout_worker_healthcheck=30,  # a process that is only slow to start is not a dead one
    )
    with suppress(KeyboardInterrupt):
        run(config)


def _raise_file_limit() -> None:
    """Each connection is an open file, and the usual limit of 1,024 is for programs that have few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS refuses what it calls unlimited
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
