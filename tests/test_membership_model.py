"""Invitations and memberships against a plain model: whatever people try in whichever order, both agree."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from tests import cast
from tests.cast import ALPHA, Character
from tests.databases import Database
from tests.people import put_on, signed_in

PEOPLE = (cast.ADMIN, cast.LEARNER, cast.PEER, cast.NEWCOMER)
ROLES = ("end_user", "community_admin")
DONE, FORBIDDEN, NOT_FOUND, CONFLICT, FAILED_PRECONDITION = "", "PT403", "PT404", "PT409", "PT412"


@dataclass(frozen=True)
class Step:
    act: str
    actor: Character
    target: Character
    role: str


@dataclass
class Model:
    """Of Alpha: who is a member in which state and role, and who is invited in which role."""

    members: dict[Character, tuple[str, str]] = field(
        default_factory=lambda: {
            cast.ADMIN: ("active", "community_admin"),
            cast.LEARNER: ("active", "end_user"),
            cast.PEER: ("active", "end_user"),
        }
    )
    invited: dict[Character, str] = field(default_factory=lambda: {cast.NEWCOMER: "end_user"})

    def take(self, step: Step) -> str:
        """Takes the step, or says with which code it is refused."""
        if step.act in ("accept_invitation", "decline_invitation"):
            return self._answer(step.actor, accepts=step.act == "accept_invitation")
        if step.act == "leave_community":
            return self._end(step.actor, "left") if self._status(step.actor) == "active" else FORBIDDEN
        if self.members.get(step.actor) != ("active", "community_admin"):
            return FORBIDDEN
        if step.act == "invite_member":
            return self._invite(step.target, step.role)
        if step.act == "revoke_invitation":
            return NOT_FOUND if self.invited.pop(step.target, None) is None else DONE
        return self._change(step) if step.target in self.members else NOT_FOUND

    def _status(self, person: Character) -> str | None:
        return self.members.get(person, (None, None))[0]

    def _answer(self, person: Character, *, accepts: bool) -> str:
        role = self.invited.pop(person, None)
        if role is None:
            return NOT_FOUND
        if accepts:
            self.members[person] = ("active", role)
        return DONE

    def _invite(self, person: Character, role: str) -> str:
        refusal = {"active": CONFLICT, "suspended": FAILED_PRECONDITION}.get(self._status(person) or "", DONE)
        if not refusal:
            self.invited[person] = role
        return refusal

    def _change(self, step: Step) -> str:
        status, role = self.members[step.target]
        match step.act, status:
            case ("suspend_member", "active"):
                return self._end(step.target, "suspended")
            case ("reinstate_member", "suspended"):
                return self._set(step.target, "active", role)
            case ("remove_member", "active" | "suspended"):
                return self._end(step.target, "left")
            case ("change_member_role", "active" | "suspended"):
                if role != step.role and self._is_last_admin(step.target):
                    return FAILED_PRECONDITION
                return self._set(step.target, status, step.role)
            case ("change_member_role", "left") if role == step.role:
                return DONE
        return FAILED_PRECONDITION

    def _end(self, person: Character, status: str) -> str:
        if self._is_last_admin(person):
            return FAILED_PRECONDITION
        return self._set(person, status, self.members[person][1])

    def _set(self, person: Character, status: str, role: str) -> str:
        self.members[person] = (status, role)
        return DONE

    def _is_last_admin(self, person: Character) -> bool:
        return [p for p, m in self.members.items() if m == ("active", "community_admin")] == [person]


ACTS = (
    *("invite_member", "revoke_invitation", "accept_invitation", "decline_invitation"),
    *("change_member_role", "suspend_member", "reinstate_member", "remove_member", "leave_community"),
)
# The admin acts more often than others, who are mostly refused.
ACTORS = (cast.ADMIN, cast.ADMIN, *PEOPLE)
STEPS = st.lists(
    st.builds(
        Step, st.sampled_from(ACTS), st.sampled_from(ACTORS), st.sampled_from(PEOPLE), st.sampled_from(ROLES)
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_the_database_and_the_model_agree(shared_database: Database, steps: list[Step]) -> None:
    model = Model()
    with nothing_kept(shared_database) as connection:
        for step in steps:
            assert carried_out(connection, shared_database, step) == model.take(step), step
            assert stored(connection) == (model.members, model.invited), step
            assert ("active", "community_admin") in model.members.values()


@contextmanager
def nothing_kept(database: Database) -> Iterator[psycopg.Connection[TupleRow]]:
    with database.connect() as connection, connection.transaction(force_rollback=True):
        others = "delete from public.memberships where community_id = %s and user_id <> all(%s)"
        connection.execute(others, (ALPHA, [person.id for person in PEOPLE]))
        yield connection


def carried_out(connection: psycopg.Connection[TupleRow], database: Database, step: Step) -> str:
    """The code that it is refused with; empty when it is done."""
    value = Jsonb(_input(connection, step))
    acting = signed_in(database, step.actor).claiming(app_metadata={"community_id": str(ALPHA)})
    try:
        with connection.transaction():
            put_on(connection, "authenticated", acting.claims_text)
            connection.execute(f"select public.{step.act}(%s)", (value,))
    except psycopg.Error as error:
        return str(error.sqlstate)
    finally:
        put_on(connection, "postgres", "")
    return DONE


def _input(connection: psycopg.Connection[TupleRow], step: Step) -> dict[str, str | None]:
    if step.act == "leave_community":
        return {}
    whose = step.target if step.act == "revoke_invitation" else step.actor
    if step.act.endswith("_invitation"):
        found = connection.execute(
            "select id from public.invitations where community_id = %s and email = %s", (ALPHA, whose.email)
        ).fetchone()
        return {"id": str(found[0] if found else ALPHA)}
    name = {"email": step.target.email, "display_name": step.target.name}
    if step.act == "invite_member":
        return {**name, "role": step.role}
    reason = {"reason": "Spam"} if step.act == "suspend_member" else {}
    return {"user_id": str(step.target.id), "role": step.role, **reason}


def stored(
    connection: psycopg.Connection[TupleRow],
) -> tuple[dict[Character, tuple[str, str]], dict[Character, str]]:
    members = connection.execute(
        "select user_id, status, role from public.memberships where community_id = %s", (ALPHA,)
    ).fetchall()
    invited = connection.execute(
        "select email, role from public.invitations where community_id = %s", (ALPHA,)
    ).fetchall()
    by_id = {person.id: person for person in PEOPLE}
    by_email = {person.email: person for person in PEOPLE}
    return (
        {by_id[user]: (status, role) for user, status, role in members},
        {by_email[email]: role for email, role in invited},
    )
