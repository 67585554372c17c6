"""Makes the data folder of a new cluster, whole or not at all."""

import shutil
import tempfile
from pathlib import Path

from local._account import Place
from local._binaries import major_version, run
from local._files import write_private
from local.errors import LocalError

_UNFINISHED = "postgres-unfinished-"


def initialise(place: Place, superuser: str, password: str, *, durable: bool) -> None:
    """Under another name until it is whole: a kill in between leaves nothing that looks finished."""
    remove_unfinished(place.home)
    # A new name each time: an initdb whose caller was killed may still be writing to the last one.
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=place.home))
    place.account.give(unfinished)
    password_file = place.home / "password"
    write_private(password_file, password)
    try:
        place.account.give(password_file)
        _run_initdb(place, unfinished, superuser, password_file, durable)
    finally:
        password_file.unlink()
    unfinished.rename(place.home / "postgres")


def remove_unfinished(home: Path) -> None:
    for left_over in home.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left_over, ignore_errors=True)


def check_version(place: Place) -> None:
    data = place.home / "postgres"
    try:
        made_by = (data / "PG_VERSION").read_text().strip()
    except OSError:
        raise LocalError(f"{data} holds something else than a database. Choose another DATA_DIR.") from None
    version = major_version(place.binaries)
    if made_by != str(version):
        raise LocalError(
            f"{data} was made by Postgres {made_by}, and this is Postgres {version}. Go back to the version "
            "that made it, or choose another DATA_DIR to begin anew."
        )


def _run_initdb(place: Place, data: Path, superuser: str, password_file: Path, durable: bool) -> None:
    command = [
        *(place.binaries / "initdb", "-D", data, "-U", superuser, f"--pwfile={password_file}"),
        *("--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions", *_locale(place.binaries)),
        *(() if durable else ("--no-sync",)),
    ]
    ended = run(command, **place.account.process_options)
    if ended.returncode != 0:
        raise LocalError(f"The database could not be made in {place.home}:\n{ended.stderr.strip()}")


def _locale(binaries: Path) -> tuple[str, ...]:
    if major_version(binaries) >= 17:
        return ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    try:
        known = run(["locale", "-a"]).stdout
    except OSError:
        known = ""
    return ("--locale=C.UTF-8",) if "c.utf" in known.lower() else ("--locale=C",)
