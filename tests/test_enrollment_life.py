"""The whole life of an enrolment against a plain model of it: every act in any order, by anybody, while time passes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from tests import cast
from tests.databases import Database
from tests.people import put_on, signed_in

OPEN = {"pending", "active", "paused"}
MOVES = {
    "pending": {"active", "withdrawn", "expired"},
    "active": {"paused", "completed", "withdrawn", "expired"},
    "paused": {"active", "completed", "withdrawn", "expired"},
}

# Dates are hours from now, and never now: whole days and a half.
DATES = st.none() | st.integers(-4, 8).map(lambda days: days * 24 + 12)
STATES = st.sampled_from(sorted(OPEN | {"completed", "withdrawn", "expired"}))
OFTEN_OPEN = st.sampled_from(["active", "paused"] * 5 + ["pending", "completed", "withdrawn", "expired"])
PEOPLE = st.sampled_from(["learner", "admin"])
# Most acts on what is open already would only be refused.
ANYWAY = st.sampled_from([False] * 7 + [True])


class RefusedError(Exception):
    """By the model, with the SQLSTATE that the database should give."""


@dataclass(frozen=True)
class Attempt:
    status: str
    starts: int | None
    due: int | None
    expires: int | None
    original_due: int | None = None
    completed: bool = False

    @property
    def lapsed(self) -> bool:
        return self.status in OPEN and _has_come(self.expires)

    @property
    def overdue(self) -> bool:
        return self.status in OPEN and _has_come(self.due)


def _has_come(date: int | None) -> bool:
    return date is not None and date <= 0


def _in_order(attempt: Attempt) -> bool:
    dates = [date for date in (attempt.starts, attempt.due, attempt.expires) if date is not None]
    return dates == sorted(dates)


class Model:
    """What should become of one person's enrolments in one program."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    def enroll(self, who: str, starts: int | None, due: int | None, expires: int | None) -> None:
        latest = self.attempts[-1] if self.attempts else None
        if who == "learner":
            if {starts, due, expires} != {None}:
                raise RefusedError("PT403")
            if latest and (latest.lapsed or latest.status not in OPEN):
                had_dates = {latest.starts, latest.due, latest.expires} != {None}
                if latest.status == "expired" or had_dates:
                    raise RefusedError("PT412")
        if _has_come(expires):
            raise RefusedError("PT400")
        attempt = Attempt("pending" if starts and starts > 0 else "active", starts, due, expires)
        if not _in_order(attempt):
            raise RefusedError("23514")
        if latest and latest.status in OPEN:
            if not latest.lapsed:
                raise RefusedError("23505")
            self.attempts[-1] = replace(latest, status="expired")
        self.attempts.append(attempt)

    def update(self, who: str, number: int, changes: dict[str, Any], reason: str | None) -> None:
        if who == "learner":
            raise RefusedError("PT403")
        old = self.attempts[number]
        if changes.get("status") == old.status:
            raise RefusedError("PT412")
        self.attempts[number] = _moved(old, _redated(old, replace(old, **changes)), reason)

    def withdraw(self, number: int) -> None:
        if self.attempts[number].status not in OPEN:
            raise RefusedError("PT412")
        self.attempts[number] = replace(self.attempts[number], status="withdrawn")

    def advance(self) -> int:
        before = self.attempts
        self.attempts = [_advanced(attempt) for attempt in before]
        return sum(old != new for old, new in zip(before, self.attempts, strict=True))

    def pass_time(self, hours: int) -> None:
        def earlier(date: int | None) -> int | None:
            return None if date is None else date - hours

        self.attempts = [
            replace(
                a,
                starts=earlier(a.starts),
                due=earlier(a.due),
                expires=earlier(a.expires),
                original_due=earlier(a.original_due),
            )
            for a in self.attempts
        ]


def _redated(old: Attempt, new: Attempt) -> Attempt:
    if (old.starts, old.due, old.expires) == (new.starts, new.due, new.expires):
        return new
    if old.status not in OPEN:
        raise RefusedError("PT412")
    if new.due != old.due:
        first = old.due if old.original_due is None else old.original_due
        new = replace(new, original_due=first)
    if new.expires != old.expires and _has_come(new.expires):
        raise RefusedError("PT400")
    if new.starts != old.starts:
        if old.status != "pending":
            raise RefusedError("PT412")
        if new.status == "pending" and (new.starts is None or _has_come(new.starts)):
            new = replace(new, status="active")
    return new


