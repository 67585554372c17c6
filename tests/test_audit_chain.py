"""Sealing and verifying: chains are whole whatever happens meanwhile, and what is tampered with is found and named."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.audit import AuditError, Finding, Head, SigningKey, seal, verify
from jobs.audit import _seal as sealing
from jobs.audit._entries import ENTRY_TEXT
from jobs.audit._heads import last_head, read_heads, store
from local.audit_key import audit_key_file
from tests import cast
from tests.api import Api
from tests.cast import ALPHA
from tests.databases import Database, cloned
from tests.people import Person
from tests.servers import ROOT

KEY, OTHER_KEY = (SigningKey(Ed25519PrivateKey.generate()) for _ in range(2))
RENAME = "update public.programs set title = gen_random_uuid()::text where id = %s"


@pytest.fixture(scope="module")
def history(template: Database) -> Iterator[Database]:
    """One database for all examples: each goes on where the last one ended."""
    with cloned(template) as database:
        yield database


def count(database: Database, table: str) -> int:
    number: int = database.run(f"select count(*) from {table}")[0][0]
    return number


def head(database: Database) -> Head:
    with database.connect() as connection:
        return last_head(connection, ALPHA)


def checked(database: Database, **options: Any) -> list[Finding]:
    return verify(database.dsn(), **options)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["write", "commit", "roll back"]), st.integers(0, 2)),
        st.tuples(st.just("seal"), st.integers(1, 4)),
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_whoever_writes_meanwhile_chains_are_whole(history: Database, steps: list[tuple[str, int]]) -> None:
    """Three writers with open transactions, one program each so that none waits for another's row."""
    programs = (cast.DRAFT, cast.PUBLISHED, cast.OTHER_DRAFT)
    writers = [psycopg.connect(history.dsn()) for _ in programs]
    chains = history.run("select community_id, sequence, hash from private.audit_seals")
    try:
        for step, number in steps:
            if step == "write":
                writers[number].execute(RENAME, [programs[number]])
            elif step == "commit":
                writers[number].commit()
            elif step == "roll back":
                writers[number].rollback()
            else:
                seal(history.dsn(), KEY, batch=number)
                assert checked(history, public_keys=[KEY.public]) == []
    finally:
        for writer in writers:
            writer.commit()
            writer.close()
    seal(history.dsn(), KEY, batch=7)

    assert checked(history, public_keys=[KEY.public]) == []
    assert count(history, "private.audit_seals") == count(history, "public.audit_entries")
    assert set(chains) <= set(history.run("select community_id, sequence, hash from private.audit_seals"))


def test_what_may_still_be_written_is_not_overtaken(database: Database) -> None:
    seal(database.dsn(), KEY)
    with database.connect() as slow:
        slow.execute(RENAME, [cast.DRAFT])
        database.run(RENAME, cast.PUBLISHED)

        assert seal(database.dsn(), KEY) == 0
    assert seal(database.dsn(), KEY) == 2
    assert checked(database) == []


def test_sealers_at_the_same_time_make_one_chain(database: Database) -> None:
    with ThreadPoolExecutor(4) as sealers:
        sealed = list(sealers.map(lambda _: seal(database.dsn(), KEY, batch=2), range(4)))

    assert sum(sealed) == count(database, "public.audit_entries") == count(database, "private.audit_seals")
    assert checked(database) == []


def test_sealing_goes_on_where_it_was_stopped(database: Database) -> None:
    def stop(step: str, done: int, total: int) -> None:
        if str(ALPHA) in step and done >= 10 and total > done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seal(database.dsn(), KEY, batch=5, progress=stop)
    stopped, whole = head(database).sequence, checked(database)
    seal(database.dsn(), KEY)

    assert (stopped, whole) == (10, [])
    assert checked(database) == []
    assert count(database, "private.audit_seals") == count(database, "public.audit_entries")


async def test_admins_see_what_is_sealed(database: Database, api: Api, as_admin: Person) -> None:
    seal(database.dsn(), KEY)
    database.run(RENAME, cast.DRAFT)

    reply = await api.ask(as_admin, "{ auditLog(first: 100) { nodes { sealed } } }")

    newest, *older = reply.data["auditLog"]["nodes"]
    assert not newest["sealed"]
    assert all(node["sealed"] for node in older)


