"""The errors clients see: one code each, and what the database's refusals are called.

The codes and their meanings are listed in `docs/errors.md`; a test keeps the two equal.
"""

from typing import Any, Literal

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


class ApiError(Exception):
    """An error that a client may read: its code, and a message that says what to do next."""

    def __init__(self, code: Code, message: str, **extensions: Any) -> None:
        super().__init__(message)
        self.code: Code = code
        self.message = message
        self.extensions: dict[str, Any] = {"code": code, **extensions}
