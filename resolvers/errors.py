"""The errors clients see: one code each, and the faces of the database's refusals.

`docs/errors.md` lists the codes and the constraints; tests keep it, this file and the catalog equal.
"""

import json
import re
from ast import literal_eval
from typing import Any, Literal, NamedTuple

import structlog
from graphql import GraphQLError

from resolvers.logs import current_request_id, new_request_id

Code = Literal[
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "NOT_FOUND",
    "BAD_USER_INPUT",
    "CONFLICT",
    "FAILED_PRECONDITION",
    "LIMIT_EXCEEDED",
    "TIMEOUT",
    "UNAVAILABLE",
    "INTERNAL",
]

LONGEST_MESSAGE = 500

log = structlog.get_logger(__name__)

# Where graphql-core says which variable is wrong, and which part of it.
_OF_VARIABLE = re.compile(
    r"Variable '\$(?P<name>\w+)' (?:has invalid value(?: at (?P<place>[\w.\[\]]+?))?:?|of type \S+ used in position) "
)
_ABSENT = re.compile(r" to include required field '(\w+)', found: ")
_REQUIRED_ARGUMENT = re.compile(r"Argument '\w+\.\w+\((\w+):\)' of type \S+ is required")
# What it found there, as Python writes it.
_FOUND = re.compile(r"(?P<before>[,;]? ?(?:found|value): )(?P<found>.+?)(?P<after>\.?)$", re.DOTALL)


class ApiError(Exception):
    """An error that a client may read: its code, and a message that says what to do next."""

    def __init__(self, code: Code, message: str, **extensions: Any) -> None:
        super().__init__(message)
        self.code: Code = code
        self.message = message
        self.extensions: dict[str, Any] = {"code": code, **extensions}


class Refusal(Exception):  # noqa: N818 - what the database said, not yet an error of ours
    """A statement that Postgres did not carry out; `index` is its place in the request."""

    def __init__(
        self, index: int, sqlstate: str, message: str, constraint: str | None, column: str | None
    ) -> None:
        super().__init__(f"{sqlstate}: {message}")
        self.index = index
        self.sqlstate = sqlstate
        self.message = message
        self.constraint = constraint
        self.column = column


class Face(NamedTuple):
    """How a broken constraint is shown."""

    code: Code
    message: str
    field: str | None = None