@pytest.fixture
def sealed(database: Database) -> Database:
    """Sealed in several batches, the last one of two entries about DRAFT."""
    seal(database.dsn(), KEY, batch=5)
    for _ in range(2):
        database.run(RENAME, cast.DRAFT)
    seal(database.dsn(), KEY)
    return database


def tamper(database: Database, *statements: str) -> None:
    """As a superuser, past every trigger."""
    with database.connect("supabase_admin") as connection:
        connection.execute("set session_replication_role = replica")
        for statement in statements:
            connection.execute(statement.format(alpha=ALPHA, entry=_ENTRY))


_ENTRY = f"(select entry_id from private.audit_seals where community_id = '{ALPHA}' and sequence = 8)"
_COLUMNS = "community_id, acting_as, action, object_type, object_id"
# What is done, where it is noticed, and in which words.
TAMPERINGS = {
    "what was changed is changed": (
        ["""update public.audit_entries set after = '{{"title": "x"}}' where id = {entry}"""],
        *(8, "the entry is not the one that was sealed here"),
    ),
    "who did it is changed": (
        ["update public.audit_entries set actor_id = community_id where id = {entry}"],
        *(8, "the entry is not the one that was sealed here"),
    ),
    "when it was is changed": (
        [
            "update public.audit_entries set occurred_at = occurred_at + interval '1 microsecond' where id = {entry}"
        ],
        *(8, "the entry is not the one that was sealed here"),
    ),
    "an entry is deleted": (
        ["delete from public.audit_entries where id = {entry}"],
        *(8, "the entry is missing"),
    ),
    "an entry moves to another transaction": (
        ["update public.audit_entries set xid = '3' where id = {entry}"],
        *(8, "the entry is missing"),
    ),
    "an entry is added to the past": (
        [
            f"insert into public.audit_entries (xid, {_COLUMNS})"
            " values ('3', '{alpha}', 'system', 'x', 'x', '{alpha}')"
        ],
        *(0, "the entry was added"),
    ),
    "an entry is added with the id of another": (
        [
            f"insert into public.audit_entries (id, xid, {_COLUMNS})"
            f" select id, '3', {_COLUMNS} from public.audit_entries where id = {{entry}}"
        ],
        *(0, "the entry was added"),
    ),
    "an entry and its seal are deleted": (
        [
            "delete from public.audit_entries where id = {entry}",
            "delete from private.audit_seals where community_id = '{alpha}' and sequence = 8",
        ],
        *(8, "the seal is missing"),
    ),
    "seals change places": (
        [
            "update private.audit_seals set sequence = 1000 where community_id = '{alpha}' and sequence = 8",
            "update private.audit_seals set sequence = 8 where community_id = '{alpha}' and sequence = 9",
            "update private.audit_seals set sequence = 9 where community_id = '{alpha}' and sequence = 1000",
        ],
        *(8, "the entry is not the one that was sealed here"),
    ),
    "a hash is changed": (
        [
            "update private.audit_seals set hash = sha256(hash) where community_id = '{alpha}' and sequence = 8"
        ],
        *(8, "the entry is not the one that was sealed here"),
    ),
    "the last seals are deleted": (
        [
            "delete from private.audit_seals where community_id = '{alpha}' and sequence >= ("
            "select max(sequence) from private.audit_heads where community_id = '{alpha}') - 1"
        ],
        *(None, "the seals are missing from here on"),
    ),
    "the last head is deleted": (
        [
            "delete from private.audit_heads where community_id = '{alpha}' and number = ("
            "select max(number) from private.audit_heads where community_id = '{alpha}')"
        ],
        *(None, "no head is signed for the seals from here on"),
    ),
    "a head is deleted": (
        ["delete from private.audit_heads where community_id = '{alpha}' and number = 2"],
        *(5, "head 2 is missing"),
    ),
    "a head is changed": (
        ["update private.audit_heads set sealed_at = now() where community_id = '{alpha}' and number = 2"],
        *(10, "the signature of head 2 does not hold"),
    ),
}


