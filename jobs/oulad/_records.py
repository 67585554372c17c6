"""The columns that the files of the data set must have, and the records that their lines make."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from jobs.oulad._columns import matching, one_of, optional, whole

_MOST_DAYS = 3640  # 520 weeks, the longest that a program may be planned for
_MOST_ID = 10**12

EXAM = "Exam"

MODULE = matching("code_module", r"[A-Z0-9]{1,20}", "a module code such as AAA")
CODE = matching(
    "code_presentation", r"(19[89]|20\d)\d[BJ]", "a year from 1980 to 2099 with B or J, such as 2013J"
)
LENGTH = whole("module_presentation_length", 1, _MOST_DAYS)
ASSESSMENT = whole("id_assessment", 0, _MOST_ID)
TYPE = one_of("assessment_type", "TMA", "CMA", EXAM)
DATE = optional(whole("date", -_MOST_DAYS, _MOST_DAYS))
WEIGHT = matching(
    "weight", r"100(\.0{1,3})?|\d{1,2}(\.\d{1,3})?", "a percentage from 0 to 100, with at most 3 decimals"
)
SITE = whole("id_site", 0, _MOST_ID)
ACTIVITY = matching("activity_type", r"[A-Za-z][A-Za-z0-9 _-]{0,49}", "a type of activity such as resource")
STUDENT = whole("id_student", 0, _MOST_ID)
RESULT = one_of("final_result", "Pass", "Fail", "Withdrawn", "Distinction")
REGISTERED = optional(whole("date_registration", -_MOST_DAYS, _MOST_DAYS))
UNREGISTERED = optional(whole("date_unregistration", -_MOST_DAYS, _MOST_DAYS))
SUBMITTED = whole("date_submitted", -_MOST_DAYS, _MOST_DAYS)
BANKED = one_of("is_banked", "0", "1")
SCORE = optional(
    matching(
        "score", r"100(\.0{1,3})?|\d{1,2}(\.\d{1,3})?", "a number from 0 to 100, with at most 3 decimals"
    )
)


class Presentation(NamedTuple):
    """One run of a module. Dates in the files are days from its start: 1 February (B) or 1 October (J)."""

    module: str
    code: str
    length: int

    def day(self, number: int) -> datetime:
        month = 2 if self.code.endswith("B") else 10
        return datetime(int(self.code[:4]), month, 1, tzinfo=UTC) + timedelta(days=number)


class Assessment(NamedTuple):
    presentation: Presentation
    id: int
    type: str
    date: int | None
    weight: Decimal


class Resource(NamedTuple):
    presentation: Presentation
    id: int
    activity_type: str


class Registration(NamedTuple):
    presentation: Presentation
    student: int
    registered: int | None
    unregistered: int | None
    result: str

    @property
    def enrolled_at(self) -> datetime:
        return self.presentation.day(self.registered or 0)

    @property
    def withdrawn_at(self) -> datetime | None:
        return None if self.unregistered is None else self.presentation.day(self.unregistered)


class Submission(NamedTuple):
    """What somebody handed in, once an assessment."""

    assessment: Assessment
    student: int
    submitted: int
    banked: bool
    score: str | None

    @property
    def submitted_at(self) -> datetime:
        return self.assessment.presentation.day(self.submitted)


@dataclass(frozen=True)
class Folder:
    """All that is taken from a folder. Demographics are never read."""

    presentations: list[Presentation]
    assessments: list[Assessment]
    resources: list[Resource]
    registrations: list[Registration]
    submissions: list[Submission]
    rows_read: dict[str, int]
