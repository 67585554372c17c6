"""A crowd: so many communities, people, programs and enrolments, so unevenly shared out, that a wrong plan shows.

Alpha, where the cast is, has about a third of everything; the rest belongs to hundreds of small communities. Ids are
hashes of what they are ids of, so that nothing has to be looked up.
"""

from hashlib import md5
from typing import Any
from uuid import UUID

import psycopg

from tests import cast
from tests.databases import Database


def _key(kind: str, number: int) -> UUID:
    """The same as `pg_temp.key` below."""
    return UUID(md5(f"{kind}{number}".encode(), usedforsecurity=False).hexdigest())


# Published, with 600 people in it and the learner; and one of its courses. The other two courses are in no program.
PROGRAM = _key("program", 100_877)
COURSE = _key("course", 100_010)
# What the learner and many others have begun: one of the program's courses, and a block of it.
BEGUN_COURSE, BEGUN_BLOCK = _key("course", 100_285), _key("block", 1_002_851)
DRAFT_COURSE = _key("course", 100_901)
ARCHIVED_COURSE = _key("course", 100_902)
# A member of Alpha's; an invitation of Alpha's, and the learner's to Beta.
MEMBER = _key("person", 100_010)
INVITATION = _key("invitation", 100_010)
OWN_INVITATION = _key("invitation", 200_001)
# One that many entries of the audit log come from.
REQUEST = "a-request-of-many-changes"
# The learner's.
OPEN_SESSION = _key("open session", 1)
# Of that program, with 60 of them in it.
COHORT = _key("cohort", 100_877)
BATCH = _key("file", 1)
# What players say: one of the learner, all the time; and a broken one of a member, too much, all of it void by now.
WATCHED, BROKEN = "https://videos.example/1", "https://broken.example/1"
WATCHED_TIMES = 3000
SAID, VOIDED = (tuple(_key(kind, number) for number in range(1, 51)) for kind in ("watched", "broken"))

# Alpha is the first place and Beta the second. What belongs to a place has its number times 100,000 in its own.
_PLACES = """
create function pg_temp.key(kind text, number bigint) returns uuid
immutable
language sql
as $$ select md5(kind || number)::uuid $$;

create temp table place as
select
    n as place,
    coalesce((array[%(alpha)s, %(beta)s]::uuid[])[n], pg_temp.key('community', n)) as community_id,
    case n when 1 then 2000 else 10 end as members,
    case n when 1 then 900 else 5 end as programs,
    case n when 1 then 300 else 3 end as courses
from generate_series(1, 800) as n;

insert into public.communities (id, slug, name, created_at)
select community_id, 'place-' || place, 'Place ' || place, '2025-01-01'::timestamptz + place * interval '1 day'
from place
where place > 2;
"""

_MEMBERS = """
create temp table person as
select p.*, n, pg_temp.key('person', p.place * 100000 + n) as id
from place as p, generate_series(1, p.members) as n;

insert into auth.users (instance_id, id, email, email_confirmed_at)
select '00000000-0000-0000-0000-000000000000', id, 'person' || n || '@place' || place || '.test', now() from person;

insert into public.memberships (community_id, user_id, display_name, role, status, joined_at)
select
    community_id, id, 'Person ' || md5(n::text),
    case mod(n, 100) when 0 then 'community_admin' else 'end_user' end,
    case mod(n, 20) when 1 then 'left' when 2 then 'suspended' else 'active' end,
    '2025-01-01'::timestamptz + n * interval '1 hour'
from person;
"""

# The learner is the first whom each place but their own invites.
_INVITATIONS = """
insert into public.invitations (id, community_id, email, display_name, invited_by, invited_at)
select
    pg_temp.key('invitation', place * 100000 + n), community_id,
    case when n = 1 and place between 2 and 5 then %(address)s else 'guest' || n || '@place' || place || '.test' end,
    'Guest ' || n, pg_temp.key('person', place * 100000 + members), now() - n * interval '1 minute'
from place, generate_series(1, case place when 1 then 600 else 4 end) as n;
"""