# Asked first: the constraint that a client can break, by name.
CONSTRAINTS: dict[str, Face] = {
    "communities_slug_unique": Face(
        "CONFLICT", "There is a community with this slug already. Choose another.", "slug"
    ),
    "communities_slug_format": Face(
        "BAD_USER_INPUT", "A slug has 1 to 63 of a-z, 0-9 and -, and begins and ends with no hyphen.", "slug"
    ),
    "communities_name_not_blank": Face(
        "BAD_USER_INPUT", "The name is blank. Give the community a name.", "name"
    ),
    "communities_name_length": Face("BAD_USER_INPUT", "The name is longer than 200 characters.", "name"),
    "memberships_suspension_reason_not_blank": Face(
        "BAD_USER_INPUT", "The reason is blank. Say why the membership is suspended.", "reason"
    ),
    "memberships_suspension_reason_length": Face(
        "BAD_USER_INPUT", "The reason is longer than 500 characters.", "reason"
    ),
    "invitations_email_format": Face(
        "BAD_USER_INPUT", "This is no e-mail address: it has no name, no @ or no domain.", "email"
    ),
    "invitations_email_length": Face(
        "BAD_USER_INPUT", "An e-mail address has at most 254 characters.", "email"
    ),
    "invitations_display_name_not_blank": Face(
        "BAD_USER_INPUT", "The display name is blank. Give the person a name.", "displayName"
    ),
    "invitations_display_name_length": Face(
        "BAD_USER_INPUT", "The display name is longer than 200 characters.", "displayName"
    ),
    "programs_title_not_blank": Face(
        "BAD_USER_INPUT", "The title is blank. Give the program a title.", "title"
    ),
    "programs_title_length": Face("BAD_USER_INPUT", "The title is longer than 200 characters.", "title"),
    "programs_description_length": Face(
        "BAD_USER_INPUT", "The description is longer than 10,000 characters.", "description"
    ),
    "programs_duration_range": Face("BAD_USER_INPUT", "The duration can be 1 to 520 weeks.", "durationWeeks"),
    "courses_title_not_blank": Face(
        "BAD_USER_INPUT", "The title is blank. Give the course a title.", "title"
    ),
    "courses_title_length": Face("BAD_USER_INPUT", "The title is longer than 200 characters.", "title"),
    "courses_description_length": Face(
        "BAD_USER_INPUT", "The description is longer than 10,000 characters.", "description"
    ),
    "program_course_assignments_course_once": Face(
        "BAD_USER_INPUT", "A course can be in a program only once.", "courses"
    ),
    "program_course_assignments_place_once": Face(
        "CONFLICT",
        "Somebody else changed the courses at the same moment. Read them again and repeat.",
        "courses",
    ),
    "program_course_assignments_order_range": Face(
        "BAD_USER_INPUT", "A program has at most 200 courses.", "courses"
    ),
    "program_course_assignments_group_not_blank": Face(
        "BAD_USER_INPUT", "A group has a blank name. Give it one, or leave it out.", "courses"
    ),
    "program_course_assignments_group_length": Face(
        "BAD_USER_INPUT", "The name of a group is longer than 100 characters.", "courses"
    ),
    "program_course_assignments_program_exists": Face(
        "NOT_FOUND", "There is no program with this id in your community."
    ),
    "program_course_assignments_course_exists": Face(
        "NOT_FOUND", "There is no course with this id in your community.", "courses"
    ),
    "program_course_assignments_version_exists": Face(
        "NOT_FOUND", "There is no such version of the program. Begin it first."
    ),
    "program_course_groups_pkey": Face("CONFLICT", "The program has a group of this name already.", "groups"),
    "program_course_groups_version_exists": Face(
        "NOT_FOUND", "There is no such version of a program in your community."
    ),
    "program_course_groups_name_not_blank": Face(
        "BAD_USER_INPUT", "A group has a blank name. Give it one, or leave it out.", "groups"
    ),
    "program_course_groups_name_length": Face(
        "BAD_USER_INPUT", "The name of a group is longer than 100 characters.", "groups"
    ),
    "program_course_groups_at_least_range": Face(
        "BAD_USER_INPUT", "A group can ask for 1 to 200 of its courses.", "groups"
    ),
    "program_course_prerequisites_pkey": Face("CONFLICT", "This prerequisite is there already.", "courses"),
    "program_course_prerequisites_course_exists": Face(
        "NOT_FOUND", "The course is not in this version of the program. Add it first.", "courses"
    ),
    "program_course_prerequisites_prerequisite_exists": Face(
        "NOT_FOUND", "The prerequisite is not in this version of the program. Add it first.", "courses"
    ),
    "program_versions_pkey": Face(
        "CONFLICT",
        "Somebody else has begun this version at the same moment. Read the program again and repeat.",
    ),
    "program_versions_program_exists": Face(
        "NOT_FOUND", "There is no program with this id in your community."
    ),
    "enrollment_moves_enrollment_exists": Face(
        "NOT_FOUND", "There is no enrolment with this id in your community."
    ),
    "enrollment_moves_forward": Face(
        "BAD_USER_INPUT", "Enrolments go forward only. Name a later version.", "toVersion"
    ),
    "enrollment_moves_mode_known": Face(
        "BAD_USER_INPUT", "The mode is keep, carry_over or require_new.", "mode"
    ),
    "enrollment_moves_reason_not_blank": Face(
        "BAD_USER_INPUT", "The reason is blank. Say why, for those who ask later.", "reason"
    ),
    "enrollment_moves_reason_length": Face(
        "BAD_USER_INPUT", "The reason is longer than 1,000 characters.", "reason"
    ),
    "program_enrollments_one_open": Face(
        "CONFLICT",
        "This person already has an open enrolment in the program. Withdraw it first, or go on with it.",
    ),
    "program_enrollments_attempt_once": Face(
        "CONFLICT",
        "This person was enrolled in the program at the same moment. Read the enrolment and go on with it.",
    ),
    "program_enrollments_member_exists": Face(
        "NOT_FOUND", "This person is not a member of your community. Invite them first."
    ),
    "program_enrollments_program_exists": Face(
        "NOT_FOUND", "There is no program with this id in your community."
    ),
    "program_enrollments_due_at_sane": Face(
        "BAD_USER_INPUT", "dueAt can be from 1970-01-01 to 9999-12-31, both at 00:00 UTC.", "dueAt"
    ),
    "program_enrollments_starts_at_sane": Face(
        "BAD_USER_INPUT", "startsAt can be from 1970-01-01 to 9999-12-31, both at 00:00 UTC.", "startsAt"
    ),
    "program_enrollments_expires_at_sane": Face(
        "BAD_USER_INPUT", "expiresAt can be from 1970-01-01 to 9999-12-31, both at 00:00 UTC.", "expiresAt"
    ),
    "program_enrollments_dates_in_order": Face(
        "BAD_USER_INPUT", "Of startsAt, dueAt and expiresAt, none can be before the one named before it."
    ),
    "program_enrollments_cohort_exists": Face(
        "NOT_FOUND", "There is no cohort with this id in this program.", "cohortId"
    ),
    "cohorts_program_exists": Face("NOT_FOUND", "There is no program with this id in your community."),
    "cohorts_name_once": Face(
        "CONFLICT", "The program has a cohort with this name already. Give it another one.", "name"
    ),
    "cohorts_name_not_blank": Face("BAD_USER_INPUT", "The name is blank. Give the cohort a name.", "name"),
    "cohorts_name_length": Face("BAD_USER_INPUT", "The name is longer than 200 characters.", "name"),
    "cohorts_starts_at_sane": Face(
        "BAD_USER_INPUT", "startsAt can be from 1970-01-01 to 9999-12-31, both at 00:00 UTC.", "startsAt"
    ),
    "cohorts_due_at_sane": Face(
        "BAD_USER_INPUT", "dueAt can be from 1970-01-01 to 9999-12-31, both at 00:00 UTC.", "dueAt"
    ),
    "cohorts_expires_at_sane": Face(
        "BAD_USER_INPUT", "expiresAt can be from 1970-01-01 to 9999-12-31, both at 00:00 UTC.", "expiresAt"
    ),
    "cohorts_dates_in_order": Face(
        "BAD_USER_INPUT", "Of startsAt, dueAt and expiresAt, none can be before the one named before it."
    ),
    "completion_overrides_reason_length": Face(
        "BAD_USER_INPUT", "The reason is longer than 1,000 characters.", "reason"
    ),
    "course_attempts_reason_length": Face(
        "BAD_USER_INPUT", "The reason is longer than 1,000 characters.", "reason"
    ),
    "course_attempts_attempt_range": Face(
        "FAILED_PRECONDITION", "This was reset 999 times. There are no further attempts."
    ),
}

