"""What the Open University's data become when they are imported."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.oulad import import_oulad
from local.demo import SAMPLE
from tests.databases import Database
from tests.oulad_folders import expected_counts, read, stored_counts, write_folder
from tests.oulad_learners import enrollments, learners


def _utc(*date: int) -> datetime:
    return datetime(*date, tzinfo=UTC)  # type: ignore[misc, arg-type]


def test_the_sample_is_stored_row_for_row(database: Database) -> None:
    totals = import_oulad(database.dsn(), SAMPLE)

    assert stored_counts(database) == expected_counts(SAMPLE)
    assert totals.created == expected_counts(SAMPLE)
    assert totals.read == {
        f"{name}.csv": len(read(SAMPLE, name))
        for name in ("courses", "assessments", "vle", "studentInfo", "studentRegistration")
    }


def test_learners_without_a_date_of_leaving_are_active_in_their_last_presentation(
    database: Database, tmp_path: Path
) -> None:
    # In the files the later presentation may come first.
    folder = write_folder(tmp_path / "in", **learners("2013J,1,-10,", "2013B,1,-20,", "2013B,2,,"))

    totals = import_oulad(database.dsn(), folder)

    assert enrollments(database) == [
        ("Student 1", 1, "expired", _utc(2013, 1, 12), _utc(2013, 9, 29), None),
        ("Student 1", 2, "active", _utc(2013, 9, 21), _utc(2014, 6, 26), None),
        ("Student 2", 1, "active", _utc(2013, 2, 1), _utc(2013, 9, 29), None),
    ]
    assert "registrations without a date, taken as of day 0: 1" in totals.notes


def test_learners_with_a_date_of_leaving_are_withdrawn_on_that_day(
    database: Database, tmp_path: Path
) -> None:
    lines = ("2013B,1,-20,12", "2013J,1,3,", "2013B,2,,-5", "2013B,3,0,", "2013J,3,0,100")
    folder = write_folder(tmp_path / "in", **learners(*lines))

    totals = import_oulad(database.dsn(), folder)

    assert [(row[0], row[1], row[2], row[5]) for row in enrollments(database)] == [
        ("Student 1", 1, "withdrawn", _utc(2013, 2, 13)),
        ("Student 1", 2, "active", None),
        ("Student 2", 1, "withdrawn", _utc(2013, 1, 27)),  # before it began: as the files say
        ("Student 3", 1, "expired", None),
        ("Student 3", 2, "withdrawn", _utc(2014, 1, 9)),
    ]
    assert "enrolments withdrawn before they began: 1" in totals.notes


def test_a_result_without_its_date_makes_nobody_withdrawn(database: Database, tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "in",
        **learners("2013B,1,0,", "2013B,2,0,9", results={"2013B,1": "Withdrawn", "2013B,2": "Fail"}),
    )

    totals = import_oulad(database.dsn(), folder)

    assert [row[2] for row in enrollments(database)] == ["active", "withdrawn"]
    assert "people with the result Withdrawn and no date for it, not taken as withdrawn: 1" in totals.notes
    assert "people with a date of unregistration and another result, taken as withdrawn: 1" in totals.notes


def test_membership_begins_with_the_first_registration(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", **learners("2013J,1,0,", "2013B,1,-20,"))

    import_oulad(database.dsn(), folder)

    rows = database.run(
        "select role, status, joined_at from public.memberships where display_name = 'Student 1'"
    )
    assert rows == [("end_user", "active", _utc(2013, 1, 12))]


def test_imported_people_have_nothing_to_sign_in_with(database: Database) -> None:
    import_oulad(database.dsn(), SAMPLE)

    rows = database.run(
        """
        select distinct u.encrypted_password, u.email_confirmed_at, i.id, u.confirmation_token, u.recovery_token
        from auth.users as u
        left join auth.identities as i on i.user_id = u.id
        where u.email ~ '^oulad-[0-9]+@students[.]invalid$'
        """
    )
    assert rows == [(None, None, None, "", "")]


def test_a_course_is_a_tree_in_reading_order(database: Database, tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "in",
        courses=["ZZ9,2013J,268"],
        assessments=[
            *(
                "ZZ9,2013J,12,Exam,,100",
                "ZZ9,2013J,14,CMA,50,0",
                "ZZ9,2013J,13,TMA,50,12.5",
                "ZZ9,2013J,11,TMA,9,7.5",
            )
        ],
        vle=["8,ZZ9,2013J,url,,", "9,ZZ9,2013J,Dual-Pane x,1,2", "7,ZZ9,2013J,url,,"],
    )

    import_oulad(database.dsn(), folder)

    rows = database.run(
        """
        select b.position, p.title, b.kind, b.title, b.weight::float, b.required, b.completion_mode
        from public.blocks as b
        join public.communities as c on c.id = b.community_id and c.slug = 'oulad-zz9'
        left join public.blocks as p
            on (p.community_id, p.course_id, p.version, p.id)
            = (b.community_id, b.course_id, b.version, b.parent_id)
        order by b.position
        """
    )
    assert rows == [
        (1, None, "section", "Assessments", 1, True, "aggregator"),
        (2, "Assessments", "tma", "TMA 11", 7.5, True, "completable"),
        (3, "Assessments", "tma", "TMA 13", 12.5, True, "completable"),
        (4, "Assessments", "cma", "CMA 14", 1, False, "completable"),
        (5, "Assessments", "exam", "Exam 12", 100, False, "completable"),
        (6, None, "section", "dual_pane_x", 1, False, "aggregator"),
        (7, "dual_pane_x", "dual_pane_x", "Dual-Pane x 9", 1, False, "completable"),
        (8, None, "section", "url", 1, False, "aggregator"),
        (9, "url", "url", "url 7", 1, False, "completable"),
        (10, "url", "url", "url 8", 1, False, "completable"),
    ]


@pytest.mark.parametrize(
    ("assessments", "required"),
    [
        # Exams are sat elsewhere, and weighed apart.
        (("11,TMA,9,40", "12,CMA,9,60", "13,Exam,,100"), {"TMA 11": 40, "CMA 12": 60}),
        (("11,TMA,9,100", "12,CMA,9,0", "13,Exam,,100"), {"TMA 11": 100}),
        # Not a course that nobody has done anything of, whatever they do.
        (("11,TMA,9,0", "12,CMA,9,0", "13,Exam,,100"), {"TMA 11": 1, "CMA 12": 1}),
        (("13,Exam,,100",), {"Exam 13": 100}),
    ],
    ids=["weighted coursework", "some without a weight", "none with a weight", "only an exam"],
)
def test_a_course_asks_for_what_can_be_handed_in(
    database: Database, tmp_path: Path, assessments: tuple[str, ...], required: dict[str, int]
) -> None:
    folder = write_folder(
        tmp_path / "in",
        courses=["ZZ9,2013J,268"],
        assessments=[f"ZZ9,2013J,{line}" for line in assessments],
        vle=["7,ZZ9,2013J,url,,"],
    )

    import_oulad(database.dsn(), folder)

    rows = database.run(
        """
        select b.title, b.weight::float
        from public.blocks as b
        join public.communities as c on c.id = b.community_id and c.slug = 'oulad-zz9'
        where b.required and b.completion_mode = 'completable'
        """
    )
    assert dict(rows) == required


def test_enrolments_begin_with_a_program_that_asks_for_something(database: Database, tmp_path: Path) -> None:
    people = learners("2013B,1,0,", "2013B,2,0,9")
    folder = write_folder(tmp_path / "in", assessments=["ZZ9,2013B,1,TMA,19,100"], **people)
    import_oulad(database.dsn(), folder)

    rows = database.run(
        """
        select p.status, p.percent, count(*)
        from public.program_progress as p
        join public.communities as c on c.id = p.community_id and c.slug = 'oulad-zz9'
        group by p.status, p.percent
        """
    )
    assert rows == [("not_started", 0, 2)]


def test_presentations_are_published_courses_of_one_program(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", courses=["ZZ9,2013J,268", "ZZ9,2013B,240"])

    import_oulad(database.dsn(), folder)

    rows = database.run(
        """
        select m.name, m.time_zone, p.title, p.status, p.duration_weeks, a.sequence_order, a.required, a.group_name,
            c.title, c.status, v.published_at
        from public.communities as m
        join public.programs as p on p.community_id = m.id
        join public.program_course_assignments as a on a.community_id = m.id and a.program_id = p.id
        join public.courses as c on c.community_id = m.id and c.id = a.course_id
        join public.course_versions as v on v.community_id = m.id and v.course_id = c.id and v.version = c.version
        where m.slug = 'oulad-zz9'
        order by a.sequence_order
        """
    )
    program = ("Open University ZZ9", "Europe/London", "Module ZZ9", "published", 39)
    assert rows == [
        (*program, 1, False, "presentation", "ZZ9 2013B", "published", _utc(2013, 2, 1)),
        (*program, 2, False, "presentation", "ZZ9 2013J", "published", _utc(2013, 10, 1)),
    ]
