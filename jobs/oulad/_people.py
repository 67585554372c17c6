"""How learners and their enrolments enter their tables. Rows that are there stay, but what is over ends."""

from typing import LiteralString

from jobs.oulad import _rows
from jobs.oulad._table import Step, Table

# Nobody signs in as them: no password, no confirmed address, no identity. The tokens are empty texts, as in
# rows that Supabase makes; its sign-in service fails on null ones.
USERS = Table(
    "users",
    _rows.users,
    ("id", "email"),
    """
    insert into auth.users (
        instance_id, id, aud, role, email, confirmation_token, recovery_token, email_change_token_new,
        email_change, raw_app_meta_data, raw_user_meta_data, created_at, updated_at
    )
    select
        '00000000-0000-0000-0000-000000000000', id, 'authenticated', 'authenticated', email, '', '', '', '',
        '{}', '{}', now(), now()
    from staged_users
    on conflict (id) do nothing
    """,
    schema="auth",
)

MEMBERSHIPS = Table(
    "memberships",
    _rows.memberships,
    ("community_id", "id", "user_id", "display_name", "joined_at"),
    """
    insert into public.memberships (community_id, id, user_id, role, status, display_name, joined_at)
    select community_id, id, user_id, 'end_user', 'active', display_name, joined_at from staged_memberships
    on conflict (community_id, user_id) do nothing
    """,
)

_END_WHAT_A_LATER_PRESENTATION_REPLACES = Step(
    """
    update public.program_enrollments as e
    set status = 'expired'
    from staged_program_enrollments as s
    where e.community_id = s.community_id and e.id = s.id
        and s.status = 'expired' and e.status in ('pending', 'active', 'paused')
    """,
    "enrolments of earlier imports ended, for a later presentation has come",
)

# One open enrolment a person and program: the one that is there keeps its place.
_YIELD_TO_OPEN_ENROLMENTS = Step(
    """
    update staged_program_enrollments as s
    set status = 'expired'
    where s.status = 'active'
        and not exists (
            select from public.program_enrollments as e
            where e.community_id = s.community_id and e.id = s.id
        )
        and exists (
            select from public.program_enrollments as e
            where e.community_id = s.community_id and e.program_id = s.program_id
                and e.user_id = s.user_id and e.status in ('pending', 'active', 'paused')
        )
    """,
    "enrolments taken as ended, for the person has another open one in the program",
)

_FIND_ATTEMPTS_OUT_OF_ORDER = Step(
    """
    select
    from (
        select
            e.attempt,
            max(e.attempt) over (
                partition by e.community_id, e.program_id, e.user_id order by s.attempt
            ) as highest_so_far
        from staged_program_enrollments as s
        join public.program_enrollments as e on e.community_id = s.community_id and e.id = s.id
    ) as attempts
    where attempt < highest_so_far
    """,
    "enrolments with a lower attempt than an earlier presentation, which was imported after them",
)

# In order of time, for a trigger numbers a person's attempts as they come; staged is the place in that order.
# No "on conflict": the trigger would take those that are there for further attempts, and refuse some.
ENROLLMENTS = Table(
    "program_enrollments",
    _rows.enrollments,
    (
        *("community_id", "id", "program_id", "user_id", "status", "enrolled_at", "due_at", "withdrawn_at"),
        "attempt",
    ),
    """
    insert into public.program_enrollments
        (community_id, id, program_id, user_id, status, enrolled_at, due_at, withdrawn_at)
    select community_id, id, program_id, user_id, status, enrolled_at, due_at, withdrawn_at
    from staged_program_enrollments as s
    where not exists (
        select from public.program_enrollments as e where e.community_id = s.community_id and e.id = s.id
    )
    order by attempt
    """,
    first=1000,
    before=(_END_WHAT_A_LATER_PRESENTATION_REPLACES, _YIELD_TO_OPEN_ENROLMENTS),
    after=(_FIND_ATTEMPTS_OUT_OF_ORDER,),
)

# Triggers would refuse these rows as well, but one at a time and without saying whose they are.
REFUSALS: LiteralString = """
    with new_enrollments as (
        select s.community_id, s.program_id, s.user_id
        from staged_program_enrollments as s
        where not exists (
            select from public.program_enrollments as e where e.community_id = s.community_id and e.id = s.id
        )
    ),
    new_assignments as (
        select s.community_id, s.program_id
        from staged_program_course_assignments as s
        where not exists (
            select from public.program_course_assignments as a
            where a.community_id = s.community_id and a.program_id = s.program_id
                and a.course_id = s.course_id
        )
    )
    select format(
        '%s: program "%s" is %s and takes nothing new. Publish or restore it first.',
        c.name, p.title, private.in_state(p.status)
    )
    from public.programs as p
    join public.communities as c on c.id = p.community_id
    where p.status <> 'published' and (p.community_id, p.id) in (
        select community_id, program_id from new_enrollments
        union all select community_id, program_id from new_assignments
    )
    union
    select format(
        '%s: the membership of "%s" is %s and takes no new enrolment. Activate it first.',
        c.name, m.display_name, m.status
    )
    from new_enrollments as n
    join public.memberships as m using (community_id, user_id)
    join public.communities as c on c.id = n.community_id
    where m.status <> 'active'
    order by 1
"""