_COURSES = """
create temp table course as
select p.*, n, pg_temp.key('course', p.place * 100000 + n) as id, mod(n, 5) <> 1 as published
from place as p, generate_series(1, p.courses) as n;

insert into public.courses (id, community_id, title, description, status, created_at)
select
    id, community_id, 'Course ' || md5(n::text), repeat('What it is about. ', 10),
    case when published then 'published' else 'draft' end, '2025-01-01'::timestamptz + n * interval '1 hour'
from course;

insert into public.course_versions (community_id, course_id, version, published, published_at, tree_hash)
select
    community_id, id, version, published and version = 1, case when published and version = 1 then now() end,
    case when published and version = 1 then md5(id::text) || md5(version::text) end
from course, generate_series(1, case when published then 2 else 1 end) as version;

insert into public.blocks (id, community_id, course_id, version, published, kind, title, position)
select
    pg_temp.key('block', (place * 100000 + n) * 10 + place_in), community_id, id, version, published and version = 1,
    'page', 'Page ' || place_in, place_in
from course, generate_series(1, case when published then 2 else 1 end) as version, generate_series(1, 6) as place_in;

insert into public.courses (id, community_id, title, status)
values
    (pg_temp.key('course', 100901), %(alpha)s, 'In no program', 'draft'),
    (pg_temp.key('course', 100902), %(alpha)s, 'No longer there', 'archived');

insert into public.course_versions (community_id, course_id, version, published, published_at, tree_hash)
select
    community_id, id, 1, published, case when published then now() end,
    case when published then md5(id::text) || md5('1') end
from public.courses
where id in (pg_temp.key('course', 100901), pg_temp.key('course', 100902));

insert into public.block_identities (community_id, course_id, id)
select community_id, course_id, id from public.blocks
on conflict do nothing;
"""

# Two in five are drafts or archived.
_PROGRAMS = """
create temp table program as
select
    p.*, n, pg_temp.key('program', p.place * 100000 + n) as id,
    case mod(n, 5) when 0 then 'draft' when 1 then 'archived' else 'published' end as status
from place as p, generate_series(1, p.programs) as n;

insert into public.programs (
    id, community_id, title, description, status, created_by, created_at, updated_at, published_at, archived_at
)
select
    id, community_id, 'Program ' || md5(n::text), repeat('What it is about. ', 10), status,
    pg_temp.key('person', place * 100000 + members), '2025-01-01'::timestamptz + n * interval '1 hour',
    '2025-03-01'::timestamptz + n * interval '1 hour',
    case when status <> 'draft' then '2025-04-01'::timestamptz end,
    case when status = 'archived' then '2025-05-01'::timestamptz end
from program;

insert into public.program_versions (community_id, program_id, version, published_at)
select community_id, id, 1, case when status <> 'draft' then '2025-04-01'::timestamptz end from program;

insert into public.program_course_groups (community_id, program_id, version, name)
select community_id, id, 1, 'Group ' || turn from program, generate_series(1, 2) as turn;

insert into public.program_course_assignments (
    community_id, program_id, course_id, sequence_order, group_name, course_version
)
select community_id, id, pg_temp.key('course', place * 100000 + 1 + mod(n + turn * 7, courses)), turn,
    'Group ' || 1 + mod(turn, 2), case when status <> 'draft' then 1 end
from program, generate_series(1, least(4, courses)) as turn;

insert into public.program_course_prerequisites (community_id, program_id, course_id, prerequisite_id)
select a.community_id, a.program_id, a.course_id, b.course_id
from program as p
join public.program_course_assignments as a on a.community_id = p.community_id and a.program_id = p.id
join public.program_course_assignments as b
    on b.community_id = a.community_id and b.program_id = a.program_id and b.sequence_order < a.sequence_order;
"""

