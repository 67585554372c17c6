"""What people have submitted, imported as progress."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.oulad import ImportFailed, ImportTotals, import_oulad, run
from local.demo import SAMPLE
from tests.databases import Database, cloned
from tests.oulad_folders import (
    WHOLE,
    copy_of_sample,
    read,
    refusal,
    replace_line,
    stored_counts,
    write_folder,
)
from tests.oulad_learners import enrollments, learners
from tests.oulad_submissions import (
    differences,
    expected_enrollments,
    expected_percents,
    progress_snapshot,
    stored_enrollments,
    stored_percents,
)

ASSESSMENTS = [
    *("ZZ9,2013B,11,TMA,9,30", "ZZ9,2013B,12,CMA,50,0", "ZZ9,2013B,13,TMA,90,70", "ZZ9,2013B,14,Exam,,100"),
    *("ZZ9,2013J,21,TMA,9,12.5", "ZZ9,2013J,22,TMA,50,87.5", "ZZ9,2013J,24,Exam,,100"),
]


def written(folder: Path, *registrations: str, submissions: list[str], **more: list[str]) -> Path:
    files = learners(*registrations) | {"assessments": ASSESSMENTS, "studentAssessment": submissions}
    return write_folder(folder, **{**files, **more})


def imported(database: Database, folder: Path) -> ImportTotals:
    return import_oulad(database.dsn(), folder, with_progress=True)


def events(database: Database) -> list[tuple[Any, ...]]:
    return database.run(
        """
        select m.display_name, b.title, e.attempt, e.value, e.score, e.correct, e.data, e.occurred_at, e.counted_at
        from public.progress_events as e
        join public.communities as c on c.id = e.community_id and c.slug = 'oulad-zz9'
        join public.memberships as m on m.community_id = e.community_id and m.user_id = e.user_id
        join public.blocks as b
            on b.community_id = e.community_id and b.course_id = e.course_id and b.id = e.block_id and b.version = 1
        order by m.display_name, b.title
        """
    )


def test_a_submission_is_an_event(database: Database, tmp_path: Path) -> None:
    submissions = ["11,1,9,0,78", "13,1,-3,1,", "14,1,0,0,66.5", "12,2,-60,0,?"]
    folder = written(tmp_path / "in", "2013B,1,-20,", "2013B,2,-5,", submissions=submissions)

    totals = imported(database, folder)

    handed_in = _utc(2013, 2, 10)
    before, first_day, early = _utc(2013, 1, 29), _utc(2013, 2, 1), _utc(2012, 12, 3)
    plain, banked = {"is_banked": False}, {"is_banked": True}
    assert events(database) == [
        ("Student 1", "Exam 14", 1, 1, Decimal("66.5"), None, plain, first_day, first_day),
        ("Student 1", "TMA 11", 1, 1, 78, None, plain, handed_in, handed_in),
        ("Student 1", "TMA 13", 1, 1, None, None, banked, before, before),
        # Not before the enrolment by more than a day.
        ("Student 2", "CMA 12", 1, 1, None, None, plain, early, _utc(2013, 1, 26)),
    ]
    assert (totals.created["progress_events"], totals.there_already["progress_events"]) == (4, 0)
    assert totals.read["studentAssessment.csv"] == 4
    assert "submissions without a score: 2" in totals.notes
    assert "submissions banked, carried over from an earlier presentation: 1" in totals.notes


def _utc(*date: int) -> datetime:
    return datetime(*date, tzinfo=UTC)  # type: ignore[misc, arg-type]


def test_what_is_handed_in_counts_by_its_weight(database: Database, tmp_path: Path) -> None:
    lines = [f"2013B,{student},0," for student in range(1, 6)]
    submissions = ["11,1,9,0,0", *("12,2,9,0,50", "14,2,9,0,50"), *("13,3,9,0,5", "12,3,9,0,5")]
    folder = written(tmp_path / "in", *lines, submissions=[*submissions, "11,4,9,0,40", "13,4,90,0,40"])

    imported(database, folder)

    percents = {student: percent for (_, _, student), percent in stored_percents(database, folder).items()}
    # The score is not the percent, and neither the exam nor what weighs nothing is asked for.
    assert percents == {"1": 30, "2": 0, "3": 70, "4": 100, "5": 0}
    assert percents == {student: percent for (_, _, student), percent in expected_percents(folder).items()}
    assert differences(database) == []


def test_one_presentation_is_enough_to_complete_the_program(database: Database, tmp_path: Path) -> None:
    submissions = ["11,1,9,0,40", "13,1,90,0,40", "22,2,100,0,80"]
    folder = written(tmp_path / "in", "2013B,1,0,", "2013J,2,0,", submissions=submissions)

    imported(database, folder)

    assert stored_enrollments(database) == {
        ("ZZ9", "2013B", "1"): ("completed", 100),
        ("ZZ9", "2013J", "2"): ("active", 87),
    }
    completed = database.run("select completed_at from public.program_enrollments where status = 'completed'")
    assert (_utc(2013, 5, 2),) in completed
    assert stored_enrollments(database) == expected_enrollments(folder)


def test_enrolments_that_are_over_keep_how_far_they_came(database: Database, tmp_path: Path) -> None:
    lines = ("2013B,1,0,", "2013J,1,0,", "2013B,2,0,50", "2013B,3,0,50", "2013B,4,0,100", "2013J,4,0,100")
    submissions = ["11,1,9,0,40", "22,1,9,0,40", "11,2,9,0,60", "13,4,9,0,60", "11,4,9,0,60", "21,4,9,0,60"]
    folder = written(tmp_path / "in", *lines, submissions=submissions)

    imported(database, folder)

    assert stored_enrollments(database) == {
        ("ZZ9", "2013B", "1"): ("expired", 30),
        ("ZZ9", "2013J", "1"): ("active", 87),
        ("ZZ9", "2013B", "2"): ("withdrawn", 30),
        ("ZZ9", "2013B", "3"): ("withdrawn", 0),
        # All of it was handed in; they left all the same.
        ("ZZ9", "2013B", "4"): ("withdrawn", 99),
        ("ZZ9", "2013J", "4"): ("withdrawn", 99),
    }
    assert stored_enrollments(database) == expected_enrollments(folder)
    assert differences(database) == []


def test_what_was_completed_in_an_earlier_presentation_completes_a_later_enrolment(
    database: Database, tmp_path: Path
) -> None:
    folder = written(
        tmp_path / "in",
        "2013B,1,0,",
        "2013J,1,-5,",
        submissions=["11,1,9,0,40", "13,1,90,0,40", "21,1,9,0,40"],
    )

    imported(database, folder)

    assert [row[1:3] for row in enrollments(database)] == [(1, "expired"), (2, "completed")]
    assert stored_percents(database, folder) == {("ZZ9", "2013B", "1"): 100, ("ZZ9", "2013J", "1"): 12}


def test_submissions_after_people_left_are_taken_and_told(database: Database, tmp_path: Path) -> None:
    submissions = ["11,1,50,0,40", "13,1,51,0,40"]
    folder = written(tmp_path / "in", "2013B,1,0,50", submissions=submissions)

    totals = imported(database, folder)

    assert len(events(database)) == 2
    assert "submissions after their people had withdrawn, taken all the same: 1" in totals.notes


def test_submissions_of_people_not_registered_for_them_are_told(database: Database, tmp_path: Path) -> None:
    folder = written(
        tmp_path / "in",
        *("2013B,1,0,", "2013J,2,0,"),
        submissions=["11,1,9,0,40", "11,2,9,0,40", "11,3,9,0,40"],
        courses=["ZZ9,2013B,240", "ZZ9,2013J,268", "YY9,2013B,240"],
        studentRegistration=["ZZ9,2013B,1,0,", "ZZ9,2013J,2,0,", "YY9,2013B,3,0,"],
        studentInfo=["ZZ9,2013B,1,Pass", "ZZ9,2013J,2,Pass", "YY9,2013B,3,Pass"],
    )

    totals = imported(database, folder)

    # Student 2 is in the module all the same; student 3 is not in its community at all.
    assert [row[:2] for row in events(database)] == [("Student 1", "TMA 11"), ("Student 2", "TMA 11")]
    assert "submissions of people not registered in that presentation: 2" in totals.notes
    left_out = "submissions left out (There is no active member with this id in your community): 1"
    assert left_out in totals.notes
    assert totals.created["progress_events"] == 2


def test_who_is_suspended_gets_nothing_and_it_is_told(database: Database, tmp_path: Path) -> None:
    folder = written(tmp_path / "in", "2013B,1,0,", "2013B,2,0,", submissions=["11,1,9,0,40", "11,2,9,0,40"])
    import_oulad(database.dsn(), folder)
    database.run("update public.memberships set status = 'suspended' where display_name = 'Student 2'")

    totals = imported(database, folder)

    assert [row[0] for row in events(database)] == ["Student 1"]
    left_out = "submissions left out (There is no active member with this id in your community): 1"
    assert left_out in totals.notes


def test_a_second_import_doubles_nothing(database: Database) -> None:
    imported(database, SAMPLE)
    before = progress_snapshot(database)
    console = Console(record=True, width=120)

    totals = run(SAMPLE, database.dsn(), console, with_progress=True)

    assert progress_snapshot(database) == before
    assert totals.created["progress_events"] == 0
    assert totals.there_already["progress_events"] == len(read(SAMPLE, "studentAssessment"))
    text = console.export_text()
    assert "Recording submissions" in text
    assert "progress_events" in text
    assert "Nothing new: all of it was there already." in text


def test_what_is_new_comes_in_and_what_is_there_stays(database: Database, tmp_path: Path) -> None:
    lines = ("2013B,1,0,", "2013B,2,0,")
    imported(database, written(tmp_path / "part", *lines, submissions=["11,1,9,0,40", "12,1,9,0,40"]))

    totals = imported(
        database,
        written(
            tmp_path / "more",
            *lines,
            submissions=["13,2,9,0,70", "11,1,9,0,90", "12,1,9,0,40", "13,1,9,0,40"],
        ),
    )

    assert [(*row[:2], row[4]) for row in events(database)] == [
        ("Student 1", "CMA 12", 40),
        ("Student 1", "TMA 11", 40),
        ("Student 1", "TMA 13", 40),
        ("Student 2", "TMA 13", 70),
    ]
    assert (totals.created["progress_events"], totals.there_already["progress_events"]) == (2, 2)
    assert "submissions that differ from what was imported before, which stays: 1" in totals.notes
    assert stored_percents(database, tmp_path / "more") == {
        ("ZZ9", "2013B", "1"): 100,
        ("ZZ9", "2013B", "2"): 70,
    }
    assert differences(database) == []


def test_progress_that_comes_later_is_as_if_it_came_at_once(template: Database, database: Database) -> None:
    import_oulad(database.dsn(), SAMPLE)

    imported(database, SAMPLE)

    with cloned(template) as another:
        imported(another, SAMPLE)
        assert progress_snapshot(database) == progress_snapshot(another)


def test_submissions_are_not_looked_at_unless_they_are_asked_for(database: Database, tmp_path: Path) -> None:
    folder = written(tmp_path / "in", "2013B,1,0,", submissions=["11,1,9,0,40", "this,is,wrong"])

    totals = import_oulad(database.dsn(), folder)

    assert events(database) == []
    assert "progress_events" not in totals.created
    assert "studentAssessment.csv" not in totals.read


def test_progress_needs_its_file(shared_database: Database, tmp_path: Path) -> None:
    folder = written(tmp_path / "in", "2013B,1,0,", submissions=[])
    (folder / "studentAssessment.csv").unlink()

    assert refusal(shared_database, folder, with_progress=True) == ["studentAssessment.csv is missing."]


SCORE = "a number from 0 to 100, with at most 3 decimals, or empty"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("9,1993672,35,0,52", "id_assessment 9 is not in assessments.csv"),
        ("14984,9,35,0,52", "id_student 9 is not in studentRegistration.csv"),
        ("14984,2290090,35,0,100.5", f"score '100.5' is not {SCORE}"),
        ("14984,2290090,35,0,-1", f"score '-1' is not {SCORE}"),
        ("14984,2290090,35,0,B", f"score 'B' is not {SCORE}"),
        ("14984,2290090,35,2,52", "is_banked '2' is not one of 0, 1"),
        ("14984,2290090,,0,52", "date_submitted is empty; expected is a whole number from -3640 to 3640"),
        ("14984,2023366,35,0,52", "id_assessment, id_student 14984 2023366 is already on line 3"),
        ("14984,2290090,35,0", "there are 4 fields; expected are 5, as in line 1"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_nothing_is_loaded(
    shared_database: Database, tmp_path: Path, line: str, said: str
) -> None:
    folder = copy_of_sample(tmp_path / "in")
    replace_line(folder / "studentAssessment.csv", 5, line)

    problems = refusal(shared_database, folder, with_progress=True)

    assert problems == [f"studentAssessment.csv, line 5: {said}."]


def test_an_error_while_recording_leaves_nothing(database: Database, tmp_path: Path) -> None:
    database.run(
        """
        create function public.refuse_for_a_test() returns trigger language plpgsql as $$
        begin raise exception 'the disk is full'; end $$;
        create trigger refuse_for_a_test before insert on public.block_completions
        for each row execute function public.refuse_for_a_test()
        """
    )
    folder = written(tmp_path / "in", "2013B,1,0,", submissions=["11,1,9,0,40"])

    with pytest.raises(ImportFailed, match="the disk is full"):
        imported(database, folder)

    assert not any(stored_counts(database).values())


def test_every_learner_of_the_sample_is_as_far_as_the_files_say(database: Database) -> None:
    imported(database, SAMPLE)

    assert stored_percents(database, SAMPLE) == expected_percents(SAMPLE)
    assert stored_enrollments(database) == expected_enrollments(SAMPLE)
    assert differences(database) == []


@pytest.fixture(scope="module")
def whole(template: Database) -> Iterator[tuple[Database, ImportTotals]]:
    with cloned(template) as database:
        yield database, imported(database, WHOLE)


@pytest.mark.skipif(not WHOLE.is_dir(), reason="no OULAD; name its folder in OULAD_DIR")
def test_every_learner_of_the_whole_is_as_far_as_the_files_say(whole: tuple[Database, ImportTotals]) -> None:
    database, totals = whole

    assert totals.created["progress_events"] == len(read(WHOLE, "studentAssessment"))
    assert stored_percents(database, WHOLE) == expected_percents(WHOLE)
    assert stored_enrollments(database) == expected_enrollments(WHOLE)
    assert differences(database, every=40) == []
