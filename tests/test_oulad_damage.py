"""Lines and files with something wrong in them: each is named, and nothing is stored."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import Database
from tests.oulad_folders import copy_of_sample, refusal, replace_line

DAYS = "a whole number from -3640 to 3640, or empty"
ID = "a whole number from 0 to 1000000000000"

BAD_LINES = [
    ("studentRegistration", "BBB,2013B,abc,-5,", f"id_student 'abc' is not {ID}"),
    ("studentRegistration", "BBB,2013B,1_000,-5,", f"id_student '1_000' is not {ID}"),
    ("studentRegistration", "BBB,2013B, 7,-5,", f"id_student ' 7' is not {ID}"),
    ("studentRegistration", "BBB,2013B,٣,-5,", f"id_student '٣' is not {ID}"),
    ("studentRegistration", "BBB,2013B,7.0,-5,", f"id_student '7.0' is not {ID}"),
    ("studentRegistration", "BBB,2013B,-7,-5,", f"id_student '-7' is not {ID}"),
    ("studentRegistration", f"BBB,2013B,{'9' * 400},-5,", f"id_student '{'9' * 60}…' is not {ID}"),
    ("studentRegistration", "BBB,2013B,,-5,", f"id_student is empty; expected is {ID}"),
    ("studentRegistration", "BBB,2013B,\x1b[31m,-5,", rf"id_student '\x1b[31m' is not {ID}"),
    ("studentRegistration", "BBB,2013B,1,-3641,", f"date_registration '-3641' is not {DAYS}"),
    ("studentRegistration", "BBB,2013B,1,0,soon", f"date_unregistration 'soon' is not {DAYS}"),
    ("studentRegistration", "BBB,2014J,1,0,", "presentation BBB 2014J is not in courses.csv"),
    ("studentRegistration", "BBB,2013B,1,0", "there are 4 fields; expected are 5, as in line 1"),
    ("studentRegistration", "BBB,2013B,1,0,,", "there are 6 fields; expected are 5, as in line 1"),
    (
        "studentRegistration",
        "BBB,2013B,23629,0,",
        "code_module, code_presentation, id_student BBB 2013B 23629 is already on line 2",
    ),
    (
        "studentRegistration",
        'BBB,2013B,"1,0,',
        "'BBB,2013B,\"1,0,' is not valid CSV; a quote may be left open",
    ),
    (
        "studentInfo",
        "BBB,2013B,1,0,60,Passed",
        "final_result 'Passed' is not one of Pass, Fail, Withdrawn, Distinction",
    ),
    (
        "studentInfo",
        "BBB,13B,1,0,60,Pass",
        "code_presentation '13B' is not a year from 1980 to 2099 with B or J, such as 2013J",
    ),
    ("assessments", "BBB,2013B,1,Quiz,5,1", "assessment_type 'Quiz' is not one of TMA, CMA, Exam"),
    (
        "assessments",
        "BBB,2013B,1,TMA,5,100.5",
        "weight '100.5' is not a percentage from 0 to 100, with at most 3 decimals",
    ),
    (
        "assessments",
        "BBB,2013B,1,TMA,5,0.0001",
        "weight '0.0001' is not a percentage from 0 to 100, with at most 3 decimals",
    ),
    ("assessments", "DDD,2013J,14991,TMA,5,1", "id_assessment 14991 is already on line 2"),
    ("vle", "1,BBB,2013B,42,,", "activity_type '42' is not a type of activity such as resource"),
    ("vle", "1,bbb,2013B,url,,", "code_module 'bbb' is not a module code such as AAA"),
    (
        "courses",
        "DDD,2013J,0",
        "module_presentation_length '0' is not a whole number from 1 to 3640",
    ),
]


@pytest.fixture
def database(shared_database: Database) -> Database:
    """Everything here is refused, so one database does for all."""
    return shared_database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_of_sample(tmp_path / "in")


@pytest.mark.parametrize(("file", "text", "problem"), BAD_LINES)
def test_a_bad_line_is_named(database: Database, folder: Path, file: str, text: str, problem: str) -> None:
    number = 4 if file == "courses" else 17
    replace_line(folder / f"{file}.csv", number, text)

    assert refusal(database, folder) == [f"{file}.csv, line {number}: {problem}."]


BAD_BYTES: list[tuple[Callable[[bytes], bytes], int, str]] = [
    (lambda _: b"", 1, "the file is empty; expected is a line with the names of the columns"),
    (lambda data: data.replace(b"2013B", b"2013\0", 1), 2, "there is a NUL byte; expected is text in UTF-8"),
    (lambda data: data.replace(b"url", b"\xff\xfe", 1), 7, "byte 18 is not UTF-8"),
    (lambda data: data.decode().encode("utf-16"), 1, "there is a NUL byte; expected is text in UTF-8"),
    (lambda data: data + b"7" * 20_000, 242, "the line is longer than 10,000 bytes"),
    (
        lambda data: data.replace(b"activity_type", b"type", 1),
        1,
        "column activity_type is missing; "
        "the line is 'id_site,code_module,code_presentation,type,week_from,week_to'",
    ),
    (lambda data: data.replace(b"week_to", b"id_site", 1), 1, "column id_site is there more than once"),
]


@pytest.mark.parametrize(("damage", "number", "problem"), BAD_BYTES)
def test_a_damaged_file_is_named(
    database: Database, folder: Path, damage: Callable[[bytes], bytes], number: int, problem: str
) -> None:
    file = folder / "vle.csv"
    file.write_bytes(damage(file.read_bytes()))

    assert refusal(database, folder) == [f"vle.csv, line {number}: {problem}."]
