"""Imports over earlier ones: what is there stays, what is missing comes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from jobs.oulad import ImportFailed, ImportTotals, import_oulad, run
from jobs.oulad._console import _conclusion
from local.demo import SAMPLE
from tests.databases import Database, cloned
from tests.oulad_folders import (
    WHOLE,
    copy_of_sample,
    expected_counts,
    read,
    snapshot,
    stored_counts,
    write_folder,
)
from tests.oulad_learners import enrollments, learners

LEARNER_FILES = ("studentInfo", "studentRegistration")

needs_whole = pytest.mark.skipif(not WHOLE.is_dir(), reason="no OULAD; name its folder in OULAD_DIR")


@pytest.fixture(scope="module")
def whole(template: Database) -> Iterator[tuple[Database, ImportTotals]]:
    """A database with the whole data set, imported over the sample."""
    with cloned(template) as database:
        import_oulad(database.dsn(), SAMPLE)
        yield database, import_oulad(database.dsn(), WHOLE)


def test_a_second_import_changes_nothing_and_says_so(database: Database) -> None:
    import_oulad(database.dsn(), SAMPLE)
    before = snapshot(database)
    console = Console(record=True, width=100)

    totals = run(SAMPLE, database.dsn(), console)

    assert snapshot(database) == before
    assert totals.there_already == expected_counts(SAMPLE)
    assert not any(totals.created.values())
    assert database.run("select from public.course_versions where version > 1") == []
    assert "Nothing new: all of it was there already." in console.export_text()


def test_what_people_have_changed_since_stays(database: Database) -> None:
    import_oulad(database.dsn(), SAMPLE)
    database.run("update public.programs set title = 'Ours' where title = 'Module BBB'")
    database.run("update public.programs set status = 'archived' where title = 'Ours'")
    database.run("update public.memberships set status = 'left' where display_name = 'Student 23629'")
    before = snapshot(database)

    import_oulad(database.dsn(), SAMPLE)

    assert snapshot(database) == before


def test_a_larger_folder_adds_what_is_missing(database: Database, tmp_path: Path) -> None:
    part = write_folder(
        tmp_path / "part", **learners("2013B,1,0,", "2013B,2,0,") | {"vle": ["7,ZZ9,2013B,url,,"]}
    )
    more = learners("2013B,1,0,", "2013B,2,0,", "2013J,1,0,") | {
        "vle": ["9,ZZ9,2013B,page,,", "6,ZZ9,2013B,url,,", "7,ZZ9,2013B,url,,"]
    }
    whole = write_folder(tmp_path / "whole", **more)
    import_oulad(database.dsn(), part)

    totals = import_oulad(database.dsn(), whole)

    assert [row[:3] for row in enrollments(database)] == [
        ("Student 1", 1, "expired"),
        ("Student 1", 2, "active"),
        ("Student 2", 1, "active"),
    ]
    assert totals.created["program_enrollments"] == 1
    assert totals.created["blocks"] == 3
    assert "courses that have a new version, for they have grown or ask for other blocks: 1" in totals.notes
    assert titles(database, "2013B") == {
        1: ["url", "url 7"],
        2: ["page", "page 9", "url", "url 6", "url 7"],
    }
    assert current_version(database, "2013B") == 2


def test_what_somebody_is_writing_is_left_to_them(database: Database, tmp_path: Path) -> None:
    part = learners("2013B,1,0,") | {"vle": ["7,ZZ9,2013B,url,,"]}
    more = learners("2013B,1,0,") | {"vle": ["7,ZZ9,2013B,url,,", "8,ZZ9,2013B,url,,"]}
    import_oulad(database.dsn(), write_folder(tmp_path / "part", **part))
    database.run(
        """
        insert into public.course_versions (community_id, course_id, version)
        select community_id, id, 2 from public.courses where title = 'ZZ9 2013B'
        """
    )

    totals = import_oulad(database.dsn(), write_folder(tmp_path / "whole", **more))
    left_out = "blocks left out, for somebody has archived their course or is writing its next version: 1"
    assert left_out in totals.notes
    assert titles(database, "2013B") == {1: ["url", "url 7"]}

    database.run("delete from public.course_versions where not published and version = 2")
    import_oulad(database.dsn(), tmp_path / "whole")
    assert titles(database, "2013B")[2] == ["url", "url 7", "url 8"]


def test_a_block_that_somebody_took_out_stays_out(database: Database, tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "in", **learners("2013B,1,0,") | {"vle": ["7,ZZ9,2013B,url,,", "8,ZZ9,2013B,page,,"]}
    )
    import_oulad(database.dsn(), folder)
    database.run(
        """
        insert into public.course_versions (community_id, course_id, version)
        select community_id, id, 2 from public.courses where title = 'ZZ9 2013B';
        update public.course_versions set published = true where not published and version = 2;
        update public.courses set version = 2 where title = 'ZZ9 2013B'
        """
    )
    before = snapshot(database)

    import_oulad(database.dsn(), folder)

    assert snapshot(database) == before
    assert current_version(database, "2013B") == 2


def test_courses_of_an_earlier_import_come_to_ask_for_what_they_would_now(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assessments = ["ZZ9,2013B,11,TMA,9,100", "ZZ9,2013B,12,Exam,,100"]
    folder = write_folder(tmp_path / "in", **learners("2013B,1,0,") | {"assessments": assessments})
    with monkeypatch.context() as earlier:
        earlier.setattr("jobs.oulad._blocks.required_of", lambda some: {a.id for a in some if a.weight})
        import_oulad(database.dsn(), folder)

    totals = import_oulad(database.dsn(), folder)
    assert "courses that have a new version, for they have grown or ask for other blocks: 1" in totals.notes
    assert current_version(database, "2013B") == 2
    assert required(database) == {1: ["Assessments", "Exam 12", "TMA 11"], 2: ["Assessments", "TMA 11"]}

    # What stands in later versions may be somebody's decision.
    database.run(
        """
        insert into public.course_versions (community_id, course_id, version)
        select community_id, id, 3 from public.courses where title = 'ZZ9 2013B';
        insert into public.blocks (
            community_id, course_id, version, id, parent_id, kind, title, weight, required, completion_mode, position
        )
        select community_id, course_id, 3, id, parent_id, kind, title, weight, true, completion_mode, position
        from public.blocks where version = 2 and course_id = (select id from public.courses where title = 'ZZ9 2013B');
        update public.course_versions set published = true where not published and version = 3;
        update public.courses set version = 3 where title = 'ZZ9 2013B'
        """
    )
    assert not any(import_oulad(database.dsn(), folder).created.values())
    assert current_version(database, "2013B") == 3


def required(database: Database) -> dict[int, list[str]]:
    """The titles of the blocks that ZZ9 2013B asks for, by version."""
    rows = database.run(
        """
        select b.version, array_agg(b.title order by b.title)
        from public.blocks as b join public.courses as c on c.community_id = b.community_id and c.id = b.course_id
        where c.title = 'ZZ9 2013B' and b.required
        group by b.version
        """
    )
    return dict(rows)


def titles(database: Database, presentation: str) -> dict[int, list[str]]:
    """The titles of the course's blocks in their order, by version."""
    rows = database.run(
        """
        select b.version, array_agg(b.title order by b.position)
        from public.blocks as b join public.courses as c on c.community_id = b.community_id and c.id = b.course_id
        where c.title = 'ZZ9 ' || %s
        group by b.version
        """,
        presentation,
    )
    return dict(rows)