@pytest.mark.parametrize(("statements", "sequence", "what"), TAMPERINGS.values(), ids=TAMPERINGS)
def test_tampering_is_found_and_named(
    sealed: Database, statements: list[str], sequence: int | None, what: str
) -> None:
    entry = sealed.run(f"select {_ENTRY}")[0][0]
    assert checked(sealed, public_keys=[KEY.public], kept=[head(sealed)]) == []

    tamper(sealed, *statements)

    (finding,) = checked(sealed)
    assert finding.community == ALPHA
    assert finding.what.startswith(what), finding
    if sequence is not None:
        assert finding.sequence == sequence
    if what == "the entry is missing":
        assert finding.entry == entry


@pytest.mark.parametrize("number", range(1, 20, 3))
def test_the_first_changed_entry_is_named(sealed: Database, number: int) -> None:
    entries = sealed.run(
        "select entry_id from private.audit_seals where community_id = %s and sequence >= %s order by sequence",
        *(ALPHA, number),
    )
    for (entry,) in entries[::2]:
        tamper(sealed, f"update public.audit_entries set object_type = 'x' where id = '{entry}'")

    (finding,) = checked(sealed)

    assert (finding.sequence, finding.entry) == (number, entries[0][0])


_CUT = (
    "delete from public.audit_entries as e using private.audit_seals as s where s.entry_id = e.id"
    " and s.community_id = '{alpha}' and s.sequence > 10",
    "delete from private.audit_seals where community_id = '{alpha}' and sequence > 10",
    "delete from private.audit_heads where community_id = '{alpha}' and sequence > 10",
)


def test_a_chain_that_was_cut_off_is_found_with_a_head_from_before(sealed: Database) -> None:
    kept = head(sealed)

    tamper(sealed, *_CUT)

    assert checked(sealed) == [], "nothing inside the database can tell"
    (finding,) = checked(sealed, kept=[kept])
    assert (finding.sequence, finding.what.partition(":")[0]) == (
        11,
        f"the chain ends before the kept head {kept.number} at {kept.sequence}",
    )


def test_a_chain_that_is_gone_is_found_with_a_head_from_before(sealed: Database) -> None:
    kept = head(sealed)

    tamper(sealed, *(statement.replace(" > 10", " > 0") for statement in _CUT))

    assert [finding.community for finding in checked(sealed, kept=[kept])] == [ALPHA]


def test_a_chain_made_anew_is_found_with_the_key_or_with_a_head(sealed: Database) -> None:
    kept = head(sealed)

    tamper(
        sealed,
        "update public.audit_entries set actor_id = community_id where id = {entry}",
        "truncate private.audit_seals, private.audit_heads",
    )
    seal(sealed.dsn(), OTHER_KEY)

    assert checked(sealed) == [], "nothing inside the database can tell"
    by_key = {finding.what.partition(",")[0] for finding in checked(sealed, public_keys=[KEY.public])}
    by_head = [finding.what.split(" at ")[0] for finding in checked(sealed, kept=[kept])]
    assert by_key == {"head 1 is signed by another key"}
    assert by_head == ["the chain is another one than"]


def test_a_kept_head_that_was_forged_is_not_believed(sealed: Database) -> None:
    kept = head(sealed)
    forged = Head.from_json(kept.as_json() | {"sequence": 3})

    (finding,) = checked(sealed, kept=[forged])

    assert finding.what == f"the kept head {kept.number} is not genuine"


def test_a_new_key_goes_on_with_the_chain(sealed: Database) -> None:
    sealed.run(RENAME, cast.DRAFT)
    seal(sealed.dsn(), OTHER_KEY)

    assert checked(sealed, public_keys=[KEY.public, OTHER_KEY.public]) == []
    assert checked(sealed, public_keys=[KEY.public]) != []


def test_without_its_salt_a_log_verifies_as_before(sealed: Database) -> None:
    sealed.run("delete from private.audit_salts")

    assert checked(sealed, kept=[head(sealed)]) == []