# Asked next: functions that raise with PostgREST's convention, 'PT' and an HTTP status. Their message is for clients.
RAISED: dict[str, Code] = {
    "PT400": "BAD_USER_INPUT",
    "PT403": "FORBIDDEN",
    "PT404": "NOT_FOUND",
    "PT409": "CONFLICT",
    "PT412": "FAILED_PRECONDITION",
}

# Asked last: Postgres's own SQLSTATEs, with our words.
SQLSTATES: dict[str, Face] = {
    "42501": Face("FORBIDDEN", "You may not do this in your community. Ask one of its admins."),
    "23505": Face("CONFLICT", "This exists already."),
    "23503": Face("NOT_FOUND", "This names something that is not in your community. Check its id."),
    "23001": Face("FAILED_PRECONDITION", "Something else still needs this. Remove that first."),
    "23514": Face("BAD_USER_INPUT", "A value is outside what is allowed."),
    "23P01": Face("CONFLICT", "This overlaps with something that exists already."),
    "22P02": Face("BAD_USER_INPUT", "A value has the wrong form for its type."),
    "22003": Face("BAD_USER_INPUT", "A number is out of range."),
    "22007": Face("BAD_USER_INPUT", "A date has the wrong form."),
    "22008": Face("BAD_USER_INPUT", "A date is out of range."),
    "22021": Face("BAD_USER_INPUT", "A text holds characters that cannot be stored."),
    "22P05": Face("BAD_USER_INPUT", "A text holds characters that cannot be stored."),
    "40001": Face("CONFLICT", "Somebody else changed this at the same moment. Repeat the request."),
    "40P01": Face("CONFLICT", "Somebody else changed this at the same moment. Repeat the request."),
    "55P03": Face("CONFLICT", "Somebody else is changing this right now. Repeat the request."),
    "57014": Face("TIMEOUT", "The database took too long and was stopped. Ask for less at once."),
    "53100": Face("UNAVAILABLE", "The database has no room left for writes. Try again later."),
    "53300": Face("UNAVAILABLE", "The database has no connection free. Try again in a moment."),
    "57P01": Face("UNAVAILABLE", "The database is restarting. Try again in a moment."),
    "57P03": Face("UNAVAILABLE", "The database is starting. Try again in a moment."),
}


