"""The real Supabase command line accepts our folder, our migrations and our history, and its advisors find nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.bootstrap import set_login_passwords
from local.cluster import Cluster
from local.migrate import MIGRATIONS, migrate
from tests import cast
from tests.databases import Database, fresh_database
from tests.reviewed import ROOT
from tests.scenery import build_scenery
from tests.snapshots import difference, dump
from tests.supabase_cli import CliMissingError, SupabaseCli, supabase_cli
from tests.switching import seen_before_and_after

pytestmark = pytest.mark.any_postgres

FILES = sorted(path.name for path in MIGRATIONS.glob("*.sql"))

# What the advisors say of an empty database, and may: docs/decisions/0004-advisors.md has the reason of each.
DECISION = ROOT / "docs/decisions/0004-advisors.md"
REVIEWED = {
    ("rls_enabled_no_policy", "private.active_communities"),
    ("rls_enabled_no_policy", "private.super_admins"),
    ("rls_enabled_no_policy", "private.outbox"),
    ("rls_enabled_no_policy", "private.outbox_marks"),
    ("rls_enabled_no_policy", "private.audit_heads"),
    ("rls_enabled_no_policy", "private.audit_salts"),
    ("rls_enabled_no_policy", "private.audit_seals"),
    ("rls_enabled_no_policy", "private.progress_queue"),
    ("unindexed_foreign_keys", "blocks_identity_exists"),
    ("unindexed_foreign_keys", "blocks_version_exists"),
    ("unindexed_foreign_keys", "courses_version_exists"),
    ("unindexed_foreign_keys", "programs_version_exists"),
    ("unindexed_foreign_keys", "program_enrollments_cohort_exists"),
    ("unindexed_foreign_keys", "program_enrollments_version_exists"),
}
REVIEWED_LINTS = {"unused_index"}


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> SupabaseCli:
    try:
        return supabase_cli(tmp_path_factory.mktemp("supabase"))
    except CliMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[Database]:
    with fresh_database(cluster) as database:
        yield database


@pytest.fixture(scope="module")
def pushed(cluster: Cluster, cli: SupabaseCli) -> Iterator[Database]:
    with fresh_database(cluster) as database:
        assert cli.answer("db", "push", "--yes", database=database)["migrations"] == FILES
        yield database


def test_a_second_push_does_nothing(cli: SupabaseCli, pushed: Database) -> None:
    assert cli.answer("db", "push", "--yes", database=pushed)["upToDate"] is True


def test_a_push_makes_what_our_own_runner_makes(pushed: Database, empty: Database) -> None:
    migrate(empty.dsn())

    assert difference(dump(empty), dump(pushed)) == ""


def test_our_own_runner_knows_what_was_pushed(pushed: Database) -> None:
    assert migrate(pushed.dsn()) == []


def test_a_push_knows_what_our_own_runner_did(cli: SupabaseCli, empty: Database) -> None:
    migrate(empty.dsn())

    assert cli.answer("db", "push", "--yes", database=empty)["upToDate"] is True


async def test_who_switches_acts_elsewhere_with_the_next_token(
    cli: SupabaseCli, empty: Database, tmp_path: Path
) -> None:
    cli.answer("db", "push", "--yes", database=empty)
    set_login_passwords(empty.cluster)  # roles come with the migrations, passwords do not
    build_scenery(empty.dsn())

    seen = await seen_before_and_after(empty, tmp_path)

    assert [community for community, _ in seen] == ["Alpha", "Alpha", "Beta"]
    assert seen[2][1] == {str(cast.OTHER_PUBLISHED)}


def test_the_configuration_is_understood(cli: SupabaseCli, pushed: Database) -> None:
    run = cli.run("migration", "list", database=pushed)

    assert run.returncode == 0
    assert "WARN" not in run.stdout + run.stderr


@pytest.mark.usefixtures("cli")
def test_a_mistake_in_the_configuration_would_show(pushed: Database, tmp_path: Path) -> None:
    mistaken = supabase_cli(tmp_path)
    with (mistaken.project / "supabase/config.toml").open("a") as config:
        config.write("\n[nonsense]\nkey = 1\n")

    assert "WARN" in mistaken.run("migration", "list", database=pushed).stderr


@pytest.mark.parametrize("kind", ["security", "performance"])
def test_the_advisors_find_nothing_new(cli: SupabaseCli, pushed: Database, kind: str) -> None:
    found = advice(cli, pushed, kind)

    new = [finding for finding in found if not any(is_about(finding, reviewed) for reviewed in REVIEWED)]
    assert [detail for lint, detail in new if lint not in REVIEWED_LINTS] == []


def test_every_reviewed_finding_is_still_there_and_explained(cli: SupabaseCli, pushed: Database) -> None:
    found = [*advice(cli, pushed, "security"), *advice(cli, pushed, "performance")]
    decision = DECISION.read_text()

    for lint, subject in REVIEWED:
        assert any(is_about(finding, (lint, subject)) for finding in found)
        assert lint in decision
        assert subject in decision
    assert all(lint in decision for lint in REVIEWED_LINTS)


def test_the_advisors_would_find_a_table_without_rules(cli: SupabaseCli, empty: Database) -> None:
    empty.run("create table public.notes (id uuid primary key)")

    assert "rls_disabled_in_public" in {lint for lint, _ in advice(cli, empty, "security")}


@pytest.mark.parametrize("language", ["typescript", "python"])
def test_types_can_be_generated(cli: SupabaseCli, pushed: Database, language: str) -> None:
    run = cli.run("gen", "types", "--lang", language, database=pushed)

    assert run.returncode == 0
    assert "duration_weeks" in run.stdout
    assert "super_admins" not in run.stdout


def advice(cli: SupabaseCli, database: Database, kind: str) -> list[tuple[str, str]]:
    answer = cli.answer("db", "advisors", "--type", kind, "--level", "info", database=database)
    return [(finding["name"], finding["detail"]) for finding in answer["results"]]


def is_about(finding: tuple[str, str], reviewed: tuple[str, str]) -> bool:
    return finding[0] == reviewed[0] and f"`{reviewed[1]}`" in finding[1]
