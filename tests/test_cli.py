"""The commands: what a user can mend is one line that says how."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.oulad_folders import write_folder
from tests.servers import ROOT

pytestmark = pytest.mark.any_postgres


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "cli.py", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PORT": "many"}, "PORT: "),
        ({"ENVIRONMENT": "staging"}, "ENVIRONMENT: "),
        ({"MAX_DEPTH": "0"}, "MAX_DEPTH: "),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/none"}, "SUPABASE_URL"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/none", "JWT_SECRET": "short"}, "JWT_"),
    ],
)
def test_a_setting_that_is_wrong_or_missing_is_named(environment: dict[str, str], said: str) -> None:
    ended = run("serve", **environment)

    assert ended.returncode != 0
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_taken_port_is_named_with_the_setting_that_changes_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = run("serve", PORT=str(taken.getsockname()[1]), DATA_DIR=str(tmp_path / "data"))

    assert ended.returncode == 1
    assert "Set PORT or HOST" in ended.stderr
    assert not (tmp_path / "data").exists()


def test_an_import_takes_submissions_only_when_it_is_told_to(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", courses=["ZZ9,2013B,240"])
    (folder / "studentAssessment.csv").unlink()
    nowhere = "postgresql://postgres@127.0.0.1:1/postgres"

    without = run("import-oulad", str(folder), ADMIN_DATABASE_URL=nowhere)
    with_them = run("import-oulad", str(folder), "--with-progress", ADMIN_DATABASE_URL=nowhere)

    assert "The database cannot be used" in without.stderr
    assert "studentAssessment.csv is missing." in with_them.stderr
    assert (without.returncode, with_them.returncode) == (1, 1)


def test_the_printed_schema_is_the_committed_one() -> None:
    assert run("print-schema").stdout.strip() == (ROOT / "schema" / "schema.graphql").read_text().strip()
