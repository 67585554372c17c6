"""Reads a folder in the data set's format, each file once, and checks every line of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, TypeVar

from jobs.imports import ImportFailed, Problems, Progress
from jobs.oulad._columns import BadLineError, Column, Line
from jobs.oulad._lines import read_lines
from jobs.oulad._records import (
    ACTIVITY,
    ASSESSMENT,
    BANKED,
    CODE,
    DATE,
    LENGTH,
    MODULE,
    REGISTERED,
    RESULT,
    SCORE,
    SITE,
    STUDENT,
    SUBMITTED,
    TYPE,
    UNREGISTERED,
    WEIGHT,
    Assessment,
    Folder,
    Presentation,
    Registration,
    Resource,
    Submission,
)

R = TypeVar("R")
Key = tuple[Any, ...]
Columns = Sequence[Column[Any]]

_FILES = ("courses", "assessments", "vle", "studentInfo", "studentRegistration")
# Not needed to enrol people: it may be missing when nobody asks for their progress.
_SUBMISSIONS = "studentAssessment"


@dataclass(frozen=True)
class _Table(Generic[R]):
    """A file's records by their keys, each with the number of its line."""

    file: str
    lines: dict[Key, tuple[int, R]]

    def records(self) -> list[R]:
        return [record for _, record in self.lines.values()]


def read_folder(folder: Path, progress: Progress, *, with_submissions: bool = False) -> Folder:
    """Raises ImportFailed, with up to 20 problems, when there are any."""
    files = (*_FILES, _SUBMISSIONS) if with_submissions else _FILES
    return _FolderReader(folder, files, progress).read()


class _FolderReader:
    def __init__(self, folder: Path, files: Sequence[str], progress: Progress) -> None:
        self._progress = progress
        self._problems = Problems()
        self._paths = _find_files(folder, files, self._problems)
        self._presentations: dict[Key, Presentation] = {}

    def read(self) -> Folder:
        courses = self._courses()
        assessments = self._table(
            "assessments", [ASSESSMENT], [MODULE, CODE, TYPE, DATE, WEIGHT], self._assessment
        )
        resources = self._table("vle", [MODULE, CODE, SITE], [ACTIVITY], self._resource)
        results = self._table("studentInfo", [MODULE, CODE, STUDENT], [RESULT], self._result)
        registrations = self._table(
            "studentRegistration", [MODULE, CODE, STUDENT], [REGISTERED, UNREGISTERED], self._registration
        )
        self._problems.refuse_if_any()
        # One of the two that was cut off between lines shows here and nowhere else.
        _check_same_learners(registrations, results, self._problems)
        _check_same_learners(results, registrations, self._problems)
        self._problems.refuse_if_any()
        tables: list[_Table[Any]] = [courses, assessments, resources, results, registrations]
        submissions = []
        if _SUBMISSIONS in self._paths:
            tables.append(submitted := self._submissions(assessments, registrations))
            submissions = submitted.records()
        return Folder(
            courses.records(),
            assessments.records(),
            resources.records(),
            [r._replace(result=results.lines[key][1]) for key, (_, r) in registrations.lines.items()],
            submissions,
            {table.file: len(table.lines) for table in tables},
        )

    def _courses(self) -> _Table[Presentation]:
        courses = self._table("courses", [MODULE, CODE], [LENGTH], _presentation)
        if not courses.lines and not self._problems:
            self._problems.add(f"{courses.file}, line 2: there is no presentation in the file.")
        # Every other file refers to this one: with it in doubt, each of their lines would seem wrong.
        self._problems.refuse_if_any()
        self._presentations = {key: record for key, (_, record) in courses.lines.items()}
        return courses

    def _table(self, stem: str, key: Columns, others: Columns, make: Callable[[Line], R]) -> _Table[R]:
        path = self._paths[stem]
        lines: dict[Key, tuple[int, R]] = {}
        for line in read_lines(path, [*key, *others], self._problems, self._progress):
            try:
                identity = tuple(line[column] for column in key)
                if identity in lines:
                    raise _repeated(line, key, identity, lines[identity][0])
                lines[identity] = line.number, make(line)
            except BadLineError as bad:
                self._problems.add(str(bad))
        return _Table(path.name, lines)

    def _assessment(self, line: Line) -> Assessment:
        known = self._known(line)
        return Assessment(known, line[ASSESSMENT], line[TYPE], line[DATE], Decimal(line[WEIGHT]))

    def _resource(self, line: Line) -> Resource:
        return Resource(self._known(line), line[SITE], line[ACTIVITY])

    def _result(self, line: Line) -> str:
        self._known(line)
        return line[RESULT]

    def _registration(self, line: Line) -> Registration:
        known = self._known(line)
        return Registration(known, line[STUDENT], line[REGISTERED], line[UNREGISTERED], result="")

    def _submissions(
        self, assessments: _Table[Assessment], registrations: _Table[Registration]
    ) -> _Table[Submission]:
        students = {r.student for r in registrations.records()}

        def make(line: Line) -> Submission:
            identity, student = (line[ASSESSMENT],), line[STUDENT]
            if identity not in assessments.lines:
                raise line.bad(f"id_assessment {identity[0]} is not in {assessments.file}")
            if student not in students:
                raise line.bad(f"id_student {student} is not in {registrations.file}")
            _, assessment = assessments.lines[identity]
            return Submission(assessment, student, line[SUBMITTED], line[BANKED] == "1", line[SCORE])

        table = self._table(_SUBMISSIONS, [ASSESSMENT, STUDENT], [SUBMITTED, BANKED, SCORE], make)
        self._problems.refuse_if_any()
        return table

    def _known(self, line: Line) -> Presentation:
        key = line[MODULE], line[CODE]
        if key not in self._presentations:
            raise line.bad(f"presentation {' '.join(key)} is not in {self._paths['courses'].name}")
        return self._presentations[key]


def _presentation(line: Line) -> Presentation:
    return Presentation(line[MODULE], line[CODE], line[LENGTH])


def _repeated(line: Line, key: Columns, identity: Key, first: int) -> BadLineError:
    names = ", ".join(column.name for column in key)
    return line.bad(f"{names} {' '.join(map(str, identity))} is already on line {first}")


def _check_same_learners(table: _Table[Any], other: _Table[Any], problems: Problems) -> None:
    for (module, code, student), (number, _) in table.lines.items():
        if (module, code, student) not in other.lines:
            learner = f"id_student {student} of {module} {code}"
            problems.add(f"{table.file}, line {number}: {learner} is not in {other.file}.")


def _find_files(folder: Path, files: Sequence[str], problems: Problems) -> dict[str, Path]:
    if not folder.is_dir():
        raise ImportFailed(f"There is no folder {str(folder)!r}. Name the one that holds courses.csv(.gz).")
    paths = {}
    for stem in files:
        names = f"{stem}.csv", f"{stem}.csv.gz"
        found = [folder / name for name in names if (folder / name).exists()]
        if len(found) != 1:
            problems.add(
                f"{' and '.join(names)} are both there; keep one." if found else f"{names[0]} is missing."
            )
        paths[stem] = found[0] if found else folder / names[0]
    problems.refuse_if_any()
    return paths
