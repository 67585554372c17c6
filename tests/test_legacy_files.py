"""Files of legacy progress: read whole or not at all, imported line by line, gone on with after a kill, told of."""

import csv
import gzip
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.imports import ImportFailed
from jobs.legacy import run_import, run_undo, undo_legacy
from jobs.oulad import import_oulad, write_results
from local.demo import SAMPLE
from tests import cast
from tests.api import Api
from tests.course_documents import block
from tests.databases import Database, cloned
from tests.legacy_files import HEADER, imported, outcomes, results_in, state, written
from tests.people import Person
from tests.progressing import offer, teach
from tests.servers import ROOT

LENA = str(cast.LEARNER.id)
LINE = f"{LENA},{cast.COURSE},40,"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"learner,percent\n", "line 1: there is no column course; there are 'learner', 'percent'. Rename"),
        (b"learner,course\n", "line 1: there is no column percent or completed_at"),
        (b"learner,course,percent\n\n", "has no lines after its first"),
        (b"learner,course,percent,percent\n", "line 1: column 'percent' is there more than once"),
        (HEADER.encode() + b"\n" + LINE.encode() + b"\n\xff\xfe,x,1,\n", "is not text in UTF-8"),
        (HEADER.encode() + b"\n" + LINE.encode() + b'\n"open,x,1,\n', "line 3: this is not valid CSV"),
        (HEADER.encode() + b"\n" + b"x" * 200_000 + b",x,1,\n", "line 2: this is not valid CSV"),
        (b"PK\x03\x04\x00\x00", "is a spreadsheet"),
    ],
)
def test_a_file_that_is_none_is_refused_whole(
    database: Database, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)

    with pytest.raises(ImportFailed, match=message):
        imported(database, path)

    assert state(database)["lines"] == []
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (f"\ufeff{HEADER}\r\n{LINE}\r\n\r\n", "windows.csv"),
        (f"{HEADER}\n{LINE}".replace(",", ";"), "semicolons.csv"),
        (f"{HEADER}\n{LINE}".replace(",", "\t"), "tabs.csv"),
        (f" Learner , COURSE,Percent ,Completed_At\n {LENA.upper()} ,  {cast.COURSE}, 40.0% ,", "spaces.csv"),
        (f"learner;course;percent;more, with, commas;;\n{LENA};{cast.COURSE};40;x;;", "commas.csv"),
        (f"percent,course,learner\n40,{cast.COURSE},{cast.LEARNER.email}\n", "columns.csv"),
    ],
)
def test_what_spreadsheets_write_is_read(database: Database, tmp_path: Path, content: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())

    assert outcomes(imported(database, path)) == [("raised", 37, 40)]