def face_of(refusal: Refusal, *, signed_in: bool) -> ApiError:
    """The error that a client sees for what the database refused."""
    if refusal.constraint in CONSTRAINTS:
        code, message, name = CONSTRAINTS[refusal.constraint]
        name = name or refusal.column
        return ApiError(code, message, **({"field": name} if name else {}))
    if refusal.sqlstate in RAISED:
        extra = {"field": refusal.column} if refusal.column else {}
        return ApiError(RAISED[refusal.sqlstate], refusal.message, **extra)
    if refusal.sqlstate == "42501" and not signed_in:
        return ApiError("UNAUTHENTICATED", "Sign in first: send `Authorization: Bearer <access token>`.")
    if refusal.sqlstate == "23502" and refusal.column:
        name = camel_case(refusal.column)
        return ApiError(
            "BAD_USER_INPUT", f"{name} cannot be null. Give it a value, or leave it out.", field=name
        )
    if refusal.sqlstate in SQLSTATES:
        return ApiError(*SQLSTATES[refusal.sqlstate][:2])
    return internal(refusal)


def camel_case(name: str) -> str:
    """`duration_weeks` to `durationWeeks`."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def internal(cause: BaseException) -> ApiError:
    """The error for what should not happen: the cause goes to the log, an id for finding it to the client."""
    request_id = current_request_id() or new_request_id()
    if isinstance(cause, Refusal):
        log.error("refused", sqlstate=cause.sqlstate, constraint=cause.constraint, message=cause.message)
    else:
        log.error("failed", exc_info=cause)
    return ApiError(
        "INTERNAL",
        "Something went wrong on the server. Report the request id if it stays.",
        requestId=request_id,
    )


def shortened(message: str) -> str:
    """A message without the bulk of what it quotes, in whole characters: graphql-core repeats names as they are."""
    message = message.encode(errors="backslashreplace").decode()
    return message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…"


def formatted(error: ApiError | GraphQLError, path: list[str | int] | None = None) -> dict[str, Any]:
    """An error as it stands in an answer. A GraphQLError is one that graphql-core found in the request."""
    if isinstance(error, ApiError):
        return {"message": error.message, **({"path": path} if path else {}), "extensions": error.extensions}
    extensions = {"code": "BAD_USER_INPUT"}
    name = _field_of(error)
    if name:
        extensions["field"] = shortened(name)
    shown: dict[str, Any] = {
        "message": shortened(_in_words_of_clients(error.message)),
        "extensions": extensions,
    }
    if error.locations:
        shown["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    return shown


def _field_of(error: GraphQLError) -> str | None:
    """What is wrong in the input: the place in a variable, the variable, or where validation found it in a document."""
    absent = _ABSENT.search(error.message)
    variable = _OF_VARIABLE.match(error.message)
    required = _REQUIRED_ARGUMENT.match(error.message)
    if variable:
        whole, place = (
            variable["name"],
            re.sub(r"\[(\d+)\]", r".\1", variable["place"] or "").removeprefix("."),
        )
    elif required:
        whole, place = required[1], ""
    else:
        whole, place = (error.extensions or {}).get("place", ("", ""))
    inside = [part for part in (place, absent and absent[1]) if part]
    # What is an object is not named before what is in it, as `input`; a list has no names in it.
    if not inside or inside[0][0].isdigit():
        inside.insert(0, whole)
    return ".".join(inside) or None


def _in_words_of_clients(message: str) -> str:
    """What graphql-core says, with values as JSON has them."""
    # Its hints are off where they name parts of the schema; this one would be the last.
    message = message.split(" Did you mean ")[0].replace(" not to be None.", " not to be null.")
    variable = _OF_VARIABLE.match(message)
    found = _FOUND.search(message, variable.end() - 1) if variable else None
    if found is None:
        return message
    try:
        # It leaves out what is deep or long, and writes dots there.
        value = json.dumps(literal_eval(found["found"]), default=lambda _: "…", ensure_ascii=False)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return f"{message[: found.start()]}."
    return f"{message[: found.start()]}{found['before']}{value}{found['after']}"
