"""Who runs Postgres, and where: it refuses root, so root has a system account run it where that can reach."""

import contextlib
import hashlib
import os
import pwd
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local._binaries import copied_binaries, run
from local._files import read_private_json, write_private_json
from local.errors import LocalError

_LOCATION = "location.json"
_SHARED_PLACES = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 (what is made there is private and unguessable)


@dataclass(frozen=True)
class Account:
    """The account that the server's processes run as; `uid` is None for the one that runs this program."""

    uid: int | None = None
    gid: int | None = None

    @property
    def process_options(self) -> dict[str, Any]:
        # A clean environment: PG* variables and a broken LC_ALL of the caller would reach the server.
        options: dict[str, Any] = {"env": {"PATH": os.defpath, "LC_ALL": "C"}, "cwd": "/"}
        if self.uid is not None:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def give(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_run(self, command: Sequence[str | Path]) -> bool:
        try:
            return run(command, **self.process_options).returncode == 0
        except OSError:
            return False

    def can_write(self, directory: Path) -> bool:
        return self.can_run(["/bin/sh", "-c", 'cd "$0" && test -w .', directory])


def _account_for(data: Path) -> Account:
    """For root the owner of an existing cluster, for a new one a system account; else whoever runs this."""
    if os.geteuid() != 0:
        return Account()
    if data.is_dir():
        owner = data.stat()
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise LocalError("Postgres refuses root, and there is no account `postgres` or `nobody`. Run as a user.")


@dataclass(frozen=True)
class Place:
    """Where a cluster lives (its data are in `home`/postgres), who runs it, and with which programs."""

    home: Path
    account: Account
    binaries: Path


def home_of(directory: Path) -> Path:
    """Where the cluster of this DATA_DIR was put, or will be unless its account cannot reach that."""
    noted = read_private_json(directory / _LOCATION)
    return directory if noted is None else directory / str(noted.get("home"))


def place(directory: Path, binaries: Path) -> Place:
    """Beside the other local data where the account reaches that; else in a private place, which is noted."""
    home = home_of(directory)
    if not home.is_dir():
        raise LocalError(f"The database was kept in {home}, which is gone. Delete {directory} to begin anew.")
    account = _account_for(home / "postgres")
    if account.uid is not None and not account.can_write(home):
        home = _home_for(account, directory)
    return Place(home, account, _reachable_binaries(binaries, account))


def _home_for(account: Account, directory: Path) -> Path:
    home = Path("cluster")  # relative, so that the whole may be moved
    if not _give_folder(directory / home, account):
        home = _shared_home(directory, account)
    write_private_json(directory / _LOCATION, {"home": str(home)})
    return directory / home


def _give_folder(home: Path, account: Account) -> bool:
    """Makes a folder of the account's own; false, leaving nothing behind, where it is out of reach."""
    with contextlib.suppress(FileExistsError):
        home.mkdir(mode=0o700)
    account.give(home)
    reachable = account.can_write(home)
    if not reachable:
        home.rmdir()
    return reachable


def _shared_home(directory: Path, account: Account) -> Path:
    # The random part keeps a fresh DATA_DIR apart from what an earlier one at the same path has left behind.
    name = f"gym-{hashlib.sha256(bytes(directory)).hexdigest()[:12]}-{secrets.token_hex(4)}"
    for shared in _SHARED_PLACES:
        if os.access(shared, os.W_OK) and _give_folder(shared / name, account):
            return shared / name
    raise LocalError(f"Postgres's account can write nowhere. Choose another DATA_DIR than {directory}.")


def _reachable_binaries(binaries: Path, account: Account) -> Path:
    if account.can_run([binaries / "postgres", "--version"]):
        return binaries
    for shared in _SHARED_PLACES:
        if os.access(shared, os.W_OK):
            copy = copied_binaries(binaries, shared)
            if account.can_run([copy / "postgres", "--version"]):
                return copy
    raise LocalError(f"The account that runs Postgres cannot run {binaries / 'postgres'}, nor a copy of it.")