def test_a_packed_file_is_read_and_a_damaged_one_is_not(database: Database, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.csv.gz", tmp_path / "cut.csv.gz"
    whole.write_bytes(gzip.compress(f"{HEADER}\n{LINE}\n".encode()))
    cut.write_bytes(whole.read_bytes()[:-9])

    with pytest.raises(ImportFailed, match="damaged or cut off"):
        imported(database, cut)
    assert outcomes(imported(database, whole)) == [("raised", 37, 40)]


@pytest.mark.parametrize(
    ("community", "message"),
    [
        (None, "Say which community"),
        ("gamma", "There is no community 'gamma'"),
        ("", "There is no community ''"),
    ],
)
def test_the_community_has_to_be_named(
    database: Database, tmp_path: Path, community: str | None, message: str
) -> None:
    with pytest.raises(ImportFailed, match=message):
        imported(database, written(tmp_path / "a.csv", LINE), community=community)


def test_one_file_may_tell_of_several_communities(database: Database, tmp_path: Path) -> None:
    lines = [
        f"alpha,{LINE}",
        f"{cast.BETA},{cast.OTHER_LEARNER.id},{cast.OTHER_COURSE},50,",
        f"beta,{LINE}",
        f"gamma,{LINE}",
        f",{LINE}",
    ]

    done = imported(
        database, written(tmp_path / "a.csv", *lines, header=f"community,{HEADER}"), community=None
    )

    assert [outcome for outcome, _, _ in outcomes(done)] == [
        "raised",
        "raised",
        "refused",
        "refused",
        "refused",
    ]
    assert done.results[5].reason == "There is no community 'gamma'."
    batches = database.run("select community_id, id from public.legacy_batches where id = %s", done.batch)
    assert {community for community, _ in batches} == {cast.ALPHA, cast.BETA}


def test_each_line_has_its_result(database: Database, tmp_path: Path) -> None:
    formula = '"=HYPERLINK(""http://evil.test"")"'
    path = written(tmp_path / "a.csv", LINE, f"{formula},@x,40,", f"{LENA},{cast.COURSE},30,")

    imported(database, path)

    # Both lines of one person are taken at once, and the best counts.
    found = [tuple(row.values()) for row in results_in(path)]
    nobody = "There is no member with this id or e-mail address in the community. Invite them first."
    assert found == [
        ("2", "raised", "", "37", "40", LENA, str(cast.COURSE), "40", ""),
        ("3", "refused", nobody, "", "", '\'=HYPERLINK("http://evil.test")', "'@x", "40", ""),
        ("4", "raised", "", "37", "40", LENA, str(cast.COURSE), "30", ""),
    ]
    assert list(results_in(path)[0])[:6] == [
        "line",
        "outcome",
        "reason",
        "percent_before",
        "percent_after",
        "learner",
    ]


def test_a_carriage_return_begins_no_row(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f'{HEADER}\n"x\r=cmd|A0",y,1,\n{LINE}\n'.encode())

    imported(database, path)

    assert [row["learner"] for row in results_in(path)] == ["x\r=cmd|A0", LENA]
    assert b'"x\r=cmd|A0"' in (tmp_path / "a.csv.results.csv").read_bytes()


@pytest.mark.parametrize("where", ["file", "results", "part"])
def test_only_regular_files_are_read_and_written(database: Database, tmp_path: Path, where: str) -> None:
    path, target = written(tmp_path / "a.csv", LINE), tmp_path / "results.csv"
    pipe = {"file": tmp_path / "b.csv", "results": target, "part": tmp_path / ".results.csv.part"}[where]
    os.mkfifo(pipe)

    with pytest.raises(ImportFailed, match="is no regular file"):
        run_import(
            pipe if where == "file" else path,
            database.dsn(),
            Console(quiet=True),
            community="alpha",
            results=target,
        )

    assert pipe.is_fifo()
    assert state(database)["lines"] == []


def test_a_line_without_an_end_is_refused(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{LINE}\n".encode() + b"," * 5_000_000))

    with pytest.raises(ImportFailed, match="line 3: it is longer than 1,000,000 characters"):
        imported(database, path)


@pytest.mark.parametrize("target", ["a.csv", "none/results.csv", "."])
def test_results_that_cannot_be_written_are_refused_before_anything_is_done(
    database: Database, tmp_path: Path, target: str
) -> None:
    path = written(tmp_path / "a.csv", LINE)
    content = path.read_bytes()

    with pytest.raises(ImportFailed, match="--results"):
        run_import(path, database.dsn(), Console(quiet=True), community="alpha", results=tmp_path / target)

    assert state(database)["lines"] == []
    assert path.read_bytes() == content


async def _many(api: Api, admin: Person, database: Database, path: Path) -> Path:
    """Lines of 250 new members about two courses that make up a program which all of them are in."""
    courses = [await teach(api, admin, block(n), title=f"Course {n}") for n in (1, 2)]
    program = await offer(api, admin, *courses)
    database.run(
        """
        with people as (
            insert into auth.users (instance_id, id, aud, role, email)
            select '00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'authenticated', 'authenticated',
                'person' || n || '@many.test'
            from generate_series(1, 250) as n
            returning id
        )
        insert into public.memberships (community_id, user_id, role, status, display_name)
        select %s, id, 'end_user', 'active', 'Somebody' from people
        """,
        cast.ALPHA,
    )
    database.run(
        """
        insert into public.program_enrollments (community_id, program_id, user_id)
        select community_id, %s, user_id from public.memberships where display_name = 'Somebody'
        """,
        program,
    )
    lines = [
        f"person{n}@many.test,Course {c},{n % 101},{'2020-01-01' if n % 7 == 0 else ''}"
        for n in range(1, 251)
        for c in (1, 2)
    ]
    return written(path, *lines, "nobody@many.test,Course 1,5,")


async def test_a_dry_run_tells_the_same_and_writes_nothing(
    api: Api, as_admin: Person, database: Database, tmp_path: Path
) -> None:
    path = await _many(api, as_admin, database, tmp_path / "a.csv")
    before = state(database)

    tried = imported(database, path, dry_run=True)
    after, told = state(database), results_in(path)
    done = imported(database, path)

    assert after == before
    assert (tried.stored, tried.told, tried.results) == (None, done.told, done.results)
    assert told == results_in(path)
    assert database.run("select count(*) from public.legacy_batches where file_name = 'a.csv'") == [(1,)]


KILLED = """
import os, signal, sys
from pathlib import Path
from jobs.legacy import import_legacy

def progress(step, done, total):
    if step == "Importing lines" and done > 200:
        os.kill(os.getpid(), signal.SIGKILL)

import_legacy(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), community="alpha", progress=progress)
"""


async def test_killed_it_goes_on_where_it_was(
    api: Api, as_admin: Person, database: Database, tmp_path: Path
) -> None:
    path = await _many(api, as_admin, database, tmp_path / "a.csv")
    arguments = [database.dsn(), str(path), str(tmp_path / "killed.csv")]

    killed = subprocess.run(  # noqa: ASYNC221 (nothing else runs in this loop)
        [sys.executable, "-c", KILLED, *arguments], cwd=ROOT, env=os.environ, timeout=60, check=False
    )
    there = len(state(database)["lines"])
    resumed = imported(database, path)
    found = state(database)

    assert killed.returncode == -signal.SIGKILL
    assert 200 <= there < 500
    assert not (tmp_path / "killed.csv").exists()
    told = Counter(result.outcome for result in resumed.results.values())
    assert (resumed.resumed, told["there already"], told["refused"]) == (True, there, 1)
    assert resumed.told == resumed.stored
    assert len(results_in(path)) == 501
    # The same as at one go, after it was undone; and once more nothing happens.
    assert _only_there_already(imported(database, path).results)
    run_undo(resumed.batch, database.dsn(), Console(quiet=True))
    imported(database, path)
    again = state(database)
    assert again["lines"] == found["lines"]
    assert _comparable(again) == _comparable(found)


def _only_there_already(results: dict[int, Any]) -> bool:
    return {result.outcome for result in results.values()} == {"there already", "refused"}


def _comparable(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Without the moment of the import, which is that of completions without a date."""
    for rows in found.values():
        for row in rows:
            if str(row.get("completed_at") or "").startswith("20") and row["completed_at"] > "2021":
                row["completed_at"] = "now"
    return found


async def test_what_was_refused_is_tried_again(
    api: Api, as_admin: Person, database: Database, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.csv", LINE, f"{LENA},Later,70,")
    first = imported(database, path)
    await teach(api, as_admin, block(1), title="Later")

    second = imported(database, path)

    assert [outcome for outcome, _, _ in outcomes(first)] == ["raised", "refused"]
    assert [outcome for outcome, _, _ in outcomes(second)] == ["there already", "raised"]
    assert (second.batch, second.resumed) == (first.batch, True)


async def test_a_change_meanwhile_shows_when_it_is_added_up(database: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", LINE)
    console = Console(quiet=True)
    run_import(path, database.dsn(), console, community="alpha")
    assert (tmp_path / "a.csv.results.csv").exists()
    database.run("update public.legacy_progress set percent = 20 where percent = 40 and attempt = 1")

    with pytest.raises(ImportFailed, match="does not add up"):
        run_import(path, database.dsn(), console, community="alpha")


def test_the_same_file_for_another_community_is_another_batch(database: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", LINE)
    first = imported(database, path)

    other = imported(database, path, community="beta")

    assert [outcome for outcome, _, _ in outcomes(other)] == ["refused"]
    assert (other.batch != first.batch, other.resumed, other.told) == (True, False, other.stored)


def test_a_batch_is_undone_when_all_of_it_is(database: Database, tmp_path: Path) -> None:
    lines = [f"alpha,{LINE}", f"beta,{cast.OTHER_LEARNER.id},{cast.OTHER_COURSE},50,"]
    path = written(tmp_path / "a.csv", *lines, header=f"community,{HEADER}")
    batch = imported(database, path, community=None).batch

    def stop(_: str, done: int, __: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        undo_legacy(database.dsn(), batch, progress=stop)
    halfway = database.run("select count(undone_at) from public.legacy_batches where id = %s", batch)
    undo_legacy(database.dsn(), batch)
    after = database.run("select count(undone_at) from public.legacy_batches where id = %s", batch)

    assert (halfway, after) == ([(0,)], [(2,)])
    logged = database.run(
        "select distinct object_type, reason from public.audit_entries where reason ~ 'legacy'"
    )
    assert sorted(logged) == [
        ("legacy_batch", "Importing legacy progress."),
        ("legacy_batch", "Undoing an import of legacy progress."),
    ]


def test_when_every_line_is_refused_it_has_failed(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match="each line was refused"):
        run_import(
            written(tmp_path / "a.csv", "x,y,1,"), database.dsn(), Console(quiet=True), community="alpha"
        )


async def test_one_at_a_time(database: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", LINE)
    with database.connect() as other:
        other.execute("select pg_advisory_lock(%s)", [0x6C6567616379])

        with pytest.raises(ImportFailed, match="another process"):
            imported(database, path)


async def test_nobody_is_kept_from_writing_until_all_is_done(
    api: Api, as_admin: Person, database: Database, tmp_path: Path
) -> None:
    path = await _many(api, as_admin, database, tmp_path / "a.csv")
    free: list[int] = []

    def progress(step: str, done: int, _: int) -> None:
        if step == "Importing lines" and 100 < done < 400:
            # Fails when somebody is still held by what was imported before.
            free.append(len(database.run("select from public.memberships for update nowait")))

    imported(database, path, progress=progress)

    assert len(free) >= 2


def test_results_of_real_learners_are_imported_as_they_were(template: Database, tmp_path: Path) -> None:
    """OULAD's results: who passed is complete since the last day; nobody's blocks are."""
    path = tmp_path / "oulad.csv"
    with cloned(template) as database:
        import_oulad(database.dsn(), SAMPLE)
        written_lines = write_results(SAMPLE, path)
        done = imported(database, path, community=None)
        shown = database.run(
            """
            select c.slug, s.user_id::text, s.course_id::text, s.percent, s.status, s.done_required
            from public.communities as c
            join public.legacy_progress as l on l.community_id = c.id and l.batch_id = %s
            cross join lateral private.course_state(c.id, l.user_id, l.course_id, l.version) as s
            """,
            done.batch,
        )
    with path.open(newline="") as file:
        told = list(csv.DictReader(file))

    passed = [row for row in told if row["final_result"] in ("Pass", "Distinction")]
    assert written_lines == len(told) == len(shown) > 100
    assert 0 < len(passed) < len(told)
    assert {row[:3] for row in shown if row[3:] == (100, "completed", 0)} == {
        (row["community"], row["learner"], row["course"]) for row in passed
    }
    assert {row[3:] for row in shown} == {(100, "completed", 0), (0, "not_started", 0)}
    assert done.told == done.stored
