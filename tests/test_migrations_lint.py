"""Migrations take no lock for long: squawk finds nothing in them beyond what `.squawk.toml` gives its reasons for."""

import subprocess
import sys
from pathlib import Path

import pytest

from local.migrate import MIGRATIONS
from tests.reviewed import ROOT

pytestmark = pytest.mark.any_postgres

SQUAWK = Path(sys.executable).with_name("squawk")


def squawk(*files: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [SQUAWK, "--config", ROOT / ".squawk.toml", "--reporter", "gcc", *files]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_migrations_are_safe_to_run() -> None:
    run = squawk(*sorted(MIGRATIONS.glob("*.sql")))

    assert (run.returncode, run.stdout) == (0, "")


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("create index programs_idx on public.programs (title);", "require-concurrent-index-creation"),
        ("alter table public.programs alter title set not null;", "adding-not-nullable-field"),
        ("alter table public.programs rename title to name;", "renaming-column"),
        ("drop table public.programs;", "ban-drop-table"),
        ("create table notes (id uuid);", "require-table-schema"),
    ],
)
def test_a_dangerous_one_would_show(tmp_path: Path, statement: str, rule: str) -> None:
    migration = tmp_path / "20990101000000_dangerous.sql"
    migration.write_text(
        f"set local lock_timeout = '3s';\nset local statement_timeout = '60s';\n{statement}\n"
    )

    run = squawk(migration)

    assert run.returncode != 0
    assert rule in run.stdout