def _moved(old: Attempt, new: Attempt, reason: str | None) -> Attempt:
    if new.status != old.status:
        if new.status not in MOVES.get(old.status, ()):
            raise RefusedError("PT412")
        if new.status == "active":
            if _has_come(new.expires):
                raise RefusedError("PT412")
            if new.starts is not None and new.starts > 0:
                new = replace(new, starts=0)
        if new.status == "completed":
            if not (reason or "").strip():
                raise RefusedError("PT400")
            new = replace(new, completed=True)
    if not _in_order(new):
        raise RefusedError("23514")
    return new


def _advanced(attempt: Attempt) -> Attempt:
    if attempt.lapsed:
        return replace(attempt, status="expired")
    if attempt.status == "pending" and _has_come(attempt.starts):
        return replace(attempt, status="active")
    return attempt


ATTEMPTS = """
select
    status, hours(starts_at), hours(due_at), hours(expires_at), hours(original_due_at), completed_at is not null,
    id, attempt, private.is_overdue(e), coalesce(completed_at = now(), true),
    (withdrawn_at is not null) = (status = 'withdrawn')
from public.program_enrollments as e
where program_id = %s and user_id = %s
order by attempt
"""
HOURS = """
create function pg_temp.hours(date timestamptz) returns integer volatile language sql
as 'select (extract(epoch from date - now()) / 3600)::integer'
"""
PASS_TIME = """
update public.program_enrollments
set starts_at = starts_at - %(time)s, due_at = due_at - %(time)s, expires_at = expires_at - %(time)s,
    original_due_at = original_due_at - %(time)s
where program_id = %(program)s
"""


