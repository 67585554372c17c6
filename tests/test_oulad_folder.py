"""Folders that are not whole, and other ways in which a correct one may be written."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.oulad import ImportFailed, import_oulad
from local.demo import SAMPLE
from tests.databases import Database
from tests.oulad_folders import (
    compress,
    copy_of_sample,
    expected_counts,
    refusal,
    snapshot,
    stored_counts,
    write_folder,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_of_sample(tmp_path / "in")


def _flip_a_byte(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1000],
        lambda data: data[:-1],
        lambda data: data[:20],
        _flip_a_byte,
        lambda data: data + b"and more",
        gzip.decompress,
        lambda _: b"PK",
    ],
    ids=[
        "cut off",
        "without its end",
        "only its head",
        "a flipped byte",
        "text after it",
        "not packed",
        "else",
    ],
)
def test_a_damaged_gzip_file_is_named(
    shared_database: Database, folder: Path, damage: Callable[[bytes], bytes]
) -> None:
    packed = compress(folder / "vle.csv")
    packed.write_bytes(damage(packed.read_bytes()))

    (problem,) = refusal(shared_database, folder)

    assert problem.startswith("vle.csv.gz, line ")
    assert problem.endswith(": the gzip data is damaged or cut off, here or before; get the file again.")


def test_a_file_that_unpacks_to_gigabytes_is_not_unpacked(shared_database: Database, folder: Path) -> None:
    (folder / "vle.csv").unlink()
    (folder / "vle.csv.gz").write_bytes(gzip.compress(b"7" * 50_000_000, compresslevel=1))

    tracemalloc.start()
    problems = refusal(shared_database, folder)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert problems == ["vle.csv.gz, line 1: the line is longer than 10,000 bytes."]
    assert most < 20_000_000


def test_missing_files_are_told_at_once(shared_database: Database, folder: Path) -> None:
    (folder / "vle.csv").unlink()
    (folder / "studentInfo.csv").unlink()
    (folder / "courses.csv.gz").write_bytes(b"")

    assert refusal(shared_database, folder) == [
        "courses.csv and courses.csv.gz are both there; keep one.",
        "vle.csv is missing.",
        "studentInfo.csv is missing.",
    ]


@pytest.mark.parametrize("name", ["nowhere", "in/courses.csv", "in\0"])
def test_a_folder_that_is_none_is_named(shared_database: Database, folder: Path, name: str) -> None:
    with pytest.raises(ImportFailed, match=r"There is no folder .* Name the one that holds courses.csv"):
        import_oulad(shared_database.dsn(), folder.parent / name)


def test_a_folder_in_the_place_of_a_file_is_named(shared_database: Database, folder: Path) -> None:
    (folder / "vle.csv").unlink()
    (folder / "vle.csv").mkdir()

    assert refusal(shared_database, folder) == ["vle.csv cannot be read (Is a directory)."]


@pytest.mark.parametrize(
    ("cut", "other"), [("studentInfo", "studentRegistration"), ("studentRegistration", "studentInfo")]
)
def test_a_file_cut_off_between_lines_misses_learners_of_the_other(
    shared_database: Database, folder: Path, cut: str, other: str
) -> None:
    lines = (folder / f"{cut}.csv").read_text().splitlines(keepends=True)
    (folder / f"{cut}.csv").write_text("".join(lines[:-2]))

    student = [line.split(",")[2] for line in lines[-2:]]
    assert refusal(shared_database, folder) == [
        f"{other}.csv, line 603: id_student {student[0]} of DDD 2013J is not in {cut}.csv.",
        f"{other}.csv, line 604: id_student {student[1]} of DDD 2013J is not in {cut}.csv.",
    ]


def test_at_most_twenty_problems_are_told(shared_database: Database, tmp_path: Path) -> None:
    resources = [f"{number},ZZ9,2013B,7,," for number in range(30)]
    folder = write_folder(tmp_path / "small", courses=["ZZ9,2013B,240"], vle=resources)

    problems = refusal(shared_database, folder)

    assert [problem.split(":")[0] for problem in problems[:-1]] == [
        f"vle.csv, line {n}" for n in range(2, 22)
    ]
    assert problems[-1] == "Stopped at 20 problems; there may be more."


def test_courses_in_doubt_are_told_alone(shared_database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "small", vle=["1,ZZ9,2013B,url,,"])

    assert refusal(shared_database, folder) == ["courses.csv, line 2: there is no presentation in the file."]


def test_a_correct_folder_may_be_written_in_other_ways(database: Database, folder: Path) -> None:
    """Packed, with a byte order mark, quotes, other line ends, further and moved columns, and '?' for nothing."""
    import_oulad(database.dsn(), SAMPLE)
    before = snapshot(database)
    file = folder / "studentRegistration.csv"
    lines = [line.split(",") for line in file.read_text().splitlines()]
    text = "\r\n".join(",".join(f'"{field or "?"}"' for field in ("new", *reversed(line))) for line in lines)
    file.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n\r\n")
    for name in ("studentRegistration", "courses", "assessments"):
        compress(folder / f"{name}.csv")

    totals = import_oulad(database.dsn(), folder)

    assert snapshot(database) == before
    assert totals.there_already == stored_counts(database) == expected_counts(SAMPLE)
