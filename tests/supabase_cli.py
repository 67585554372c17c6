"""The real Supabase command line, from npm: kept in the user's cache, run on a copy of `supabase/`."""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.databases import Database
from tests.reviewed import ROOT

VERSION = "3.1.0"
_INSTALL = ("npm", "install", "--no-audit", "--no-fund", "--no-save", f"supabase@{VERSION}")


class CliMissingError(Exception):
    """There is no npm, or it could not fetch the package."""


@dataclass(frozen=True)
class SupabaseCli:
    program: Path
    home: Path

    @property
    def project(self) -> Path:
        """Holds the copy of `supabase/`: the program writes beside what it reads."""
        return self.home / "project"

    def run(self, *arguments: str, database: Database) -> subprocess.CompletedProcess[str]:
        # Its own settings and its usage statistics stay out of the user's home.
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SUPABASE")},
            "HOME": str(self.home),
            "PGSSLMODE": "disable",
            "DO_NOT_TRACK": "1",
            "SUPABASE_TELEMETRY_DISABLED": "1",
        }
        command: list[str | Path] = [
            self.program,
            *arguments,
            f"--workdir={self.project}",
            f"--remote={database.dsn()}",
        ]
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def answer(self, *arguments: str, database: Database) -> Any:
        run = self.run(*arguments, "--output-format=json", database=database)
        assert run.returncode == 0, run.stdout + run.stderr
        return json.loads(run.stdout)


def supabase_cli(home: Path) -> SupabaseCli:
    """Fetched once a user; afterwards this needs no network."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "gym")
    program = cache / f"supabase-cli-{VERSION}" / "node_modules/.bin/supabase"
    if not program.exists():
        _install(cache, program.parents[2])
    shutil.copytree(ROOT / "supabase", home / "project/supabase", ignore=shutil.ignore_patterns(".*"))
    return SupabaseCli(program, home)


def _install(cache: Path, folder: Path) -> None:
    """Into a folder that gets its name when it is whole: two test processes may be at it."""
    if shutil.which("npm") is None:
        raise CliMissingError("npm is not installed, so the Supabase command line cannot be tried")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as unfinished:
        run = subprocess.run(_INSTALL, cwd=unfinished, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise CliMissingError(f"npm could not install supabase@{VERSION}: {run.stderr.strip()[-200:]}")
        if not folder.exists():
            Path(unfinished).rename(folder)
