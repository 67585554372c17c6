"""The state of today as people review it: `sql/` and `policies/`, in the order of `sql/order.txt`."""

from pathlib import Path

from tests.databases import Database

ROOT = Path(__file__).parent.parent


def order() -> list[Path]:
    lines = (ROOT / "sql/order.txt").read_text().splitlines()
    return [ROOT / line for line in lines if line and not line.startswith("#")]


def policy_files() -> list[Path]:
    return [path for path in order() if path.parent.name == "policies"]


def apply(database: Database, files: list[Path]) -> None:
    """As role `postgres`, each file whole or not at all, as migrations are."""
    for path in files:
        with database.connect() as connection:
            connection.execute(path.read_bytes())
