"""What is wrong with an input, gathered for the people who can correct it."""

from typing import NoReturn


class ImportFailed(Exception):  # noqa: N818 (it says that nothing happened, more than that something broke)
    """Nothing was loaded; the message says why and what to do next, and may quote the input."""


class Problems:
    """Collects what is wrong, so that people correct it in one go rather than line by line."""

    most = 20

    def __init__(self) -> None:
        self._found: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, problem: str) -> None:
        self._found.append(problem)
        if len(self._found) == self.most:
            self._refuse(f"Stopped at {self.most} problems; there may be more.")

    def refuse_if_any(self) -> None:
        if self:
            self._refuse()

    def _refuse(self, *last: str) -> NoReturn:
        advice = "Nothing was loaded. Correct this, then import again."
        raise ImportFailed("\n".join((*self._found, *last, advice)))


def shortened(text: str) -> str:
    """The text as people may be shown it: quoted, without control characters, not long."""
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
