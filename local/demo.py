"""The demo, loaded once: real data in two communities, and somebody of each kind to sign in as."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from uuid import NAMESPACE_DNS, UUID, uuid5

import psycopg
from psycopg.rows import TupleRow

from local.users import create_user

Connection: TypeAlias = psycopg.Connection[TupleRow]

SAMPLE = Path(__file__).with_suffix("")
DEMO_PASSWORD = "demo-password"  # noqa: S105 (printed at every start; these users exist on this machine only)

_FIRST, _SECOND = "oulad-bbb", "oulad-ddd"


@dataclass(frozen=True)
class _Person:
    """Somebody to sign in as. Without a role they are a member of nothing."""

    email: str
    name: str
    community: str
    role: str | None

    @property
    def id(self) -> UUID:
        return uuid5(NAMESPACE_DNS, self.email)


_LEARNER = _Person("learner@demo.test", "Lena Learner", _FIRST, "end_user")
_ADMIN = _Person("admin@demo.test", "Adam Admin", _FIRST, "community_admin")
_OTHER_ADMIN = _Person("other-admin@demo.test", "Olga Admin", _SECOND, "community_admin")
_SUPER_ADMIN = _Person("super@demo.test", "Sue Super", _FIRST, None)
_PEOPLE = (_LEARNER, _ADMIN, _OTHER_ADMIN, _SUPER_ADMIN)

# Who they are, by what they sign in with.
SIGN_INS = {
    _LEARNER.email: "learner in Open University BBB",
    _ADMIN.email: "admin of Open University BBB",
    _OTHER_ADMIN.email: "admin of Open University DDD",
    _SUPER_ADMIN.email: "super admin, acting in Open University BBB",
}

_ADD_MEMBER = """
    insert into public.memberships (community_id, user_id, display_name, role)
    select id, %s, %s, %s from public.communities where slug = %s
    on conflict (community_id, user_id) do nothing
"""
# "not exists" and no "on conflict": the trigger would take it for a further attempt first.
_ENROLL = """
    insert into public.program_enrollments (community_id, program_id, user_id)
    select p.community_id, p.id, %(user_id)s
    from public.programs as p
    join public.communities as c on c.id = p.community_id
    where c.slug = %(community)s and p.status = 'published' and not exists (
        select from public.program_enrollments as e
        where e.community_id = p.community_id and e.program_id = p.id and e.user_id = %(user_id)s
    )
"""
# As if a client had told it: the first pieces of coursework, and half of the next one.
_RECORD = """
    select private.record_events(e.community_id, (
        select jsonb_agg(jsonb_build_object(
            'user_id', e.user_id, 'event_id', md5(b.id::text || e.user_id)::uuid, 'block_id', b.id,
            'value', told.value, 'score', told.score, 'occurred_at', now() - told.ago
        ))
        from (
            values (1, 1.0, 72, interval '12 days'), (2, 1.0, 85, interval '5 days'), (3, 0.5, null, interval '1 hour')
        ) as told (nth, value, score, ago)
        join (
            select b.id, row_number() over (order by b.position) as nth
            from public.courses as c
            join public.blocks as b
                on b.community_id = c.community_id and b.course_id = c.id and b.version = c.version
            where c.community_id = e.community_id and c.title = 'BBB 2013J'
                and b.required and b.completion_mode = 'completable'
        ) as b using (nth)
    ))
    from public.program_enrollments as e
    join public.communities as c on c.id = e.community_id
    where c.slug = %(community)s and e.user_id = %(user_id)s
"""
# So that there is something to publish, to delete and to restore.
_ADD_PROGRAMS = """
    insert into public.programs
        (community_id, id, title, description, duration_weeks, status, created_by, published_at, archived_at)
    select c.id, p.*
    from public.communities as c
    cross join (
        values (
            uuid '00000000-0000-4000-8000-00000000d001', 'Summer school', 'Not published yet.', 6, 'draft',
            %(admin)s::uuid, null::timestamptz, null::timestamptz
        ),
        (
            '00000000-0000-4000-8000-00000000d002', 'Pilot of 2012', 'No longer offered.', 12, 'archived',
            %(admin)s::uuid, timestamptz '2012-02-01 00:00+00', timestamptz '2013-01-15 00:00+00'
        )
    ) as p
    where c.slug = %(community)s
    on conflict (community_id, id) do nothing
"""
_GRANT = "insert into private.super_admins (user_id, reason) values (%s, %s) on conflict (user_id) do nothing"


def load_demo(
    dsn: str,
    auth_dsn: str,
    import_folder: Callable[[str, Path], object],
    report: Callable[[str], None] = lambda _: None,
) -> bool:
    """True when it has loaded the demo, false when that was there. `dsn` is role `postgres`'s, `auth_dsn`
    `supabase_auth_admin`'s; `import_folder` imports the sample's format, with progress, as role `postgres`.

    A load that was killed is completed by the next one; what it writes last tells that all is there.
    """
    with psycopg.connect(dsn) as connection:
        if _is_loaded(connection):
            return False
    report("Loading the demo")
    import_folder(dsn, SAMPLE)
    with psycopg.connect(dsn) as connection, psycopg.connect(auth_dsn) as auth_connection:
        for person in _PEOPLE:
            _create_user(auth_connection, person, _community_id(connection, person))
    with psycopg.connect(dsn) as connection:
        _give_places(connection)
    return True


def _is_loaded(connection: Connection) -> bool:
    granted = connection.execute("select from private.super_admins where user_id = %s", [_SUPER_ADMIN.id])
    return granted.fetchone() is not None


def _community_id(connection: Connection, person: _Person) -> UUID:
    found = connection.execute("select id from public.communities where slug = %s", [person.community])
    return UUID(str(found.fetchall()[0][0]))


def _create_user(connection: Connection, person: _Person, community_id: UUID) -> None:
    known = connection.execute("select from auth.users where id = %s", [person.id])
    if known.fetchone() is None:
        # A member's token names their community by itself; a super admin's only the one that is chosen here.
        app_metadata = {} if person.role else {"community_id": str(community_id)}
        create_user(connection, person.email, DEMO_PASSWORD, app_metadata, id=person.id)


def _give_places(connection: Connection) -> None:
    for person in _PEOPLE:
        if person.role:
            place = (person.id, person.name, person.role, person.community)
            connection.execute(_ADD_MEMBER, place)
    learner = {"user_id": _LEARNER.id, "community": _LEARNER.community}
    connection.execute(_ENROLL, learner)
    connection.execute(_RECORD, learner)
    connection.execute(_ADD_PROGRAMS, {"admin": _ADMIN.id, "community": _ADMIN.community})
    connection.execute(_GRANT, [_SUPER_ADMIN.id, "Shows what super admins of the platform see."])
