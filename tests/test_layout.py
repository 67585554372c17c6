"""The structure that the README promises: one name for a domain in every folder, imports one way."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_postgres

ROOT = Path(__file__).parent.parent

# Who may import whom, besides themselves and `settings`.
MAY_IMPORT = {
    "cli": {"app", "schema", "resolvers", "local", "jobs"},
    "app": {"schema", "resolvers", "local", "jobs"},
    "schema": {"resolvers"},
    "resolvers": set(),
    "jobs": {"resolvers"},
    "local": set(),
    "settings": set(),
}
OURS = set(MAY_IMPORT)
# What of `schema/` is no domain.
SHARED = {"__init__", "scalars"}
# What of `sql/` and `policies/` has no types of its own: what domains stand on, the wall, and statements, which come
# and go by xAPI alone.
GROUND = {"roles", "identity", "course_format", "criteria", "tenant_isolation", "xapi", "outbox"}


def stems(folder: str, suffix: str) -> set[str]:
    return {path.stem for path in (ROOT / folder).glob(f"*{suffix}")}


def domains() -> set[str]:
    return stems("schema", ".py") - SHARED


@pytest.mark.parametrize("domain", sorted(domains()))
def test_a_domain_has_one_name_in_every_folder(domain: str) -> None:
    assert (ROOT / "sql" / f"{domain}.sql").exists()
    assert (ROOT / "policies" / f"{domain}.sql").exists()
    assert (ROOT / "tests" / f"test_{domain}.py").exists()


def test_there_is_no_sql_without_a_domain() -> None:
    assert stems("sql", ".sql") - domains() - parts() <= GROUND
    assert stems("policies", ".sql") - domains() <= GROUND


def parts() -> set[str]:
    """Of what is too large for one file: `course_versions` is of `courses`, and has tests of its own."""
    wholes = domains() | GROUND
    beginnings = tuple(f"{name}_" for whole in wholes for name in (whole, whole.removesuffix("s")))
    tested = {stem.removeprefix("test_") for stem in stems("tests", ".py")}
    return {stem for stem in stems("sql", ".sql") & tested if stem.startswith(beginnings)}


def test_the_loading_order_names_every_file_once() -> None:
    lines = (ROOT / "sql" / "order.txt").read_text().splitlines()
    named = [line for line in lines if line and not line.startswith("#")]

    assert sorted(named) == sorted(
        f"{folder}/{stem}.sql" for folder in ("sql", "policies") for stem in stems(folder, ".sql")
    )


def modules() -> Iterator[Path]:
    for name in MAY_IMPORT:
        yield from (ROOT / name).rglob("*.py") if (ROOT / name).is_dir() else [ROOT / f"{name}.py"]


def imported(module: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found & OURS


@pytest.mark.parametrize("module", sorted(modules()), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(module: Path) -> None:
    part = module.relative_to(ROOT).parts[0].removesuffix(".py")

    assert imported(module) - {part, "settings"} <= MAY_IMPORT[part]


def test_the_client_librarys_import_name_is_free() -> None:
    assert not (ROOT / "supabase" / "__init__.py").exists()