_COHORTS = """
insert into public.cohorts (id, community_id, program_id, name, due_at)
select
    pg_temp.key('cohort', place * 100000 + n + turn * 10000), community_id, id, 'Cohort ' || md5(n::text || turn),
    '2099-01-01'
from program, generate_series(0, 1) as turn;
"""

# Twenty people a program, and 600 in a few; a tenth of them in cohorts, three quarters with a due date. The learner is
# in every fifteenth of Alpha's.
_ENROLLMENTS = """
insert into public.program_enrollments (
    community_id, program_id, program_version, user_id, status, enrolled_at, completed_at, withdrawn_at, cohort_id,
    due_at
)
select
    p.community_id, p.id, 1,
    pg_temp.key('person', p.place * 100000 + 1 + mod(p.n * 13 + turn * 7, p.members)), s.status,
    '2025-06-01'::timestamptz + (turn * 1000 + p.n) * interval '1 minute',
    case s.status when 'completed' then '2026-09-01'::timestamptz end,
    case s.status when 'withdrawn' then '2026-09-01'::timestamptz end,
    case when mod(turn, 10) = 5 then pg_temp.key('cohort', p.place * 100000 + p.n) end,
    -- Few are overdue.
    case when mod(turn, 4) <> 3 then
        case when mod(p.n * 7 + turn, 400) = 5 then '2026-01-01'::timestamptz else '2099-01-01' end
    end
from program as p,
    generate_series(1, least(case mod(p.n, 100) when 77 then 600 else 20 end, p.members)) as turn,
    lateral (
        select case mod(turn, 10)
            when 0 then 'withdrawn' when 1 then 'completed' when 2 then 'completed' when 3 then 'paused'
            else 'active'
        end
    ) as s (status)
where p.status <> 'draft';

insert into public.program_enrollments (
    community_id, program_id, program_version, user_id, enrolled_at, cohort_id, due_at
)
select
    community_id, id, 1, %(learner)s, '2025-06-01'::timestamptz + n * interval '10 hours',
    pg_temp.key('cohort', place * 100000 + n), '2099-01-01'
from program
where place = 1 and mod(n, 15) = 7;
"""

# Everybody who is enrolled has done two of six blocks in two courses of the program; many have done all of one.
_PROGRESS = """
insert into public.program_requirements (
    community_id, program_id, version, node, parent, kind, needed, course_id, course_version, group_name
)
select community_id, program_id, 1, 0, null::integer, 'all', 2, null::uuid, null::integer, null::text
from public.program_versions where published_at is not null
union all
select g.community_id, g.program_id, 1, right(g.name, 1)::integer, 0, 'group', 1, null, null, g.name
from public.program_course_groups as g join public.program_versions as v using (community_id, program_id, version)
where v.published_at is not null and g.name like 'Group _'
union all
select a.community_id, a.program_id, 1, 2 + a.sequence_order, right(a.group_name, 1)::integer, 'course', 1, a.course_id,
    a.course_version, null
from public.program_course_assignments as a
join public.program_versions as v using (community_id, program_id, version)
where v.published_at is not null and a.group_name like 'Group _'
on conflict do nothing;

insert into public.block_completions (
    community_id, user_id, course_id, block_id, attempt, earned_value, earned_at, event_count, started_at, created_at
)
select
    e.community_id, e.user_id, b.course_id, b.id, 1, case when b.position = 1 then 1 else 0.5 end,
    case when b.position = 1 then e.enrolled_at end, 1, e.enrolled_at, e.enrolled_at + b.position * interval '1 hour'
from public.program_enrollments as e
join public.program_course_assignments as a
    on a.community_id = e.community_id and a.program_id = e.program_id and a.version = e.program_version
    and a.sequence_order <= 2
join public.blocks as b
    on b.community_id = a.community_id and b.course_id = a.course_id and b.version = a.course_version
    and b.position <= 2
on conflict do nothing;

insert into public.course_progress (
    community_id, user_id, course_id, version, attempt, done_required, total_required, earned, possible, started_at
)
select community_id, user_id, course_id, 1, 1, 1, 6, 1.5, 6, min(started_at)
from public.block_completions
where attempt = 1 and earned_at is not null
group by community_id, user_id, course_id
on conflict do nothing;

insert into public.program_progress (
    community_id, enrollment_id, program_id, user_id, enrollment_attempt, status, percent, completed_at
)
select
    community_id, id, program_id, user_id, attempt, case status when 'completed' then status else 'in_progress' end,
    case status when 'completed' then 100 else 25 end, completed_at
from public.program_enrollments
on conflict do nothing;
"""