def current_version(database: Database, presentation: str) -> int:
    ((version,),) = database.run(
        "select version from public.courses where title = 'ZZ9 ' || %s", presentation
    )
    return int(version)


def test_an_open_enrolment_of_another_origin_stays_the_open_one(database: Database, tmp_path: Path) -> None:
    import_oulad(database.dsn(), write_folder(tmp_path / "part", **learners("2013B,1,0,9")))
    database.run(
        """
        insert into public.program_enrollments (community_id, program_id, user_id)
        select community_id, program_id, user_id from public.program_enrollments as e
        join public.communities as c on c.id = e.community_id and c.slug = 'oulad-zz9'
        """
    )

    totals = import_oulad(
        database.dsn(), write_folder(tmp_path / "whole", **learners("2013B,1,0,9", "2013J,1,0,"))
    )

    assert [row[1:3] for row in enrollments(database)] == [(1, "withdrawn"), (2, "active"), (3, "expired")]
    assert "enrolments taken as ended, for the person has another open one in the program: 1" in totals.notes


def test_a_part_and_then_the_rest_are_as_all_at_once(
    template: Database, database: Database, tmp_path: Path
) -> None:
    part = copy_of_sample(tmp_path / "part")
    for name, kept in (("courses", 2), ("assessments", 5), ("vle", 100), *((f, 80) for f in LEARNER_FILES)):
        lines = (part / f"{name}.csv").read_text().splitlines(keepends=True)
        (part / f"{name}.csv").write_text("".join(lines[: kept + 1]))
    import_oulad(database.dsn(), part)

    import_oulad(database.dsn(), SAMPLE)

    with cloned(template) as another:
        import_oulad(another.dsn(), SAMPLE)
        assert snapshot(database) == snapshot(another)


def test_a_part_after_the_whole_changes_nothing(database: Database, tmp_path: Path) -> None:
    lines = ("2013B,1,0,", "2013J,1,0,", "2013B,2,0,")
    resources = {"vle": ["9,ZZ9,2013B,page,,", "6,ZZ9,2013B,url,,", "7,ZZ9,2013B,url,,"]}
    import_oulad(database.dsn(), write_folder(tmp_path / "whole", **learners(*lines) | resources))
    before = snapshot(database)

    part = learners(lines[0]) | {"vle": resources["vle"][1:]}
    import_oulad(database.dsn(), write_folder(tmp_path / "part", **part))

    assert snapshot(database) == before


