"""Programs of the tests that are written in JavaScript: their packages come from npm, and stay in the user's cache."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")


class PackagesMissingError(Exception):
    """There is no npm, or it could not fetch the packages."""


def installed(source: Path) -> Path:
    """A copy of the folder with its packages. Fetched once a user and version; afterwards this needs no network."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise PackagesMissingError(f"Node.js and npm are not installed, so {source.name} cannot run")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "gym")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(source.iterdir())))
    folder = cache / f"{source.name}-{digest.hexdigest()[:12]}"
    if not folder.exists():
        _install(source, cache, folder)
    return folder


def _install(source: Path, cache: Path, folder: Path) -> None:
    """Into a folder that gets its name when it is whole: two test processes may be at it."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as unfinished:
        shutil.copytree(source, unfinished, dirs_exist_ok=True)
        run = subprocess.run(_INSTALL, cwd=unfinished, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise PackagesMissingError(
                f"npm could not install the packages of {source.name}: {run.stderr.strip()[-200:]}"
            )
        if not folder.exists():
            Path(unfinished).rename(folder)