# An hour for each enrolment, in a course of the program; one person in a hundred is still there, and the learner.
_SESSIONS = """
insert into public.learning_sessions (
    id, community_id, user_id, content_id, started_at, last_seen_at, ended_at, active, active_seconds, heartbeats
)
select
    pg_temp.key('session', n), community_id, user_id, course_id, began, began + interval '1 hour',
    began + interval '1 hour', '{[0,1200),[1300,2500)}', 2400, 120
from (
    select e.community_id, e.user_id, a.course_id, row_number() over (order by e.community_id, e.id) as n,
        e.enrolled_at + interval '1 day' as began
    from public.program_enrollments as e
    join public.program_course_assignments as a
        on a.community_id = e.community_id and a.program_id = e.program_id and a.version = e.program_version
        and a.sequence_order = 1
) as e;

insert into public.learning_sessions (id, community_id, user_id, started_at, last_seen_at, tabs, active_seconds)
select
    pg_temp.key('open session', n), community_id, id, now() - interval '1 hour', now(),
    array[now() - interval '1 hour'], 0
from (
    select community_id, place * 100000 + n as n, id from person where mod(n, 100) = 50
    union all
    select %(alpha)s, 1, %(learner)s
) as p;
"""

# Thirty entries a program; of each fifth program one that is about PROGRAM, and of one request.
_AUDIT = """
insert into public.audit_entries (
    community_id, xid, occurred_at, actor_id, acting_as, action, object_type, object_id, changed, request_id
)
select
    p.community_id, (10 + mod(p.n, 500))::text::xid8,
    '2025-06-01'::timestamptz + (turn * 1000 + p.n) * interval '1 minute',
    case when mod(turn, 3) > 0 then %(admin)s end, case when mod(turn, 3) > 0 then 'community_admin' else 'system' end,
    t.object_type || case when mod(turn, 2) = 1 then '.updated' else '.created' end, t.object_type,
    case when turn = 1 and mod(p.n, 5) = 0 then %(program)s else p.id end, '{title}',
    case when turn = 1 and mod(p.n, 5) = 0 then %(request)s else md5(p.n::text || turn) end
from program as p,
    generate_series(1, case p.place when 1 then 30 else 3 end) as turn,
    lateral (select case when mod(turn, 5) < 3 then 'program' else 'program_enrollment' end) as t (object_type);
"""


# A file, with a line for each enrolment in a course of its program.
_LEGACY = """
insert into public.legacy_batches (community_id, id, file_name, file_digest)
select community_id, pg_temp.key('file', place), 'legacy.csv', repeat('f', 64) from place;

insert into public.legacy_progress (
    id, community_id, batch_id, line, user_id, course_id, attempt, version, percent, imported_at
)
select
    pg_temp.key('line', l.n), l.community_id, pg_temp.key('file', p.place), l.n, l.user_id, l.course_id, 1, 1, 40,
    '2026-06-01'::timestamptz + l.n * interval '1 second'
from (
    select e.community_id, e.user_id, a.course_id, row_number() over (order by e.community_id, e.id) as n
    from public.program_enrollments as e
    join public.program_course_assignments as a
        on a.community_id = e.community_id and a.program_id = e.program_id and a.version = e.program_version
        and a.sequence_order = 1
) as l
join place as p on p.community_id = l.community_id;
"""