def test_an_earlier_presentation_that_comes_later_is_told(database: Database, tmp_path: Path) -> None:
    import_oulad(database.dsn(), write_folder(tmp_path / "part", **learners("2013J,1,0,")))

    totals = import_oulad(
        database.dsn(), write_folder(tmp_path / "whole", **learners("2013B,1,0,", "2013J,1,0,"))
    )

    assert [row[1:3] for row in enrollments(database)] == [(1, "active"), (2, "expired")]
    assert totals.notes == [
        "enrolments with a lower attempt than an earlier presentation, which was imported after them: 1"
    ]


def test_what_triggers_would_refuse_is_told_with_whose_it_is(database: Database, tmp_path: Path) -> None:
    import_oulad(database.dsn(), write_folder(tmp_path / "part", **learners("2013B,1,0,9", "2013B,2,0,9")))
    database.run("update public.memberships set status = 'suspended' where display_name = 'Student 2'")
    before = snapshot(database)
    whole = write_folder(
        tmp_path / "whole", **learners("2013B,1,0,9", "2013B,2,0,9", "2013J,1,0,", "2013J,2,0,")
    )

    with pytest.raises(ImportFailed) as failure:
        import_oulad(database.dsn(), whole)

    assert str(failure.value).splitlines() == [
        'Open University ZZ9: the membership of "Student 2" is suspended and takes no new enrolment. '
        "Activate it first.",
        "Nothing was loaded. Correct this, then import again.",
    ]
    assert snapshot(database) == before


def test_an_archived_program_takes_nothing_new(database: Database, tmp_path: Path) -> None:
    import_oulad(database.dsn(), write_folder(tmp_path / "part", **learners("2013B,1,0,9")))
    database.run("update public.programs set status = 'archived' where title = 'Module ZZ9'")
    before = snapshot(database)

    with pytest.raises(ImportFailed, match=r'ZZ9: program "Module ZZ9" is archived .* Publish or restore it'):
        import_oulad(
            database.dsn(), write_folder(tmp_path / "whole", **learners("2013B,1,0,9", "2013J,1,0,"))
        )

    assert snapshot(database) == before


@needs_whole
def test_the_whole_data_set_is_stored_row_for_row(whole: tuple[Database, ImportTotals]) -> None:
    database, totals = whole

    assert stored_counts(database) == expected_counts(WHOLE)
    assert totals.there_already == expected_counts(SAMPLE)
    assert {table: count + totals.there_already[table] for table, count in totals.created.items()} == (
        expected_counts(WHOLE)
    )
    registrations = read(WHOLE, "studentRegistration")
    withdrawn = sum(row["date_unregistration"] != "" for row in registrations)
    statuses: dict[str, int] = dict(
        database.run("""
        select e.status, count(*)
        from public.program_enrollments as e
        join public.communities as c on c.id = e.community_id and c.slug like 'oulad-%'
        group by e.status
    """)
    )
    assert statuses["withdrawn"] == withdrawn
    assert statuses["active"] + statuses["expired"] == len(registrations) - withdrawn


@needs_whole
def test_attempts_of_the_whole_follow_the_presentations(whole: tuple[Database, ImportTotals]) -> None:
    database, _ = whole
    by_person: dict[tuple[str, str], list[datetime]] = {}
    ends = {(row["code_module"], row["code_presentation"]): _end(row) for row in read(WHOLE, "courses")}
    for row in read(WHOLE, "studentRegistration"):
        module, code = row["code_module"], row["code_presentation"]
        by_person.setdefault((module, row["id_student"]), []).append(ends[module, code])

    rows = database.run("""
        select upper(split_part(c.slug, '-', 2)), m.display_name, e.attempt, e.due_at
        from public.program_enrollments as e
        join public.memberships as m using (community_id, user_id)
        join public.communities as c on c.id = e.community_id and c.slug like 'oulad-%'
    """)

    # They end in the order in which they begin.
    assert sorted(rows) == sorted(
        (module, f"Student {student}", attempt, end)
        for (module, student), all_ends in by_person.items()
        for attempt, end in enumerate(sorted(all_ends), start=1)
    )


def _end(course: dict[str, str]) -> datetime:
    year, half = int(course["code_presentation"][:4]), course["code_presentation"][4]
    begin = datetime(year, {"B": 2, "J": 10}[half], 1, tzinfo=UTC)
    return begin + timedelta(days=int(course["module_presentation_length"]))


@pytest.mark.parametrize(("rows", "said"), [(0, "Nothing new"), (1, "1 new row."), (1200, "1,200 new rows.")])
def test_what_was_imported_is_counted_in_words(rows: int, said: str) -> None:
    assert said in _conclusion(ImportTotals({}, created={"programs": rows}))