class Life(RuleBasedStateMachine):
    """One transaction, in which now() stands still; time passes by moving all dates."""

    def __init__(self, connection: psycopg.Connection[TupleRow], claims: dict[str, str]) -> None:
        super().__init__()
        self.connection = connection
        self.claims = claims
        self.model = Model()
        self._transaction = connection.transaction(force_rollback=True)
        self._transaction.__enter__()

    def teardown(self) -> None:
        self._transaction.__exit__(None, None, None)

    @rule(who=PEOPLE, starts=DATES, due=DATES, expires=DATES, plain=st.booleans(), anyway=ANYWAY)
    def enroll(
        self, who: str, starts: int | None, due: int | None, expires: int | None, plain: bool, anyway: bool
    ) -> None:
        latest = self.model.attempts[-1] if self.model.attempts else None
        if latest and latest.status in OPEN and not latest.lapsed and not anyway:
            return
        if plain:
            starts = due = expires = None
        given = {"starts_at": starts, "due_at": due, "expires_at": expires}
        self._both(
            lambda: self.model.enroll(who, starts, due, expires),
            lambda: self._call(
                who, "enroll", program_id=cast.OPEN_TO_ALL, user_id=cast.LEARNER.id, **self._dated(given)
            ),
        )

    @rule(
        who=st.sampled_from(["learner", "admin", "admin", "admin"]),
        which=st.integers(0, 3),
        changes=st.fixed_dictionaries(
            {}, optional={"status": STATES, "starts": DATES, "due": DATES, "expires": DATES}
        ),
        reason=st.sampled_from([None, "", " \t", "An exam elsewhere"]),
    )
    def change(self, who: str, which: int, changes: dict[str, Any], reason: str | None) -> None:
        self._change(who, which, changes, reason)

    def _change(self, who: str, which: int, changes: dict[str, Any], reason: str | None) -> None:
        if not self.model.attempts:
            return
        number = -1 - which % len(self.model.attempts)
        dates = {f"{name}_at": value for name, value in changes.items() if name != "status"}
        given = {"status": changes["status"]} if "status" in changes else {}
        enrollment = self._rows()[number][6]
        self._both(
            lambda: self.model.update(who, number, changes, reason),
            lambda: self._call(
                who, "update_enrollment", id=enrollment, reason=reason, **given, **self._dated(dates)
            ),
        )

    @rule(status=OFTEN_OPEN, reason=st.sampled_from([None, "Ill"]))
    def change_status(self, status: str, reason: str | None) -> None:
        self._change("admin", 0, {"status": status}, reason)

    @rule(name=st.sampled_from(["starts", "due", "expires"]), dates=st.lists(DATES, min_size=1, max_size=3))
    def change_date(self, name: str, dates: list[int | None]) -> None:
        for date in dates:
            self._change("admin", 0, {name: date}, None)

    @rule(who=PEOPLE)
    def withdraw(self, who: str) -> None:
        if self.model.attempts:
            enrollment = self._rows()[-1][6]
            self._both(
                lambda: self.model.withdraw(-1), lambda: self._call(who, "withdraw_enrollment", id=enrollment)
            )

    @rule(hours=st.sampled_from([24, 72]), runs=st.integers(0, 2))
    def time_passes(self, hours: int, runs: int) -> None:
        self.model.pass_time(hours)
        self._become_nobody()
        self.connection.execute("set local session_replication_role = replica")
        values = {"time": f"{hours} hours", "program": cast.OPEN_TO_ALL}
        self.connection.execute(PASS_TIME.replace("%(time)s", "%(time)s::interval"), values)
        self.connection.execute("set local session_replication_role = origin")
        for _ in range(runs):
            put_on(self.connection, "gym_worker", "")
            clock = "select private.advance_enrollments(%s, 100)"
            (moved,) = self.connection.execute(clock, [cast.ALPHA]).fetchone() or ()
            assert moved == self.model.advance()

    @invariant()
    def the_database_has_what_the_model_says(self) -> None:
        rows = self._rows()
        assert [Attempt(*row[:6]) for row in rows] == self.model.attempts
        assert [row[7] for row in rows] == list(range(1, len(rows) + 1))
        assert [row[8] for row in rows] == [attempt.overdue for attempt in self.model.attempts]
        assert all(row[9] and row[10] for row in rows)
        assert sum(attempt.status in OPEN for attempt in self.model.attempts) <= 1

    def _both(self, by_model: Any, by_database: Any) -> None:
        before, expected = list(self.model.attempts), ""
        try:
            by_model()
        except RefusedError as refused:
            self.model.attempts, expected = before, str(refused)
        assert self._outcome(by_database) == expected

    def _outcome(self, act: Any) -> str:
        try:
            with self.connection.transaction():
                act()
        except psycopg.Error as error:
            return error.sqlstate or ""
        return ""

    def _call(self, who: str, function: str, **given: Any) -> None:
        put_on(self.connection, "authenticated", self.claims[who])
        texts = {name: value if value is None else str(value) for name, value in given.items()}
        self.connection.execute(f"select public.{function}(%s)", (Jsonb(texts),))

    def _dated(self, hours: dict[str, int | None]) -> dict[str, Any]:
        """The dates as texts; those of enrolments are kept to the microsecond, so this must be exact."""
        self._become_nobody()
        query = "select (now() + make_interval(hours => %s))::text"
        return {
            name: value if value is None else self.connection.execute(query, (value,)).fetchall()[0][0]
            for name, value in hours.items()
        }

    def _rows(self) -> list[TupleRow]:
        self._become_nobody()
        query = ATTEMPTS.replace("hours(", "pg_temp.hours(")
        return self.connection.execute(query, (cast.OPEN_TO_ALL, cast.LEARNER.id)).fetchall()

    def _become_nobody(self) -> None:
        put_on(self.connection, "supabase_admin", "")


@contextmanager
def superuser(database: Database) -> Iterator[psycopg.Connection[TupleRow]]:
    with psycopg.connect(database.dsn("supabase_admin"), autocommit=True) as connection:
        connection.execute(HOURS)
        yield connection


def test_the_life_of_an_enrolment(shared_database: Database) -> None:
    claims = {
        who: signed_in(shared_database, character).claims_text
        for who, character in (("learner", cast.LEARNER), ("admin", cast.ADMIN))
    }
    with superuser(shared_database) as connection:

        class LifeHere(Life):
            def __init__(self) -> None:
                super().__init__(connection, claims)

        run_state_machine_as_test(
            LifeHere,
            settings=settings(
                max_examples=60,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_only_the_worker_turns_the_clock(shared_database: Database) -> None:
    for role in ("anon", "authenticated", "service_role", "gym_api"):
        with shared_database.connect("supabase_admin") as connection:
            put_on(connection, role, "")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select private.advance_enrollments(%s, 1)", [cast.ALPHA])