_JOB_RUNS = """
insert into public.job_runs (community_id, task, job_id, attempt, status, started_at, finished_at, did)
select
    community_id, 'advance_progress', n, 1, case mod(n, 50) when 0 then 'failed' else 'succeeded' end,
    '2026-06-01'::timestamptz + n * interval '1 minute', '2026-06-01'::timestamptz + n * interval '1 minute', 1
from place, generate_series(1, case place when 1 then 5000 else 10 end) as n;
"""


# One for each completion. Most have one of two verbs, few a third, and a fourth was in use long ago; small communities
# have said nothing else.
_STATEMENTS = """
create temp table said as
select
    community_id, user_id, pg_temp.key('statement', place * 1000000 + n) as id,
    case
        when n <= 200 then 'attempted' when mod(n, 500) = 0 then 'passed' when earned_at is not null then 'completed'
        else 'experienced'
    end as verb,
    'urn:uuid:' || block_id as activity, created_at + n * interval '1 microsecond' as stored_at, null::uuid as voids,
    null::uuid as voided_by
from (
    select
        c.*, p.place,
        row_number() over (partition by p.place order by c.created_at, c.user_id, c.block_id) as n
    from public.block_completions as c
    join place as p using (community_id)
) as c
union all
select
    %(alpha)s, %(learner)s, pg_temp.key('watched', n), 'experienced', %(watched)s,
    '2026-01-01'::timestamptz + n * interval '1 minute', null, null
from generate_series(1, %(watched_times)s) as n
union all
select
    %(alpha)s, %(member)s, pg_temp.key('broken', n), 'experienced', %(broken)s,
    '2026-02-01'::timestamptz + n * interval '1 second', null, pg_temp.key('voiding', n)
from generate_series(1, 2000) as n
union all
select
    %(alpha)s, %(admin)s, pg_temp.key('voiding', n), 'voided', null,
    '2026-03-01'::timestamptz + n * interval '1 second', pg_temp.key('broken', n), null
from generate_series(1, 2000) as n;

insert into public.xapi_statements (
    community_id, user_id, id, verb, activity, voids, sent_by, sent_by_admin, content, stored_at, voided_at, voided_by
)
select
    s.community_id, s.user_id, s.id, v.id, s.activity, s.voids, s.user_id, s.voids is not null, jsonb_build_object(
        'actor', json_build_object(
            'account', json_build_object('homePage', 'https://learn.example', 'name', s.user_id)
        ),
        'verb', json_build_object('id', v.id), 'object', json_build_object('id', coalesce(s.activity, s.voids::text))
    ), s.stored_at, case when s.voided_by is not null then '2026-03-02'::timestamptz end, s.voided_by
from said as s, lateral (select 'http://adlnet.gov/expapi/verbs/' || s.verb as id) as v;
"""


def fill(database: Database) -> None:
    """In some seconds, past triggers and foreign keys: what is written here keeps their rules by itself."""
    values: dict[str, Any] = {
        "alpha": cast.ALPHA,
        "beta": cast.BETA,
        "learner": cast.LEARNER.id,
        "address": cast.LEARNER.email,
        "admin": cast.ADMIN.id,
        "program": PROGRAM,
        "request": REQUEST,
        "member": MEMBER,
        "watched": WATCHED,
        "watched_times": WATCHED_TIMES,
        "broken": BROKEN,
    }
    parts = (
        _PLACES,
        _MEMBERS,
        _INVITATIONS,
        _COURSES,
        _PROGRAMS,
        _COHORTS,
        _ENROLLMENTS,
        _PROGRESS,
        _SESSIONS,
        _AUDIT,
        _LEGACY,
        _JOB_RUNS,
        _STATEMENTS,
    )
    with psycopg.connect(database.dsn("supabase_admin"), autocommit=True) as connection:
        with connection.transaction():
            connection.execute("set local session_replication_role = replica")
            for part in parts:
                psycopg.ClientCursor(connection).execute(part, values)
        connection.execute("vacuum analyze")
