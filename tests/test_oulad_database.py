"""Imports into a database that refuses, that goes away, or that somebody else is importing into."""

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest

from jobs.oulad import ImportFailed, ImportTotals, import_oulad
from local.cluster import Cluster
from local.demo import SAMPLE
from tests.databases import Database, fresh_database
from tests.oulad_folders import expected_counts, stored_counts

ROOT = Path(__file__).parent.parent
# Imports, and stops for ever in the transaction when almost all has been stored.
STALLING_IMPORT = """
import sys, time
from pathlib import Path
from jobs.oulad import import_oulad

def progress(step, done, total):
    if step == "Storing rows" and done == total:
        print("stored", flush=True)
        time.sleep(600)

import_oulad(sys.argv[1], Path(sys.argv[2]), progress=progress)
"""


def _first_line(output: IO[bytes] | None) -> bytes:
    assert output is not None
    return output.readline()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_an_import_that_is_ended_leaves_nothing(database: Database, end: signal.Signals) -> None:
    command = [sys.executable, "-c", STALLING_IMPORT, database.dsn(), str(SAMPLE)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as importing:
        assert _first_line(importing.stdout) == b"stored\n"

        importing.send_signal(end)
        importing.wait(timeout=30)

    assert not any(stored_counts(database).values())
    assert import_oulad(database.dsn(), SAMPLE).created == expected_counts(SAMPLE)


def test_a_second_import_at_the_same_time_waits_for_the_first(database: Database) -> None:
    waiting, totals = threading.Event(), []

    def import_beside(step: str, done: int, total: int) -> None:
        if step == "Storing rows" and done == total:
            second.start()
            assert waiting.wait(timeout=30)

    def second_import() -> None:
        totals.append(import_oulad(database.dsn(), SAMPLE, progress=lambda step, *_: _tell(step, waiting)))

    second = threading.Thread(target=second_import)
    first_totals: ImportTotals = import_oulad(database.dsn(), SAMPLE, progress=import_beside)
    second.join(timeout=30)

    assert first_totals.created == expected_counts(SAMPLE)
    assert [total.there_already for total in totals] == [expected_counts(SAMPLE)]


def _tell(step: str, waiting: threading.Event) -> None:
    if step.startswith("Waiting"):
        waiting.set()


def test_the_role_of_the_server_may_not_import(database: Database) -> None:
    with pytest.raises(
        ImportFailed, match=r"permission denied .* Import as role postgres; nothing was loaded"
    ):
        import_oulad(database.dsn("gym_api"), SAMPLE)


def test_a_slug_that_is_taken_is_told(database: Database) -> None:
    database.run("insert into public.communities (slug, name) values ('oulad-bbb', 'Somebody else''s')")

    with pytest.raises(
        ImportFailed, match=r"\(Key \(slug\)=\(oulad-bbb\) already exists\). Nothing was loaded."
    ):
        import_oulad(database.dsn(), SAMPLE)

    assert sum(stored_counts(database).values()) == 1


def test_a_database_without_our_tables_is_told(cluster: Cluster) -> None:
    with (
        fresh_database(cluster) as fresh,
        pytest.raises(ImportFailed, match=r"does not have our tables. Apply the migrations"),
    ):
        import_oulad(fresh.dsn(), SAMPLE)


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        (
            "postgresql://postgres:secret-word@127.0.0.1:1/postgres",
            "The database cannot be used: connection failed",
        ),
        (
            "postgresql//postgres:secret-word@127.0.0.1/postgres",
            "The database's address is not like postgresql://",
        ),
    ],
)
def test_an_address_that_does_not_work_is_told_without_its_password(dsn: str, said: str) -> None:
    with pytest.raises(ImportFailed) as failure:
        import_oulad(dsn, SAMPLE)

    assert str(failure.value).startswith(said)
    assert "secret-word" not in str(failure.value)