def test_a_database_from_a_dump_begins_to_count_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as server_of_before:
        server_of_before.setattr(sealing, "HORIZON", "select '1000000000'")
        seal(database.dsn(), KEY)
    database.run(RENAME, cast.DRAFT)

    with pytest.raises(AuditError, match="has come from a dump"):
        seal(database.dsn(), KEY)
    seal(database.dsn(), KEY, restored=True)
    database.run(RENAME, cast.DRAFT)

    assert seal(database.dsn(), KEY) == 1
    assert checked(database) == []
    assert count(database, "private.audit_seals") == count(database, "public.audit_entries")


def run(database: Database, data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"ADMIN_DATABASE_URL": database.dsn(), "DATA_DIR": str(data_dir)}
    return subprocess.run(
        [sys.executable, "cli.py", "audit", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_commands(database: Database, tmp_path: Path) -> None:
    kept, key = tmp_path / "heads.jsonl", tmp_path / "key.pem"
    entries = count(database, "public.audit_entries")

    assert f"Sealed: {entries} entries" in run(database, tmp_path, "seal").stderr
    assert "Nothing to seal" in run(database, tmp_path, "seal").stderr
    kept.write_text(run(database, tmp_path, "heads").stdout)
    key.write_text(run(database, tmp_path, "public-key").stdout)
    all_well = run(database, tmp_path, "verify", "--head", str(kept), "--public-key", str(key))
    tamper(database, "delete from public.audit_entries where id = {entry}")
    wrong = run(database, tmp_path, "verify")

    assert (all_well.returncode, wrong.returncode) == (0, 1)
    assert re.search(
        rf"Wrong: community {ALPHA}, sequence 8, entry [0-9a-f-]+: the entry is missing\.", wrong.stderr
    )
    assert {head.community for head in read_heads(kept)} >= {ALPHA}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "--public-key", "nowhere.pem"], "The key cannot be read from nowhere.pem"),
        (["verify", "--public-key", "cli.py"], "no Ed25519 public key"),
        (["verify", "--head", "Makefile"], "Makefile, line 1: that is no head of an audit log"),
        (["verify", "--head", "/nope"], "The heads cannot be read from /nope: No such file"),
        (["verify", "--head", "sql"], "The heads cannot be read from sql: Is a directory"),
        (["verify", "--head", sys.executable], "is no text, so it has no heads"),
    ],
)
def test_what_is_wrong_with_the_input_is_one_line(
    shared_database: Database, tmp_path: Path, arguments: list[str], said: str
) -> None:
    ended = run(shared_database, tmp_path, *arguments)

    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.any_postgres
def test_the_local_key_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    file = audit_key_file(tmp_path)
    key = SigningKey.read(str(file))

    assert SigningKey.read(str(audit_key_file(tmp_path))).public == key.public
    assert SigningKey.read(file.read_text()).public == key.public
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.any_postgres
@pytest.mark.parametrize("wrong", ["-----BEGIN nonsense", "/nowhere/key.pem"])
def test_a_key_that_cannot_be_used_is_told(wrong: str) -> None:
    with pytest.raises(AuditError):
        SigningKey.read(wrong)


# Written by a superuser past the triggers before sealing, and what is made of it afterwards: prints alike, and is not.
ALIKE = {
    "a date before Christ": (
        "update public.audit_entries set occurred_at = '0044-03-15 00:00:00+00' where id = {entry}",
        "update public.audit_entries set occurred_at = '0044-03-15 00:00:00+00 BC' where id = {entry}",
    ),
    "no end of time": (
        "update public.audit_entries set occurred_at = 'infinity' where id = {entry}",
        "update public.audit_entries set occurred_at = '-infinity' where id = {entry}",
    ),
    "a null of JSON before": (
        "update public.audit_entries set before = null where id = {entry}",
        "update public.audit_entries set before = 'null' where id = {entry}",
    ),
    "a null of JSON after": (
        "update public.audit_entries set before = 'null', after = null where id = {entry}",
        "update public.audit_entries set before = null, after = 'null' where id = {entry}",
    ),
    "a null of JSON as the key": (
        "update public.audit_entries set object_key = null where id = {entry}",
        "update public.audit_entries set object_key = 'null' where id = {entry}",
    ),
}


