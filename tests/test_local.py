"""The stand-in for Supabase: a server of our own, set up as the platform hands it out, and migrated."""

import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from psycopg import errors

from local import _account
from local._postmaster import read_pid_file
from local.bootstrap import bootstrap, set_login_passwords
from local.cluster import Cluster
from local.errors import ForeignServerError, LocalError
from local.keys import Keys
from local.migrate import migrate
from local.platform import attach, start
from settings import Settings
from tests.clusters import BINARIES, new_cluster, superuser

ROOT = Path(__file__).parent.parent


@pytest.fixture(params=BINARIES)
def cluster_to_be(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """On every Postgres there is; not started yet."""
    with new_cluster(BINARIES[request.param]) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=BINARIES)
def bootstrapped(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with new_cluster(BINARIES[request.param]) as cluster, cluster:
        bootstrap(cluster)
        yield cluster


@pytest.fixture
def embedded() -> Iterator[Cluster]:
    """Not made yet."""
    with new_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def stopped() -> Iterator[Cluster]:
    """Made, used and stopped; a test that changes it puts it back."""
    with new_cluster() as cluster:
        with cluster:
            pass
        yield cluster


@contextmanager
def replaced(path: Path, text: str) -> Iterator[None]:
    before = path.read_text()
    path.write_text(text)
    yield
    path.write_text(before)


@pytest.fixture
def database(bootstrapped: Cluster) -> str:
    """The name of a bootstrapped database that only this test knows."""
    name = f"own_{secrets.token_hex(6)}"
    bootstrap(bootstrapped, name)
    return name


def as_role(cluster: Cluster, database: str = "postgres", role: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(cluster.dsn(role, database), autocommit=True)


def pid_of(cluster: Cluster) -> int:
    file = read_pid_file(cluster.data)
    assert file is not None
    return file.pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        time.sleep(0.01)


def started_elsewhere(cluster: Cluster, then: str = "time.sleep(60)") -> subprocess.Popen[bytes]:
    """Another program that starts the same cluster."""
    program = (
        "import time; from pathlib import Path; from local.cluster import Cluster\n"
        "import sys; cluster = Cluster(Path(sys.argv[1]), binaries=Path(sys.argv[2]), port=0, durable=False)\n"
        f"cluster.start(); print(flush=True); {then}"
    )
    command = [sys.executable, "-c", program, str(cluster.directory), str(cluster.binaries)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


# The server


@pytest.mark.parametrize("role", ["supabase_admin", "postgres", "authenticator", "supabase_auth_admin"])
def test_nobody_gets_in_without_the_right_password(bootstrapped: Cluster, role: str) -> None:
    good, password = bootstrapped.dsn(role), bootstrapped.passwords[role]
    for bad in (good.replace(password, "wrong"), good.replace(f":{password}", "")):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(bad)

    psycopg.connect(good).close()
    with superuser(bootstrapped) as connection:
        rules = connection.execute("select distinct auth_method from pg_hba_file_rules").fetchall()
    assert rules == [("scram-sha-256",)]


def test_it_listens_on_the_loopback_address_only(bootstrapped: Cluster) -> None:
    with superuser(bootstrapped) as connection:
        doors = connection.execute(
            "select current_setting('listen_addresses'), current_setting('unix_socket_directories')"
        ).fetchone()

    assert doors == ("127.0.0.1", "")


def test_its_passwords_are_for_their_owner_only(bootstrapped: Cluster) -> None:
    passwords = bootstrapped.directory / "secrets.json"

    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    assert len(set(bootstrapped.passwords.values())) == 6


def test_it_does_not_run_as_root(bootstrapped: Cluster) -> None:
    # Postgres itself insists that who runs it owns the data.
    assert bootstrapped.data.stat().st_uid != 0


def test_data_and_passwords_survive_a_restart(cluster_to_be: Cluster) -> None:
    with cluster_to_be as cluster:
        passwords = cluster.passwords
        with superuser(cluster) as connection:
            connection.execute("create table kept as select 42 as answer")
    assert not cluster.running

    with cluster, superuser(cluster) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)
        assert cluster.passwords == passwords


def test_ctrl_c_in_the_terminal_does_not_reach_it(bootstrapped: Cluster) -> None:
    assert os.getsid(pid_of(bootstrapped)) != os.getsid(0)


def test_a_second_start_says_what_runs_where(bootstrapped: Cluster) -> None:
    again = Cluster(bootstrapped.directory, binaries=bootstrapped.binaries, port=0)
    with pytest.raises(LocalError, match=f"already running on port {bootstrapped.port}.*make run"):
        again.start()
    again.stop()

    assert bootstrapped.running


def test_another_program_that_runs_it_is_noticed(embedded: Cluster) -> None:
    other = started_elsewhere(embedded)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(LocalError, match="already running"):
            embedded.start()
    finally:
        other.kill()
        other.communicate()
        embedded.start()  # which ends the server that was left over


def test_what_a_killed_program_left_running_is_taken_over(cluster_to_be: Cluster) -> None:
    other = started_elsewhere(cluster_to_be, "import os; os.kill(os.getpid(), 9)")
    other.communicate()
    left_over = pid_of(cluster_to_be)
    assert cluster_to_be.running

    with cluster_to_be as cluster:
        assert pid_of(cluster) != left_over


def test_it_may_be_moved(embedded: Cluster) -> None:
    with embedded:
        passwords = embedded.passwords
    elsewhere = embedded.directory.rename(embedded.directory.with_name(f"{embedded.directory.name}-moved"))
    moved = Cluster(elsewhere, port=0)
    try:
        with moved, superuser(moved):
            assert moved.passwords == passwords
    finally:
        moved.destroy()


def test_a_killed_server_starts_again(cluster_to_be: Cluster) -> None:
    with cluster_to_be as cluster:
        kill(pid_of(cluster))
    assert (cluster.data / "postmaster.pid").exists()

    with cluster, superuser(cluster) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_pid_that_has_passed_to_another_program_is_no_server(stopped: Cluster) -> None:
    with stopped:
        kill(pid_of(stopped))
    stale = stopped.data / "postmaster.pid"
    stale.write_text("\n".join([str(os.getpid()), *stale.read_text().splitlines()[1:]]))
    assert not stopped.running

    with stopped:
        assert stopped.running


def test_a_start_that_was_killed_while_making_it_is_done_over(embedded: Cluster) -> None:
    other = started_elsewhere(embedded)
    while not any(home.glob("postgres-unfinished-*") for home in (embedded.directory, embedded.data.parent)):
        time.sleep(0.001)
    other.kill()
    other.communicate()
    assert not embedded.data.exists()

    with embedded as cluster, superuser(cluster) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_folder_that_holds_something_else_is_left_alone(embedded: Cluster) -> None:
    precious = embedded.directory / "postgres" / "precious.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")

    with pytest.raises(LocalError, match="DATA_DIR"):
        embedded.start()

    assert precious.read_text() == "mine"


def test_without_its_passwords_it_is_not_made_anew(stopped: Cluster) -> None:
    passwords = stopped.directory / "secrets.json"
    aside = passwords.rename(passwords.with_name("aside.json"))

    with pytest.raises(LocalError, match=r"secrets\.json is missing"):
        stopped.start()

    assert (stopped.data / "PG_VERSION").exists()
    aside.rename(passwords)


def test_data_of_another_version_are_left_alone(stopped: Cluster) -> None:
    with (
        replaced(stopped.data / "PG_VERSION", "14\n"),
        pytest.raises(LocalError, match="made by Postgres 14"),
    ):
        stopped.start()


def test_a_port_that_is_taken_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with (
            new_cluster(port=taken.getsockname()[1]) as cluster,
            pytest.raises(LocalError, match="Set DATABASE_PORT"),
        ):
            cluster.start()

        assert not cluster.running


def test_settings_that_postgres_refuses_are_shown(stopped: Cluster) -> None:
    with (
        replaced(stopped.data / "postgresql.auto.conf", "shared_buffers = 'many'\n"),
        pytest.raises(LocalError, match="shared_buffers"),
    ):
        stopped.start()

    assert not stopped.running


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account run the server")
def test_root_finds_a_place_that_the_server_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout and its virtual environment, both in a home that is closed to others."""
    closed, shared = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    shared.chmod(0o755)
    monkeypatch.setattr(_account, "_SHARED_PLACES", (shared,))
    original = Cluster(closed).binaries
    package = closed / "site-packages" / original.parents[1].name
    shutil.copytree(original.parent, package / original.parent.name, ignore=shutil.ignore_patterns("include"))
    libraries = original.parents[1].with_name(f"{original.parents[1].name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, package.with_name(libraries.name))
    cluster = Cluster(closed / "data", binaries=package / original.parent.name / "bin", port=0, durable=False)
    try:
        for _ in range(2):
            with cluster, superuser(cluster) as connection:
                connection.execute("create table if not exists kept ()")
            assert cluster.data.is_relative_to(shared)

        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert stat.S_IMODE(cluster.data.parent.stat().st_mode) == 0o700
        assert len(list(shared.iterdir())) == 2  # the data, and the programs
    finally:
        cluster.destroy()
        shutil.rmtree(closed)
        shutil.rmtree(shared)


def test_it_knows_its_own_server(bootstrapped: Cluster, stopped: Cluster) -> None:
    with superuser(bootstrapped) as connection:
        assert bootstrapped.owns(connection)
        assert not stopped.owns(connection)


def test_a_server_of_somebody_else_is_not_bootstrapped(bootstrapped: Cluster, stopped: Cluster) -> None:
    passwords = (bootstrapped.directory / "secrets.json").read_text()
    # What is at our address now answers to our passwords, and is not ours.
    with replaced(stopped.directory / "secrets.json", passwords):
        misled = Cluster(stopped.directory, port=bootstrapped.port)
        with pytest.raises(ForeignServerError, match="nothing was done"):
            bootstrap(misled, "taken_over")
        with pytest.raises(ForeignServerError, match="nothing was done"):
            set_login_passwords(misled)

    with superuser(bootstrapped) as connection:
        databases = connection.execute("select datname from pg_database").fetchall()
    assert ("taken_over",) not in databases


# As Supabase hands it out

ROLES = {  # name: login, superuser, inherit, createdb, createrole, replication, bypassrls
    "supabase_admin": (True, True, True, True, True, True, True),
    "postgres": (True, False, True, True, True, True, True),
    "anon": (False, False, True, False, False, False, False),
    "authenticated": (False, False, True, False, False, False, False),
    "service_role": (False, False, True, False, False, False, True),
    "authenticator": (True, False, False, False, False, False, False),
    "supabase_auth_admin": (True, False, False, False, False, False, False),
}


def test_the_roles_are_supabases(bootstrapped: Cluster) -> None:
    with superuser(bootstrapped) as connection:
        rows = connection.execute(
            "select rolname, rolcanlogin, rolsuper, rolinherit, rolcreatedb, rolcreaterole, rolreplication, "
            "rolbypassrls from pg_roles where rolname = any(%s)",
            (list(ROLES),),
        ).fetchall()

    assert {name: attributes for name, *attributes in rows} == {name: [*are] for name, are in ROLES.items()}


def test_timeouts_come_with_the_roles(bootstrapped: Cluster) -> None:
    with superuser(bootstrapped) as connection:
        settings: dict[str, list[str]] = dict(
            connection.execute(
                "select rolname, rolconfig from pg_roles where rolconfig is not null"
            ).fetchall()
        )

    assert settings["anon"] == ["statement_timeout=3s"]
    assert settings["authenticated"] == ["statement_timeout=8s"]
    assert "statement_timeout=8s" in settings["authenticator"]


@pytest.mark.parametrize(
    "statement",
    [
        "create table auth.mine ()",
        "create function auth.get_community_id() returns uuid language sql return null",
        "create index on auth.users (phone)",
        "alter table auth.users add column mine text",
        "delete from auth.sessions",
        "create role mine superuser",
        "alter role supabase_admin password 'mine'",
        "set role supabase_admin",
        "set role supabase_auth_admin",
        "alter system set fsync = off",
        "copy (select 1) to program 'true'",
    ],
)
def test_postgres_may_not(bootstrapped: Cluster, statement: str) -> None:
    with as_role(bootstrapped) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_postgres_may_do_what_migrations_need(bootstrapped: Cluster, database: str) -> None:
    with as_role(bootstrapped, database) as connection:
        connection.execute("""
            create schema private;
            create table public.members (user_id uuid references auth.users (id) on delete cascade);
            create role made_by_migration login noinherit;
            grant anon, authenticated to made_by_migration;
            insert into auth.users (id, email) values (gen_random_uuid(), 'somebody@test');
            insert into public.members select id from auth.users;
            drop role made_by_migration;
        """)


def test_an_unmigrated_schema_auth_has_the_columns_that_it_has_on_the_platform(bootstrapped: Cluster) -> None:
    with superuser(bootstrapped) as connection:
        columns = connection.execute(
            "select column_name from information_schema.columns "
            "where table_schema = 'auth' and table_name = 'users' order by ordinal_position"
        ).fetchall()
        secured = connection.execute(
            "select relname from pg_class where relnamespace = 'auth'::regnamespace and relkind = 'r' "
            "and relrowsecurity and relowner = 'supabase_auth_admin'::regrole order by 1"
        ).fetchall()

    names = """instance_id id aud role email encrypted_password email_confirmed_at invited_at confirmation_token
        confirmation_sent_at recovery_token recovery_sent_at email_change_token_new email_change
        email_change_sent_at last_sign_in_at raw_app_meta_data raw_user_meta_data is_super_admin created_at
        updated_at phone phone_confirmed_at phone_change phone_change_token phone_change_sent_at confirmed_at
        email_change_token_current email_change_confirm_status banned_until reauthentication_token
        reauthentication_sent_at is_sso_user deleted_at is_anonymous"""
    assert [name for (name,) in columns] == names.split()
    assert [name for (name,) in secured] == [
        "identities",
        "mfa_amr_claims",
        "refresh_tokens",
        "sessions",
        "users",
    ]


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_clients_do_not_see_users(bootstrapped: Cluster, role: str) -> None:
    with as_role(bootstrapped, role="authenticator") as connection:
        connection.execute(f"set role {role}".encode())
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("select from auth.users")


@pytest.mark.parametrize(
    ("settings", "answers"),
    [
        ({}, (None, None, None, None)),
        ({"request.jwt.claims": ""}, (None, None, None, None)),
        (
            {
                "request.jwt.claims": '{"sub": "5d2f7b0e-6a0c-4c55-9f0e-3b8a1f4f6c11", "role": "x", "email": "e"}'
            },
            ("5d2f7b0e-6a0c-4c55-9f0e-3b8a1f4f6c11", "x", "e", "e"),
        ),
        (
            {
                "request.jwt.claims": '{"sub": "5d2f7b0e-6a0c-4c55-9f0e-3b8a1f4f6c11", "role": "x"}',
                "request.jwt.claim.sub": "00000000-0000-0000-0000-000000000001",
                "request.jwt.claim.role": "",
                "request.jwt.claim": '{"email": "older"}',
            },
            ("00000000-0000-0000-0000-000000000001", "x", None, "older"),
        ),
    ],
)
def test_auth_functions_read_the_claims(
    bootstrapped: Cluster, settings: dict[str, str], answers: tuple[str | None, ...]
) -> None:
    with psycopg.connect(bootstrapped.dsn("authenticator")) as connection:
        for name, value in settings.items():
            connection.execute("select set_config(%s, %s, true)", (name, value))
        connection.execute("set local role anon")
        found = connection.execute(
            "select auth.uid()::text, auth.role(), auth.email(), auth.jwt() ->> 'email'"
        ).fetchone()

    assert found == answers


def test_the_wall_function_of_auth_asks_the_one_in_private(bootstrapped: Cluster, database: str) -> None:
    with as_role(bootstrapped, database) as connection:
        connection.execute("""
            create schema private;
            create function private.get_community_id() returns uuid stable language sql
                as $$ select '00000000-0000-0000-0000-000000000007'::uuid $$;
            grant usage on schema private to authenticated;
        """)
        connection.execute("set role authenticated")
        answer = connection.execute("select auth.get_community_id()::text").fetchone()

    assert answer == ("00000000-0000-0000-0000-000000000007",)


@pytest.mark.parametrize("default_grants", [True, False])
def test_default_grants_are_the_old_or_the_new_ones(bootstrapped: Cluster, default_grants: bool) -> None:
    database = f"grants_{default_grants}".lower()
    bootstrap(bootstrapped, database, default_grants=default_grants)
    with as_role(bootstrapped, database) as connection:
        connection.execute("create table public.open ()")
        readable = connection.execute(
            "select has_table_privilege('anon', 'public.open', 'select')"
        ).fetchone()

    assert readable == (default_grants,)


def test_bootstrapping_again_changes_nothing(bootstrapped: Cluster, database: str) -> None:
    def catalog() -> list[Any]:
        with superuser(bootstrapped, database) as connection:
            return connection.execute(
                "select oid, relname, relowner, relacl::text from pg_class where relnamespace >= 16384 "
                "union all select oid, proname, proowner, proacl::text from pg_proc where pronamespace >= 16384 "
                "order by 1"
            ).fetchall()

    before = catalog()
    bootstrap(bootstrapped, database)

    assert catalog() == before


def test_two_can_bootstrap_at_once(bootstrapped: Cluster) -> None:
    failures: list[BaseException] = []

    def run(name: str) -> None:
        try:
            bootstrap(bootstrapped, name)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


# Migrations


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    (tmp_path / "20260101000000_first.sql").write_text(
        "create table public.first (id int);\n\ninsert into public.first values (1); -- 100 %\n"
    )
    (tmp_path / "20260102000000_second_of_two.sql").write_text(
        "create view public.second as table public.first;"
    )
    (tmp_path / "README.md").write_text("not a migration")
    (tmp_path / "1_short.sql").write_text("select nonsense")
    return tmp_path


def history(cluster: Cluster, database: str) -> list[Any]:
    with as_role(cluster, database) as connection:
        return connection.execute(
            "select version, name from supabase_migrations.schema_migrations order by version"
        ).fetchall()


def test_migrations_run_once_as_postgres_and_in_order(
    bootstrapped: Cluster, database: str, migrations: Path
) -> None:
    dsn, told = bootstrapped.dsn("postgres", database), list[str]()
    migrate(dsn, migrations, told.append)
    assert migrate(dsn, migrations, told.append) == []

    assert told == ["20260101000000_first.sql", "20260102000000_second_of_two.sql"]
    assert history(bootstrapped, database) == [
        ("20260101000000", "first"),
        ("20260102000000", "second_of_two"),
    ]
    with as_role(bootstrapped, database) as connection:
        owner = connection.execute("select tableowner from pg_tables where tablename = 'first'").fetchone()
    assert owner == ("postgres",)


def test_a_migration_that_fails_says_where_and_leaves_nothing(
    bootstrapped: Cluster, database: str, migrations: Path
) -> None:
    (migrations / "20260103000000_third.sql").write_text("create table gone ();\n\nselect nonsense;\n")

    with pytest.raises(LocalError, match=r'20260103000000_third\.sql:3: column "nonsense" does not exist'):
        migrate(bootstrapped.dsn("postgres", database), migrations)

    assert len(history(bootstrapped, database)) == 2
    with as_role(bootstrapped, database) as connection:
        assert connection.execute("select to_regclass('gone')").fetchone() == (None,)


def test_a_migration_may_not_end_its_transaction(
    bootstrapped: Cluster, database: str, migrations: Path
) -> None:
    (migrations / "20260103000000_third.sql").write_text("select 1; commit;")

    with pytest.raises(LocalError, match=r"third\.sql ends its transaction"):
        migrate(bootstrapped.dsn("postgres", database), migrations)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda d: (d / "20260101000000_first.sql").unlink(),
            "has migrations that .* does not: 20260101000000",
        ),
        (
            lambda d: (d / "20260101500000_late.sql").write_text("select 1"),
            "late.sql is older than 20260102000000",
        ),
        (lambda d: (d / "20260102000000_twin.sql").write_text("select 1"), "have one version"),
        (shutil.rmtree, "cannot be read"),
    ],
    ids=["removed", "out of order", "same version", "no folder"],
)
def test_a_history_that_does_not_fit_is_refused(
    bootstrapped: Cluster, database: str, migrations: Path, change: Any, complaint: str
) -> None:
    dsn = bootstrapped.dsn("postgres", database)
    migrate(dsn, migrations)
    change(migrations)

    with pytest.raises(LocalError, match=complaint):
        migrate(dsn, migrations)

    assert len(history(bootstrapped, database)) == 2


def test_two_starts_migrate_once(bootstrapped: Cluster, database: str, migrations: Path) -> None:
    (migrations / "20260103000000_slow.sql").write_text("create table slow (); select pg_sleep(0.3)")
    applied: list[int] = []

    def run() -> None:
        applied.append(len(migrate(bootstrapped.dsn("postgres", database), migrations)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(applied) == [0, 3]


# Keys, and all together


def test_the_keys_are_made_once_and_for_their_owner(tmp_path: Path) -> None:
    keys = Keys.make_once(tmp_path)
    again = Keys.make_once(tmp_path)

    assert (again.kid, again.publishable_key) == (keys.kid, keys.publishable_key)
    assert keys.publishable_key.startswith("sb_publishable_")
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


def test_the_published_key_is_public_and_named_by_its_thumbprint(tmp_path: Path) -> None:
    keys = Keys.make_once(tmp_path)
    (published,) = keys.jwks["keys"]

    assert set(published) == {"kty", "crv", "x", "y", "kid", "alg", "use", "key_ops", "ext"}
    members = f'{{"crv":"P-256","kty":"EC","x":"{published["x"]}","y":"{published["y"]}"}}'  # RFC 7638
    assert published["kid"] == urlsafe_b64encode(sha256(members.encode()).digest()).decode().rstrip("=")
    assert jwt.decode(keys.sign({"sub": "me"}), jwt.PyJWK(published), ["ES256"]) == {"sub": "me"}


def test_damaged_keys_say_what_to_do(tmp_path: Path) -> None:
    for content in ("", "[]", '{"signing_key": 1}', "{}"):
        (tmp_path / "keys.json").write_text(content)
        with pytest.raises(LocalError, match=r"keys\.json is damaged"):
            Keys.load(tmp_path)


def test_the_platform_starts_is_attached_to_and_stops(migrations: Path) -> None:
    (migrations / "20260103000000_roles.sql").write_text(
        "create role gym_api login noinherit; grant anon, authenticated to gym_api;"
    )
    with new_cluster() as cluster:
        settings = Settings(data_dir=cluster.directory, database_port=0)
        with pytest.raises(LocalError, match="make run"):
            attach(settings)

        with start(settings, migrations=migrations) as platform:
            beside = attach(settings)
            assert beside.database_url == platform.database_url
            assert beside.publishable_key == platform.publishable_key
            with psycopg.connect(platform.database_url, autocommit=True) as connection:
                connection.execute("set role authenticated")
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute("set role service_role")

        assert not cluster.running
        (cluster.directory / "keys.json").unlink()


def test_a_platform_that_cannot_be_migrated_does_not_stay_up(tmp_path: Path) -> None:
    (tmp_path / "20260101000000_nonsense.sql").write_text("nonsense")
    with new_cluster() as cluster:
        with pytest.raises(LocalError, match="syntax error"):
            start(Settings(data_dir=cluster.directory, database_port=0), migrations=tmp_path)

        assert not cluster.running
        (cluster.directory / "keys.json").unlink()


def test_login_passwords_wait_for_their_roles(bootstrapped: Cluster) -> None:
    set_login_passwords(bootstrapped)
    with superuser(bootstrapped) as connection:
        connection.execute("create role gym_worker login")
    set_login_passwords(bootstrapped)

    with psycopg.connect(bootstrapped.dsn("gym_worker")) as connection:
        assert connection.execute("select current_user::text").fetchone() == ("gym_worker",)
