"""The auditor of the GraphQL over HTTP specification, from npm: kept in the user's cache."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TypedDict

_SOURCE = Path(__file__).parent / "graphql_over_http"
_INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")


class AuditorMissingError(Exception):
    """There is no npm, or it could not fetch the packages."""


class Finding(TypedDict):
    """What became of one requirement; `status` is ok, notice, warn or error."""

    id: str
    name: str
    status: str
    reason: str | None


def audit(url: str) -> list[Finding]:
    run = subprocess.run(["node", _program(), url], capture_output=True, text=True, check=True, timeout=60)
    findings: list[Finding] = json.loads(run.stdout)
    return findings


def _program() -> Path:
    """Fetched once a user and version; afterwards this needs no network."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise AuditorMissingError(
            "Node.js and npm are not installed, so the specification's auditor cannot run"
        )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "gym")
    version = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_SOURCE.iterdir()))).hexdigest()[
        :12
    ]
    folder = cache / f"graphql-over-http-{version}"
    if not folder.exists():
        _install(cache, folder)
    return folder / "audit.mjs"


def _install(cache: Path, folder: Path) -> None:
    """Into a folder that gets its name when it is whole: two test processes may be at it."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as unfinished:
        shutil.copytree(_SOURCE, unfinished, dirs_exist_ok=True)
        run = subprocess.run(_INSTALL, cwd=unfinished, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise AuditorMissingError(f"npm could not install the auditor: {run.stderr.strip()[-200:]}")
        if not folder.exists():
            Path(unfinished).rename(folder)