@pytest.mark.parametrize(("sealed_as", "changed_to"), ALIKE.values(), ids=ALIKE)
def test_what_prints_alike_is_told_apart(database: Database, sealed_as: str, changed_to: str) -> None:
    seal(database.dsn(), KEY)
    entry = database.run(f"select {_ENTRY.format(alpha=ALPHA)}")[0][0]
    tamper(database, "truncate private.audit_seals, private.audit_heads")
    tamper(database, sealed_as.replace("{entry}", f"'{entry}'"))
    seal(database.dsn(), KEY)
    assert checked(database) == []

    tamper(database, changed_to.replace("{entry}", f"'{entry}'"))

    assert [finding.entry for finding in checked(database)] == [entry]


# As it was hashed before the above: chains that there are stay valid.
_TEXT_OF_BEFORE = """
jsonb_build_array(
    'audit entry 1', e.community_id, e.id, e.xid::text,
    to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    e.actor_id, e.acting_as, e.action, e.object_type, e.object_id, e.object_key, e.before, e.after, e.changed,
    e.reason, e.request_id
)::text
"""


def test_usual_entries_are_hashed_as_ever(database: Database) -> None:
    differing = (
        f"select e.* from public.audit_entries as e where {ENTRY_TEXT} is distinct from {_TEXT_OF_BEFORE}"
    )

    assert count(database, "public.audit_entries") > 100
    assert database.run(differing) == []


def test_functions_of_others_are_not_called(sealed: Database) -> None:
    """Of two functions, Postgres takes the one for just these types; whoever may make one could lie with it."""
    lie = """
        create function public.to_char(at timestamp, how text) returns text language sql as 'select ''now''::text';
        create function public.jsonb_build_array(text, uuid, uuid, text, text, uuid, text, text, text, uuid, jsonb,
            jsonb, jsonb, text[], text, text) returns jsonb language sql as $$ select '[]'::jsonb $$;
        create function public.max(bigint) returns bigint language sql as 'select 0::bigint';
        alter role postgres set search_path = public, pg_catalog;
    """
    try:
        sealed.run_as("supabase_admin", lie)
        tamper(sealed, "update public.audit_entries set actor_id = community_id where id = {entry}")

        (finding,) = checked(sealed)
    finally:
        sealed.run_as("supabase_admin", "alter role postgres reset search_path")

    assert finding.sequence == 8


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("delete from private.audit_heads where community_id = '{alpha}' and restored", "is missing"),
        (
            "delete from private.audit_heads where community_id = '{alpha}' and restored; "
            "update private.audit_heads set number = number",
            "is missing",
        ),
    ],
)
def test_a_head_that_seals_nothing_is_missed_too(sealed: Database, what: str, said: str) -> None:
    seal(sealed.dsn(), KEY, restored=True)
    kept = head(sealed)
    assert kept.restored
    assert checked(sealed, kept=[kept]) == []

    tamper(sealed, what)

    assert checked(sealed) == [], "nothing inside the database can tell"
    (finding,) = checked(sealed, kept=[kept])
    assert finding.what == f"the kept head {kept.number} {said}"


def test_a_head_that_was_signed_anew_for_another_time_is_found(sealed: Database) -> None:
    seal(sealed.dsn(), KEY, restored=True)
    kept = head(sealed)
    earlier = KEY.sign(replace(kept, upto_xid=kept.upto_xid - 1))

    tamper(sealed, "delete from private.audit_heads where community_id = '{alpha}' and restored")
    with sealed.connect() as connection:
        store(connection, earlier, [])

    assert checked(sealed) == []
    (finding,) = checked(sealed, kept=[kept])
    assert finding.what == f"head {kept.number} is another one than the kept one"


def test_verify_says_what_is_not_sealed_yet(database: Database, tmp_path: Path) -> None:
    entries = count(database, "public.audit_entries")

    none = run(database, tmp_path, "verify")
    seal(database.dsn(), KEY)
    all_of_them = run(database, tmp_path, "verify")
    database.run(RENAME, cast.DRAFT)
    but_one = run(database, tmp_path, "verify")

    assert f"{entries:,} entries are not sealed yet" in none.stderr
    assert "not sealed" not in all_of_them.stderr
    assert "1 entry is not sealed yet" in but_one.stderr
    assert {none.returncode, all_of_them.returncode, but_one.returncode} == {0}
